//! Nothing but tests: every Rust block of README.md and of the guide (`docs/src`) is compiled by `cargo test --workspace`
//! as a doctest of this crate, and run unless it says `no_run`. A new chapter with Rust in it needs a line here.
#![forbid(unsafe_code)]

macro_rules! compiled {
    ($($name:ident $file:literal;)*) => {
        #[cfg(test)]
        const COMPILED: &[&str] = &[$($file),*];
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../../", $file))]
            mod $name {}
        )*
    };
}

compiled! {
    readme "README.md";
    getting_started "docs/src/getting-started.md";
    concepts "docs/src/concepts.md";
    going_to_production "docs/src/going-to-production.md";
    writing_a_driver "docs/src/writing-a-driver.md";
    writing_a_store "docs/src/writing-a-store.md";
    testing_your_bot "docs/src/testing-your-bot.md";
    recording_and_replay "docs/src/recording-and-replay.md";
}

#[test]
fn every_chapter_with_rust_is_compiled() {
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    for entry in std::fs::read_dir(src).expect("the guide") {
        let path = entry.expect("a chapter").path();
        let text = std::fs::read_to_string(&path).expect("a text");
        let name = format!("docs/src/{}", path.file_name().expect("a name").to_string_lossy());
        assert!(!text.contains("```rust") || COMPILED.contains(&name.as_str()), "{name} has Rust and is not compiled");
    }
}

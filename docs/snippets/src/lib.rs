//! Nothing but tests: every Rust block of README.md and of the guide (`docs/src`) is compiled by `cargo test --workspace`
//! as a doctest of this crate, and run unless it says `no_run`. A new chapter with Rust in it needs a line here.
#![forbid(unsafe_code)]

macro_rules! compiled {
    ($($name:ident $file:literal;)*) => {$(
        #[cfg(doctest)]
        #[doc = include_str!(concat!("../../../", $file))]
        mod $name {}
    )*};
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

//! Writes the seed inputs into `corpus/`.
#![cfg_attr(fuzzing, no_main)]

// `cargo fuzz build` builds every program; without this it would not link.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|_: &[u8]| ());
#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    for (folder, name, bytes) in amarula_fuzz::seeds::all() {
        let folder = amarula_fuzz::corpus().join(folder);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}

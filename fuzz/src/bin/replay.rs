//! Runs inputs through every fuzz target: the files and folders given, or the committed corpora.
#![cfg_attr(fuzzing, no_main)]

// `cargo fuzz build` builds every program; without this it would not link.
#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|_: &[u8]| ());
#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    amarula_fuzz::replay_arguments(amarula_fuzz::TARGETS)
}

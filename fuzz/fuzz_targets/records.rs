#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| amarula_fuzz::records(data));

#[cfg(not(fuzzing))]
fn main() -> std::io::Result<()> {
    amarula_fuzz::replay_arguments(&[("records", amarula_fuzz::records)])
}

//! Records the sessions of `testvectors/sessions/`: simulated accounts and a simulated server, the same bytes on every
//! run.
//!
//! `cargo run --release -p amarula-sim --example capture` compares them with the committed files;
//! `AMARULA_REGENERATE=1` writes them anew. Do that when the engine is meant to do something else than before, and say in
//! the commit what.

#[path = "../tests/support/captures.rs"]
mod captures;

use std::{fs, io};

fn main() -> io::Result<()> {
    let regenerate = std::env::var_os("AMARULA_REGENERATE").is_some_and(|value| value == "1");
    let mut differ = 0;
    for capture in captures::all() {
        let path = captures::folder().join(format!("{}.session", capture.name));
        if regenerate {
            fs::write(&path, &capture.recording)?;
        }
        let same = fs::read(&path).is_ok_and(|committed| committed == capture.recording);
        differ += i32::from(!same);
        println!(
            "{:<16} {:>7} bytes, {} entries: {}{}",
            capture.name,
            capture.recording.len(),
            capture.entries,
            capture.what,
            if same { "" } else { " — DIFFERS from the committed file" }
        );
    }
    std::process::exit(differ.min(1));
}

//! Fuzz targets: one function each, from any bytes to nothing. A finding is a panic.
//!
//! * with cargo-fuzz (nightly): `cargo fuzz run node` in the repository's root
//! * on stable: `cargo run --manifest-path fuzz/Cargo.toml --bin replay` runs every committed input through every target
//! * `cargo run --manifest-path fuzz/Cargo.toml --bin seeds` writes the seed inputs anew

use std::path::{Path, PathBuf};
use std::{fs, io};

mod choices;
mod driver;
mod machine;
mod peer;
mod queries;
mod signal;
mod tree;
mod wire;
// The tests' server side: made from primitives, shares nothing with the client.
#[path = "../../core/tests/engine_support/mod.rs"]
mod engine_support;
#[path = "../../core/tests/wire_support/mod.rs"]
mod wire_support;

pub mod seeds;
pub use machine::{ops, recording, records, server};
pub use queries::{adv, bundle, usync};
pub use signal::{signal, signal_diff};
pub use wire::{certificate, frame, handshake, jid, node, payload};

/// A target by name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them. Their inputs are in `corpus/<name>/`.
pub const TARGETS: &[Target] = &[
    ("node", node),
    ("frame", frame),
    ("handshake", handshake),
    ("payload", payload),
    ("jid", jid),
    ("certificate", certificate),
    ("adv", adv),
    ("usync", usync),
    ("bundle", bundle),
    ("signal", signal),
    ("signal_diff", signal_diff),
    ("records", records),
    ("server", server),
    ("ops", ops),
    ("recording", recording),
];

/// Where the committed inputs are.
pub fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// Runs the files and folders named on the command line (all committed inputs, if none) through `targets`.
pub fn replay_arguments(targets: &[Target]) -> io::Result<()> {
    let mut paths: Vec<PathBuf> = std::env::args_os().skip(1).map(Into::into).collect();
    if paths.is_empty() {
        paths.push(corpus());
    }
    let mut inputs = 0;
    for path in paths {
        inputs += replay(&path, targets)?;
    }
    println!("{inputs} inputs through {} targets", targets.len());
    Ok(())
}

/// Runs a file, or every file under a folder, through `targets`; answers how many files.
pub fn replay(path: &Path, targets: &[Target]) -> io::Result<usize> {
    if !path.is_dir() {
        let input = fs::read(path)?;
        // Kept until it passed, so that a panic is preceded by the name of its input.
        for (name, target) in targets {
            let announce = Announce(name, path);
            target(&input);
            std::mem::forget(announce);
        }
        return Ok(1);
    }
    let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    entries.iter().map(|entry| replay(entry, targets)).sum()
}

struct Announce<'a>(&'static str, &'a Path);

impl Drop for Announce<'_> {
    fn drop(&mut self) {
        eprintln!("target {} failed on {}", self.0, self.1.display());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_passes() {
        assert!(super::replay(&super::corpus(), super::TARGETS).unwrap() > 20);
    }
}

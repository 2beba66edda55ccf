//! `amarula replay`.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use amarula_core::engine::recording::{Entry, ReadError, Reader, Replay, ReplaySummary};
use serde_json::json;

use crate::exit::Exit;
use crate::options::ReplayArgs;
use crate::output::Output;
use crate::problem::{Problem, Result};

/// Bytes read at once.
const CHUNK: usize = 64 << 10;

pub(crate) fn run(args: &ReplayArgs, output: &Output) -> Result<()> {
    let summary = replay(&args.file)?;
    let object = json!({
        "event": "replayed",
        "entries": summary.entries,
        "inputs": summary.inputs,
        "commands": summary.commands,
        "outputs": summary.outputs,
        "tornBytes": summary.torn.map(|torn| torn.bytes),
    });
    output.result(&object, || {
        let torn = summary.torn.map(|torn| format!("; the last {} bytes are no whole entry", torn.bytes));
        format!(
            "replayed {} inputs and {} commands: all {} outputs are the recorded ones{}",
            summary.inputs,
            summary.commands,
            summary.outputs,
            torn.unwrap_or_default()
        )
    })
}

/// Reads as it replays: a recording may be longer than memory.
fn replay(path: &Path) -> Result<ReplaySummary> {
    let unreadable = |error: std::io::Error| Problem::usage(format!("cannot read {}: {error}", path.display()));
    let damaged = |error: ReadError| Problem::new(Exit::Refused, "damaged", error.to_string());
    let mut file = File::open(path).map_err(unreadable)?;
    let mut reader = Reader::new();
    let mut replay: Option<Replay> = None;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        reader.push(&chunk[..count]);
        while let Some(entry) = reader.next_entry().map_err(damaged)? {
            replay = Some(match (replay, entry) {
                (None, Entry::Start(start)) => Replay::new(*start),
                (None, _) => return Err(Problem::new(Exit::Refused, "damaged", "a recording begins with its start")),
                (Some(mut replay), entry) => {
                    replay.step(entry).map_err(|difference| {
                        Problem::new(Exit::Refused, "differs", difference.to_string())
                            .hint("it was recorded by another version, or this is a bug: please report it")
                    })?;
                    replay
                }
            });
        }
    }
    let replay =
        replay.ok_or_else(|| Problem::new(Exit::Refused, "damaged", "this is no recording, or an empty one"))?;
    Ok(ReplaySummary { torn: reader.torn(), ..replay.summary() })
}

//! `core/data/binary-tokens.json` → the token dictionaries, and a perfect hash from text to token.

use std::fmt::Write;
use std::path::Path;

use crate::{Result, array, data, header};

#[path = "../../../core/src/wire/token_hash.rs"]
mod token_hash;
use token_hash::{BUCKETS, SLOTS, bucket, hash, slot};

const SOURCE: &str = "core/data/binary-tokens.json";
const DICTIONARIES: usize = 4;

pub(crate) fn rust(root: &Path) -> Result<String> {
    let data = data(root, SOURCE)?;
    let version = data["dictionary_version"].as_u64().ok_or("no dictionary_version")?;
    let single = texts(&data["single_byte"])?;
    let double = array(&data["double_byte"])?.iter().map(texts).collect::<Result<Vec<_>>>()?;
    let first_dictionary = data["tags"]["DICTIONARY_0"].as_u64().ok_or("no tag DICTIONARY_0")?;
    if single.len() as u64 != first_dictionary || double.len() != DICTIONARIES || double.iter().any(|d| d.len() != 256)
    {
        return Err(
            "the dictionaries have another shape: the reader and writer of nodes must be looked at first".into()
        );
    }
    if !single[0].is_empty() {
        return Err("single-byte token 0 is the empty list and cannot be text".into());
    }
    let all: Vec<&str> = single.iter().chain(double.iter().flatten()).copied().collect();
    let (displacements, slots) = perfect_hash(&all)?;

    let mut out = header(SOURCE);
    writeln!(out, "/// The version of these dictionaries, which the client announces in its first bytes.")?;
    writeln!(out, "pub(crate) const DICTIONARY_VERSION: u8 = {version};")?;
    writeln!(out, "\n/// Length of the longest token.")?;
    writeln!(out, "pub(super) const LONGEST: usize = {};", all.iter().map(|t| t.len()).max().unwrap_or(0))?;
    writeln!(out, "\n/// Tokens of one byte. The first stands for the empty list and is not text.")?;
    writeln!(out, "#[rustfmt::skip]\npub(super) static SINGLE_BYTE: [&str; {}] = [", single.len())?;
    lines(&mut out, "    ", single.iter().map(|t| format!("{t:?}")));
    writeln!(out, "];\n\n/// Tokens of two bytes: the dictionary, then the place in it.")?;
    writeln!(out, "#[rustfmt::skip]\npub(super) static DOUBLE_BYTE: [[&str; 256]; {DICTIONARIES}] = [")?;
    for dictionary in &double {
        writeln!(out, "    [")?;
        lines(&mut out, "        ", dictionary.iter().map(|t| format!("{t:?}")));
        writeln!(out, "    ],")?;
    }
    writeln!(
        out,
        "];\n\n/// Per bucket of the hash, the displacement that leads each of its tokens to a slot of its own."
    )?;
    writeln!(out, "#[rustfmt::skip]\npub(super) static DISPLACEMENTS: [u8; {BUCKETS}] = [")?;
    lines(&mut out, "    ", displacements.iter().map(u8::to_string));
    writeln!(
        out,
        "];\n\n/// Per slot, the number of its token, counted through all dictionaries; 0 if there is none."
    )?;
    writeln!(out, "#[rustfmt::skip]\npub(super) static TOKEN_IN_SLOT: [u16; {SLOTS}] = [")?;
    lines(&mut out, "    ", slots.iter().map(u16::to_string));
    writeln!(out, "];")?;
    Ok(out)
}

fn texts(value: &serde_json::Value) -> Result<Vec<&str>> {
    array(value)?.iter().map(|t| Ok(t.as_str().ok_or("a token is not text")?)).collect()
}

/// Displacements and slots for all texts but the first. Full buckets are placed first, as they are the hardest to place.
fn perfect_hash(all: &[&str]) -> Result<(Vec<u8>, Vec<u16>)> {
    let mut buckets = vec![Vec::new(); BUCKETS];
    for (number, text) in all.iter().enumerate().skip(1) {
        let hash = hash(text.as_bytes());
        buckets[bucket(hash)].push((hash, u16::try_from(number)?));
    }
    let mut order: Vec<usize> = (0..BUCKETS).collect();
    order.sort_by_key(|&b| std::cmp::Reverse(buckets[b].len()));
    let mut displacements = vec![0; BUCKETS];
    let mut slots = vec![0; SLOTS];
    'bucket: for b in order {
        'displacement: for displacement in 0..=u8::MAX {
            let mut taken = Vec::new();
            for &(hash, _) in &buckets[b] {
                let slot = slot(hash, displacement);
                if slots[slot] != 0 || taken.contains(&slot) {
                    continue 'displacement;
                }
                taken.push(slot);
            }
            for (&(_, number), slot) in buckets[b].iter().zip(taken) {
                slots[slot] = number;
            }
            displacements[b] = displacement;
            continue 'bucket;
        }
        return Err("no perfect hash found: a token occurs twice, or token_hash.rs needs other constants".into());
    }
    Ok((displacements, slots))
}

/// Items separated by commas, in lines of bearable length.
fn lines(out: &mut String, indent: &str, items: impl Iterator<Item = String>) {
    let mut line = String::new();
    for item in items {
        if indent.len() + line.len() + item.len() + 2 > 120 {
            out.extend([indent, line.trim_end(), "\n"]);
            line.clear();
        }
        line.extend([item.as_str(), ", "]);
    }
    out.extend([indent, line.trim_end(), "\n"]);
}

//! `amarula-protogen <schema dump>`: how a dump of WhatsApp Web's schema differs from ours.
#![forbid(unsafe_code)]

use amarula_protogen::{Result, differences, root};

fn main() -> Result<()> {
    let dump = std::env::args_os().nth(1).ok_or("usage: amarula-protogen <schema dump, JSON>")?;
    let found = differences(&root(), dump.as_ref())?;
    found.iter().for_each(|line| println!("{line}"));
    eprintln!("{} differences", found.len());
    Ok(())
}

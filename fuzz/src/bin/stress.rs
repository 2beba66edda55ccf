//! Fuzzing without a fuzzer: mutates the committed inputs of a target with a seeded generator, on the stable toolchain.
//! An input that fails is written to `findings/<target>-<n>`.
//!
//! `cargo run --release --bin stress -- <target> <seconds> [<seed>]`

use std::time::{Duration, Instant};
use std::{fs, panic};

use amarula_fuzz::{TARGETS, corpus};

/// Longest input.
const LONGEST: usize = 4096;

fn main() -> std::io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let (Some(name), Some(seconds)) = (args.get(1), args.get(2).and_then(|n| n.parse().ok())) else {
        eprintln!("stress <target> <seconds> [<seed>]");
        std::process::exit(2);
    };
    let Some((_, target)) = TARGETS.iter().find(|(known, _)| known == name) else {
        eprintln!("no such target: {name}");
        std::process::exit(2);
    };
    let mut random = Random(args.get(3).and_then(|seed| seed.parse().ok()).unwrap_or(1) | 1 << 63);
    let mut inputs = vec![Vec::new()];
    let folder = corpus().join(name);
    if folder.is_dir() {
        let mut paths = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            inputs.push(fs::read(path)?);
        }
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut runs, mut findings, mut slowest) = (0u64, 0u32, Duration::ZERO);
    while Instant::now() < end && findings < 5 {
        let input = random.mutate(&inputs);
        let began = Instant::now();
        let failed = panic::catch_unwind(|| target(&input)).is_err();
        let took = began.elapsed();
        runs += 1;
        if failed || took > Duration::from_secs(2).max(slowest * 2) {
            findings += 1;
            let folder = corpus().with_file_name("findings");
            fs::create_dir_all(&folder)?;
            let path = folder.join(format!("{name}-{}-{findings}", args.get(3).map_or("1", |seed| seed)));
            fs::write(&path, &input)?;
            eprintln!("{} ({took:?})", path.display());
        }
        slowest = slowest.max(took);
        // What is new in length now and then becomes a parent too.
        if !failed && random.below(64) == 0 && inputs.len() < 2000 {
            inputs.push(input);
        }
    }
    println!("{name}: {runs} runs, slowest {slowest:?}, {findings} findings");
    std::process::exit(i32::from(findings > 0));
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 16) as usize % bound.max(1)
    }

    fn mutate(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        const EDGES: [u8; 10] = [0, 1, 2, 5, 0x7f, 0x80, 0xf8, 0xfc, 0xfe, 0xff];
        let mut out = inputs[self.below(inputs.len())].clone();
        for _ in 0..1 + self.below(8) {
            let (length, at) = (out.len(), self.below(out.len() + 1));
            match self.below(9) {
                0 if length > 0 => out[at % length] ^= 1 << self.below(8),
                1 if length > 0 => out[at % length] = self.next() as u8,
                2 if length > 0 => out[at % length] = EDGES[self.below(EDGES.len())],
                3 => out.insert(at, self.next() as u8),
                4 if length > 0 => drop(out.remove(at % length)),
                5 => {
                    let some: Vec<u8> = (0..1 + self.below(32)).map(|_| self.next() as u8).collect();
                    out.splice(at..at, some);
                }
                6 => out.truncate(at),
                7 => {
                    let other = &inputs[self.below(inputs.len())];
                    let from = self.below(other.len() + 1);
                    let to = from + self.below(other.len() + 1 - from);
                    out.splice(at..at, other[from..to].iter().copied());
                }
                _ => {
                    let to = at + self.below(length + 1 - at);
                    let part = out[at..to].to_vec();
                    out.splice(at..at, part);
                }
            }
            out.truncate(LONGEST);
        }
        out
    }
}

//! Interop: our client, through both drivers, and unmodified Baileys talk over a simulated server on loopback.
//!
//! This library is what the tests in `tests/` share: the peers' child processes ([`Program`]), a Baileys client in one
//! ([`Baileys`]), our client through either driver ([`Ours`]), and the [`Stage`] that puts them together, runs a
//! scenario and judges it. Everything waits for events, for at most [`PATIENCE`], and panics with what it knows then:
//! it is for tests only.
//!
//! The server is strict with our client and lenient with Baileys
//! ([`ClientProfile::Baileys`](amarula_sim::server::ClientProfile) lists Baileys' habits).
//!
//! Needs node 20 and `npm ci` in `testvectors/interop`. Without them each test says so and passes, unless the
//! environment has `AMARULA_INTEROP=required`.

mod baileys;
mod ours;
mod program;
mod stage;

use std::io::Write as _;
use std::time::Duration;

pub use baileys::{Baileys, Inbound};
pub use ours::{Driver, Ours};
pub use program::{Program, available};
pub use stage::{Person, Stage, run, run_alone};

/// How long anything is waited for. Far more than it takes: what fails here is broken, not slow.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Makes two tests of each scenario (`fn(&mut Stage)`): one through each driver.
#[macro_export]
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod tokio_driver {
            $(#[test]
            fn $name() {
                $crate::run(stringify!($name), $crate::Driver::Tokio, super::$name);
            })*
        }
        mod blocking_driver {
            $(#[test]
            fn $name() {
                $crate::run(stringify!($name), $crate::Driver::Blocking, super::$name);
            })*
        }
    };
}

/// A line for the reader of a passing run: the test harness hides what goes through `println!`.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

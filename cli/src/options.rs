//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use amarula_core::Address;
use amarula_core::crypto::PublicKey;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::Targets;

use crate::exit::TABLE;

/// WhatsApp Web (multi-device) on the command line.
#[derive(Debug, Parser)]
#[command(name = "amarula", version, after_help = TABLE, arg_required_else_help = true)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) what: What,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Folder of the stored accounts. Whoever can read it is these accounts.
    #[arg(long, global = true, env = "AMARULA_DATA_DIR", value_name = "FOLDER", default_value = "./amarula_data")]
    pub(crate) data_dir: PathBuf,
    /// Which account's credentials.
    #[arg(long, short, global = true, env = "AMARULA_PROFILE", value_name = "NAME", default_value = "default")]
    pub(crate) profile: String,
    /// What this device is called in the phone's list of linked devices. Takes effect when pairing.
    #[arg(long, global = true, env = "AMARULA_NAME", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Own name as others see it, until the phone sends one.
    #[arg(long, global = true, env = "AMARULA_PUSH_NAME", value_name = "NAME")]
    pub(crate) push_name: Option<String>,
    /// Which driver carries the engine: Tokio, or threads.
    #[arg(long, global = true, env = "AMARULA_DRIVER", value_name = "DRIVER", value_enum, default_value_t)]
    pub(crate) driver: Driver,
    /// Print one JSON object a line instead of text for people.
    #[arg(long, global = true, env = "AMARULA_JSON", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) json: bool,
    /// Record the session to this new file, for replay and bug reports. It will hold keys and messages.
    #[arg(long, global = true, env = "AMARULA_RECORD", value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,
    /// Address of the chat server (wss:// or ws://), if it is not WhatsApp's.
    #[arg(long, global = true, env = "AMARULA_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Root key of that server's certificates: 64 hexadecimal digits.
    #[arg(long, global = true, env = "AMARULA_ROOT_KEY", value_name = "HEX", value_parser = root_key)]
    pub(crate) root_key: Option<PublicKey>,
    /// Allow ws:// to another machine. To this one it is always allowed.
    #[arg(long, global = true, env = "AMARULA_ALLOW_PLAIN_TEXT", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) allow_plain_text: bool,
    /// Connect through this proxy: http://HOST:PORT or socks5://HOST:PORT, with USER:PASSWORD@ before the host if it asks.
    #[arg(long, global = true, env = "AMARULA_PROXY", hide_env_values = true, value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Version of WhatsApp Web to be, for when the built-in one is too old.
    #[arg(long, global = true, env = "AMARULA_VERSION_WA", value_name = "2.3000.N", value_parser = version)]
    pub(crate) version_wa: Option<(u32, u32, u32)>,
    /// Logs on stderr: a level (error, warn, info, debug, trace) or target=level,… [default: warn]
    #[arg(long, global = true, env = "AMARULA_LOG", value_name = "LEVEL")]
    pub(crate) log: Option<Targets>,
}

/// What carries the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Driver {
    /// `amarula-tokio`.
    #[default]
    Tokio,
    /// `amarula-blocking`.
    Blocking,
}

#[derive(Debug, Subcommand)]
pub(crate) enum What {
    /// Link this device to an account, by a QR code in the terminal or a code to type on the phone.
    Pair(PairArgs),
    /// Print messages and whatever else happens, until interrupted.
    ///
    /// Each message is confirmed after it was printed; one that was not (the program was killed) is printed again by
    /// the next run.
    Listen(ListenArgs),
    /// Send a text message and print its id.
    Send(SendArgs),
    /// List the stored profiles.
    Profiles,
    /// Unlink this device from its account and forget its keys.
    Logout(LogoutArgs),
    /// Serve JSON-RPC 2.0 on stdin and stdout, one object a line. See docs/rpc.md.
    Rpc(RpcArgs),
    /// Run a recorded session again and compare everything the engine does with what it did.
    Replay(ReplayArgs),
    /// Two accounts pair and talk on a simulated WhatsApp inside this program. Nothing leaves the machine.
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PairArgs {
    /// Ask for a code to type on the phone of this number, instead of showing QR codes.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) phone: Option<String>,
    /// A code of your own: eight characters of 123456789ABCDEFGHJKLMNPQRSTVWXYZ.
    #[arg(long, requires = "phone", value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ListenArgs {
    /// Tell the senders that their messages were read.
    #[arg(long)]
    pub(crate) mark_read: bool,
    /// Do not confirm: the next run prints the same messages again.
    #[arg(long)]
    pub(crate) no_confirm: bool,
    /// End after so many messages.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// End after so many seconds, as if interrupted but with exit code 0.
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    pub(crate) duration: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// A phone number (+1 555 000 0001) or JID (15550000001@s.whatsapp.net, …@g.us).
    #[arg(value_name = "TO", value_parser = address)]
    pub(crate) to: Address,
    /// The text; `-` reads it from stdin.
    #[arg(value_name = "TEXT")]
    pub(crate) text: String,
    /// The message's id. Sending again under the same id does no harm.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<String>,
    /// A reference of yours. With one, a send that is cut short is finished by the next run, as the same message.
    #[arg(long, value_name = "REFERENCE")]
    pub(crate) reference: Option<String>,
    /// Give up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct LogoutArgs {
    /// Forget the keys even if the server cannot be reached; the phone then still lists this device.
    #[arg(long)]
    pub(crate) force: bool,
    /// How long to try to reach the server.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct RpcArgs {
    /// At the end of stdin: how long requests under way may take before everything is shut down.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// What --record wrote.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// No pauses and no QR code.
    #[arg(long)]
    pub(crate) fast: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn root_key(text: &str) -> Result<PublicKey, String> {
    let mut key = [0; 32];
    hex::decode_to_slice(text, &mut key).map_err(|_| "not 64 hexadecimal digits".to_owned())?;
    Ok(PublicKey(key))
}

fn version(text: &str) -> Result<(u32, u32, u32), String> {
    let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
    match numbers.as_deref() {
        Ok(&[primary, secondary, revision]) => Ok((primary, secondary, revision)),
        _ => Err("not three numbers with dots between them".to_owned()),
    }
}

/// An address as people and programs write it.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    let address: Address = text.parse().map_err(|error| format!("{error}: give a phone number or a JID"))?;
    if address.user().is_empty() { Err("give a phone number or a JID".to_owned()) } else { Ok(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds() {
        use clap::CommandFactory as _;
        Options::command().debug_assert();
    }

    #[test]
    fn values() {
        assert_eq!(version("2.3000.7"), Ok((2, 3000, 7)));
        assert!(version("2.3000").is_err() && version("a.b.c").is_err());
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(seconds("-1").is_err() && seconds("x").is_err());
        assert_eq!(root_key(&"0a".repeat(32)), Ok(PublicKey([10; 32])));
        assert!(root_key("0a").is_err());
        assert_eq!(address("+1 555 000 0001").map(|to| to.to_string()), Ok("15550000001@s.whatsapp.net".to_owned()));
        assert!(address("nobody").is_err(), "{:?}", address("nobody"));
    }
}

//! `amarula`: a WhatsApp Web client on the command line. See `docs/command-line.md` and `docs/rpc.md`.
#![forbid(unsafe_code)]

mod client;
mod demo;
mod events;
mod exit;
mod human;
mod interrupt;
mod listen;
mod logging;
mod logout;
mod options;
mod output;
mod pair;
mod problem;
mod profiles;
mod qr;
mod replay;
mod rpc;
mod send;
mod session;

use clap::Parser as _;

use crate::exit::Exit;
use crate::options::{Options, What};
use crate::output::Output;
use crate::problem::Problem;

fn main() -> std::process::ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Help and version go to stdout and are no failure.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return exit.into();
        }
    };
    logging::start(&options.common);
    interrupt::install();
    let output = Output::new(options.common.json);
    let result = match &options.what {
        What::Pair(args) => pair::run(&options.common, args, &output),
        What::Listen(args) => listen::run(&options.common, args, &output),
        What::Send(args) => send::run(&options.common, args, &output),
        What::Profiles => profiles::run(&options.common, &output),
        What::Logout(args) => logout::run(&options.common, args, &output),
        What::Rpc(args) => rpc::run(&options.common, args),
        What::Replay(args) => replay::run(args, &output),
        What::Demo(args) => demo::run(&options.common, args, &output),
    };
    match result {
        Ok(()) => Exit::Ok.into(),
        Err(problem) => {
            report(&problem, &output);
            problem.exit.into()
        }
    }
}

fn report(problem: &Problem, output: &Output) {
    if problem.exit == Exit::Interrupted {
        return;
    }
    eprintln!("amarula: {}", problem.message);
    if let Some(hint) = &problem.hint {
        eprintln!("  hint: {hint}");
    }
    if output.is_json() {
        // If stdout is gone, that is what was told on stderr already.
        let _ = output.object(&problem.to_json());
    }
}

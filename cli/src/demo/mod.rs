//! `amarula demo`.
use crate::options::{Common, DemoArgs};
use crate::output::Output;
use crate::problem::Result;

pub(crate) fn run(_common: &Common, _args: &DemoArgs, _output: &Output) -> Result<()> {
    Ok(())
}

//! `amarula profiles`.

use amarula_store::{FileStore, Profile, Store as _};
use serde_json::json;

use crate::client::own_account;
use crate::human::harmless;
use crate::options::Common;
use crate::output::Output;
use crate::problem::{Problem, Result};

pub(crate) fn run(common: &Common, output: &Output) -> Result<()> {
    // A list makes nothing.
    if !common.data_dir.exists() {
        return Ok(());
    }
    let store = FileStore::open(&common.data_dir)?;
    for profile in store.list_profiles()? {
        show(&store, &profile, output)?;
    }
    Ok(())
}

fn show(store: &FileStore, profile: &Profile, output: &Output) -> Result<()> {
    let own = match store.acquire(profile) {
        Ok(_lease) => own_account(store, profile),
        Err(error) => Err(Problem::from(error)),
    };
    match own {
        Ok(Some(own)) => {
            let (pn, lid) = (own.pn.to_string(), own.lid.as_ref().map(ToString::to_string));
            let object = json!({
                "profile": profile.as_str(),
                "paired": true,
                "pn": pn,
                "lid": lid,
                "pushName": own.push_name.as_deref(),
                "platform": own.platform.as_str(),
            });
            let name = own.push_name.as_deref().map(|name| format!("  {}", harmless(name))).unwrap_or_default();
            output.result(&object, || format!("{profile}  +{}  device {}{name}", own.pn.user(), own.pn.device()))
        }
        Ok(None) => {
            output.result(&json!({"profile": profile.as_str(), "paired": false}), || format!("{profile}  not paired"))
        }
        // Another process has it, or it is damaged: the others are listed all the same.
        Err(problem) => {
            let object = json!({
                "profile": profile.as_str(), "paired": null, "error": problem.kind, "message": problem.message,
            });
            output.result(&object, || format!("{profile}  {}", problem.message))
        }
    }
}

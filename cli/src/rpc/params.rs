//! Parameters of a call, by name or by position.

use amarula_core::Address;
use serde_json::{Map, Value};

use super::protocol::{Error, Params};
use crate::options::address;

/// Takes parameters out one by one.
pub(crate) struct Reader {
    left: Map<String, Value>,
}

impl Reader {
    /// `names`: in the order of positional ones; `?` at the end of those that may be left out.
    pub(crate) fn new(names: &[&str], params: Params) -> Result<Self, Error> {
        let left = match params {
            Params::Named(map) => map,
            Params::Positional(list) if list.len() > names.len() => {
                return Err(Error::params(format!("at most {} parameters", names.len())));
            }
            Params::Positional(list) => {
                names.iter().map(|name| name.trim_end_matches('?').to_owned()).zip(list).collect()
            }
        };
        Ok(Self { left })
    }

    /// Nothing may be left: a misspelt option that is ignored would be found late.
    pub(crate) fn finish(self) -> Result<(), Error> {
        match self.left.keys().next() {
            Some(name) => Err(Error::params(format!("{name}: no such parameter"))),
            None => Ok(()),
        }
    }

    /// Null counts as left out.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    fn need(&mut self, name: &str) -> Result<Value, Error> {
        self.take(name).ok_or_else(|| Error::params(format!("{name}: missing")))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, Error> {
        let value = self.need(name)?;
        as_text(name, value)
    }

    pub(crate) fn maybe_text(&mut self, name: &str) -> Result<Option<String>, Error> {
        self.take(name).map(|value| as_text(name, value)).transpose()
    }

    pub(crate) fn texts(&mut self, name: &str) -> Result<Vec<String>, Error> {
        match self.need(name)? {
            Value::Array(list) => list.into_iter().map(|value| as_text(name, value)).collect(),
            _ => Err(Error::params(format!("{name}: not an array of strings"))),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<u64, Error> {
        self.need(name)?.as_u64().ok_or_else(|| Error::params(format!("{name}: not a whole number")))
    }

    pub(crate) fn address(&mut self, name: &str) -> Result<Address, Error> {
        as_address(name, &self.text(name)?)
    }

    pub(crate) fn maybe_address(&mut self, name: &str) -> Result<Option<Address>, Error> {
        self.maybe_text(name)?.map(|text| as_address(name, &text)).transpose()
    }

    pub(crate) fn maybe_addresses(&mut self, name: &str) -> Result<Vec<Address>, Error> {
        if self.left.get(name).is_none_or(Value::is_null) {
            self.left.remove(name);
            return Ok(Vec::new());
        }
        self.texts(name)?.iter().map(|text| as_address(name, text)).collect()
    }
}

fn as_text(name: &str, value: Value) -> Result<String, Error> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Error::params(format!("{name}: not a string"))),
    }
}

fn as_address(name: &str, text: &str) -> Result<Address, Error> {
    address(text).map_err(|error| Error::params(format!("{name}: {error}")))
}

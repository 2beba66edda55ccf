//! The tables.

use amarula_core::engine::StorageError;
use postgres::{Client, Error};

use super::seat::Session;
use crate::sql::refused;

const VERSION: i32 = 1;

/// Held while the tables are looked at and made: "amarula".
const LOCK: i64 = 0x61_6d61_7275_6c61;

const TABLES: &str = r#"
CREATE TABLE amarula_meta (version int4 NOT NULL);
CREATE TABLE amarula_holder (
  id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  expires timestamptz NOT NULL);
CREATE TABLE amarula_profile (
  id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  epoch int8 NOT NULL DEFAULT 0,
  holder int8 REFERENCES amarula_holder (id),
  commits int8 NOT NULL DEFAULT 0,
  last_commit text);
CREATE INDEX amarula_profile_holder ON amarula_profile (holder) WHERE holder IS NOT NULL;
CREATE TABLE amarula_record (
  profile int8 NOT NULL REFERENCES amarula_profile (id),
  namespace int2 NOT NULL,
  key bytea NOT NULL,
  value bytea NOT NULL,
  PRIMARY KEY (profile, namespace, key));
INSERT INTO amarula_meta VALUES (1);
"#;

enum Found {
    Ready,
    Version(i32),
    Encoding(String),
}

/// Makes the tables if they are not there, and looks whether they are ours.
pub(super) fn prepare(session: &mut Session) -> Result<(), StorageError> {
    match session.repeat(look)? {
        Found::Ready => Ok(()),
        Found::Version(version) => Err(refused(format!(
            "the database's tables are of version {version}, and this program knows {VERSION}; use a newer one"
        ))),
        Found::Encoding(encoding) => Err(refused(format!(
            "the database has the encoding {encoding}, which cannot hold every profile name; make one with UTF8"
        ))),
    }
}

fn look(client: &mut Client) -> Result<Found, Error> {
    let encoding: String = client.query_one("SHOW server_encoding", &[])?.get(0);
    if encoding != "UTF8" {
        return Ok(Found::Encoding(encoding));
    }
    let mut transaction = client.transaction()?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])?;
    let there: bool = transaction.query_one("SELECT to_regclass('amarula_meta') IS NOT NULL", &[])?.get(0);
    if !there {
        transaction.batch_execute(TABLES)?;
        transaction.commit()?;
        return Ok(Found::Ready);
    }
    match transaction.query_one("SELECT version FROM amarula_meta", &[])?.get(0) {
        VERSION => Ok(Found::Ready),
        other => Ok(Found::Version(other)),
    }
}

//! Reading: one transaction each, so one moment.

use amarula_core::store::{Namespace, RecordKey};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use crate::Profile;
use crate::corruption::{Damaged, Reporter};

/// Bound to what a record is, so that a value at another place is noticed too.
pub(super) fn checksum(namespace: Namespace, key: &[u8], value: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[namespace.number()]);
    hasher.update(key);
    hasher.update(value);
    hasher.finalize()
}

/// The value, if it is what was written.
fn value(
    row: &Row<'_>,
    column: usize,
    reporter: &Reporter,
    profile: &Profile,
    key: &RecordKey,
) -> rusqlite::Result<Option<Bytes>> {
    let value = row.get_ref(column)?.as_blob()?;
    let crc: i64 = row.get(column + 1)?;
    if crc == i64::from(checksum(key.namespace, key.key.as_bytes(), value)) {
        return Ok(Some(Bytes::copy_from_slice(value)));
    }
    reporter.report(profile, Damaged::Record(key.clone()), "the checksum is wrong".to_owned());
    Ok(None)
}

fn id_of(connection: &Connection, profile: &Profile) -> rusqlite::Result<Option<i64>> {
    let mut statement = connection.prepare_cached("SELECT id FROM profile WHERE name = ?1")?;
    statement.query_row([profile.as_str()], |row| row.get(0)).optional()
}

pub(super) fn get(
    connection: &Connection,
    reporter: &Reporter,
    profile: &Profile,
    keys: &[RecordKey],
) -> rusqlite::Result<Vec<Option<Bytes>>> {
    let transaction = connection.unchecked_transaction()?;
    let Some(id) = id_of(&transaction, profile)? else { return Ok(vec![None; keys.len()]) };
    let mut statement = transaction
        .prepare_cached("SELECT value, crc FROM record WHERE profile = ?1 AND namespace = ?2 AND key = ?3")?;
    keys.iter()
        .map(|key| {
            let mut rows = statement.query(params![id, key.namespace.number(), key.key.as_bytes()])?;
            match rows.next()? {
                None => Ok(None),
                Some(row) => value(row, 0, reporter, profile, key),
            }
        })
        .collect()
}

pub(super) fn range(
    connection: &Connection,
    reporter: &Reporter,
    profile: &Profile,
    namespace: Namespace,
    after: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<(RecordKey, Bytes)>> {
    let transaction = connection.unchecked_transaction()?;
    let Some(id) = id_of(&transaction, profile)? else { return Ok(Vec::new()) };
    // With a flag for the first page, on which the empty key is wanted too.
    let mut statement = transaction.prepare_cached(
        "SELECT key, value, crc FROM record WHERE profile = ?1 AND namespace = ?2 AND key >= ?3 ORDER BY key",
    )?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    let mut rows = statement.query(params![id, namespace.number(), after.unwrap_or_default().as_bytes()])?;
    // No LIMIT: a damaged record does not count.
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let Ok(text) = core::str::from_utf8(row.get_ref(0)?.as_blob()?) else {
            reporter.report(profile, Damaged::UnknownRecord, "a key is not text".to_owned());
            continue;
        };
        if after == Some(text) {
            continue;
        }
        let key = RecordKey { namespace, key: text.into() };
        if let Some(value) = value(row, 1, reporter, profile, &key)? {
            found.push((key, value));
        }
    }
    Ok(found)
}

pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Profile>> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM profile WHERE EXISTS (SELECT 1 FROM record WHERE profile = profile.id) ORDER BY name",
    )?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let mut profiles = Vec::new();
    for name in names {
        // One that no store could have written is not ours to show.
        profiles.extend(Profile::new(&name?).ok());
    }
    Ok(profiles)
}

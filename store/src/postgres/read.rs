//! Reading: one statement each, so one moment.

use amarula_core::store::{Namespace, RecordKey};
use bytes::Bytes;
use postgres::{Client, Error};

use crate::Profile;
use crate::corruption::{Damaged, Reporter};

pub(super) fn get(client: &mut Client, profile: &Profile, keys: &[RecordKey]) -> Result<Vec<Option<Bytes>>, Error> {
    let mut found = vec![None; keys.len()];
    if keys.is_empty() {
        return Ok(found);
    }
    let namespaces: Vec<_> = keys.iter().map(|key| i16::from(key.namespace.number())).collect();
    let names: Vec<_> = keys.iter().map(|key| key.key.as_bytes()).collect();
    let rows = client.query_typed(
        "SELECT wanted.place, record.value
         FROM unnest($2::int2[], $3::bytea[]) WITH ORDINALITY AS wanted (namespace, key, place)
         JOIN amarula_record record ON record.namespace = wanted.namespace AND record.key = wanted.key
         WHERE record.profile = (SELECT id FROM amarula_profile WHERE name = $1)",
        &[
            (&profile.as_str(), postgres::types::Type::TEXT),
            (&namespaces, postgres::types::Type::INT2_ARRAY),
            (&names, postgres::types::Type::BYTEA_ARRAY),
        ],
    )?;
    for row in rows {
        let place = row.try_get::<_, i64>(0)?;
        if let Some(found) = usize::try_from(place - 1).ok().and_then(|place| found.get_mut(place)) {
            *found = Some(Bytes::copy_from_slice(row.try_get(1)?));
        }
    }
    Ok(found)
}

pub(super) fn range(
    client: &mut Client,
    reporter: &Reporter,
    profile: &Profile,
    namespace: Namespace,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<(RecordKey, Bytes)>, Error> {
    use postgres::types::Type;
    let namespace_number = i16::from(namespace.number());
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    // The empty key is above nothing, and wanted on the first page.
    let mut from = after.map(|after| after.as_bytes().to_vec());
    let mut found = Vec::new();
    loop {
        let compare = if from.is_some() { ">" } else { ">=" };
        let rows = client.query_typed(
            &format!(
                "SELECT key, value FROM amarula_record
                 WHERE profile = (SELECT id FROM amarula_profile WHERE name = $1) AND namespace = $2 AND key {compare} $3
                 ORDER BY key LIMIT $4"
            ),
            &[
                (&profile.as_str(), Type::TEXT),
                (&namespace_number, Type::INT2),
                (&from.clone().unwrap_or_default(), Type::BYTEA),
                (&i64::try_from(wanted - found.len()).unwrap_or(i64::MAX), Type::INT8),
            ],
        )?;
        let mut damaged = 0;
        for row in &rows {
            let key: &[u8] = row.try_get(0)?;
            from = Some(key.to_vec());
            match core::str::from_utf8(key) {
                Ok(text) => {
                    found.push((RecordKey { namespace, key: text.into() }, Bytes::copy_from_slice(row.try_get(1)?)))
                }
                Err(_) => {
                    damaged += 1;
                    reporter.report(profile, Damaged::UnknownRecord, "a key is not text".to_owned());
                }
            }
        }
        // A damaged one does not count: the answer must not look like the last page.
        if damaged == 0 || rows.is_empty() {
            return Ok(found);
        }
    }
}

pub(super) fn list(client: &mut Client) -> Result<Vec<Profile>, Error> {
    let rows = client.query_typed(
        "SELECT name FROM amarula_profile profile
         WHERE EXISTS (SELECT FROM amarula_record WHERE profile = profile.id) ORDER BY name",
        &[],
    )?;
    let mut profiles = Vec::with_capacity(rows.len());
    for row in rows {
        // One that no store could have written is not ours to show.
        profiles.extend(Profile::new(row.try_get(0)?).ok());
    }
    profiles.sort_unstable();
    Ok(profiles)
}

/// Returns when no transaction that writes this profile is under way. Ends those of the connection of this name.
pub(super) fn wait_for_writers(client: &mut Client, writing: &str, profile: &Profile) -> Result<(), Error> {
    client.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND usename = current_user",
        &[&writing],
    )?;
    client.execute("SELECT FROM amarula_profile WHERE name = $1 FOR UPDATE", &[&profile.as_str()]).map(|_| ())
}

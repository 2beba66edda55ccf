//! Committing: fenced, in one transaction, and never in doubt about the outcome for longer than it must.

use std::collections::BTreeMap;
use std::sync::Arc;

use amarula_core::engine::StorageError;
use postgres::error::SqlState;
use postgres::types::Type;
use postgres::{Client, Error};

use super::Doubts;
use super::leases::Leases;
use super::plan::{Part, Plan};
use super::seat::{Broken, Seat, Session};
use crate::sql::combine::{Entry, Writer};
use crate::sql::keeper::{Fence, Keeper};
use crate::sql::{refused, unique};
use crate::sync::lock;

pub(super) struct Committer {
    seat: Seat,
    keeper: Arc<Keeper<Leases>>,
    doubts: Doubts,
    /// Names transactions: this and a number.
    name: String,
    next: u64,
}

/// What became of one profile's part.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Done,
    /// Its lease does not stand; the reason completes "the lease was lost: ".
    Lost(String),
    Failed(StorageError),
    /// It may be applied or not.
    Unknown(StorageError),
}

impl Writer for Committer {
    fn write(&mut self, entries: &[Entry]) -> Vec<Result<(), StorageError>> {
        let plan = Plan::new(entries, |profile| self.keeper.fence(profile));
        let outcomes = self.carry_out(plan.parts);
        plan.of.into_iter().map(|place| place.and_then(|place| outcomes[place].clone())).collect()
    }
}

impl Committer {
    pub(super) fn new(seat: Seat, keeper: Arc<Keeper<Leases>>, doubts: Doubts) -> Self {
        Self { seat, keeper, doubts, name: unique(), next: 0 }
    }

    /// A name that no other transaction has.
    pub(super) fn name(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.name, self.next)
    }

    fn carry_out(&mut self, parts: Vec<Part>) -> Vec<Result<(), StorageError>> {
        if parts.is_empty() {
            return Vec::new();
        }
        let places: Vec<_> = parts.iter().map(|part| (part.profile.clone(), part.fence)).collect();
        let outcomes = self.attempt(parts.clone());
        let alone = outcomes.len() > 1
            && outcomes.iter().any(|outcome| matches!(outcome, Outcome::Failed(error) if !error.retryable));
        let outcomes = if alone {
            // The database refused something: find out what, so that it fails alone.
            parts.into_iter().flat_map(|part| self.attempt(vec![part])).collect()
        } else {
            outcomes
        };
        let mut doubts = Vec::new();
        let answers = places.iter().zip(outcomes).map(|((profile, fence), outcome)| match outcome {
            Outcome::Done => {
                // It had to wait for whatever was under way before.
                lock(&self.doubts).remove(profile);
                Ok(())
            }
            Outcome::Lost(reason) => {
                self.keeper.lose(profile, *fence, &reason);
                Err(refused(match fence {
                    Fence::Held { .. } => format!("the lease of profile {profile} was lost: {reason}"),
                    Fence::Free => format!("profile {profile} is in use: {reason}; acquire a lease first"),
                }))
            }
            Outcome::Failed(error) => Err(error),
            Outcome::Unknown(error) => {
                doubts.push(profile.clone());
                let message = format!("it is not known whether the commit was applied: {}", error.message);
                Err(StorageError { message: message.into(), retryable: true })
            }
        });
        let answers = answers.collect();
        lock(&self.doubts).extend(doubts);
        answers
    }

    fn attempt(&mut self, parts: Vec<Part>) -> Vec<Outcome> {
        let (count, name) = (parts.len(), self.name());
        let done = self.seat.once(move |session| commit(session, &parts, &name));
        done.unwrap_or_else(|error| vec![Outcome::Failed(error); count])
    }

    /// For tests: as if the store believed in this fence.
    #[cfg(test)]
    pub(super) fn believe(&mut self, mut parts: Vec<Part>, fence: Fence) -> Vec<Outcome> {
        parts.iter_mut().for_each(|part| part.fence = fence);
        self.attempt(parts)
    }
}

/// Commits these parts, in one transaction that is called `name`, on as many connections as it takes.
fn commit(session: &mut Session, parts: &[Part], name: &str) -> Vec<Outcome> {
    let mut tries = session.tries();
    let mut conflicts = 0;
    let all = |outcome: Outcome| vec![outcome; parts.len()];
    loop {
        match session.once(|client| prepare(client, parts, name)) {
            Ok(Prepared::Refused(outcomes)) => return outcomes,
            Ok(Prepared::Again) if conflicts < 5 => {
                conflicts += 1;
                continue;
            }
            Ok(Prepared::Again) => {
                let message = "the profile changes hands all the time".into();
                return all(Outcome::Failed(StorageError { message, retryable: true }));
            }
            Ok(Prepared::Ready(outcomes)) => match session.once(|client| client.batch_execute("COMMIT")) {
                Ok(()) => return outcomes,
                Err(broken) if broken.said => return all(Outcome::Failed(broken.error)),
                // From here on it may have been applied.
                Err(broken) => match resolve(session, parts, name, &mut tries) {
                    Ok(true) => return outcomes,
                    Ok(false) => continue,
                    Err(()) => return all(Outcome::Unknown(broken.error)),
                },
            },
            Err(Broken { retry, error, .. }) => {
                // A connection in the middle of a transaction is of no use to the next one.
                session.hang_up();
                if !retry || !tries.again() {
                    return all(Outcome::Failed(error));
                }
            }
        }
    }
}

/// Whether the transaction of this name was applied, now for good. `Err` if that could not be found out.
fn resolve(session: &mut Session, parts: &[Part], name: &str, tries: &mut super::seat::Tries) -> Result<bool, ()> {
    let Some(part) = parts.first() else { return Ok(true) };
    loop {
        // A new connection has ended the old one. If that is still busy with the commit, its lock is waited for.
        let found = session.once(|client| {
            let mut transaction = client.transaction()?;
            let row = transaction.query_opt(
                "SELECT last_commit FROM amarula_profile WHERE name = $1 FOR UPDATE",
                &[&part.profile.as_str()],
            )?;
            row.map_or(Ok(None), |row| row.try_get::<_, Option<String>>(0))
        });
        match found {
            Ok(last) => return Ok(last.as_deref() == Some(name)),
            Err(broken) if (broken.retry || broken.error.retryable) && tries.again() => session.hang_up(),
            Err(_) => return Err(()),
        }
    }
}

enum Prepared {
    /// Everything is written, and only has to be committed.
    Ready(Vec<Outcome>),
    /// Nothing is to be committed.
    Refused(Vec<Outcome>),
    /// Something changed meanwhile.
    Again,
}

/// Begins the transaction and writes; leaves it open only if there is something to commit.
fn prepare(client: &mut Client, parts: &[Part], name: &str) -> Result<Prepared, Error> {
    client.batch_execute("BEGIN")?;
    let prepared = write(client, parts, name);
    match &prepared {
        Ok(Prepared::Ready(_)) => {}
        Err(error) if error.is_closed() => {}
        _ => client.batch_execute("ROLLBACK")?,
    }
    match prepared {
        Err(error)
            if error.code().is_some_and(|code| {
                [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE].contains(code)
            }) =>
        {
            Ok(Prepared::Again)
        }
        prepared => prepared,
    }
}

/// The condition of every commit. The holder's row may be newer than the statement's view of the database, since the
/// statement may have waited for the profile's: one that is not seen is taken for one that lasts.
const FENCE: &str = "
UPDATE amarula_profile profile SET commits = commits + 1, last_commit = $4
FROM unnest($1::text[], $2::int8[], $3::int8[]) AS wanted (name, holder, epoch)
WHERE profile.name = wanted.name AND CASE WHEN wanted.holder > 0 THEN
    profile.holder = wanted.holder AND profile.epoch = wanted.epoch
    AND EXISTS (SELECT FROM amarula_holder WHERE id = profile.holder AND expires > clock_timestamp())
  ELSE
    profile.holder IS NULL
    OR EXISTS (SELECT FROM amarula_holder WHERE id = profile.holder AND expires <= clock_timestamp())
  END
RETURNING profile.name, profile.id";

fn write(client: &mut Client, parts: &[Part], name: &str) -> Result<Prepared, Error> {
    let names: Vec<_> = parts.iter().map(|part| part.profile.as_str()).collect();
    let fences = parts.iter().map(|part| match part.fence {
        Fence::Held { holder, epoch } => (holder, epoch),
        Fence::Free => (0, 0),
    });
    let (holders, epochs): (Vec<_>, Vec<_>) = fences.unzip();
    let rows = client.query_typed(
        FENCE,
        &[(&names, Type::TEXT_ARRAY), (&holders, Type::INT8_ARRAY), (&epochs, Type::INT8_ARRAY), (&name, Type::TEXT)],
    )?;
    let mut admitted: BTreeMap<String, i64> = BTreeMap::new();
    for row in rows {
        admitted.insert(row.try_get(0)?, row.try_get(1)?);
    }
    let mut outcomes = Vec::with_capacity(parts.len());
    for part in parts {
        outcomes.push(if admitted.contains_key(part.profile.as_str()) {
            Outcome::Done
        } else {
            match why_not(client, part, &names)? {
                Some(reason) => Outcome::Lost(reason),
                None => return Ok(Prepared::Again),
            }
        });
    }
    if admitted.is_empty() {
        return Ok(Prepared::Refused(outcomes));
    }
    apply(client, parts, &admitted)?;
    Ok(Prepared::Ready(outcomes))
}

/// Why a part was not admitted; `None` if it would be now. If the profile has no row, all of `names` get one,
/// outside of the transaction: what becomes of it can be found out only by rows that are there.
fn why_not(client: &mut Client, part: &Part, names: &[&str]) -> Result<Option<String>, Error> {
    let row = client.query_opt(
        "SELECT epoch, profile.holder, holder.name, coalesce(expires > clock_timestamp(), false)
         FROM amarula_profile profile LEFT JOIN amarula_holder holder ON holder.id = profile.holder
         WHERE profile.name = $1",
        &[&part.profile.as_str()],
    )?;
    let Some(row) = row else {
        if part.fence != Fence::Free {
            return Ok(Some("the profile's row is gone".to_owned()));
        }
        client.batch_execute("ROLLBACK")?;
        client.execute(
            "INSERT INTO amarula_profile (name) SELECT * FROM unnest($1::text[]) AS names (name) ORDER BY name
             ON CONFLICT DO NOTHING",
            &[&names],
        )?;
        return Ok(None);
    };
    let (now_epoch, now_holder): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
    let (other, lasts): (Option<String>, bool) = (row.try_get(2)?, row.try_get(3)?);
    Ok(match part.fence {
        Fence::Held { holder, epoch } if now_holder == Some(holder) && now_epoch == epoch => {
            (!lasts).then(|| "it ran out before it was renewed".to_owned())
        }
        Fence::Held { .. } => Some(match other {
            Some(name) if lasts => format!("node {name:?} has taken the profile"),
            _ => "somebody else has taken the profile meanwhile".to_owned(),
        }),
        Fence::Free => lasts.then(|| format!("node {:?} has a lease of it", other.unwrap_or_default())),
    })
}

/// Records as columns, which is how a statement takes many.
#[derive(Default)]
struct Columns<'a> {
    profiles: Vec<i64>,
    namespaces: Vec<i16>,
    keys: Vec<&'a [u8]>,
    values: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, profile: i64, namespace: i16, key: &'a [u8]) {
        self.profiles.push(profile);
        self.namespaces.push(namespace);
        self.keys.push(key);
    }
}

/// Writes the records of the admitted profiles: at most three statements, however many they are.
fn apply(client: &mut Client, parts: &[Part], admitted: &BTreeMap<String, i64>) -> Result<(), Error> {
    let mut cleared = Vec::new();
    let mut deleted = Columns::default();
    let mut put = Columns::default();
    for part in parts {
        let Some(&id) = admitted.get(part.profile.as_str()) else { continue };
        if part.clear {
            cleared.push(id);
        }
        for (key, value) in &part.changes {
            let (namespace, name) = (i16::from(key.namespace.number()), key.key.as_bytes());
            match value {
                Some(value) => {
                    put.push(id, namespace, name);
                    put.values.push(value);
                }
                None if part.clear => {}
                None => deleted.push(id, namespace, name),
            }
        }
    }
    if !cleared.is_empty() {
        client.query_typed("DELETE FROM amarula_record WHERE profile = ANY ($1)", &[(&cleared, Type::INT8_ARRAY)])?;
    }
    if !deleted.profiles.is_empty() {
        client.query_typed(
            "DELETE FROM amarula_record record
             USING unnest($1::int8[], $2::int2[], $3::bytea[]) AS gone (profile, namespace, key)
             WHERE record.profile = gone.profile AND record.namespace = gone.namespace AND record.key = gone.key",
            &[
                (&deleted.profiles, Type::INT8_ARRAY),
                (&deleted.namespaces, Type::INT2_ARRAY),
                (&deleted.keys, Type::BYTEA_ARRAY),
            ],
        )?;
    }
    if !put.profiles.is_empty() {
        client.query_typed(
            "INSERT INTO amarula_record (profile, namespace, key, value)
             SELECT * FROM unnest($1::int8[], $2::int2[], $3::bytea[], $4::bytea[])
             ON CONFLICT (profile, namespace, key) DO UPDATE SET value = excluded.value",
            &[
                (&put.profiles, Type::INT8_ARRAY),
                (&put.namespaces, Type::INT2_ARRAY),
                (&put.keys, Type::BYTEA_ARRAY),
                (&put.values, Type::BYTEA_ARRAY),
            ],
        )?;
    }
    Ok(())
}

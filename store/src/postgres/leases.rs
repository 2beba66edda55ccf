//! Leases in a PostgreSQL database. All times are its own.

use std::time::Duration;

use amarula_core::engine::StorageError;

use super::seat::Seat;
use crate::sql::keeper::{Registrar, Taken};
use crate::{Holder, Profile};

/// The leases of one open store.
pub(super) struct Leases {
    seat: Seat,
    /// Renewing must not wait for one that waits for somebody's lock.
    renewing: Seat,
    node: String,
}

impl Leases {
    pub(super) fn new(seat: Seat, renewing: Seat, node: String) -> Self {
        Self { seat, renewing, node }
    }
}

impl Registrar for Leases {
    fn enroll(&self, lease: Duration) -> Result<i64, StorageError> {
        let (node, seconds) = (self.node.clone(), lease.as_secs_f64());
        self.seat.repeat(move |client| {
            // What ran out long ago is of no use to anybody.
            client.batch_execute(
                "UPDATE amarula_profile SET holder = NULL WHERE holder IN
                   (SELECT id FROM amarula_holder WHERE expires < clock_timestamp() - interval '1 day');
                 DELETE FROM amarula_holder WHERE expires < clock_timestamp() - interval '1 day'
                   AND NOT EXISTS (SELECT FROM amarula_profile WHERE holder = amarula_holder.id);",
            )?;
            let row = client.query_one(
                "INSERT INTO amarula_holder (name, expires) VALUES ($1, clock_timestamp() + $2 * interval '1 second')
                 RETURNING id",
                &[&node, &seconds],
            )?;
            row.try_get(0)
        })
    }

    fn take(&self, holder: i64, profile: &Profile) -> Result<Taken, StorageError> {
        let profile = profile.clone();
        // May be done twice: what we have already is taken again, with a higher epoch.
        self.seat.repeat(move |client| {
            let name = profile.as_str();
            client.execute("INSERT INTO amarula_profile (name) VALUES ($1) ON CONFLICT DO NOTHING", &[&name])?;
            let mut transaction = client.transaction()?;
            // Waits for a commit that is under way, and keeps others off. What is looked at afterwards is current.
            transaction.execute("SELECT FROM amarula_profile WHERE name = $1 FOR UPDATE", &[&name])?;
            let other = transaction.query_opt(
                "SELECT holder.name, extract(epoch FROM expires - clock_timestamp())::float8
                 FROM amarula_profile profile JOIN amarula_holder holder ON holder.id = profile.holder
                 WHERE profile.name = $1 AND holder.id <> $2 AND expires > clock_timestamp()",
                &[&name, &holder],
            )?;
            if let Some(row) = other {
                let expires_in = Duration::try_from_secs_f64(row.try_get(1)?).unwrap_or_default();
                return Ok(Taken::By(Holder::Node { name: row.try_get(0)?, expires_in }));
            }
            let row = transaction.query_opt(
                "UPDATE amarula_profile SET epoch = epoch + 1, holder = $2 WHERE name = $1
                   AND EXISTS (SELECT FROM amarula_holder WHERE id = $2 AND expires > clock_timestamp())
                 RETURNING epoch",
                &[&name, &holder],
            )?;
            let Some(row) = row else { return Ok(Taken::RanOut) };
            let epoch = row.try_get(0)?;
            transaction.commit()?;
            Ok(Taken::Epoch(epoch))
        })
    }

    fn renew(&self, holder: i64, lease: Duration) -> Result<bool, StorageError> {
        let seconds = lease.as_secs_f64();
        // Not repeated: the keeper counts from when it asked, and asks again.
        let renewed = self.renewing.once(move |session| {
            session.once(|client| {
                client.execute(
                    "UPDATE amarula_holder SET expires = clock_timestamp() + $2 * interval '1 second'
                     WHERE id = $1 AND expires > clock_timestamp()",
                    &[&holder, &seconds],
                )
            })
        })?;
        renewed.map(|rows| rows == 1).map_err(|broken| broken.error)
    }

    fn release(&self, holder: i64, profile: &Profile, epoch: i64) -> Result<(), StorageError> {
        let profile = profile.clone();
        let released = self.seat.once(move |session| {
            session.once(|client| {
                client.execute(
                    "UPDATE amarula_profile SET holder = NULL WHERE name = $1 AND holder = $2 AND epoch = $3",
                    &[&profile.as_str(), &holder, &epoch],
                )
            })
        })?;
        released.map(|_| ()).map_err(|broken| broken.error)
    }

    fn resign(&self, holder: i64) -> Result<(), StorageError> {
        let resigned = self.seat.once(move |session| {
            session.once(|client| {
                // What it could not give back is free by this.
                client.execute("UPDATE amarula_holder SET expires = clock_timestamp() WHERE id = $1", &[&holder])
            })
        })?;
        resigned.map(|_| ()).map_err(|broken| broken.error)
    }
}

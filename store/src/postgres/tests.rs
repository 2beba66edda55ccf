//! Against a real server, and a network that breaks. Run with `testvectors/postgres/with-postgres`.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::{Duration, Instant};

use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use bytes::Bytes;
use postgres::config::Host;
use postgres::{Client, Config, NoTls};

use super::commit::Outcome;
use super::plan::Plan;
use super::proxy::{Cut, Proxy};
use super::{PostgresOptions, PostgresStore};
use crate::sql::combine::Entry;
use crate::sql::keeper::Fence;
use crate::{AcquireError, Holder, Profile, Store};

/// A schema of its own in the server that the environment names.
struct Place {
    url: String,
    admin: Client,
}

impl Place {
    fn new(name: &str) -> Option<Self> {
        let Ok(url) = std::env::var("AMARULA_POSTGRES_URL") else {
            eprintln!("skipped: AMARULA_POSTGRES_URL is not set; run under testvectors/postgres/with-postgres");
            return None;
        };
        let mut admin = Client::connect(&url, NoTls).unwrap();
        admin.batch_execute(&format!("DROP SCHEMA IF EXISTS {name} CASCADE; CREATE SCHEMA {name}")).unwrap();
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}options=-csearch_path%3D{name}");
        let admin = Client::connect(&url, NoTls).unwrap();
        Some(Self { url, admin })
    }

    fn open(&self, options: PostgresOptions) -> PostgresStore {
        PostgresStore::open_with(&self.url, options).unwrap()
    }

    /// The URL through a proxy, and the proxy.
    fn through_proxy(&self) -> (String, Proxy) {
        let config: Config = self.url.parse().unwrap();
        let [Host::Tcp(host)] = config.get_hosts() else { panic!("one TCP host") };
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let proxy = Proxy::new(host, port);
        let from = format!("@{host}:{port}/");
        assert!(self.url.contains(&from), "the URL must name its port");
        (self.url.replace(&from, &format!("@127.0.0.1:{}/", proxy.port())), proxy)
    }

    /// How often the profile was written, and what is there.
    fn look(&mut self, profile: &Profile) -> (i64, BTreeMap<String, String>) {
        let row = self.admin.query_one("SELECT commits FROM amarula_profile WHERE name = $1", &[&profile.as_str()]);
        let rows = self.admin.query(
            "SELECT key, value FROM amarula_record WHERE profile = (SELECT id FROM amarula_profile WHERE name = $1)",
            &[&profile.as_str()],
        );
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let there = rows.unwrap().iter().map(|row| (text(row.get(0)), text(row.get(1)))).collect();
        (row.unwrap().get(0), there)
    }
}

fn alice() -> Profile {
    Profile::new("alice").unwrap()
}

fn bob() -> Profile {
    Profile::new("bob").unwrap()
}

fn key(text: &str) -> RecordKey {
    RecordKey { namespace: Namespace::Session, key: text.into() }
}

fn put(text: &str, value: &str) -> Batch {
    Batch { ops: vec![(key(text), Op::Put(Bytes::copy_from_slice(value.as_bytes())))], ..Batch::default() }
}

fn get(store: &PostgresStore, text: &str) -> Option<Bytes> {
    store.get(&alice(), &[key(text)]).unwrap().remove(0)
}

/// What the database itself says to a commit of a store that believes in this fence.
fn believe(store: &PostgresStore, fence: Fence) -> Outcome {
    store.shared.writer.with(|writer| {
        let entry = Entry::new(0, alice(), put("a", "believed"));
        writer.believe(Plan::new(&[entry], |_| Ok(fence)).parts, fence).remove(0)
    })
}

const TIME: Duration = Duration::from_millis(2400);

fn acquire_within(store: &PostgresStore, time: Duration) -> crate::Lease {
    let since = Instant::now();
    loop {
        match store.acquire(&alice()) {
            Ok(lease) => return lease,
            Err(AcquireError::InUse { .. }) if since.elapsed() < time => sleep(Duration::from_millis(20)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_paused_node_is_told_before_another_can_have_its_lease_and_cannot_write_after() {
    let Some(mut place) = Place::new("fencing") else { return };
    let (url, proxy) = place.through_proxy();
    let one = PostgresStore::open_with(&url, PostgresOptions::new().lease(TIME).node("one")).unwrap();
    let two = place.open(PostgresOptions::new().lease(TIME).node("two"));
    let lease = one.acquire(&alice()).unwrap();
    let fence = one.shared.keeper.fence(&alice()).unwrap();
    one.commit(&alice(), &put("a", "1")).unwrap();
    // It is renewed as long as the node works.
    sleep(TIME * 2);
    assert!(!lease.is_lost() && lease.valid_until().unwrap() > Instant::now());
    assert!(matches!(believe(&one, fence), Outcome::Done));
    let Err(AcquireError::InUse { holder: Holder::Node { name, expires_in }, .. }) = two.acquire(&alice()) else {
        panic!("it is in use")
    };
    assert!(name == "one" && expires_in <= TIME && expires_in > TIME / 4, "{expires_in:?}");
    let error = two.commit(&alice(), &put("a", "no")).unwrap_err();
    assert!(error.message.contains("in use: node \"one\"") && !error.retryable, "{error}");
    let (sender, told) = channel();
    lease.on_lost(move |lost| sender.send(lost.clone()).unwrap());
    proxy.freeze(true);
    told.recv_timeout(TIME * 3).unwrap();
    assert!(lease.is_lost());
    assert!(matches!(two.acquire(&alice()), Err(AcquireError::InUse { .. })), "told before, not after");
    let theirs = acquire_within(&two, TIME * 3);
    two.commit(&alice(), &put("a", "2")).unwrap();
    proxy.freeze(false);
    let error = one.commit(&alice(), &put("a", "late")).unwrap_err();
    assert!(error.message.contains("was lost") && !error.retryable, "{error}");
    // Even if it believed still to have it, the database refuses: because somebody else has it, ...
    let refused = |outcome| matches!(outcome, Outcome::Lost(_));
    assert!(refused(believe(&one, fence)));
    drop(theirs);
    // ... because of the epoch when nobody has it any more, ...
    assert!(refused(believe(&one, fence)));
    assert!(matches!(one.acquire(&alice()), Err(AcquireError::InUse { .. })), "not dropped yet");
    drop(lease);
    let _lease = one.acquire(&alice()).unwrap();
    // ... and also when the same store has it again.
    assert!(refused(believe(&one, fence)));
    assert_eq!(get(&one, "a"), Some("2".into()));
    one.commit(&alice(), &put("a", "3")).unwrap();
    assert_eq!(place.look(&alice()).1["a"], "3");
}

#[test]
fn a_lease_that_ran_out_is_refused_also_if_nobody_took_it() {
    let Some(mut place) = Place::new("ran_out") else { return };
    let store = place.open(PostgresOptions::new().lease(TIME));
    let lease = store.acquire(&alice()).unwrap();
    place.admin.execute("UPDATE amarula_holder SET expires = clock_timestamp() - interval '1 ms'", &[]).unwrap();
    assert!(!lease.is_lost());
    let error = store.commit(&alice(), &put("a", "1")).unwrap_err();
    assert!(error.message.contains("ran out") && !error.retryable, "{error}");
    assert!(lease.is_lost());
    drop(lease);
    // The store becomes another holder.
    let _lease = acquire_within(&store, TIME * 2);
    store.commit(&alice(), &put("a", "2")).unwrap();
}

#[test]
fn taking_waits_for_a_commit_that_is_under_way() {
    let Some(mut place) = Place::new("under_way") else { return };
    let store = place.open(PostgresOptions::new());
    store.commit(&alice(), &put("a", "1")).unwrap();
    let mut transaction = place.admin.transaction().unwrap();
    transaction.execute("UPDATE amarula_profile SET commits = commits + 1", &[]).unwrap();
    std::thread::scope(|scope| {
        let taking = scope.spawn(|| store.acquire(&alice()).unwrap());
        sleep(Duration::from_millis(150));
        assert!(!taking.is_finished());
        transaction.commit().unwrap();
        drop(taking.join().unwrap());
    });
}

#[test]
fn connections_that_break_at_commit_lose_nothing_and_repeat_nothing() {
    let Some(mut place) = Place::new("at_commit") else { return };
    let (url, proxy) = place.through_proxy();
    let store = PostgresStore::open(&url).unwrap();
    let _lease = store.acquire(&alice()).unwrap();
    store.commit(&alice(), &put("first", "0")).unwrap();
    let mut expected = BTreeMap::from([("first".to_owned(), "0".to_owned())]);
    for i in 0..12 {
        proxy.cut_next(if i % 2 == 0 { Cut::Before } else { Cut::After });
        let (key, value) = (format!("{}", i / 3), format!("{i}"));
        store.commit(&alice(), &put(&key, &value)).unwrap();
        expected.insert(key, value);
        assert_eq!(proxy.cuts(), i + 1);
        assert_eq!(place.look(&alice()), (i64::from(i) + 2, expected.clone()));
    }
}

#[test]
fn a_commit_in_doubt_is_settled_before_anything_is_read() {
    for (cut, name) in [(Cut::Before, "doubt_before"), (Cut::After, "doubt_after"), (Cut::Late, "doubt_late")] {
        let Some(mut place) = Place::new(name) else { return };
        let (url, proxy) = place.through_proxy();
        let options = PostgresOptions::new().patience(Duration::from_millis(200));
        let store = PostgresStore::open_with(&url, options).unwrap();
        let _lease = store.acquire(&alice()).unwrap();
        store.commit(&alice(), &put("a", "1")).unwrap();
        assert_eq!(get(&store, "a"), Some("1".into()));
        proxy.cut_next(cut);
        if cut != Cut::Late {
            // Closed for new ones as soon as it is cut.
            let closing = proxy.clone();
            std::thread::spawn(move || {
                while closing.cuts() == 0 {
                    sleep(Duration::from_micros(50));
                }
                sleep(Duration::from_millis(if cut == Cut::After { 5 } else { 0 }));
                closing.close();
            });
        }
        let answer = store.commit(&alice(), &put("a", "2"));
        if let Err(error) = &answer {
            assert!(error.message.contains("not known whether") && error.retryable, "{error}");
        }
        proxy.open();
        let found = get(&store, "a").unwrap();
        // What is read stays.
        sleep(Duration::from_millis(300));
        assert_eq!(get(&store, "a"), Some(found.clone()));
        assert_eq!(place.look(&alice()).1["a"], String::from_utf8(found.to_vec()).unwrap());
        match cut {
            Cut::Before if answer.is_err() => assert_eq!(found, "1"),
            Cut::After => assert_eq!(found, "2"),
            _ => {}
        }
        store.commit(&alice(), &put("a", "3")).unwrap();
        assert_eq!(get(&store, "a"), Some("3".into()));
    }
}

#[test]
fn a_server_that_throws_everybody_out_all_the_time() {
    let Some(mut place) = Place::new("thrown_out") else { return };
    let store = place.open(PostgresOptions::new());
    let _lease = store.acquire(&alice()).unwrap();
    let mut admin = Client::connect(&place.url, NoTls).unwrap();
    let until = Instant::now() + Duration::from_secs(3);
    let mut done = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while Instant::now() < until {
                admin
                    .execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                         WHERE application_name LIKE $1 OR application_name LIKE $2",
                        &[&store.shared.writing, &store.shared.writing.replace("write", "read")],
                    )
                    .unwrap();
                sleep(Duration::from_millis(37));
            }
        });
        while Instant::now() < until {
            store.commit(&alice(), &put(&done.to_string(), "x")).unwrap();
            assert_eq!(get(&store, &done.to_string()), Some("x".into()));
            done += 1;
        }
    });
    let (commits, there) = place.look(&alice());
    assert_eq!((commits, there.len()), (done, usize::try_from(done).unwrap()));
    assert!(done > 10);
}

#[test]
fn a_failing_profile_fails_alone_and_a_full_disk_is_said_in_words() {
    let Some(mut place) = Place::new("alone") else { return };
    let store = place.open(PostgresOptions::new());
    place
        .admin
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF NEW.key = 'bad' THEN RAISE EXCEPTION 'refused, not %', NEW.value USING ERRCODE = '23514'; END IF;
               IF NEW.key = 'full' THEN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END IF;
               IF NEW.key = 'ro' THEN RAISE EXCEPTION 'no' USING ERRCODE = '25006'; END IF;
               RETURN NEW; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON amarula_record FOR EACH ROW EXECUTE FUNCTION refuse()",
        )
        .unwrap();
    let (good, bad) = (put("good", "1"), put("bad", "1"));
    let (alice, bob) = (alice(), bob());
    let answers = store.commit_group(&[(&alice, &good), (&bob, &bad), (&bob, &good)]);
    assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, false]);
    assert!(!answers[1].as_ref().unwrap_err().retryable);
    assert_eq!(get(&store, "good"), Some("1".into()));
    assert_eq!(store.get(&bob, &[key("good")]).unwrap(), [None]);
    let error = store.commit(&alice, &put("full", "1")).unwrap_err();
    assert!(error.message.contains("disk is full") && error.retryable, "{error}");
    let error = store.commit(&alice, &put("ro", "1")).unwrap_err();
    assert!(error.message.contains("read-only") && !error.retryable, "{error}");
    store.commit(&alice, &put("good", "2")).unwrap();
}

#[test]
fn what_cannot_be_opened_is_said_in_words_and_without_the_password() {
    let Some(mut place) = Place::new("opened") else { return };
    let quick = || PostgresOptions::new().patience(Duration::from_millis(50));
    let refused = |url: &str| PostgresStore::open_with(url, quick()).unwrap_err();
    let config: Config = place.url.parse().unwrap();
    let password = String::from_utf8(config.get_password().unwrap_or(b"none").to_vec()).unwrap();
    let store = place.open(quick());
    assert!(!format!("{store:?}").contains(&password));
    drop(store);
    let error = refused(&place.url.replace(&password, "wr0ng"));
    assert!(error.message.contains("password authentication failed") && !error.retryable, "{error}");
    assert!(!error.message.contains("wr0ng"));
    let error = refused(&format!("{}%20-cdefault_transaction_read_only%3Don", place.url));
    assert!(error.message.contains("does not allow writes"), "{error}");
    let error = refused("postgres://nobody:secret@127.0.0.1:1/x");
    assert!(error.message.contains("no connection") && error.retryable && !error.message.contains("secret"), "{error}");
    let error = refused("postgres://a:secret@h:port/");
    assert!(!error.message.contains("secret") && !error.retryable, "{error}");
    place.admin.execute("UPDATE amarula_meta SET version = 2", &[]).unwrap();
    let error = refused(&place.url);
    assert!(error.message.contains("version 2") && !error.retryable, "{error}");
}

#[test]
fn many_profiles_that_nobody_saw_before_in_one_group() {
    let Some(place) = Place::new("unseen") else { return };
    let store = place.open(PostgresOptions::new());
    let profiles: Vec<_> = (0..500).map(|i| Profile::new(&format!("p{i:03}")).unwrap()).collect();
    let batch = put("a", "1");
    let group: Vec<_> = profiles.iter().map(|profile| (profile, &batch)).collect();
    assert!(store.commit_group(&group).iter().all(Result::is_ok));
    assert_eq!(store.list_profiles().unwrap(), profiles);
    let lease = store.acquire(&profiles[0]).unwrap();
    let other = place.open(PostgresOptions::new());
    // The one that is leased fails alone.
    let answers = other.commit_group(&group);
    assert!(answers[0].is_err() && answers[1..].iter().all(Result::is_ok));
    drop(lease);
}

#[test]
fn many_stores_make_the_tables_at_once() {
    let Some(place) = Place::new("at_once") else { return };
    let url = &place.url;
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| PostgresStore::open(url).unwrap().commit(&alice(), &put("a", "1")).unwrap());
        }
    });
}

#[cfg(feature = "postgres-tls")]
#[test]
fn encrypted() {
    let Some(place) = Place::new("encrypted") else { return };
    let Ok(ca) = std::env::var("AMARULA_POSTGRES_CA") else {
        eprintln!("skipped: AMARULA_POSTGRES_CA is not set");
        return;
    };
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = |roots| {
        rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    };
    let url = format!("{}&sslmode=require", place.url);
    let quick = PostgresOptions::new().patience(Duration::from_millis(50));
    let store = PostgresStore::open_with(&url, quick.clone().tls(config(roots))).unwrap();
    store.commit(&alice(), &put("a", "1")).unwrap();
    let mut admin = Client::connect(&place.url, NoTls).unwrap();
    let row = admin.query_one(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1",
        &[&store.shared.writing],
    );
    assert!(row.unwrap().get::<_, bool>(0));
    // A certificate that nobody vouches for.
    PostgresStore::open_with(&url, quick.tls(config(rustls::RootCertStore::empty()))).unwrap_err();
}

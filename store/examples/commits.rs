//! How many commits a second the stores make here: `cargo run --release --example commits [folder]`.
//!
//! With `--features sqlite,postgres` and under `testvectors/postgres/with-postgres`, for the databases too.

use std::time::{Duration, Instant};

use amarula_core::store::{Batch, Namespace, Op, RecordKey};
use amarula_store::{FileStore, Profile, Store};
use bytes::Bytes;

const TIME: Duration = Duration::from_secs(3);

/// As an inbound message makes them: session, identity, inbox, prekey, counters; 1.5 KiB in all.
fn batch(i: u64) -> Batch {
    let value = Bytes::from(vec![0xa5; 300]);
    let keys = [
        (Namespace::Session, format!("4915112345{:03}.0", i % 200)),
        (Namespace::Identity, format!("4915112345{:03}.0", i % 200)),
        (Namespace::PreKey, format!("{}", i % 800)),
        (Namespace::Inbox, format!("{:016x}", i % 50)),
        (Namespace::Link, "counters".to_owned()),
    ];
    let op = |(namespace, key): (_, String)| (RecordKey { namespace, key: key.into() }, Op::Put(value.clone()));
    Batch { ops: keys.into_iter().map(op).collect(), ..Batch::default() }
}

fn report(what: &str, commits: u64, began: Instant, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 1000).copied().unwrap_or_default();
    let rate = commits as f64 / began.elapsed().as_secs_f64();
    println!(
        "{what:<44} {rate:>9.0} commits/s   call: median {:.2?}, p99 {:.2?}, worst {:.2?}",
        at(500),
        at(990),
        at(999)
    );
}

fn threads(store: &dyn Store, what: &str, count: usize, profile: impl Fn(usize) -> Profile + Sync) {
    let began = Instant::now();
    let work = |thread: usize| {
        let profile = profile(thread);
        let mut times = Vec::new();
        while began.elapsed() < TIME {
            let start = Instant::now();
            store.commit(&profile, &batch(times.len() as u64 * 7 + thread as u64)).expect("commit");
            times.push(start.elapsed());
        }
        times
    };
    let work = &work;
    let times: Vec<Duration> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..count).map(|thread| scope.spawn(move || work(thread))).collect();
        all.into_iter().flat_map(|thread| thread.join().expect("thread")).collect()
    });
    report(what, times.len() as u64, began, times);
}

fn groups(store: &dyn Store, what: &str, profiles: usize, each: usize) {
    let names: Vec<_> = (0..profiles).map(|i| Profile::new(&format!("group {i}")).expect("name")).collect();
    let (began, mut commits, mut times) = (Instant::now(), 0, Vec::new());
    while began.elapsed() < TIME {
        let batches: Vec<_> = (0..each as u64).map(|i| batch(commits + i)).collect();
        let group: Vec<_> = names.iter().flat_map(|name| batches.iter().map(move |batch| (name, batch))).collect();
        let start = Instant::now();
        store.commit_group(&group).into_iter().for_each(|answer| answer.expect("commit"));
        times.push(start.elapsed());
        commits += group.len() as u64;
    }
    report(what, commits, began, times);
}

fn measure(name: &str, store: impl Store) {
    println!("{name}");
    let profile = |name: String| Profile::new(&name).expect("name");
    threads(&store, "1 thread, 1 profile", 1, |_| profile("one".into()));
    threads(&store, "8 threads, 1 profile", 8, |_| profile("one".into()));
    threads(&store, "64 threads, 1 profile", 64, |_| profile("one".into()));
    threads(&store, "8 threads, 8 profiles", 8, |i| profile(format!("own {i}")));
    groups(&store, "groups of 50, 1 profile", 1, 50);
    groups(&store, "groups of 64 profiles, one each", 64, 1);
    groups(&store, "groups of 1000 profiles, one each", 1000, 1);
    let began = Instant::now();
    drop(store);
    println!("closed in {:.2?}\n", began.elapsed());
}

fn main() {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let root = tempfile::tempdir_in(folder).expect("a folder");
    measure("FileStore", FileStore::open(root.path().join("files")).expect("a store"));
    #[cfg(feature = "sqlite")]
    measure("SqliteStore", amarula_store::SqliteStore::open(root.path().join("db")).expect("a store"));
    #[cfg(feature = "postgres")]
    match std::env::var("AMARULA_POSTGRES_URL") {
        Ok(url) => measure("PostgresStore", amarula_store::PostgresStore::open(&url).expect("a store")),
        Err(_) => println!("PostgresStore: AMARULA_POSTGRES_URL is not set"),
    }
}

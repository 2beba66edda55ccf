//! Threads for what must wait: name servers, handshakes, HTTP. They come when needed, and go when idle.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use amarula_io::sync::lock;

/// Most threads at once. More jobs wait their turn.
const MOST: usize = 32;
/// An idle thread ends after this long.
const IDLE: Duration = Duration::from_secs(10);
/// Enough for a name server's answer and a certificate chain.
const STACK: usize = 512 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads.
#[derive(Clone, Default)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Workers {
    /// Runs `job` in some thread, soon. If the system gives no thread and none is there, the job is dropped; it must
    /// notice that itself if it matters.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut queue = lock(&self.shared.queue);
        queue.jobs.push_back(Box::new(job));
        if queue.idle >= queue.jobs.len() || queue.threads >= MOST {
            drop(queue);
            self.shared.arrived.notify_one();
            return;
        }
        let shared = Arc::clone(&self.shared);
        let thread =
            std::thread::Builder::new().name("amarula-io".into()).stack_size(STACK).spawn(move || work(&shared));
        match thread {
            Ok(_) => queue.threads += 1,
            Err(error) if queue.threads == 0 => {
                tracing::error!(%error, "no thread for input and output");
                let jobs = std::mem::take(&mut queue.jobs);
                drop(queue);
                drop(jobs);
            }
            Err(_) => {}
        }
    }
}

fn work(shared: &Shared) {
    let mut queue = lock(&shared.queue);
    loop {
        if let Some(job) = queue.jobs.pop_front() {
            drop(queue);
            // A job that panics is dropped like one that found no thread.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("a worker's job panicked; please report this");
            }
            queue = lock(&shared.queue);
            continue;
        }
        queue.idle += 1;
        let (next, waited) = shared.arrived.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
        queue = next;
        queue.idle -= 1;
        if waited.timed_out() && queue.jobs.is_empty() {
            queue.threads -= 1;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn more_jobs_than_threads_and_a_panic() {
        let workers = Workers::default();
        let (sender, done) = channel();
        workers.run(|| panic!("as intended"));
        for at in 0..MOST * 3 {
            let sender = sender.clone();
            workers.run(move || sender.send(at).expect("waits"));
        }
        let mut all: Vec<_> = (0..MOST * 3).map(|_| done.recv_timeout(Duration::from_secs(5)).expect("runs")).collect();
        all.sort_unstable();
        assert_eq!(all, (0..MOST * 3).collect::<Vec<_>>());
        assert!(lock(&workers.shared.queue).threads <= MOST);
    }
}

//! A few threads that share one task at a time, for tasks of microseconds.
//!
//! A decoder multiplies some hundred matrices per token, each for tens of microseconds: waking a sleeping
//! thread for each would cost as much. Workers therefore look for the next task for a bounded time
//! before they sleep. Between calls of a model they sleep. The caller never waits for a worker that has
//! not begun, so that a busy machine costs no more than the workers' help.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Rounds of a worker's search before it sleeps: some ten microseconds.
const SEARCHES: usize = 2000;

/// What all threads do: the closure of one [`Pool::each`], with its lifetime erased.
type Task = *const (dyn Fn() + Sync);

/// Threads that take part in [`Pool::each`], the caller among them.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    running: Mutex<()>, // one task at a time
}

struct Shared {
    slot: Mutex<Slot>,
    wake: Condvar,
    turn: AtomicUsize,   // number of tasks posted
    active: AtomicUsize, // workers that have begun the current task and not finished it
    failed: AtomicBool,
}

struct Slot {
    task: Option<Task>,
    closing: bool,
}

// SAFETY: the pointer is only followed between the posting of a task and the end of `Pool::broadcast`,
// which keeps the closure alive, and the closure is `Sync`.
unsafe impl Send for Slot {}

impl Pool {
    /// A pool of `threads` threads; with one, or where the system gives no more, the caller works alone.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            slot: Mutex::new(Slot {
                task: None,
                closing: false,
            }),
            wake: Condvar::new(),
            turn: AtomicUsize::new(0),
            active: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
        });
        let workers = (1..threads)
            .map_while(|_| {
                let shared = Arc::clone(&shared);
                let worker = std::thread::Builder::new().name("kernels".to_owned());
                worker.spawn(move || shared.work()).ok()
            })
            .collect();
        Self {
            shared,
            workers,
            running: Mutex::new(()),
        }
    }

    /// Threads, at least 1.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `run` once for each of `items`, in no particular order, and returns when all are done.
    ///
    /// # Panics
    /// If a call of `run` does, after all others have ended.
    pub fn each<T: Send>(&self, items: Vec<T>, run: impl Fn(T) + Sync) {
        if self.workers.is_empty() || items.len() < 2 {
            return items.into_iter().for_each(run);
        }
        let items = Mutex::new(items.into_iter());
        let next = || items.lock().unwrap_or_else(PoisonError::into_inner).next();
        self.broadcast(&|| {
            while let Some(item) = next() {
                run(item);
            }
        });
    }

    /// Runs `task` on this thread, and on every worker that gets to it before this thread is done.
    fn broadcast(&self, task: &(dyn Fn() + Sync)) {
        let _one = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. A worker takes the pointer out of the slot and counts
        // itself as active under one lock, and follows it only until it counts itself off. This
        // function empties the slot and waits for the active ones before it returns or unwinds.
        let erased = unsafe { std::mem::transmute::<&(dyn Fn() + Sync), Task>(task) };
        shared.failed.store(false, Ordering::Relaxed);
        {
            // Both under the lock, so that no worker falls asleep between them.
            let mut slot = shared.lock();
            slot.task = Some(erased);
            shared.turn.fetch_add(1, Ordering::Release);
        }
        shared.wake.notify_all();
        let own = catch_unwind(AssertUnwindSafe(task));
        shared.lock().task = None;
        let mut searches = 0;
        while shared.active.load(Ordering::Acquire) > 0 {
            searches += 1;
            if searches < SEARCHES {
                std::hint::spin_loop();
            } else {
                std::thread::yield_now();
            }
        }
        if let Err(panic) = own {
            resume_unwind(panic);
        }
        assert!(!shared.failed.load(Ordering::Relaxed), "a worker panicked");
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker's life.
    fn work(&self) {
        let mut seen = 0;
        while let Some(task) = self.next(&mut seen) {
            // SAFETY: `broadcast` keeps the closure alive until `active` has been counted down.
            let ran = catch_unwind(AssertUnwindSafe(|| unsafe { (*task)() }));
            if ran.is_err() {
                self.failed.store(true, Ordering::Relaxed);
            }
            self.active.fetch_sub(1, Ordering::Release);
        }
    }

    /// Looks for a while for a task after number `seen`.
    fn search(&self, seen: usize) {
        for _ in 0..SEARCHES {
            if self.turn.load(Ordering::Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
    }

    /// The task after number `seen`: looks for it for a while, then sleeps; none when the pool closes.
    fn next(&self, seen: &mut usize) -> Option<Task> {
        self.search(*seen);
        let mut slot = self.lock();
        loop {
            if slot.closing {
                return None;
            }
            let turn = self.turn.load(Ordering::Acquire);
            if turn != *seen {
                *seen = turn;
                if let Some(task) = slot.task {
                    self.active.fetch_add(1, Ordering::Relaxed);
                    return Some(task);
                }
                // That task ended without this worker; the next one may follow at once.
                drop(slot);
                self.search(turn);
                slot = self.lock();
                continue;
            }
            slot = self.wake.wait(slot).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.turn.fetch_add(1, Ordering::Release);
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches every panic, so it has none to report.
            let _ = worker.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} threads)", self.threads())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_run_once_in_every_round() {
        for threads in [1, 2, 5] {
            let pool = Pool::new(threads);
            for round in 0..500usize {
                let mut counts = vec![0usize; round % 9];
                let slots: Vec<(usize, &mut usize)> = counts.iter_mut().enumerate().collect();
                pool.each(slots, |(i, slot)| *slot += i + round);
                assert!(counts.iter().enumerate().all(|(i, &n)| n == i + round));
                if round % 100 == 0 {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            }
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        let pool = Pool::new(3);
        let failing = catch_unwind(AssertUnwindSafe(|| {
            pool.each((0..20).collect(), |i| assert_ne!(i, 7));
        }));
        assert!(failing.is_err());
        let sum = AtomicUsize::new(0);
        pool.each((0..20).collect(), |i| {
            sum.fetch_add(i, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 190);
    }
}

//! Checking beside the answer: a thread that takes what hops stream, and a limit on how far they run ahead.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use nesa_kernels::Level;
use nesa_model::{Engine, ModelError};
use nesa_proof::checked::{Checker, Subject, Sums, flight_rows_max};
use nesa_storage::ModelDir;
use tokio::sync::Notify;

use super::answer::random;
use super::{NetworkError, cpu};

/// Flights whose sums are under way at once: a node keeps few frames for a client that is behind.
const FLIGHTS_MAX: usize = 2;
/// Bytes that wait to be checked before no further rows are sent.
const WAITING_BYTES: u64 = 256 << 20;
/// Bytes that wait when a node sends more than it can have been asked for.
const WAITING_BYTES_MAX: u64 = 2 * WAITING_BYTES;

/// What checking one answer cost this client.
#[derive(Debug, Clone, Copy)]
pub struct CheckCost {
    /// Bytes of sums received.
    pub bytes: u64,
    /// Positions checked.
    pub positions: u64,
    /// CPU seconds, where the system tells, else seconds.
    pub cpu_seconds: f64,
}

/// The keys that check a model's products; made once per process, from blocks that are held against the root.
#[derive(Debug, Default)]
pub(super) struct Subjects(Mutex<Option<Arc<Subject>>>);

impl Subjects {
    /// The keys of `model`.
    pub(super) fn of(&self, model: &ModelDir) -> Result<Arc<Subject>, NetworkError> {
        let mut kept = (self.0.lock()).unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(subject) = &*kept {
            return Ok(Arc::clone(subject));
        }
        let shape = model.manifest().shape.clone();
        let layers = shape.layers as u32;
        let common = Arc::new(model.open_common()?);
        let mut subject = Subject::new(&random()?.0, shape, Arc::clone(&common));
        for i in 0..layers {
            let block = model.open_layer(i, &common)?;
            subject.push(Level::detect(), &block).map_err(bad)?;
        }
        let subject = Arc::new(subject);
        *kept = Some(Arc::clone(&subject));
        Ok(subject)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "an argument of map_err")]
fn bad(e: ModelError) -> NetworkError {
    NetworkError::Process(format!("checking failed: {e}; pull the model again"))
}

/// Most rows of a flight when hops with these blocks stream their sums.
pub(super) fn rows_max(subject: &Subject, ranges: &[Range<usize>]) -> Result<usize, NetworkError> {
    let most = ranges
        .iter()
        .map(|r| flight_rows_max(subject.shape(), r.len()));
    let most = most.min().flatten();
    most.ok_or_else(|| {
        let text = "a node's sums of one row are too many to stream; use more nodes";
        NetworkError::Process(text.to_owned())
    })
}

enum Command {
    Sent(u32, Vec<i32>),
    Returned(Vec<i32>),
    Sums(usize, Sums),
}

#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicU64,
    violated: AtomicBool,
    progress: Notify,
}

/// What the thread hands back.
struct Ended {
    checker: Checker,
    cpu_seconds: f64,
    done: Result<(), ModelError>,
}

/// The checking of one answer.
pub(super) struct Checking {
    commands: Sender<Command>,
    shared: Arc<Shared>,
    thread: JoinHandle<Ended>,
    held: VecDeque<(u32, Vec<i32>)>,
    dim: usize,
    /// Per hop: layers, and units that arrived.
    arrived: Vec<(u64, u64)>,
    /// One past the last position of each flight under way.
    ends: VecDeque<u64>,
}

impl Checking {
    /// Starts the thread for a session of up to `capacity` positions over hops with these blocks.
    pub(super) fn start(
        subject: Arc<Subject>,
        hops: &[Range<u32>],
        capacity: usize,
        level: Level,
    ) -> Result<Self, NetworkError> {
        let dim = subject.shape().dim;
        let checker = Checker::new(subject, hops, capacity).map_err(bad)?;
        let (commands, inbox) = channel();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("nesa-check".into())
            .spawn(move || run(checker, &mut Engine::new(level, 1), &inbox, &theirs))
            .map_err(|e| NetworkError::Process(format!("cannot start a thread: {e}")))?;
        Ok(Self {
            commands,
            shared,
            thread,
            held: VecDeque::new(),
            dim,
            arrived: hops.iter().map(|h| (h.len() as u64, 0)).collect(),
            ends: VecDeque::new(),
        })
    }

    /// Takes rows that are to be sent; [`Checking::next`] says when.
    pub(super) fn hold(&mut self, start: u32, rows: Vec<i32>) {
        self.held.push_back((start, rows));
    }

    /// Whether rows wait.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives up rows that wait.
    pub(super) fn let_go(&mut self) {
        self.held.clear();
    }

    /// The hop whose sums are the furthest behind.
    pub(super) fn behind(&self) -> usize {
        let rows = |i: &usize| {
            self.arrived
                .get(*i)
                .map(|&(l, units)| units / (4 * l.max(1)))
        };
        (0..self.arrived.len()).min_by_key(rows).unwrap_or(0)
    }

    /// The rows to send now, if hops are not too far ahead.
    pub(super) fn next(&mut self) -> Option<(u32, Vec<i32>)> {
        let rows = |&(layers, units): &(u64, u64)| units / (4 * layers.max(1));
        let arrived = self.arrived.iter().map(rows).min().unwrap_or(0);
        while self.ends.front().is_some_and(|end| *end <= arrived) {
            self.ends.pop_front();
        }
        let behind = self.shared.waiting_bytes.load(Relaxed) > WAITING_BYTES;
        if self.ends.len() >= FLIGHTS_MAX || behind {
            return None;
        }
        let (start, rows) = self.held.pop_front()?;
        self.ends
            .push_back(u64::from(start) + (rows.len() / self.dim) as u64);
        let _ = self.commands.send(Command::Sent(start, rows.clone()));
        Some((start, rows))
    }

    /// Takes a row that the last hop returned.
    pub(super) fn returned(&self, row: &[i32]) {
        let _ = self.commands.send(Command::Returned(row.to_vec()));
    }

    /// Takes sums of `hop`; returns whether it may have sent them.
    pub(super) fn sums(&mut self, hop: usize, sums: Sums) -> bool {
        if let Some((_, units)) = self.arrived.get_mut(hop) {
            *units += u64::from(sums.units);
        }
        let bytes = sums.bytes.len() as u64;
        let waiting = self.shared.waiting_bytes.fetch_add(bytes, Relaxed) + bytes;
        let _ = self.commands.send(Command::Sums(hop, sums));
        waiting <= WAITING_BYTES_MAX
    }

    /// Whether a hop was caught.
    pub(super) fn is_violated(&self) -> bool {
        self.shared.violated.load(Relaxed)
    }

    /// Resolves when something was checked.
    pub(super) fn progress(&self) -> impl Future<Output = ()> + use<> {
        let shared = Arc::clone(&self.shared);
        async move { shared.progress.notified().await }
    }

    /// Ends the thread once it has checked all that came.
    pub(super) async fn end(self) -> Result<(Checker, CheckCost), NetworkError> {
        drop(self.commands);
        let thread = self.thread;
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        let Ok(Ok(ended)) = ended else {
            return Err(NetworkError::Process("the checking thread ended".into()));
        };
        ended.done.map_err(bad)?;
        let cost = CheckCost {
            bytes: ended.checker.bytes(),
            positions: ended.checker.verified() as u64,
            cpu_seconds: ended.cpu_seconds,
        };
        Ok((ended.checker, cost))
    }
}

fn run(
    mut checker: Checker,
    engine: &mut Engine,
    inbox: &Receiver<Command>,
    shared: &Shared,
) -> Ended {
    let started = Instant::now();
    let mut idle = 0.0;
    let mut waiting = 0u64;
    let mut done = Ok(());
    loop {
        let command = match inbox.try_recv() {
            Ok(command) => Some(command),
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Empty) => {
                if done.is_ok() {
                    match checker.step(engine) {
                        Ok(true) => continue,
                        Ok(false) => {}
                        Err(e) => done = Err(e),
                    }
                }
                shared
                    .violated
                    .fetch_or(checker.violation().is_some(), Relaxed);
                shared.waiting_bytes.fetch_sub(waiting, Relaxed);
                waiting = 0;
                shared.progress.notify_one();
                let since = Instant::now();
                let next = inbox.recv().ok();
                idle += since.elapsed().as_secs_f64();
                next
            }
        };
        match command {
            None => break,
            Some(Command::Sent(start, rows)) => {
                done = done.and_then(|()| checker.sent(start, rows));
            }
            Some(Command::Returned(row)) => checker.returned(row),
            Some(Command::Sums(hop, sums)) => {
                waiting += sums.bytes.len() as u64;
                checker.sums(hop, sums);
            }
        }
    }
    done = done.and_then(|()| checker.advance(engine));
    Ended {
        checker,
        cpu_seconds: cpu::thread_seconds().unwrap_or(started.elapsed().as_secs_f64() - idle),
        done,
    }
}

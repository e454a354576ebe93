//! The head's product for several answers at once: rows that wait become one matrix product.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use nesa_client::ClientModel;
use nesa_model::Engine;
use tokio::sync::oneshot;

use super::NetworkError;

/// Rows of one product.
const BATCH_MAX: usize = 16;
/// Rows that wait; an answer has at most one.
const WAITING_MAX: usize = 256;
/// Answers count as running this long after their last row.
const ACTIVE_MAX: Duration = Duration::from_millis(50);
/// A product starts when no further row came for this long.
const GATHER_GAP: Duration = Duration::from_micros(400);

struct Job {
    answer: u64,
    row: Vec<i32>,
    logits: oneshot::Sender<Vec<i32>>,
}

/// A thread that computes logits for all answers of one model; ends with the last handle.
#[derive(Debug, Clone)]
pub struct Heads {
    jobs: SyncSender<Job>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

impl Heads {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`NetworkError::Process`] when the system gives no thread.
    pub fn start(model: Arc<ClientModel>, engine: Engine) -> Result<Self, NetworkError> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("nesa-head".into())
            .spawn(move || serve(&model, engine, &waiting))
            .map_err(|e| NetworkError::Process(format!("cannot start a thread: {e}")))?;
        Ok(Self { jobs })
    }

    /// The logits (vocab) of `row` (dim). `answer` tells answers apart.
    ///
    /// # Errors
    /// [`NetworkError::Process`] when the thread is gone or too many rows wait.
    pub async fn logits(&self, answer: u64, row: Vec<i32>) -> Result<Vec<i32>, NetworkError> {
        let (logits, done) = oneshot::channel();
        let job = Job {
            answer,
            row,
            logits,
        };
        self.jobs.try_send(job).map_err(|e| {
            NetworkError::Process(match e {
                TrySendError::Full(_) => "too many answers at once; try again".into(),
                TrySendError::Disconnected(_) => gone(),
            })
        })?;
        done.await.map_err(|_| NetworkError::Process(gone()))
    }
}

fn gone() -> String {
    "the thread that computes logits ended; start again".into()
}

fn serve(model: &ClientModel, mut engine: Engine, waiting: &Receiver<Job>) {
    let vocab = model.manifest.shape.vocab;
    let mut seen: Vec<(u64, Instant)> = Vec::new();
    while let Ok(first) = waiting.recv() {
        let jobs = gather(first, waiting, &mut seen);
        let rows: Vec<i32> = jobs.iter().flat_map(|j| j.row.iter().copied()).collect();
        let logits = engine.logits(&model.head, &rows);
        for (job, logits) in jobs.into_iter().zip(logits.chunks_exact(vocab)) {
            // An answer that was given up takes nothing.
            let _ = job.logits.send(logits.to_vec());
        }
    }
}

/// `first` and the rows that come shortly after it, while other answers run.
fn gather(first: Job, waiting: &Receiver<Job>, seen: &mut Vec<(u64, Instant)>) -> Vec<Job> {
    let now = Instant::now();
    seen.retain(|(_, at)| now.saturating_duration_since(*at) < ACTIVE_MAX);
    let mut jobs = Vec::new();
    let mut next = Some(first);
    while let Some(job) = next {
        seen.retain(|(answer, _)| *answer != job.answer);
        seen.push((job.answer, now));
        jobs.push(job);
        if jobs.len() >= seen.len().min(BATCH_MAX) {
            break;
        }
        next = waiting.recv_timeout(GATHER_GAP).ok();
    }
    jobs
}

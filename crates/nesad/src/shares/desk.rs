//! Where products of shares are computed: at once, in batches, or on a thread for large ones.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use nesa_model::Engine;
use nesa_pipeline::share::Task;
use tokio::sync::{mpsc, oneshot};

use crate::Error;

/// Multiplications that are computed between two looks at the network: about a millisecond.
const INLINE_WORK_MAX: u64 = 1 << 26;
/// Large flights that wait for the thread; those who send more wait.
const LARGE_MAX: usize = 64;
/// Most rows of one batch.
const BATCH_ROWS_MAX: usize = 1 << 14;

/// A flight, and who waits for its product.
struct Job {
    task: Task,
    tell: oneshot::Sender<Option<Vec<u32>>>,
}

/// Computes products.
pub(crate) struct Desk {
    engine: Mutex<Engine>,
    waiting: Mutex<Vec<Job>>,
    /// The thread of large flights, where there is one.
    large: Option<mpsc::Sender<Job>>,
    ns: Arc<AtomicU64>,
}

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Desk {
    /// Computes with `engine`, and large flights on a thread with `large`, if given.
    ///
    /// # Errors
    /// [`Error::System`].
    pub(crate) fn new(engine: Engine, large: Option<Engine>) -> Result<Self, Error> {
        let ns = Arc::new(AtomicU64::new(0));
        let large = large.map(|engine| thread(engine, ns.clone())).transpose()?;
        Ok(Self {
            engine: Mutex::new(engine),
            waiting: Mutex::default(),
            large,
            ns,
        })
    }

    /// Seconds spent in computation since the start.
    pub(crate) fn compute_s(&self) -> f64 {
        self.ns.load(Ordering::Relaxed) as f64 / 1e9
    }

    /// The product, or `None` where it cannot be computed. `crowded` says that other sessions may
    /// have flights as well.
    pub(crate) async fn compute(&self, task: Task, crowded: bool) -> Option<Vec<u32>> {
        if task.work > INLINE_WORK_MAX
            && let Some(large) = &self.large
        {
            let (tell, answer) = oneshot::channel();
            large.send(Job { task, tell }).await.ok()?;
            return answer.await.ok()?;
        }
        if !crowded {
            let started = Instant::now();
            let values = task.run(&mut lock(&self.engine)).ok();
            self.count(started);
            return values;
        }
        let (tell, answer) = oneshot::channel();
        lock(&self.waiting).push(Job { task, tell });
        // What has arrived for others is taken now; then whoever comes first computes for all.
        tokio::task::yield_now().await;
        self.compute_waiting();
        answer.await.ok()?
    }

    fn compute_waiting(&self) {
        let mut engine = lock(&self.engine);
        loop {
            let batch = take_batch(&mut lock(&self.waiting));
            if batch.is_empty() {
                return;
            }
            let started = Instant::now();
            run(batch, &mut engine);
            self.count(started);
        }
    }

    fn count(&self, since: Instant) {
        let ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.ns.fetch_add(ns, Ordering::Relaxed);
    }
}

/// The first job that waits and all that use the same matrices.
fn take_batch(waiting: &mut Vec<Job>) -> Vec<Job> {
    let mut batch: Vec<Job> = Vec::new();
    let mut rows = 0;
    let mut at = 0;
    while at < waiting.len() {
        let fits = batch
            .first()
            .is_none_or(|b| b.task.is_like(&waiting[at].task));
        if fits && rows < BATCH_ROWS_MAX {
            let job = waiting.remove(at);
            rows += job.task.rows;
            batch.push(job);
        } else {
            at += 1;
        }
    }
    batch
}

/// Computes jobs on the same matrices as one and tells everyone.
fn run(mut batch: Vec<Job>, engine: &mut Engine) {
    let Some(mut first) = batch.pop() else { return };
    if batch.is_empty() {
        let _ = first.tell.send(first.task.run(engine).ok());
        return;
    }
    let own = first.task.rows;
    for job in &mut batch {
        first.task.share.append(&mut job.task.share);
    }
    let values = first.task.run(engine).ok();
    let (Some(values), true) = (values, own > 0) else {
        batch.push(first);
        batch.into_iter().for_each(|j| drop(j.tell.send(None)));
        return;
    };
    let width = values.len() / (own + batch.iter().map(|j| j.task.rows).sum::<usize>());
    let (head, mut rest) = values.split_at(own * width);
    let _ = first.tell.send(Some(head.to_vec()));
    for job in batch {
        let (head, tail) = rest.split_at(job.task.rows * width);
        rest = tail;
        let _ = job.tell.send(Some(head.to_vec()));
    }
}

fn thread(mut engine: Engine, ns: Arc<AtomicU64>) -> Result<mpsc::Sender<Job>, Error> {
    let (large, mut jobs) = mpsc::channel::<Job>(LARGE_MAX);
    let work = move || {
        while let Some(job) = jobs.blocking_recv() {
            let started = Instant::now();
            run(vec![job], &mut engine);
            let spent = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
            ns.fetch_add(spent, Ordering::Relaxed);
        }
    };
    let builder = std::thread::Builder::new().name("nesad-shares".into());
    builder.spawn(work).map_err(|source| Error::System {
        what: "cannot start the thread of large flights".into(),
        source,
        hint: "raise the limit on processes",
    })?;
    Ok(large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_kernels::Level;
    use nesa_model::split::{Product, multiply_reference};
    use nesa_model::{Shard, testing};

    fn task(shard: &Arc<Shard>, layer: usize, product: Product, rows: usize, seed: u8) -> Task {
        let (outputs, cols) = shard.product(layer, product).unwrap();
        Task {
            shard: shard.clone(),
            layer,
            product,
            rows,
            share: nesa_field::uniform(&[seed; 32], rows * cols),
            work: (rows * outputs * cols) as u64,
        }
    }

    #[tokio::test]
    async fn every_way_gives_the_same_product() {
        let model = testing::model(&testing::shapes()[0], 3);
        let shape = model.manifest.shape.clone();
        let mut shard = Shard::new(shape, Arc::new(model.common.clone()), 0..3);
        model.blocks.iter().for_each(|b| shard.push(b).unwrap());
        let shard = Arc::new(shard);
        let engine = || Engine::new(Level::detect(), 1);
        let desk = Arc::new(Desk::new(engine(), Some(engine())).unwrap());
        let mut jobs = Vec::new();
        for seed in 0..24 {
            let (layer, product) = (
                usize::from(seed) % 2,
                Product::ALL[usize::from(seed / 2) % 2],
            );
            let mut task = task(&shard, layer, product, 1 + usize::from(seed) % 4, seed);
            let right = multiply_reference(&model.blocks[layer], product, &task.share);
            if seed % 5 == 0 {
                // As large as to go to the thread.
                task.work = INLINE_WORK_MAX + 1;
            }
            let desk = desk.clone();
            jobs.push(tokio::spawn(async move {
                assert_eq!(
                    desk.compute(task, seed % 7 != 0).await,
                    Some(right),
                    "{seed}"
                );
            }));
        }
        for job in jobs {
            job.await.unwrap();
        }
        assert!(lock(&desk.waiting).is_empty());
        let mut wrong = task(&shard, 0, Product::Qkv, 1, 1);
        wrong.layer = 9;
        assert_eq!(desk.compute(wrong, true).await, None, "no such block");
    }

    #[test]
    fn flights_on_the_same_matrices_are_one_batch() {
        let model = testing::model(&testing::shapes()[0], 3);
        let shape = model.manifest.shape.clone();
        let mut shard = Shard::new(shape, Arc::new(model.common.clone()), 0..3);
        model.blocks.iter().for_each(|b| shard.push(b).unwrap());
        let shard = Arc::new(shard);
        let job = |layer, product| Job {
            task: task(&shard, layer, product, 2, 1),
            tell: oneshot::channel().0,
        };
        let mut waiting = vec![
            job(0, Product::Qkv),
            job(1, Product::Qkv),
            job(0, Product::Qkv),
            job(0, Product::Down),
            job(0, Product::Qkv),
        ];
        let sizes: Vec<usize> = std::iter::from_fn(|| Some(take_batch(&mut waiting).len()))
            .take_while(|n| *n > 0)
            .collect();
        assert_eq!(sizes, [3, 1, 1]);
    }
}

//! Transactions travel from the node that got them to every validator.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::Clock;
use commonware_utils::channel::mpsc;
use futures_util::future::{Either, select};
use nesa_codec::{Digest, Reader, Writer};

use crate::core::Core;
use crate::machine::{Machine, SENDER_MAX};
use crate::pool::PoolError;

/// Bytes of transactions in one message; a single transaction may exceed it.
const BATCH: usize = 64 << 10;
/// The most transactions of one message.
const COUNT_MAX: usize = 1024;
/// The most transactions that this node repeats until they are in blocks.
const OWN_MAX: usize = 4096;
/// How often it repeats them.
const REPEAT: Duration = Duration::from_secs(1);

/// The largest message, where a transaction has at most `transaction` bytes.
pub(crate) fn message_max(transaction: usize) -> usize {
    BATCH + transaction + 4 * (COUNT_MAX + 1)
}

/// Why a transaction was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError<R: std::error::Error + 'static> {
    /// The pool does not hold it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The state machine refuses it.
    #[error("the transaction is refused: {0}")]
    Refused(#[source] R),
}

/// Admits a transaction into the pool.
pub(crate) fn admit<M: Machine>(
    core: &Core<M>,
    bytes: Vec<u8>,
) -> Result<Digest, SubmitError<M::Refusal>> {
    core.pool.lock().refuses(&bytes)?;
    let last = core.last();
    let peek = core
        .machine
        .admit(&last.after.state, &bytes)
        .map_err(SubmitError::Refused)?;
    debug_assert!(peek.sender.len() <= SENDER_MAX);
    let digest = core.pool.lock().insert(bytes, peek)?;
    core.bell.notify_one();
    Ok(digest)
}

fn encode(batch: &[Vec<u8>]) -> Vec<u8> {
    let mut w = Writer::default();
    w.len(batch.len());
    for bytes in batch {
        w.bytes(bytes);
    }
    w.into_bytes()
}

fn decode(message: &[u8], transaction: usize) -> Option<Vec<Vec<u8>>> {
    let mut r = Reader::new(message);
    let n = r.len(COUNT_MAX).ok()?;
    let mut out = Vec::new();
    for _ in 0..n {
        out.push(r.bytes(transaction).ok()?.to_vec());
    }
    r.finish().ok()?;
    Some(out)
}

/// The waiting transactions behind `digests`, as many as one message holds.
fn batch<M: Machine>(core: &Core<M>, digests: &mut VecDeque<Digest>) -> Vec<Vec<u8>> {
    let pool = core.pool.lock();
    let (mut out, mut bytes) = (Vec::new(), 0);
    while bytes < BATCH && out.len() < COUNT_MAX {
        let Some(digest) = digests.pop_front() else {
            break;
        };
        if let Some(waiting) = pool.get(&digest) {
            bytes += waiting.len();
            out.push(waiting.to_vec());
        }
    }
    out
}

/// Sends what `own` brings, repeats it until it is in blocks, and admits what peers send.
pub(crate) async fn run<M: Machine>(
    runtime: impl Clock,
    core: Arc<Core<M>>,
    mut own: mpsc::Receiver<Digest>,
    mut sender: impl Sender<PublicKey = PublicKey>,
    mut receiver: impl Receiver<PublicKey = PublicKey>,
) {
    let mut repeat: VecDeque<Digest> = VecDeque::new();
    let mut next = runtime.current() + REPEAT;
    loop {
        let tick = Box::pin(runtime.sleep_until(next));
        let news = select(Box::pin(own.recv()), Box::pin(receiver.recv()));
        let mut outgoing = VecDeque::new();
        match select(news, tick).await {
            Either::Left((Either::Left((Some(digest), _)), _)) => outgoing.push_back(digest),
            Either::Left((Either::Right((Ok((_, bytes)), _)), _)) => {
                for bytes in
                    decode(bytes.as_ref(), core.limits.pool.transaction).unwrap_or_default()
                {
                    let _ = admit(&core, bytes);
                }
                continue;
            }
            Either::Left(_) => return,
            Either::Right(_) => {
                next = runtime.current() + REPEAT;
                let pool = core.pool.lock();
                repeat.retain(|digest| pool.get(digest).is_some());
                drop(pool);
                let mut again = repeat.clone();
                let batch = batch(&core, &mut again);
                if !batch.is_empty() {
                    let _ = sender.send(Recipients::All, encode(&batch), false);
                }
                continue;
            }
        }
        while let Ok(digest) = own.try_recv() {
            outgoing.push_back(digest);
        }
        repeat.extend(outgoing.iter().copied());
        repeat.drain(..repeat.len().saturating_sub(OWN_MAX));
        while !outgoing.is_empty() {
            let batch = batch(&core, &mut outgoing);
            if !batch.is_empty() {
                let _ = sender.send(Recipients::All, encode(&batch), false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_round_trip_within_bounds() {
        let batch = vec![vec![1, 2, 3], vec![], vec![9; 40]];
        assert_eq!(decode(&encode(&batch), 40), Some(batch.clone()));
        assert_eq!(decode(&encode(&batch), 39), None);
        assert_eq!(decode(&u32::MAX.to_le_bytes(), 40), None);
    }
}

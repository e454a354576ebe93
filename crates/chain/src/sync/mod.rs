//! A fresh node takes a recent state from any peer and believes only a certificate.
//!
//! The peer offers the envelope of a final block with the engine's finalization; the state comes
//! in chunks of keys with values and must be the one that the header commits to.

mod fetch;
mod message;

use std::sync::Arc;

use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use nesa_codec::{Decode as _, Digest, Encode as _};
use nesa_finality::{Certificate, Envelope};

pub(crate) use fetch::{Trust, fetch};
pub(crate) use message::MESSAGE_MAX;
use message::{CHUNK, ENTRIES_MAX, Message};

use crate::convert::Finalization;
use crate::core::Core;
use crate::machine::{Committed, Machine};
use crate::states::Executed;

/// Recent states that are kept; the one that nobody asked for longest goes first.
const SNAPSHOTS: usize = 4;

/// A final state that others may fetch.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot<M: Machine> {
    digest: Digest,
    envelope: Envelope,
    finalization: Vec<u8>,
    after: Committed<M::State>,
    /// The chain's height when someone last asked for it, or when it was made.
    asked: u64,
}

impl<M: Machine> Snapshot<M> {
    /// Keeps the state of a certified block if it is due.
    pub(crate) fn keep(
        core: &Core<M>,
        block: &Executed<M>,
        finalization: &Finalization,
        proof: &Certificate,
    ) {
        let digest = block.envelope.digest();
        let mut kept = core.snapshots.lock();
        let newest = kept.iter().map(|s| s.envelope.height).max();
        let due = newest.is_none_or(|newest| {
            block.envelope.height.saturating_sub(newest) >= core.limits.snapshot_every
        });
        if !due || proof.proposal.block != digest {
            return;
        }
        kept.sort_by_key(|s| (s.asked, s.envelope.height));
        let over = (kept.len() + 1).saturating_sub(SNAPSHOTS);
        kept.drain(..over);
        kept.push(Self {
            digest,
            envelope: block.envelope.clone(),
            finalization: commonware_codec::Encode::encode(finalization).to_vec(),
            after: block.after.clone(),
            asked: block.envelope.height,
        });
    }
}

/// Answers one message of a joining node.
fn answer<M: Machine>(core: &Core<M>, message: &[u8]) -> Option<Message> {
    match Message::from_bytes(message).ok()? {
        Message::AskOffer => {
            let now = *core.height.borrow();
            let mut kept = core.snapshots.lock();
            let best = kept.iter_mut().max_by_key(|s| s.envelope.height)?;
            best.asked = now;
            Some(Message::Offer {
                envelope: best.envelope.clone(),
                finalization: best.finalization.clone(),
            })
        }
        Message::AskChunk { digest, after } => {
            let state = {
                let now = *core.height.borrow();
                let mut kept = core.snapshots.lock();
                let found = kept.iter_mut().find(|s| s.digest == digest)?;
                found.asked = now;
                found.after.state.clone()
            };
            let (mut entries, mut bytes, mut last) = (Vec::new(), 0, true);
            for (key, value) in core.machine.entries(&state, after.as_deref()) {
                if bytes >= CHUNK || entries.len() >= ENTRIES_MAX {
                    last = false;
                    break;
                }
                bytes += key.len() + value.len();
                entries.push((key, value));
            }
            Some(Message::Chunk {
                digest,
                entries,
                last,
            })
        }
        Message::Offer { .. } | Message::Chunk { .. } => None,
    }
}

/// Serves joining nodes until the network ends.
pub(crate) async fn serve<M: Machine>(
    core: Arc<Core<M>>,
    mut sender: impl Sender<PublicKey = PublicKey>,
    mut receiver: impl Receiver<PublicKey = PublicKey>,
) {
    while let Ok((peer, bytes)) = receiver.recv().await {
        if let Some(answer) = answer(&core, bytes.as_ref()) {
            let _ = sender.send(Recipients::One(peer), answer.to_bytes(), false);
        }
    }
}

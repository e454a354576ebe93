//! A fresh node takes a recent state from any peer and believes only a certificate.
//!
//! The peer offers the envelope of a final block with the engine's finalization; the state comes
//! in chunks of keys with values and must be the one that the header commits to.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use commonware_codec::{Copying, Decode as _, Encode as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::Clock;
use futures_util::future::{Either, select};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_finality::{Certificate, Domain, Envelope, ValidatorSet};

use crate::convert::{Finalization, certificate};
use crate::core::Core;
use crate::machine::{Committed, Machine};
use crate::states::Executed;

/// Bytes of keys and values in a chunk; a single entry may exceed it.
const CHUNK: usize = 128 << 10;
/// The longest key.
const KEY_MAX: usize = 1024;
/// The longest value.
const VALUE_MAX: usize = 256 << 10;
/// The most entries of a chunk.
const ENTRIES_MAX: usize = 8192;
/// The longest finalization: 128 signatures with room.
const FINALIZATION_MAX: usize = 16 << 10;
/// The largest message of this channel.
pub(crate) const MESSAGE_MAX: usize = CHUNK + KEY_MAX + VALUE_MAX + 12 * ENTRIES_MAX + 64;
/// How long offers are collected, and how long a chunk may take.
const ANSWER: Duration = Duration::from_millis(1500);
/// Recent states that are kept.
const SNAPSHOTS: usize = 2;

/// A final state that others may fetch.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot<M: Machine> {
    digest: Digest,
    envelope: Envelope,
    finalization: Vec<u8>,
    after: Committed<M::State>,
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
        let due = kept.back().is_none_or(|s| {
            let since = block.envelope.height.saturating_sub(s.envelope.height);
            since >= core.limits.snapshot_every
        });
        if !due || proof.proposal.block != digest {
            return;
        }
        while kept.len() >= SNAPSHOTS {
            kept.pop_front();
        }
        kept.push_back(Self {
            digest,
            envelope: block.envelope.clone(),
            finalization: finalization.encode().to_vec(),
            after: block.after.clone(),
        });
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Message {
    /// "What do you have?"
    AskOffer,
    /// "This final block's state."
    Offer {
        envelope: Envelope,
        finalization: Vec<u8>,
    },
    /// "The entries of that block's state above this key."
    AskChunk {
        digest: Digest,
        after: Option<Vec<u8>>,
    },
    /// "These; and whether they are the last."
    Chunk {
        digest: Digest,
        entries: Vec<(Vec<u8>, Vec<u8>)>,
        last: bool,
    },
}

impl Encode for Message {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::AskOffer => w.u8(0),
            Self::Offer {
                envelope,
                finalization,
            } => {
                w.u8(1);
                envelope.encode(w);
                w.bytes(finalization);
            }
            Self::AskChunk { digest, after } => {
                w.u8(2);
                w.digest(digest);
                w.u8(u8::from(after.is_some()));
                if let Some(after) = after {
                    w.bytes(after);
                }
            }
            Self::Chunk {
                digest,
                entries,
                last,
            } => {
                w.u8(3);
                w.digest(digest);
                w.u8(u8::from(*last));
                w.len(entries.len());
                for (key, value) in entries {
                    w.bytes(key);
                    w.bytes(value);
                }
            }
        }
    }
}

impl Decode for Message {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::AskOffer),
            1 => Ok(Self::Offer {
                envelope: Envelope::decode(r)?,
                finalization: r.bytes(FINALIZATION_MAX)?.to_vec(),
            }),
            2 => {
                let digest = r.digest()?;
                let after = match r.bool()? {
                    true => Some(r.bytes(KEY_MAX)?.to_vec()),
                    false => None,
                };
                Ok(Self::AskChunk { digest, after })
            }
            3 => {
                let (digest, last) = (r.digest()?, r.bool()?);
                let n = r.len(ENTRIES_MAX)?;
                let mut entries = Vec::new();
                for _ in 0..n {
                    let key = r.bytes(KEY_MAX)?.to_vec();
                    entries.push((key, r.bytes(VALUE_MAX)?.to_vec()));
                }
                Ok(Self::Chunk {
                    digest,
                    entries,
                    last,
                })
            }
            _ => Err(DecodeError::Invalid("kind of message")),
        }
    }
}

/// Answers one message of a joining node.
fn answer<M: Machine>(core: &Core<M>, message: &[u8]) -> Option<Message> {
    match Message::from_bytes(message).ok()? {
        Message::AskOffer => {
            let kept = core.snapshots.lock();
            let best = kept.back()?;
            Some(Message::Offer {
                envelope: best.envelope.clone(),
                finalization: best.finalization.clone(),
            })
        }
        Message::AskChunk { digest, after } => {
            let state = {
                let kept = core.snapshots.lock();
                let found = kept.iter().find(|s| s.digest == digest)?;
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

/// A verified state.
#[derive(Debug)]
pub(crate) struct Synced<S> {
    pub(crate) envelope: Envelope,
    pub(crate) certificate: Certificate,
    pub(crate) finalization: Finalization,
    pub(crate) state: S,
    pub(crate) entries: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What a joining node knows beforehand.
pub(crate) struct Trust<'a, M: Machine> {
    pub(crate) machine: &'a M,
    pub(crate) domain: Domain,
    pub(crate) validators: &'a ValidatorSet,
    pub(crate) state_max: usize,
}

struct Offered {
    envelope: Envelope,
    certificate: Certificate,
    finalization: Finalization,
}

/// The offer if a quorum stands behind it.
fn check_offer<M: Machine>(
    trust: &Trust<'_, M>,
    envelope: Envelope,
    finalization: &[u8],
) -> Option<Offered> {
    let finalization =
        Finalization::decode_cfg(Copying(finalization), &trust.validators.keys().len());
    let finalization = finalization.ok()?;
    let certificate = certificate(&finalization)?;
    certificate.verify(&trust.domain, trust.validators).ok()?;
    let same = certificate.proposal.block == envelope.digest() && envelope.height > 0;
    same.then_some(Offered {
        envelope,
        certificate,
        finalization,
    })
}

/// Fetches the newest state that a peer offers, for at most `patience`.
pub(crate) async fn fetch<M: Machine>(
    runtime: &impl Clock,
    sender: &mut impl Sender<PublicKey = PublicKey>,
    receiver: &mut impl Receiver<PublicKey = PublicKey>,
    trust: &Trust<'_, M>,
    patience: Duration,
) -> Option<Synced<M::State>> {
    let deadline = runtime.current() + patience;
    let mut liars = BTreeSet::new();
    while runtime.current() < deadline {
        let Some((peer, offered)) = best_offer(runtime, sender, receiver, trust, &liars).await
        else {
            continue;
        };
        let digest = offered.envelope.digest();
        let entries = download(runtime, sender, receiver, trust, &peer, digest).await;
        let Some(entries) = entries else {
            tracing::warn!(?peer, "state sync: the peer stopped or sent too much");
            continue;
        };
        match trust
            .machine
            .restore(&offered.envelope.header, entries.clone())
        {
            Ok(state) => {
                return Some(Synced {
                    envelope: offered.envelope,
                    certificate: offered.certificate,
                    finalization: offered.finalization,
                    state,
                    entries,
                });
            }
            Err(why) => {
                tracing::warn!(?peer, %why, "state sync: the state is not the certified one");
                liars.insert(peer);
            }
        }
    }
    None
}

/// The highest certified block that peers offer.
async fn best_offer<M: Machine>(
    runtime: &impl Clock,
    sender: &mut impl Sender<PublicKey = PublicKey>,
    receiver: &mut impl Receiver<PublicKey = PublicKey>,
    trust: &Trust<'_, M>,
    liars: &BTreeSet<PublicKey>,
) -> Option<(PublicKey, Offered)> {
    let _ = sender.send(Recipients::All, Message::AskOffer.to_bytes(), false);
    let until = runtime.current() + ANSWER;
    let mut best: Option<(PublicKey, Offered)> = None;
    while let Some((peer, message)) = next_message(runtime, receiver, until).await {
        let Message::Offer {
            envelope,
            finalization,
        } = message
        else {
            continue;
        };
        let better = best
            .as_ref()
            .is_none_or(|(_, b)| b.envelope.height < envelope.height);
        if !better || liars.contains(&peer) {
            continue;
        }
        if let Some(offered) = check_offer(trust, envelope, &finalization) {
            best = Some((peer, offered));
        }
    }
    best
}

/// The next message that decodes, until a time.
async fn next_message(
    runtime: &impl Clock,
    receiver: &mut impl Receiver<PublicKey = PublicKey>,
    until: std::time::SystemTime,
) -> Option<(PublicKey, Message)> {
    loop {
        let late = Box::pin(runtime.sleep_until(until));
        let Either::Left((Ok((peer, bytes)), _)) = select(Box::pin(receiver.recv()), late).await
        else {
            return None;
        };
        if let Ok(message) = Message::from_bytes(bytes.as_ref()) {
            return Some((peer, message));
        }
    }
}

/// All entries of one state from one peer.
async fn download<M: Machine>(
    runtime: &impl Clock,
    sender: &mut impl Sender<PublicKey = PublicKey>,
    receiver: &mut impl Receiver<PublicKey = PublicKey>,
    trust: &Trust<'_, M>,
    peer: &PublicKey,
    digest: Digest,
) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let (mut bytes, mut attempts) = (0usize, 0);
    loop {
        let after = all.last().map(|(key, _)| key.clone());
        let ask = Message::AskChunk {
            digest,
            after: after.clone(),
        };
        let _ = sender.send(Recipients::One(peer.clone()), ask.to_bytes(), false);
        let until = runtime.current() + ANSWER;
        let Some((entries, last)) =
            next_chunk(runtime, receiver, until, peer, digest, &after).await
        else {
            attempts += 1;
            if attempts > 3 {
                return None;
            }
            continue;
        };
        attempts = 0;
        for (key, value) in entries {
            bytes = bytes.saturating_add(key.len() + value.len());
            if bytes > trust.state_max || all.last().is_some_and(|(k, _)| *k >= key) {
                return None;
            }
            all.push((key, value));
        }
        if last {
            return Some(all);
        }
    }
}

type Chunk = (Vec<(Vec<u8>, Vec<u8>)>, bool);

/// The chunk above `after`; an answer that repeats an earlier one is passed over.
async fn next_chunk(
    runtime: &impl Clock,
    receiver: &mut impl Receiver<PublicKey = PublicKey>,
    until: std::time::SystemTime,
    peer: &PublicKey,
    digest: Digest,
    after: &Option<Vec<u8>>,
) -> Option<Chunk> {
    loop {
        let (from, message) = next_message(runtime, receiver, until).await?;
        let Message::Chunk {
            digest: of,
            entries,
            last,
        } = message
        else {
            continue;
        };
        let fresh = match (entries.first(), after) {
            (Some((first, _)), Some(after)) => first > after,
            (None, _) => last,
            (Some(_), None) => true,
        };
        if from == *peer && of == digest && fresh {
            return Some((entries, last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_hostile_bytes_are_refused() {
        let messages = [
            Message::AskOffer,
            Message::AskChunk {
                digest: Digest([1; 32]),
                after: Some(vec![1, 2]),
            },
            Message::Chunk {
                digest: Digest([1; 32]),
                entries: vec![(vec![1], vec![2, 3])],
                last: true,
            },
        ];
        for message in messages {
            let bytes = message.to_bytes();
            assert_eq!(Message::from_bytes(&bytes), Ok(message));
            for cut in 0..bytes.len() {
                assert!(Message::from_bytes(&bytes[..cut]).is_err());
            }
        }
        let mut many = vec![3];
        many.extend([0; 33]);
        many.extend(u32::MAX.to_le_bytes());
        assert!(
            Message::from_bytes(&many).is_err(),
            "a count over the bound"
        );
    }
}

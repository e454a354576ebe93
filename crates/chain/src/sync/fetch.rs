//! A joining node's side.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use commonware_codec::{Copying, Decode as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_p2p::{Receiver, Recipients, Sender};
use commonware_runtime::Clock;
use futures_util::future::{Either, select};
use nesa_codec::{Decode as _, Digest, Encode as _};
use nesa_finality::{Certificate, Domain, Envelope, ValidatorSet};

use super::message::Message;
use crate::convert::{Finalization, certificate};
use crate::machine::{Entries, Machine};

/// How long offers are collected, and how long a chunk may take.
const ANSWER: Duration = Duration::from_millis(1500);
/// How long better offers are awaited after a good one.
const MORE: Duration = Duration::from_millis(200);
/// A verified state.
#[derive(Debug)]
pub(crate) struct Synced<S> {
    pub(crate) envelope: Envelope,
    pub(crate) certificate: Certificate,
    pub(crate) finalization: Finalization,
    pub(crate) state: S,
    pub(crate) entries: Entries,
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
    let mut until = runtime.current() + ANSWER;
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
            until = until.min(runtime.current() + MORE);
        }
    }
    best
}

/// The next message that decodes, until a time.
async fn next_message(
    runtime: &impl Clock,
    receiver: &mut impl Receiver<PublicKey = PublicKey>,
    until: SystemTime,
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
) -> Option<Entries> {
    let mut all: Entries = Vec::new();
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

type Chunk = (Entries, bool);

/// The chunk above `after`; an answer that repeats an earlier one is passed over.
async fn next_chunk(
    runtime: &impl Clock,
    receiver: &mut impl Receiver<PublicKey = PublicKey>,
    until: SystemTime,
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

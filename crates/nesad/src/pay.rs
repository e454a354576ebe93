//! What a node does about its pay: names its terms, reads lanes from the ledger, takes vouchers.
//!
//! The books are [`Till`], which the state machines ask before they compute. Here is what they cannot
//! do: ask the ledger, and keep each claim on disk until it is settled, so that a node that dies loses
//! at most one chunk.

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use nesa_codec::{Decode as _, Digest, Encode as _};
use nesa_ledger::sessions::{CLAIM_BYTES, Claim};
use nesa_pipeline::paid::{Found, Offer, Pay, Till};
use nesa_pipeline::{PeerKey, Refusal, RefusalCode};
use nesa_shards::disk::{self, Access};

/// What a ledger says, at some time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// The ledger that a node is paid on, as far as serving needs it.
pub trait Ledger: Debug + Send + Sync {
    /// A payment session with its lanes.
    fn session(&self, id: &Digest) -> Answer<'_, Option<Found>>;
}

/// A node that works for pay.
#[derive(Debug, Clone)]
pub struct Paid {
    /// The books.
    pub till: Till,
    /// Where lanes are read.
    pub ledger: Arc<dyn Ledger>,
    /// Where claims are kept until they are settled.
    pub claims: PathBuf,
}

/// Most claims that are kept on disk.
const CLAIMS_MAX: usize = nesa_pipeline::paid::LANES_MAX;

/// A stream that is paid for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Payer {
    pub(crate) from: PeerKey,
    pub(crate) session: Digest,
    pub(crate) model: Digest,
    pub(crate) layers: u32,
}

/// What a message about pay leads to.
pub(crate) enum Paying {
    /// The terms.
    Terms(Pay),
    /// The lane is good.
    Ready,
    /// The books changed.
    Noted,
}

impl Paid {
    fn file(&self, claim: &Claim) -> PathBuf {
        let v = &claim.signed.voucher;
        self.claims.join(format!("{}-{}.claim", v.session, v.lane))
    }

    /// Keeps a claim until [`Paid::settled`].
    fn keep(&self, claim: &Claim) -> Result<(), Refusal> {
        let kept = disk::create_private_folder(&self.claims)
            .and_then(|()| disk::write(&self.file(claim), &claim.to_bytes(), Access::Owner));
        kept.map_err(|e| {
            tracing::warn!(%e, "a claim could not be kept");
            Refusal::new(
                RefusalCode::Busy,
                "this node cannot keep vouchers now; ask another",
            )
        })
    }

    /// The ledger has paid this claim.
    pub fn settled(&self, claim: &Claim) {
        self.till.settled(&claim.signed.voucher);
        if let Err(e) = disk::remove(&self.file(claim)) {
            tracing::warn!(%e, "a settled claim stays on disk");
        }
    }

    /// Claims that were kept by an earlier life of the node.
    #[must_use]
    pub fn kept(&self) -> Vec<Claim> {
        let Ok(all) = std::fs::read_dir(&self.claims) else {
            return Vec::new();
        };
        let paths = all.flatten().map(|e| e.path()).take(CLAIMS_MAX);
        let bytes = paths.filter_map(|p| disk::read(&p, CLAIM_BYTES as u64).ok()?);
        bytes.filter_map(|b| Claim::from_bytes(&b).ok()).collect()
    }

    /// Takes a message about pay.
    pub(crate) async fn on(&self, payer: &Payer, message: Pay) -> Result<Paying, Refusal> {
        match message {
            Pay::Quote => Ok(Paying::Terms(Pay::Terms(self.till.terms()))),
            Pay::Lane(lane) => {
                let found = self.ledger.session(&lane.payment).await.map_err(|e| {
                    tracing::warn!(%e, "the ledger does not answer");
                    Refusal::new(
                        RefusalCode::Busy,
                        "this node's ledger does not answer; try again later",
                    )
                })?;
                let Some(found) = found else {
                    let text =
                        "this node's ledger has no such payment session; open it there first";
                    return Err(Refusal::new(RefusalCode::Unpaid, text));
                };
                let offer = Offer {
                    from: payer.from,
                    session: payer.session,
                    model: payer.model,
                    layers: payer.layers,
                    lane,
                };
                self.till.bind(&offer, &found).map(|()| Paying::Ready)
            }
            Pay::Voucher(signed) => {
                if let Some(claim) = self.till.take(&payer.session, &signed)? {
                    self.keep(&claim)?;
                }
                Ok(Paying::Noted)
            }
            Pay::Terms(_) => {
                let text = "terms come from nodes, not from clients";
                Err(Refusal::new(RefusalCode::Protocol, text))
            }
        }
    }
}

/// What an unpaid node says to a message about pay.
pub(crate) fn free() -> Refusal {
    let text = "this node takes no pay; ask it without";
    Refusal::new(RefusalCode::Protocol, text)
}

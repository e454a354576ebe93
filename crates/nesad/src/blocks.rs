//! Which blocks a node holds, within its memory and its disk.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nesa_codec::Digest;
use nesa_pipeline::{Refusal, RefusalCode};
use nesa_shards::PartStore;
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::Command;
use crate::config::NodeConfig;
use crate::estimate::show_bytes;
use crate::served::{Record, Records};
use crate::shares::Shares;

/// A range of blocks that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deployed {
    /// Root of the model.
    pub root: Digest,
    /// First block.
    pub first: u32,
    /// One past the last block.
    pub end: u32,
    /// Memory that it takes, estimated, in bytes.
    pub bytes: u64,
}

/// The blocks of a node.
#[derive(Debug)]
pub(crate) struct Blocks {
    pub(crate) store: Arc<PartStore>,
    pub(crate) records: Records,
    /// One load at a time, so that the room for two unpacked layers is needed once.
    pub(crate) loading: tokio::sync::Mutex<()>,
    /// Served ranges, the least recently deployed first.
    served: Mutex<Vec<Deployed>>,
    reserved: AtomicU64,
    budget: u64,
    changed: watch::Sender<u64>,
}

/// Who serves blocks: the actor and the holder of shares.
#[derive(Clone, Copy)]
pub(crate) struct Servers<'a> {
    pub(crate) commands: &'a mpsc::Sender<Command>,
    pub(crate) shares: &'a Shares,
}

/// Memory that a load has claimed; given back unless the load ends well.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    blocks: &'a Blocks,
    bytes: u64,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.blocks
            .reserved
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Blocks {
    pub(crate) fn open(config: &NodeConfig) -> nesa_shards::Result<Self> {
        Ok(Self {
            store: Arc::new(PartStore::open(
                &config.home.join("parts"),
                config.disk_bytes,
            )?),
            records: Records::open(config.home.join("served"))?,
            loading: tokio::sync::Mutex::default(),
            served: Mutex::default(),
            reserved: AtomicU64::new(0),
            budget: config.memory_bytes,
            changed: watch::Sender::new(0),
        })
    }

    fn served(&self) -> MutexGuard<'_, Vec<Deployed>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deployed(&self) -> Vec<Deployed> {
        self.served().clone()
    }

    /// Changes whenever what is served does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Bytes of packed weights, and of those that are being packed.
    pub(crate) fn used(&self) -> u64 {
        let served: u64 = self.served().iter().map(|d| d.bytes).sum();
        served + self.reserved.load(Ordering::Relaxed)
    }

    /// Whether exactly this range is served; if so it counts as the most recent one.
    pub(crate) fn touch(&self, root: &Digest, first: u32, end: u32) -> bool {
        let mut served = self.served();
        let at = served
            .iter()
            .position(|d| (d.root, d.first, d.end) == (*root, first, end));
        if let Some(at) = at {
            let d = served.remove(at);
            served.push(d);
        }
        at.is_some()
    }

    /// Claims `bytes` for the blocks `range` of `root`. Ranges of the same model that overlap it go
    /// first; then, as far as memory needs it, idle ranges of other models and idle ranges of this
    /// one, the least recently deployed first.
    ///
    /// # Errors
    /// A refusal that names both numbers and the flag.
    pub(crate) async fn claim(
        &self,
        servers: Servers<'_>,
        root: &Digest,
        range: Range<u32>,
        bytes: u64,
    ) -> Result<Claim<'_>, Refusal> {
        if bytes > self.budget {
            let text = format!(
                "these blocks take {} of memory, this node gives {}; offer it fewer blocks or start \
                 it with a larger --memory",
                show_bytes(bytes),
                show_bytes(self.budget)
            );
            return Err(Refusal::new(RefusalCode::TooLarge, text));
        }
        let overlaps = |d: &Deployed| d.root == *root && d.first < range.end && range.start < d.end;
        let mut candidates = self.deployed();
        candidates.sort_by_key(|d| (!overlaps(d), d.root == *root));
        for d in candidates {
            if !overlaps(&d) && self.used() + bytes <= self.budget {
                break;
            }
            let idle = self.withdraw(servers, &d).await;
            if !idle && overlaps(&d) {
                let text = "sessions run on other blocks of this model; try again when they ended";
                return Err(Refusal::new(RefusalCode::Busy, text));
            }
        }
        if self.used() + bytes > self.budget {
            let text = format!(
                "these blocks take {} of memory, {} of {} are in use by running sessions; try again \
                 later or start the node with a larger --memory",
                show_bytes(bytes),
                show_bytes(self.used()),
                show_bytes(self.budget)
            );
            return Err(Refusal::new(RefusalCode::Busy, text));
        }
        self.reserved.fetch_add(bytes, Ordering::Relaxed);
        Ok(Claim {
            blocks: self,
            bytes,
        })
    }

    /// Stops serving `d` unless sessions run on it.
    async fn withdraw(&self, servers: Servers<'_>, d: &Deployed) -> bool {
        let (root, layers) = (d.root, d.first as usize..d.end as usize);
        // New sessions of shares are not admitted from here on; back if the other side is busy.
        let Some(shard) = servers.shares.withdraw(&root, &layers) else {
            return false;
        };
        let (done, answer) = oneshot::channel();
        let withdraw = Command::Withdraw { root, layers, done };
        let asked = servers.commands.send(withdraw).await;
        let idle = asked.is_ok() && answer.await.unwrap_or(false);
        if idle {
            self.served()
                .retain(|s| (s.root, s.first, s.end) != (d.root, d.first, d.end));
            if let Err(e) = self.records.forget(&root, d.first, d.end) {
                tracing::warn!(%e, "a record could not be removed");
            }
            self.changed.send_modify(|n| *n += 1);
        } else {
            shard
                .into_iter()
                .for_each(|s| servers.shares.serve(root, s));
        }
        idle
    }

    /// Notes that the blocks of `claim` are served.
    pub(crate) fn serve(&self, claim: Claim<'_>, record: &Record) {
        let root = record.manifest.root();
        let new = Deployed {
            root,
            first: record.first,
            end: record.end,
            bytes: claim.bytes,
        };
        self.served().push(new);
        drop(claim);
        if let Err(e) = self.records.keep(record) {
            tracing::warn!(%e, "the blocks will not be served again after a restart");
        }
        self.changed.send_modify(|n| *n += 1);
    }

    /// Makes room on disk: parts of models that are not served go.
    pub(crate) fn trim(&self, keep: &Digest) -> nesa_shards::Result<()> {
        let served = self.deployed();
        for root in self.store.models()? {
            if root != *keep && served.iter().all(|d| d.root != root) {
                self.store.discard_model(&root)?;
            }
        }
        Ok(())
    }
}

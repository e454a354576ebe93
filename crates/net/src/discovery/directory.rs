//! The bootstrap node's state: which peers are listed, and for how long.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{PAGE_RECORDS_MAX, Page, Query, Refusal, Roles, SignedRecord};
use crate::PeerId;

/// Limits of a [`Directory`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryConfig {
    /// Records kept: 4096 of at most 2 kB.
    pub records_max: usize,
    /// Longest life of a record, in ms; peers renew at a third of it.
    pub ttl_ms_max: u64,
    /// How far ahead a peer's clock may run, in ms.
    pub clock_skew_ms_max: u64,
    /// Requests per second on one stream, on average.
    pub requests_per_second: u32,
    /// Requests at once on one stream.
    pub requests_burst: u32,
    /// Dials back at once, over all peers.
    pub probes_max: usize,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            records_max: 4096,
            ttl_ms_max: 120_000,
            clock_skew_ms_max: 60_000,
            requests_per_second: 5,
            requests_burst: 20,
            probes_max: 16,
        }
    }
}

/// Peer records, newest epoch per peer. Pure: time and probe results come in.
#[derive(Debug)]
pub struct Directory {
    config: DirectoryConfig,
    records: BTreeMap<PeerId, SignedRecord>,
}

impl Directory {
    /// An empty directory.
    #[must_use]
    pub fn new(config: DirectoryConfig) -> Self {
        Self {
            config,
            records: BTreeMap::new(),
        }
    }

    /// Its limits.
    #[must_use]
    pub fn config(&self) -> &DirectoryConfig {
        &self.config
    }

    /// Number of records, expired ones included until [`Directory::expire`].
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there is no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Checks whether `from` may announce `record`; the next step is to dial its addresses.
    ///
    /// # Errors
    /// Any [`Refusal`] but `Busy` and `Malformed`.
    pub fn check(
        &mut self,
        now_ms: u64,
        from: PeerId,
        signed: &SignedRecord,
    ) -> Result<(), Refusal> {
        let record = &signed.record;
        if record.peer != from {
            return Err(Refusal::NotYours);
        }
        let ttl_ms_max = self.config.ttl_ms_max;
        let latest_ms = now_ms
            .saturating_add(ttl_ms_max)
            .saturating_add(self.config.clock_skew_ms_max);
        if record.expires_ms > latest_ms {
            return Err(Refusal::LivesTooLong { ttl_ms_max, now_ms });
        }
        if record.addresses.is_empty() {
            return Err(Refusal::NoAddress);
        }
        if let Some(known) = self.records.get(&from) {
            let epoch = known.record.epoch;
            let alive = known.record.expires_ms > now_ms;
            if alive && (epoch > record.epoch || (epoch == record.epoch && known != signed)) {
                return Err(Refusal::Stale { epoch });
            }
        } else if self.records.len() >= self.config.records_max {
            self.expire(now_ms);
            if self.records.len() >= self.config.records_max {
                return Err(Refusal::Full);
            }
        }
        signed.verify(now_ms)
    }

    /// Lists a record whose address answered. Checks again, since time has passed.
    ///
    /// # Errors
    /// As [`Directory::check`].
    pub fn admit(
        &mut self,
        now_ms: u64,
        from: PeerId,
        signed: SignedRecord,
    ) -> Result<(), Refusal> {
        self.check(now_ms, from, &signed)?;
        self.records.insert(from, signed);
        Ok(())
    }

    /// Forgets the record of `peer`, if its epoch is at most `epoch`: the peer left, its
    /// connection broke, or its newer addresses do not answer.
    ///
    /// # Errors
    /// [`Refusal::Stale`] if a later record is listed.
    pub fn remove(&mut self, peer: PeerId, epoch: u64) -> Result<(), Refusal> {
        match self.records.get(&peer) {
            Some(known) if known.record.epoch > epoch => Err(Refusal::Stale {
                epoch: known.record.epoch,
            }),
            _ => {
                self.records.remove(&peer);
                Ok(())
            }
        }
    }

    /// The next page of living records that match `query`.
    #[must_use]
    pub fn list(&self, now_ms: u64, query: &Query) -> Page {
        let after = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut matching = self
            .records
            .range((after, Bound::Unbounded))
            .map(|(_, signed)| signed)
            .filter(|s| s.record.expires_ms > now_ms)
            .filter(|s| query.roles == Roles::default() || s.record.roles.any_of(query.roles))
            .filter(|s| match query.model_root {
                None => true,
                Some(root) => s.record.offers.iter().any(|o| o.model_root == root),
            });
        let records = matching.by_ref().take(PAGE_RECORDS_MAX).cloned().collect();
        Page {
            records,
            more: matching.next().is_some(),
        }
    }

    /// Drops what is over.
    pub fn expire(&mut self, now_ms: u64) {
        self.records.retain(|_, s| s.record.expires_ms > now_ms);
    }
}

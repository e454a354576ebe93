//! What goes wrong in the simulated world: crashes, goodbyes, partitions, cuts.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::parts::{Broken, Conn, Event};
use super::world::World;
use crate::{Address, LossReason, NetConfig, NetError, PeerId};

impl World {
    pub(super) fn restart(
        &mut self,
        node: u32,
        peer: PeerId,
        config: Arc<NetConfig>,
    ) -> Result<u64, NetError> {
        let address = Address::Simulated(node);
        let Some(n) = self.nodes.get_mut(&node) else {
            return Err(NetError::AddressInvalid {
                text: address.to_string(),
                reason: "no such node ever joined",
            });
        };
        if n.up {
            return Err(NetError::AddressInUse { address });
        }
        n.up = true;
        n.life += 1;
        n.peer = peer;
        n.config = config;
        let life = n.life;
        self.note(Event::Restart, u64::from(node), life, &peer.0);
        Ok(life)
    }

    /// Connections of others to `node` that outlived it: (id, the other's side, the other).
    pub(super) fn orphans(&self, node: u32) -> Vec<(u64, usize, u32)> {
        self.conns_of(node)
            .filter(|(_, c, side)| c.broken[*side].is_some() && c.broken[1 - side].is_none())
            .map(|(id, c, side)| (id, 1 - side, c.nodes[1 - side]))
            .collect()
    }

    fn conns_of(&self, node: u32) -> impl Iterator<Item = (u64, &Conn, usize)> {
        self.conns.iter().flat_map(move |(id, c)| {
            [0, 1]
                .into_iter()
                .filter(move |side| c.nodes[*side] == node)
                .map(move |side| (*id, c, side))
        })
    }

    /// Takes a node down; gives its connections, by whose other side they still stand.
    fn take_down(&mut self, node: u32) -> Vec<(u64, usize, u64)> {
        let Some(n) = self.nodes.get_mut(&node) else {
            return Vec::new();
        };
        n.up = false;
        n.backlog.clear();
        n.changed.notify_waiters();
        let mine: Vec<_> = self
            .conns_of(node)
            .map(|(id, c, side)| (id, side, c.idle_ms()))
            .collect();
        for (id, side, _) in &mine {
            self.break_side(*id, *side, Broken::Here);
        }
        mine.into_iter()
            .map(|(id, side, idle_ms)| (id, 1 - side, idle_ms))
            .collect()
    }

    pub(super) fn crash(&mut self, node: u32) -> Vec<(u64, usize, u64)> {
        self.note(Event::Crash, u64::from(node), 0, &[]);
        self.take_down(node)
    }

    /// As a crash, but with a goodbye: (id, other side, delay in ms).
    pub(super) fn close_node(&mut self, node: u32) -> Vec<(u64, usize, u64)> {
        self.note(Event::Close, u64::from(node), 0, &[]);
        let mut goodbyes = self.take_down(node);
        for (id, side, ms) in &mut goodbyes {
            *ms = self.goodbye_ms(*id, *side);
        }
        goodbyes
    }

    /// How long a goodbye to `side` takes; on a blocked path silence has to do.
    pub(super) fn goodbye_ms(&mut self, id: u64, side: usize) -> u64 {
        let Some(c) = self.conns.get(&id) else {
            return 0;
        };
        let (from, to) = (c.nodes[1 - side], c.nodes[side]);
        if self.is_blocked(from, to) {
            c.idle_ms()
        } else {
            self.delay_ms(from, to)
        }
    }

    /// Blocks directions; gives the connections concerned: (id, partition, idle limit in ms).
    pub(super) fn block(&mut self, pairs: BTreeSet<(u32, u32)>) -> Vec<(u64, u64, u64)> {
        self.partitions += 1;
        let epoch = self.partitions;
        for (a, b) in pairs {
            if self.blocked.insert((a, b), epoch).is_none() {
                self.note(Event::Block, u64::from(a), u64::from(b), &[]);
            }
        }
        self.conns
            .iter()
            .filter(|(_, c)| self.blocked.get(&(c.nodes[0], c.nodes[1])) == Some(&epoch))
            .map(|(id, c)| (*id, epoch, c.idle_ms()))
            .collect()
    }

    pub(super) fn break_if_blocked(&mut self, id: u64, epoch: u64) {
        let Some(c) = self.conns.get(&id) else {
            return;
        };
        if self.blocked.get(&(c.nodes[0], c.nodes[1])) == Some(&epoch) {
            for side in 0..2 {
                self.break_side(id, side, Broken::Lost(LossReason::Idle));
            }
        }
    }

    pub(super) fn unblock(&mut self) {
        self.blocked.clear();
        self.note(Event::Unblock, 0, 0, &[]);
        for c in self.conns.values() {
            c.changed.notify_waiters();
        }
        for n in self.nodes.values() {
            n.changed.notify_waiters();
        }
    }

    pub(super) fn cut(&mut self, a: u32, b: u32) {
        self.note(Event::Cut, u64::from(a), u64::from(b), &[]);
        let between = |c: &Conn| c.nodes == [a, b] || c.nodes == [b, a];
        let ids: Vec<_> = self
            .conns
            .iter()
            .filter(|(_, c)| between(c))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            for side in 0..2 {
                self.break_side(id, side, Broken::Lost(LossReason::Reset));
            }
        }
    }
}

//! Ways in which a node can lie, for tests of the evidence. An honest node has none.
//!
//! Each liar is consistent: it commits to and opens what it really sent, so that only
//! recomputation can find it out.

use std::str::FromStr;

use nesa_model::{Block, Ffn, Linear};

use crate::share::ShareFault;

/// One kind of lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Flips one bit of one value of one row of a session, at the hop's last layer.
    FlipBit,
    /// Passes the rows of its first layer on unchanged.
    SkipLayer,
    /// Runs other weights: every 97th weight is off by one.
    OtherWeights,
    /// Runs 4-bit weights.
    Int4,
    /// Puts out the rows of an earlier session.
    Replay,
    /// Puts out the rows of another session that runs at the same time, or of the last one.
    Splice,
    /// Rotates every position as if it stood one further.
    WrongPositions,
    /// States sums of products that differ in the last bit from those that it goes on with. Only who checks every
    /// product sees them.
    FlipSum,
    /// Lies to those who share their inputs among holders; honest otherwise.
    Share(ShareFault),
}

impl Fault {
    /// All faults of a hop that change what it puts out.
    pub const ALL: [Self; 7] = [
        Self::FlipBit,
        Self::SkipLayer,
        Self::OtherWeights,
        Self::Int4,
        Self::Replay,
        Self::Splice,
        Self::WrongPositions,
    ];

    /// The lie to those who share their inputs.
    #[must_use]
    pub fn of_shares(self) -> Option<ShareFault> {
        match self {
            Self::Share(fault) => Some(fault),
            _ => None,
        }
    }

    /// The block that a node with this fault runs instead of `block`.
    #[must_use]
    pub fn corrupt(self, mut block: Block) -> Block {
        let change: fn(usize, i8) -> i8 = match self {
            Self::OtherWeights | Self::Share(ShareFault::OtherWeights) => |i, w| {
                if i % 97 == 0 {
                    if w < 127 { w + 1 } else { w - 1 }
                } else {
                    w
                }
            },
            Self::Int4 => |_, w| (w / 16) * 16,
            _ => return block,
        };
        let all = |l: &mut Linear| {
            l.weight
                .iter_mut()
                .enumerate()
                .for_each(|(i, w)| *w = change(i, *w));
        };
        for l in [&mut block.q, &mut block.k, &mut block.v, &mut block.o] {
            all(l);
        }
        match &mut block.ffn {
            Ffn::Gated { gate, up, down, .. } => {
                all(gate);
                all(up);
                all(down);
            }
            Ffn::Plain { up, down } => {
                all(up);
                all(down);
            }
        }
        block
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Ok(match s {
            "flip-bit" => Self::FlipBit,
            "skip-layer" => Self::SkipLayer,
            "other-weights" => Self::OtherWeights,
            "int4" => Self::Int4,
            "replay" => Self::Replay,
            "splice" => Self::Splice,
            "wrong-positions" => Self::WrongPositions,
            "flip-sum" => Self::FlipSum,
            _ => {
                let named = ShareFault::ALL.into_iter().find(|f| f.name() == s);
                Self::Share(named.ok_or_else(|| format!("unknown fault '{s}'"))?)
            }
        })
    }
}

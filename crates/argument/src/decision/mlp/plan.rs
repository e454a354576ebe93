//! Which values of a batch are committed: the tensors of every layer, from sizes alone.
//!
//! Rows are a layer's outputs and columns the decisions, padded to a power of two.

use nesa_decision::Mlp;
use nesa_decision::mlp::Layer;
use nesa_model::spec::ACT_MAX;

use super::proof::Stated;
use crate::decision::{CELLS_LOG_MAX, Refusal};
use crate::field::F;
use crate::layout::{Layout, TensorId, log_ceil};
use crate::tables::Lookup;

/// Bits of a limb, at least and at most.
const LIMB_BITS: std::ops::RangeInclusive<u32> = 3..=16;

/// A value `v` in `[0, max]` of at most `bits` bits, from both ends: the limbs of `v`, and those of `max − v` but
/// the highest, which follows from all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounded {
    /// Limbs of the value, lowest first.
    pub low: Vec<TensorId>,
    /// Limbs of `max − v` below the highest, lowest first.
    pub high: Vec<TensorId>,
    /// Bits of `max`.
    pub bits: u32,
}

/// What a layer's rounded sum becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// The input of an activation table, and its output.
    Table(TensorId, TensorId),
    /// The next layer's input as it is, moved up by the clamp.
    Plain(Bounded),
    /// Scores, which the statement has.
    Scores,
}

/// Tensors of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerPlan {
    /// The rounding's remainder, moved to start at zero.
    pub rest: Bounded,
    /// The rounded value.
    pub out: Out,
}

/// Everything committed for a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Places.
    pub layout: Layout,
    /// Per layer.
    pub layers: Vec<LayerPlan>,
    /// Bits of a limb, and of the range table.
    pub limb: u32,
    /// Multiplicities of the range table.
    pub range: TensorId,
    /// Multiplicities of the activation tables.
    pub tables: Vec<TensorId>,
    /// Decisions.
    pub decisions: usize,
    /// Log of the padded decisions.
    pub log_n: u32,
    /// Entries of the activation tables that are listed; none for a whole table.
    pub(super) listed: Vec<Vec<[F; 3]>>,
}

/// Bits of the largest divisor of a layer less one: what a remainder can have.
fn rest_bits(l: &Layer) -> u32 {
    let most = l.linear.divisor.iter().max().map_or(0, |d| d - 1);
    (u32::BITS - most.leading_zeros()).max(1)
}

/// Limbs of a value of `bits` bits.
fn limbs(bits: u32, limb: u32) -> usize {
    bits.div_ceil(limb.max(1)) as usize
}

struct Builder {
    layout: Layout,
    log_n: u32,
    limb: u32,
    /// Values looked up.
    lookups: usize,
}

impl Builder {
    fn rows(&mut self, n: usize) -> TensorId {
        self.layout.add(n, self.log_n)
    }

    fn bounded(&mut self, rows: usize, bits: u32) -> Bounded {
        let n = limbs(bits, self.limb);
        self.lookups += (2 * n * rows) << self.log_n;
        Bounded {
            low: (0..n).map(|_| self.rows(rows)).collect(),
            high: (1..n).map(|_| self.rows(rows)).collect(),
            bits,
        }
    }

    fn layer(&mut self, l: &Layer, last: bool) -> LayerPlan {
        let rows = l.linear.rows;
        let rest = self.bounded(rows, rest_bits(l));
        let out = match (last, l.table) {
            (true, _) => Out::Scores,
            (false, Some(_)) => {
                self.lookups += rows << self.log_n;
                Out::Table(self.rows(rows), self.rows(rows))
            }
            (false, None) => {
                let bits = (2 * ACT_MAX.unsigned_abs()).ilog2() + 1;
                Out::Plain(self.bounded(rows, bits))
            }
        };
        LayerPlan { rest, out }
    }
}

impl Plan {
    /// The tensors of `mlp` over `decisions` rows. The limbs' width is the cheapest, by committed values,
    /// lookups and table entries together.
    ///
    /// # Errors
    /// [`Refusal::Size`].
    pub fn new(mlp: &Mlp, decisions: usize, stated: &Stated) -> Result<Self, Refusal> {
        let log_n = log_ceil(decisions);
        let rows: usize = mlp.layers().iter().map(|l| l.linear.rows).sum();
        if rows << log_n > 1 << CELLS_LOG_MAX {
            return Err(Refusal::Size("number of decisions"));
        }
        let best = LIMB_BITS
            .map(|limb| Self::with_limbs(mlp, decisions, stated, limb))
            .min_by_key(|(_, cost)| *cost);
        let plan = best.map(|(plan, _)| plan);
        plan.filter(|p| p.layout.num_vars() <= CELLS_LOG_MAX)
            .ok_or(Refusal::Size("number of decisions"))
    }

    fn with_limbs(mlp: &Mlp, decisions: usize, stated: &Stated, limb: u32) -> (Self, usize) {
        let mut b = Builder {
            layout: Layout::default(),
            log_n: log_ceil(decisions),
            limb,
            lookups: 0,
        };
        let last = mlp.layers().len().saturating_sub(1);
        let each = mlp.layers().iter().enumerate();
        let layers = each.map(|(i, l)| b.layer(l, i == last)).collect();
        let range = b.layout.add(1, limb + 1);
        let of = |i: usize| entries(mlp, i, stated);
        let listed: Vec<Vec<[F; 3]>> = (0..mlp.tables().len()).map(of).collect();
        let log = |list: &Vec<[F; 3]>| {
            if list.is_empty() {
                16
            } else {
                Lookup::List(0, list).log_len()
            }
        };
        let logs: Vec<u32> = listed.iter().map(log).collect();
        let tables = logs.iter().map(|&log| b.layout.add(1, log)).collect();
        b.layout.place();
        let entries: usize = logs.iter().map(|log| 1usize << log).sum();
        let cost = (1 << b.layout.num_vars()) + b.lookups + entries + (2 << limb);
        let plan = Self {
            log_n: b.log_n,
            layout: b.layout,
            layers,
            limb,
            range,
            tables,
            decisions,
            listed,
        };
        (plan, cost)
    }

    /// Bits of limb `k` of a value of `bits` bits.
    #[must_use]
    pub fn limb_bits(&self, bits: u32, k: usize) -> u32 {
        bits.saturating_sub(self.limb * k as u32).min(self.limb)
    }
}

/// The listed entries of table `i`: (input moved up, output).
fn entries(mlp: &Mlp, i: usize, stated: &Stated) -> Vec<[F; 3]> {
    let list = stated.inputs.get(i).map_or(&[][..], Vec::as_slice);
    let entry = |&k: &u16| {
        let v = mlp.tables()[i].get((i32::from(k) - 32_768) as i16);
        [
            F::new(u64::from(k)),
            crate::field::from_i64(v.into()),
            F::new(0),
        ]
    };
    list.iter().map(entry).collect()
}

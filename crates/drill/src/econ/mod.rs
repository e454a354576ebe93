//! Agents that try to live off a ledger: does honesty pay most where the formulas say so?
//!
//! Everything that the ledger decides is decided by the ledger, in signed transactions: payments and their split, who
//! is audited by whom, slashes, refunds, rewards, burned money. What happens outside it is a number here: what work
//! costs, what a wrong answer is worth elsewhere, whether a check finds a fault. A conviction is the worker's own
//! contradiction; a dispute about arithmetic ends in the same slash.

mod cheat;
mod market;
mod others;

use anyhow::Result;
use nesa_ledger::Amount;
use serde_json::{Value, json};

/// Convictions per run of a point: the flip is then known to about three parts in a hundred.
const CONVICTIONS: f64 = 600.0;
/// Points that must flip where predicted.
const POINTS_MIN: usize = 30;

/// Runs every agent; `quick` with few convictions, to see that all of it runs.
pub(crate) fn run(quick: bool) -> Result<Value> {
    let convictions = if quick { 40.0 } else { CONVICTIONS };
    let jobs = if quick { 400 } else { 4_000 };
    let wash = others::wash(jobs)?;
    let own = others::self_audit(jobs)?;
    let lazy = others::lazy(jobs)?;
    let grief = others::grief()?;
    let defaults = cheat::at_defaults(convictions)?;
    let points = cheat::all(convictions)?;
    let good = points
        .iter()
        .filter(|p| p["flips_as_predicted"] == true)
        .count();
    let worst = points
        .iter()
        .filter_map(|p| p["measured_over_predicted"].as_f64());
    let worst = worst.map(|x| (x - 1.0).abs()).fold(0.0, f64::max);
    let loses = |v: &Value| v["profit_per_fee"].as_f64().is_some_and(|p| p < 0.0);
    let ok = good >= POINTS_MIN
        && good == points.len()
        && loses(&wash)
        && loses(&own)
        && defaults["cheating_over_honest"]
            .as_f64()
            .is_some_and(|p| p < 0.0)
        && lazy.iter().all(|p| p["flips_as_predicted"] == true)
        && grief.iter().all(|g| g["costs_more_than_it_harms"] == true);
    Ok(json!({
        "ok": ok,
        "points": points.len(),
        "points_that_flip_as_predicted": good,
        "largest_deviation": worst,
        "at_defaults": defaults,
        "wash_trading": wash,
        "self_audit": own,
        "lazy_auditors": lazy,
        "griefing": grief,
        "cheating": points,
    }))
}

/// A sum of NES as a number of this simulation.
fn nes(sum: Amount) -> f64 {
    sum.0 as f64 / 1e18
}

/// Fees of one NES each as a sum.
fn units(fees: f64) -> Amount {
    Amount((fees * 1e18) as u128)
}

/// Chance outside the ledger: SplitMix64.
struct Luck(u64);

impl Luck {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, chance: f64) -> bool {
        ((self.next() >> 11) as f64) < chance * (1u64 << 53) as f64
    }
}

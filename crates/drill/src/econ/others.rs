//! Agents that trade with themselves, audit themselves, do not look, or only want to harm.

use anyhow::{Result, ensure};
use nesa_ledger::disputes;
use nesa_ledger::staking::{self, abi::IStaking::delegateCall};
use nesa_ledger::{Amount, Params};
use serde_json::{Value, json};

use super::market::{FEE, Job, Market, params};
use super::{Luck, nes, units};
use crate::keys;

/// The agent's accounts: it pays itself.
const PAYER: u32 = 0;
const WORKER: u32 = 1;
/// Others, who pay into the same pots.
const OTHER_PAYER: u32 = 2;
const OTHER_WORKER: u32 = 3;
const FIRST_AUDITOR: u32 = 4;
/// What the market's parameters keep of the defaults: every rate of the split, the audits' chance, emission per stake.
const DEFAULT_AUDIT_PPM: u32 = 50_000;

/// Money of accounts together.
fn together(m: &Market, all: &[u32]) -> Result<f64> {
    let each = all.iter().map(|&who| Ok(nes(m.wealth(who)?)));
    each.sum()
}

/// An agent buys work from itself, for emission; beside one that holds the same stake and does nothing.
pub(super) fn wash(jobs: u32) -> Result<Value> {
    let run = |trades: bool| -> Result<f64> {
        let params = Params {
            emission: Amount::nes(100),
            epoch_blocks: 5,
            ..params(DEFAULT_AUDIT_PPM, 3, Params::default().dispute_slash_min)
        };
        let mut m = Market::new(params, FIRST_AUDITOR + 1)?;
        m.join(WORKER, false)?;
        let validator = keys::ed25519("validator", 0).verifying_key().to_bytes();
        let delegate = delegateCall {
            validator: validator.into(),
        };
        m.w.call(WORKER, staking::ADDRESS, Amount::nes(1_000), &delegate)?;
        let before = together(&m, &[PAYER, WORKER])?;
        let mut done = 0;
        while done < jobs {
            if trades {
                m.work(PAYER, WORKER, 400)?;
            } else {
                m.done()?;
                m.done()?;
            }
            done += 400;
        }
        while m.w.next_height() % 5 != 1 {
            m.done()?;
        }
        let withdraw = nesa_ledger::staking::abi::IStaking::withdrawRewardsCall {
            validator: validator.into(),
        };
        m.w.call(WORKER, staking::ADDRESS, Amount::ZERO, &withdraw)?;
        m.w.recount()?;
        Ok(together(&m, &[PAYER, WORKER])? - before)
    };
    let (traded, idle) = (run(true)?, run(false)?);
    ensure!(idle > 0.0, "a stake earns emission");
    Ok(json!({
        "jobs": jobs,
        "earned_by_the_stake_alone": idle,
        "profit_per_fee": (traded - idle) / f64::from(jobs) / nes(FEE),
        "predicted_per_fee": -0.15,
    }))
}

/// An agent pays itself, records its own work, and bonds every auditor that is enlisted: the auditors' wages are its
/// own. Others have filled the auditors' pot before.
pub(super) fn self_audit(jobs: u32) -> Result<Value> {
    let auditors = 6;
    let p = params(DEFAULT_AUDIT_PPM, 3, Params::default().dispute_slash_min);
    let mut m = Market::new(p, FIRST_AUDITOR + auditors + 1)?;
    m.join(WORKER, false)?;
    m.join(OTHER_WORKER, false)?;
    for i in 0..auditors {
        m.join(FIRST_AUDITOR + i, true)?;
    }
    m.work(OTHER_PAYER, OTHER_WORKER, jobs)?;
    let mut own: Vec<u32> = (FIRST_AUDITOR..FIRST_AUDITOR + auditors).collect();
    own.extend([PAYER, WORKER]);
    let before = together(&m, &own)?;
    let (mut done, mut drawn) = (0, 0);
    while done < jobs {
        let mut work = m.work(PAYER, WORKER, 400)?;
        done += work.len() as u32;
        m.draw(PAYER, WORKER, &mut work, &|_| false)?;
        drawn += work.iter().filter(|j| !j.seats.is_empty()).count();
        m.audit(PAYER, &work, &|_, job, _| job.claimed(), &|_| false)?;
        m.rest()?;
    }
    m.w.recount()?;
    let profit = together(&m, &own)? - before;
    Ok(json!({
        "jobs": done,
        "drawn": drawn,
        "profit_per_fee": profit / f64::from(done) / nes(FEE),
        "predicted_per_fee": -0.10,
    }))
}

/// Auditors that repeat what they were told instead of computing, beside honest ones; canaries decide.
pub(super) fn lazy(jobs: u32) -> Result<Vec<Value>> {
    let (canaries, costs) = ([0.02, 0.05, 0.1], [0.05, 0.2]);
    let mut out = Vec::new();
    for (i, (k, cost)) in canaries
        .iter()
        .flat_map(|k| costs.map(|c| (*k, c)))
        .enumerate()
    {
        // One canary in 1/k of the audits: looking costs `cost`, not looking k of the slash.
        let predicted = cost / k;
        let at = |part: f64| not_looking(k, predicted * part, jobs, i as u64);
        let (low, high) = (at(0.9)?, at(1.1)?);
        let (below, above) = (cost - low, cost - high);
        let flip = 0.9 + 0.2 * below / (below - above);
        out.push(json!({
            "canaries": k, "cost_in_fees": cost,
            "slash_predicted_in_fees": predicted,
            "measured_over_predicted": flip,
            "flips_as_predicted": (flip - 1.0).abs() <= 0.1,
        }));
    }
    Ok(out)
}

/// What an auditor that never looks loses per seat to canaries.
fn not_looking(canaries: f64, slash: f64, jobs: u32, seed: u64) -> Result<f64> {
    let p = Params {
        audit_slash: units(slash),
        ..params(1_000_000, 1, Params::default().dispute_slash_min)
    };
    let lazy = FIRST_AUDITOR;
    let mut m = Market::new(p, FIRST_AUDITOR + 2)?;
    m.join(OTHER_WORKER, false)?;
    m.join(lazy, true)?;
    let before = nes(m.bond(lazy)?);
    let (mut luck, mut seats, mut done) = (Luck(seed), 0usize, 0);
    let mut owed = 0.0;
    while done < jobs {
        let mut work = m.work(OTHER_PAYER, OTHER_WORKER, 200)?;
        done += work.len() as u32;
        // Evenly spread, so that their number is the rate's; which ones is chance.
        owed += canaries * work.len() as f64;
        let mut planted = vec![false; work.len()];
        while owed >= 1.0 {
            let at = (luck.next() % work.len() as u64) as usize;
            if !planted[at] {
                planted[at] = true;
                owed -= 1.0;
            }
        }
        let plant = |i: usize| planted[i];
        m.draw(OTHER_PAYER, OTHER_WORKER, &mut work, &plant)?;
        seats += work.iter().map(|j| j.seats.len()).sum::<usize>();
        let told = |i: usize, job: &Job, _: u32| match planted[i] {
            true => nesa_ledger::disputes::audits::plant(&job.salt()),
            false => job.claimed(),
        };
        m.audit(OTHER_PAYER, &work, &told, &plant)?;
        for (_, job) in work.iter().enumerate().filter(|(i, _)| planted[*i]) {
            m.w.push(
                OTHER_PAYER,
                disputes::ADDRESS,
                Amount::ZERO,
                &Market::plant_of(job),
            );
        }
        m.rest()?;
    }
    m.w.recount()?;
    ensure!(seats > 0, "nobody was drawn");
    Ok((before - nes(m.bond(lazy)?)) / nes(FEE) / seats as f64)
}

/// What harming others costs: evidence that proves nothing, sessions that nobody needs, claims of dust.
pub(super) fn grief() -> Result<Vec<Value>> {
    let mut out = Vec::new();
    for what in ["false_evidence", "sessions_never_used", "dust_claims"] {
        let p = params(DEFAULT_AUDIT_PPM, 3, Params::default().dispute_slash_min);
        let mut m = Market::new(p, FIRST_AUDITOR + 1)?;
        m.join(OTHER_WORKER, false)?;
        let honest = m.work(OTHER_PAYER, OTHER_WORKER, 50)?;
        let victims = [OTHER_PAYER, OTHER_WORKER];
        let (before, own) = (together(&m, &victims)?, together(&m, &[PAYER])?);
        let rows = m.w.tip.state.len();
        let tries = match what {
            "false_evidence" => honest
                .iter()
                .map(|j| m.accuse(PAYER, j))
                .collect::<Result<Vec<_>>>()?
                .len(),
            "sessions_never_used" => m.open_idle(PAYER, 100)?,
            _ => m.claim_again(PAYER, &honest)?,
        };
        let _ = m.w.block()?;
        let grown = m.w.tip.state.len().saturating_sub(rows);
        // Whatever was opened ends, and leaves nothing behind.
        for _ in 0..1_040 {
            m.done()?;
        }
        m.w.recount()?;
        let (harm, cost) = (
            before - together(&m, &victims)?,
            own - together(&m, &[PAYER])?,
        );
        let left = m.w.tip.state.len().saturating_sub(rows);
        out.push(json!({
            "what": what, "tries": tries,
            "cost_nes": cost, "harm_nes": harm,
            "rows_meanwhile": grown, "rows_left": left,
            "costs_more_than_it_harms": cost > harm && cost > 0.0,
        }));
    }
    Ok(out)
}

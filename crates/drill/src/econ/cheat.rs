//! A worker that may cheat, auditors that may collude, and where cheating stops paying.
//!
//! The ledger draws audits and auditors, takes slashes and moves money. The simulation adds what no ledger sees: what
//! work costs, what a wrong answer is worth elsewhere, and whether the check of an honest auditor finds the fault.

use anyhow::{Result, ensure};
use nesa_ledger::disputes::penalty;
use nesa_ledger::{Amount, Params};
use serde_json::{Value, json};

use super::market::{FEE, Market, params};
use super::{Luck, nes, units};

/// Enlisted auditors.
const AUDITORS: u32 = 12;
const PAYER: u32 = 0;
const WORKER: u32 = 1;
const FIRST_AUDITOR: u32 = 2;
/// Jobs that are under way at once.
const WAVE: u32 = 400;
/// How far from the predicted slash the flip may lie.
const TOLERANCE: f64 = 0.1;

/// What is varied. Money in parts of the fee.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    /// How likely work is audited.
    p: f64,
    /// How likely the check of honest auditors finds the fault.
    d: f64,
    /// What part of the auditors colludes with the worker.
    r: f64,
    /// Auditors of one audit.
    n: u32,
    /// What cheating saves.
    g: f64,
    /// What a wrong answer is worth elsewhere, where it stands.
    v: f64,
}

impl Point {
    /// How many of the enlisted auditors collude.
    fn colluding(&self) -> u32 {
        (self.r * f64::from(AUDITORS)).round() as u32
    }

    /// The probability that a lie is punished: any one honest auditor suffices. Auditors are drawn without putting them
    /// back; among very many the last factor is `1 − rⁿ`.
    fn caught(&self) -> f64 {
        let (k, all) = (f64::from(self.colluding()), f64::from(AUDITORS));
        let none_honest = (0..self.n).map(|i| ((k - f64::from(i)) / (all - f64::from(i))).max(0.0));
        self.p * self.d * (1.0 - none_honest.product::<f64>())
    }

    /// The slash from which honesty pays more, `(g + v)/q − v`: what is taken in all, the refund of the fee included.
    /// The bound of the design, `(g + v)/q − F − v`, is for what is taken beyond the fee.
    fn predicted(&self) -> f64 {
        (self.g + self.v) / self.caught() - self.v
    }
}

/// The points: every value of every parameter, in many combinations.
pub(super) fn points() -> Vec<Point> {
    let (p, d) = ([0.1, 0.2, 0.4], [1.0, 0.8, 0.5]);
    let (r, n) = ([0.0, 0.34, 0.5, 0.67], [1, 3]);
    let (g, v) = ([0.2, 0.5, 0.8], [0.0, 1.0, 3.0]);
    let point = |i: usize| Point {
        p: p[i % 3],
        d: d[(i / 3) % 3],
        r: r[(i * 5 / 2) % 4],
        n: n[(i / 2) % 2],
        g: g[(i / 4 + i) % 3],
        v: v[(i / 5) % 3],
    };
    (0..36).map(point).collect()
}

/// What a worker gained per job, in fees, and how often it was caught.
struct Gained {
    profit: f64,
    caught: f64,
}

/// Runs a worker that always cheats, or never, until enough of it was seen.
fn run(point: &Point, slash: f64, cheats: bool, jobs: u32, seed: u64) -> Result<Gained> {
    let ppm = (point.p * 1e6).round() as u32;
    let params = params(ppm, point.n, units(slash));
    let mut m = Market::new(params, FIRST_AUDITOR + AUDITORS + 1)?;
    m.join(WORKER, false)?;
    for i in 0..AUDITORS {
        m.join(FIRST_AUDITOR + i, true)?;
    }
    let honest = |who: u32| who - FIRST_AUDITOR >= point.colluding();
    let mut luck = Luck(seed);
    let before = m.wealth(WORKER)?;
    let (mut done, mut convicted) = (0u32, 0u32);
    while done < jobs {
        let mut work = m.work(PAYER, WORKER, WAVE)?;
        done += work.len() as u32;
        m.draw(PAYER, WORKER, &mut work, &|_| false)?;
        let found: Vec<bool> = work
            .iter()
            .map(|j| {
                let any = j.seats.iter().any(|s| honest(*s));
                cheats && any && luck.happens(point.d)
            })
            .collect();
        let says = |i: usize, job: &super::market::Job, who: u32| match found[i] && honest(who) {
            true => job.other(),
            false => job.claimed(),
        };
        m.audit(PAYER, &work, &says, &|_| false)?;
        for (i, job) in work.iter().enumerate().filter(|(i, _)| found[*i]) {
            let by = job.seats.iter().copied().find(|s| honest(*s));
            m.convict(by.unwrap_or(i as u32), WORKER, job)?;
            convicted += 1;
        }
        m.rest()?;
    }
    m.w.recount()?;
    ensure!(m.bond(WORKER)? > Amount::ZERO, "the bond is gone");
    let on_chain = nes(m.wealth(WORKER)?) - nes(before);
    let (all, bad) = (f64::from(done), f64::from(convicted));
    // An honest job costs what the fee leaves after the split at most; a lie saves g of it.
    let cost = if cheats { 0.8 - point.g } else { 0.8 };
    let elsewhere = if cheats {
        point.v * (all - bad) / all
    } else {
        0.0
    };
    Ok(Gained {
        profit: on_chain / nes(FEE) / all - cost + elsewhere,
        caught: bad / all,
    })
}

/// Measures a point at a tenth below and above the predicted slash.
fn flip(point: &Point, convictions: f64, seed: u64) -> Result<Value> {
    let predicted = point.predicted();
    // What is at stake outside makes the flip more sensitive to how often a lie is caught than the slash itself is.
    let steep = (point.g + point.v) / point.caught() / predicted;
    let jobs = (convictions * steep.powi(2) / point.caught()).ceil() as u32;
    let honest = run(point, predicted, false, WAVE, seed)?;
    let below = run(point, predicted * (1.0 - TOLERANCE), true, jobs, seed + 1)?;
    let above = run(point, predicted * (1.0 + TOLERANCE), true, jobs, seed + 2)?;
    let (low, high) = (below.profit - honest.profit, above.profit - honest.profit);
    // Profit falls in a line with the slash: where it meets the honest worker's.
    let at = (1.0 - TOLERANCE) + 2.0 * TOLERANCE * low / (low - high);
    Ok(json!({
        "p": point.p, "d": point.d, "colluding": point.r, "auditors": point.n, "gain": point.g, "outside": point.v,
        "jobs": 2 * jobs,
        "caught_predicted": point.caught(),
        "caught": (below.caught + above.caught) / 2.0,
        "slash_predicted_in_fees": predicted,
        "slash_measured_in_fees": at * predicted,
        "measured_over_predicted": at,
        "cheating_over_honest_at_0.9": low,
        "cheating_over_honest_at_1.1": high,
        "flips_as_predicted": (at - 1.0).abs() <= TOLERANCE,
    }))
}

/// A worker that saves all that it can by cheating, a third of the auditors with it, at the ledger's defaults: chance
/// and slash are the ledger's own.
pub(super) fn at_defaults(convictions: f64) -> Result<Value> {
    let defaults = Params::default();
    let point = Point {
        p: f64::from(defaults.audit_ppm) / 1e6,
        d: 0.99,
        r: 1.0 / 3.0,
        n: defaults.audit_auditors,
        g: 0.8,
        v: 0.0,
    };
    let slash = nes(penalty::due(&defaults, FEE)) / nes(FEE);
    let jobs = (convictions / point.caught()).ceil() as u32;
    let honest = run(&point, slash, false, WAVE, 1)?;
    let cheating = run(&point, slash, true, jobs, 2)?;
    Ok(json!({
        "jobs": jobs, "gain": point.g, "slash_in_fees": slash, "slash_needed_in_fees": point.predicted(),
        "caught": cheating.caught, "caught_predicted": point.caught(),
        "cheating_over_honest": cheating.profit - honest.profit,
    }))
}

/// All points, on all cores.
pub(super) fn all(convictions: f64) -> Result<Vec<Value>> {
    let points = points();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let run = || -> Result<Vec<(usize, Value)>> {
        let mut out = Vec::new();
        loop {
            let i = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let Some(point) = points.get(i) else {
                return Ok(out);
            };
            eprintln!("point {} of {}", i + 1, points.len());
            out.push((i, flip(point, convictions, 1_000 * i as u64)?));
        }
    };
    let mut all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let done = threads
            .into_iter()
            .map(|t| t.join().map_err(|_| anyhow::anyhow!("a thread broke"))?);
        done.collect::<Result<Vec<_>>>()
    })?
    .concat();
    all.sort_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, v)| v).collect())
}

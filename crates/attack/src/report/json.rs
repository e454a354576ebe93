//! The report as JSON. Numbers are rounded, so that every machine writes the same.

use serde_json::{Value, json};

use super::{Findings, Report};
use crate::lab::{Expect, Row, Weights};
use crate::score::Score;

/// All measurements.
#[must_use]
pub fn json(report: &Report) -> Value {
    let tests = report.tests();
    let traffic = report.traffic.iter().map(|(name, bits)| {
        json!({
            "name": name,
            "bits_of_prompt_length": round(bits.prompt),
            "bits_of_answer_length": round(bits.answer),
            "bits": round(bits.all),
        })
    });
    json!({
        "holds": report.failures().is_empty(),
        "failures": report.failures(),
        "tests_at_chance": tests,
        "controls": {"A1": round(report.frequency.0), "A2": round(report.frequency.1)},
        "traffic": traffic.collect::<Vec<_>>(),
        "models": report.findings.iter().map(|f| findings(f, tests)).collect::<Vec<_>>(),
    })
}

pub(super) fn round(v: f64) -> f64 {
    (v * 1e4).round() / 1e4
}

fn score(s: &Score) -> Value {
    json!({
        "recovered": s.recovered,
        "total": s.total,
        "rate": round(s.rate()),
        "baseline": round(s.baseline),
        "sd": round(s.sd),
    })
}

pub(super) fn weights(w: Weights) -> &'static str {
    match w {
        Weights::Public => "public",
        Weights::NeverPublished => "never published",
    }
}

fn row(r: &Row, tests: usize) -> Value {
    json!({
        "tier": r.tier.to_string(),
        "party": r.party,
        "attack": r.attack,
        "how": r.how,
        "needs_weights": weights(r.weights),
        "score": score(&r.score),
        "chance_bound": r.score.chance_bound(tests),
        "control": r.control.map(round),
        "expect": match r.expect {
            Expect::Broken => "at least 95 %",
            Expect::Chance => "chance",
            Expect::Reported => "reported",
        },
    })
}

fn findings(f: &Findings, tests: usize) -> Value {
    let curve = f.curve.iter().map(|p| {
        let known = |(n, s): &(usize, Score)| json!({"known": n, "score": score(s)});
        json!({
            "blocks_before": p.depth,
            "positions": p.positions,
            "distinct_rows": p.distinct,
            "A1": score(&p.rank),
            "A2": score(&p.bigram),
            "A5": p.known.iter().map(known).collect::<Vec<_>>(),
            "A7": score(&p.linked),
        })
    });
    let told = f.told.iter().map(|t| {
        json!({
            "tier": t.tier.to_string(),
            "payload": t.payload,
            "auc_logistic": round(t.verdict.linear),
            "auc_network": round(t.verdict.network),
            "tested": t.verdict.tested,
            "sd": round(t.verdict.sd),
        })
    });
    let caught = f.caught.iter().map(|c| {
        json!({
            "deviation": c.deviation.name(),
            "sent": c.sent,
            "refused": c.refused,
            "right_accepted": c.right_accepted,
        })
    });
    let aborts = f
        .aborts
        .map(|a| json!({"sessions": a.sessions, "aborted": a.aborted, "z": round(a.z())}));
    json!({
        "name": f.name,
        "vocabulary": f.sizes.0,
        "dim": f.sizes.1,
        "blocks": f.sizes.2,
        "tokens": f.tokens,
        "attacks": f.rows.iter().map(|r| row(r, tests)).collect::<Vec<_>>(),
        "never_published": curve.collect::<Vec<_>>(),
        "distinguisher": told.collect::<Vec<_>>(),
        "deviations": caught.collect::<Vec<_>>(),
        "selective_abort": aborts,
    })
}

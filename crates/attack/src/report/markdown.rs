//! The report as Markdown tables.

use std::fmt::Write as _;

use super::json::weights;
use super::{APART, AREA, BROKEN, Findings, Report, best};
use crate::lab::{Expect, Row, Tier, Weights};
use crate::score::Score;

/// All tables, under a heading per part.
#[must_use]
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let tests = report.tests();
    for f in &report.findings {
        let (vocab, dim, blocks) = f.sizes;
        let _ = writeln!(
            out,
            "### {}\n\n{} tokens to find; vocabulary {vocab}, rows of {dim}, {blocks} blocks used.\n",
            f.name, f.tokens
        );
        summary(&mut out, f, tests);
        attacks(&mut out, f, tests);
        curve(&mut out, f);
        told(&mut out, f);
        active(&mut out, f);
    }
    traffic(&mut out, report);
    out
}

fn percent(v: f64) -> String {
    format!("{:.1} %", 100.0 * v)
}

fn rate(s: &Score) -> String {
    percent(s.rate())
}

/// Tier × attack × weights, the best variant of each attack.
fn summary(out: &mut String, f: &Findings, tests: usize) {
    out.push_str("Tokens recovered by the best variant of each attack:\n\n");
    out.push_str("| attack | open, public | ee, public | ee, never published, most positions | hss, ≤ t holders, public | hss, ≤ t holders, never published |\n|---|--:|--:|--:|--:|--:|\n");
    let last = f
        .curve
        .iter()
        .filter(|p| p.depth == 0)
        .max_by_key(|p| p.positions);
    for (attack, name) in [
        ("A1", "rank frequency"),
        ("A2", "bigram matching"),
        ("A4", "weight matching"),
        ("A5", "known plaintext"),
        ("A6", "vocabulary matching"),
        ("A7", "Gram, anchors, linking"),
    ] {
        let cell = |tier: &dyn Fn(Tier) -> bool, weights| cell(f, tier, attack, weights, tests);
        let remaining = last.map_or("–".to_owned(), |p| match attack {
            "A1" => rate(&p.rank),
            "A2" => rate(&p.bigram),
            "A5" => p.known.last().map_or("–".to_owned(), |(n, s)| {
                format!("{} ({n} known)", rate(s))
            }),
            "A7" => rate(&p.linked),
            _ => "no base to compare".to_owned(),
        });
        let shared = |t: Tier| matches!(t, Tier::Hss(..));
        let _ = writeln!(
            out,
            "| {attack} {name} | {} | {} | {remaining} | {} | {} |",
            cell(&|t| t == Tier::Open, Weights::Public),
            cell(&|t| t == Tier::Ee, Weights::Public),
            cell(&shared, Weights::Public),
            cell(&shared, Weights::NeverPublished),
        );
    }
    let whole = f.rows.iter().filter(|r| r.attack == "A10");
    let whole: Vec<String> = whole
        .map(|r| format!("{} {}", r.tier, rate(&r.score)))
        .collect();
    let _ = writeln!(
        out,
        "\nA10, t + 1 holders together: {}.\n",
        whole.join(", ")
    );
}

/// The best variant of an attack on a tier.
fn cell(
    f: &Findings,
    tier: &dyn Fn(Tier) -> bool,
    attack: &str,
    weights: Weights,
    tests: usize,
) -> String {
    match best(&f.rows, tier, attack, weights) {
        Some(r) if r.expect == Expect::Chance => {
            let mut all = f.rows.iter().filter(|r| tier(r.tier) && r.attack == attack);
            let chance = all.all(|r| r.expect != Expect::Chance || r.score.is_chance(tests));
            let word = if chance { "chance" } else { "**above chance**" };
            format!("{} ({word})", rate(&r.score))
        }
        Some(r) => rate(&r.score),
        None => "–".to_owned(),
    }
}

/// Measurements that must be at chance, of the same attack and scheme, in one line.
fn attacks(out: &mut String, f: &Findings, tests: usize) {
    out.push_str("Measurements on `open` and `ee`, and on coalitions that are too large:\n\n");
    out.push_str("| tier | party | attack | needs weights | recovered | rate | shuffled guesses | control | must be |\n|---|---|---|---|--:|--:|--:|--:|---|\n");
    for r in f.rows.iter().filter(|r| r.expect != Expect::Chance) {
        let _ = writeln!(out, "{}", row(r));
    }
    out.push_str("\nMeasurements on at most t holders of `hss`, the worst over all parties (each alone, all coalitions of t):\n\n");
    out.push_str("| tier | attack | needs weights | parties | most recovered | rate | shuffled guesses | bound of chance | above it | control |\n|---|---|---|--:|--:|--:|--:|--:|--:|--:|\n");
    let mut groups: Vec<Vec<&Row>> = Vec::new();
    for r in f.rows.iter().filter(|r| r.expect == Expect::Chance) {
        let same = |g: &&mut Vec<&Row>| {
            g[0].tier == r.tier && g[0].attack == r.attack && g[0].how == r.how
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(r),
            None => groups.push(vec![r]),
        }
    }
    for group in &groups {
        let over = |r: &&&Row| r.score.recovered as f64 - r.score.chance_bound(tests) as f64;
        let Some(r) = group.iter().max_by(|a, b| over(a).total_cmp(&over(b))) else {
            continue;
        };
        let (s, above) = (
            &r.score,
            group.iter().filter(|r| !r.score.is_chance(tests)).count(),
        );
        let _ = writeln!(
            out,
            "| {} | {} {} | {} | {} | {} of {} | {} | {:.1} ± {:.1} | {} | {above} | {} |",
            r.tier,
            r.attack,
            r.how,
            weights(r.weights),
            group.len(),
            s.recovered,
            s.total,
            rate(s),
            s.baseline,
            s.sd,
            s.chance_bound(tests),
            r.control.map_or("–".to_owned(), percent),
        );
    }
    out.push('\n');
}

fn row(r: &Row) -> String {
    let s = &r.score;
    let expect = match r.expect {
        Expect::Broken => format!("≥ {:.0} %", 100.0 * BROKEN),
        Expect::Chance => "chance".to_owned(),
        Expect::Reported => "–".to_owned(),
    };
    format!(
        "| {} | {} | {} {} | {} | {} of {} | {} | {:.1} ± {:.1} | {} | {expect} |",
        r.tier,
        r.party,
        r.attack,
        r.how,
        weights(r.weights),
        s.recovered,
        s.total,
        rate(s),
        s.baseline,
        s.sd,
        r.control.map_or("–".to_owned(), percent),
    )
}

fn curve(out: &mut String, f: &Findings) {
    if f.curve.is_empty() {
        return;
    }
    out.push_str(
        "`ee` with never-published weights, by positions that a node has seen under one key:\n\n",
    );
    out.push_str("| blocks before | positions | different rows | A1 | A2 | A5, tokens of known positions | A7, later calls named by earlier ones |\n|--:|--:|--:|--:|--:|---|--:|\n");
    for p in &f.curve {
        let known = p
            .known
            .iter()
            .map(|(n, s)| format!("{n} known: {}", rate(s)));
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            p.depth,
            p.positions,
            p.distinct,
            rate(&p.rank),
            rate(&p.bigram),
            known.collect::<Vec<_>>().join("; "),
            rate(&p.linked),
        );
    }
    out.push('\n');
}

fn told(out: &mut String, f: &Findings) {
    if f.told.is_empty() {
        return;
    }
    out.push_str("Distinguisher of two chosen prompts, area under the curve (a coin: 0.5):\n\n| tier | payload | logistic regression | network | rows tested | deviation of a coin | must be |\n|---|---|--:|--:|--:|--:|---|\n");
    for t in &f.told {
        let v = &t.verdict;
        let expect = match t.expect {
            Expect::Chance => format!("{} to {}", AREA.0, AREA.1),
            Expect::Broken => format!("≥ {APART}"),
            Expect::Reported => "–".to_owned(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {:.4} | {:.4} | {} | {:.4} | {expect} |",
            t.tier, t.payload, v.linear, v.network, v.tested, v.sd
        );
    }
    out.push('\n');
}

fn active(out: &mut String, f: &Findings) {
    if f.caught.is_empty() {
        return;
    }
    out.push_str("A11, wrong answers of a holder at the client's check, before anything reads them:\n\n| deviation | sent | refused | right answers accepted |\n|---|--:|--:|--:|\n");
    for c in &f.caught {
        let name = c.deviation.name();
        let _ = writeln!(
            out,
            "| {name} | {} | {} | {} |",
            c.sent, c.refused, c.right_accepted
        );
    }
    let sent: usize = f.caught.iter().map(|c| c.sent).sum();
    let missed: usize = f.caught.iter().map(|c| c.sent - c.refused).sum();
    let _ = writeln!(out, "\n{sent} wrong answers, {missed} missed.");
    if let Some(a) = f.aborts {
        let _ = writeln!(
            out,
            "Selective abort, where a share looks like the first of two secret rows: {} of {} sessions of the first, {} of the second ({:.2} deviations of chance).",
            a.aborted[0],
            a.sessions,
            a.aborted[1],
            a.z().abs()
        );
    }
    out.push('\n');
}

fn traffic(out: &mut String, report: &Report) {
    out.push_str("### A9, sizes and numbers of flights\n\nBits of a request that they tell, over made-up requests (prompts and answers of 8 to 362 tokens, uniform in the logarithm; answers end at 256):\n\n| sent as | prompt's length | answer's length | all sizes together |\n|---|--:|--:|--:|\n");
    for (name, b) in &report.traffic {
        let _ = writeln!(
            out,
            "| {name} | {:.2} | {:.2} | {:.2} |",
            b.prompt, b.answer, b.all
        );
    }
    out.push('\n');
}

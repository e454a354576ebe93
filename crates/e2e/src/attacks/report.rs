//! The table of attacks: for a terminal, as JSON, and as a page whose figures are the same on every run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{CONTROL, Cell, Expected, Level, Row};

/// What the table comes to, less the control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Attacks.
    pub attacks: usize,
    /// Cells in which an attack was told.
    pub told: usize,
    /// Cells that refused it.
    pub refused: usize,
    /// Cells that accepted it, as declared.
    pub not_claimed: usize,
    /// Cells without such a thing.
    pub not_applicable: usize,
    /// Attacks told at all five levels.
    pub everywhere: usize,
    /// Attacks that no level refuses.
    pub undetected: usize,
    /// Cells in which something else came than was declared, the control's among them.
    pub differ: usize,
}

impl Summary {
    /// Of `rows`.
    #[must_use]
    pub fn of(rows: &[Row]) -> Self {
        let attacks = || rows.iter().filter(|r| r.group != CONTROL);
        let cells = || attacks().flat_map(|r| &r.cells);
        let all = rows.iter().flat_map(|r| &r.cells);
        let refused = |c: &&Cell| c.refusal().is_some();
        Self {
            attacks: attacks().count(),
            told: cells().filter(|c| c.judged.is_some()).count(),
            refused: cells().filter(refused).count(),
            not_claimed: cells()
                .filter(|c| c.expected == Expected::NotClaimed)
                .count(),
            not_applicable: cells().filter(|c| c.judged.is_none()).count(),
            everywhere: attacks()
                .filter(|r| r.cells.iter().all(|c| c.judged.is_some()))
                .count(),
            undetected: attacks().filter(|r| r.is_undetected()).count(),
            differ: all.filter(|c| !c.holds()).count(),
        }
    }
}

/// One cell: what it refused for, or why it did not.
fn text(c: &Cell) -> String {
    let chance = matches!(c.expected, Expected::Chance(_));
    match (&c.judged, c.refusal()) {
        (None, _) => "n/a".to_owned(),
        (Some(_), None) => "accepted".to_owned(),
        (Some(_), Some(why)) if chance => format!("{why} once opened"),
        (Some(_), Some(why)) => why.to_owned(),
    }
}

fn value(c: &Cell) -> Value {
    let expected = match c.expected {
        Expected::Refused(why) => json!({"refused": why}),
        Expected::Chance(why) => json!({"refused_once_a_wrong_cell_is_opened": why}),
        Expected::NotClaimed => json!("not claimed"),
        Expected::NotApplicable(why) => json!({"not_applicable": why}),
    };
    let judged = c.judged.as_ref();
    json!({
        "level": c.level.name(),
        "expected": expected,
        "refused": c.refusal(),
        "bytes": judged.map(|j| j.bytes),
        "ms": judged.map(|j| (j.time.as_secs_f64() * 1e6).round() / 1e3),
        "holds": c.holds(),
    })
}

/// Everything, times included.
#[must_use]
pub fn json(rows: &[Row]) -> Value {
    let s = Summary::of(rows);
    let of = |r: &Row| {
        json!({
            "group": r.group,
            "attack": r.name,
            "source": r.source,
            "holds": r.holds(),
            "levels": r.cells.iter().map(value).collect::<Vec<_>>(),
        })
    };
    json!({
        "holds": s.differ == 0,
        "attacks": s.attacks,
        "at_all_levels": s.everywhere,
        "cells": {
            "told": s.told,
            "refused": s.refused,
            "accepted_as_declared": s.not_claimed,
            "not_applicable": s.not_applicable,
            "differ": s.differ,
        },
        "refused_by_no_level": s.undetected,
        "rows": rows.iter().map(of).collect::<Vec<_>>(),
    })
}

/// One line per told cell, with bytes and milliseconds, and the summary.
#[must_use]
pub fn terminal(rows: &[Row]) -> String {
    let mut out = String::new();
    for r in rows {
        let _ = writeln!(out, "{}: {} [{}]", r.group, r.name, r.source);
        for c in &r.cells {
            let Some(j) = &c.judged else { continue };
            let mark = if c.holds() { ' ' } else { '!' };
            let ms = j.time.as_secs_f64() * 1e3;
            let (level, said) = (c.level.name(), text(c));
            let _ = writeln!(
                out,
                "{mark} {level:<9} {:>7} B {ms:>9.3} ms  {said}",
                j.bytes
            );
            if !c.holds() {
                let _ = writeln!(out, "            must be {:?}", c.expected);
            }
        }
    }
    let _ = writeln!(out, "\n{}", line(&Summary::of(rows)));
    out
}

fn line(s: &Summary) -> String {
    format!(
        "{} attacks, {} of them at all five levels; {} cells told: {} refused, {} accepted as declared, {} differ; {} cells not applicable; {} attacks refused by no level",
        s.attacks,
        s.everywhere,
        s.told,
        s.refused,
        s.not_claimed,
        s.differ,
        s.not_applicable,
        s.undetected
    )
}

/// The page `ATTACKS.md`, without times.
#[must_use]
pub fn page(rows: &[Row]) -> String {
    let mut out = String::from(HEAD);
    let _ = writeln!(out, "\n{}.\n", line(&Summary::of(rows)));
    let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    let mut order = Vec::new();
    for r in rows {
        if !groups.contains_key(r.group) {
            order.push(r.group);
        }
        groups.entry(r.group).or_default().push(r);
    }
    for group in order {
        section(&mut out, group, groups.get(group).map_or(&[], |g| g));
    }
    out
}

fn section(out: &mut String, group: &str, rows: &[&Row]) {
    let told = |level: usize| rows.iter().any(|r| r.cells[level].judged.is_some());
    let levels: Vec<usize> = (0..Level::ALL.len()).filter(|&l| told(l)).collect();
    let _ = writeln!(out, "## {group}: {}\n", rows.len());
    for (l, level) in Level::ALL.iter().enumerate() {
        let cell = rows.first().map(|r| r.cells[l].expected);
        if let (false, Some(Expected::NotApplicable(why))) = (told(l), cell) {
            let _ = writeln!(out, "- {}: not applicable: {why}", level.name());
        }
    }
    let names: Vec<&str> = levels.iter().map(|&l| Level::ALL[l].name()).collect();
    let _ = writeln!(out, "\n| attack | source | {} |", names.join(" | "));
    let _ = writeln!(out, "|---|---|{}", "---|".repeat(levels.len()));
    for r in rows {
        let cells = levels.iter().map(|&l| {
            let c = &r.cells[l];
            let bytes = c.judged.as_ref().map_or(0, |j| j.bytes);
            match c.judged {
                // A proof's length depends on which of its queries meet.
                Some(_) if c.level == Level::Proof => text(c).replace('|', "/"),
                Some(_) => format!("{} · {bytes} B", text(c).replace('|', "/")),
                None => text(c),
            }
        });
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(out, "| {} | {} | {} |", r.name, r.source, cells.join(" | "));
    }
    out.push('\n');
}

const HEAD: &str = "# Attacks on every level of evidence

Made by `cargo xtask attacks --write`; `cargo xtask attacks` tells all of them again, prints bytes and milliseconds, and fails if a
cell differs from what is declared beside the attack (`crates/e2e/src/attacks`, `crates/argument/tests/attacks/named`).

A malicious party runs the honest one on a small random model and changes one thing. A cell holds the exact refusal of the level's
verifier, and the bytes of the evidence (but of proofs, whose length varies). `accepted`: the level does not claim to find it, as `receipt` says who said something and
not that it is true. `once opened`: with k of n cells opened and b of them wrong, the chance is `1 − C(n−b, k) / C(n, k)`; here all
are opened. At level `refereed` the dispute ends against the liar, at the step that is named.
";

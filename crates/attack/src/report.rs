//! What the lab found, as one value.

use nesa_privacy::shares::Scheme;

use crate::active::{Aborts, Caught, deviate, selective_abort};
use crate::chosen::{Told, distinguish};
use crate::curve::{Point, curve};
use crate::lab::{Expect, Row, Subject, Tier, Weights, frequency_controls};
use crate::traffic::{Bits, Shaping, bits, requests};
use crate::{AttackError, Base, Stage};

mod json;
mod markdown;

pub use json::json;
pub use markdown::markdown;

/// Rates below this are not what a broken tier gives.
pub const BROKEN: f64 = 0.95;
/// Least area under the curve of payloads that tell prompts apart.
pub const APART: f64 = 0.8;
/// Areas under the curve that a payload may have.
pub const AREA: (f64, f64) = (0.48, 0.52);
/// Made-up requests whose sizes are counted.
const REQUESTS: usize = 20_000;

/// How much is measured.
#[derive(Debug, Clone)]
pub struct Effort {
    /// Candidates per position behind blocks; 0: not measured.
    pub search: usize,
    /// Schemes.
    pub schemes: Vec<Scheme>,
    /// Positions seen under one key.
    pub positions: Vec<usize>,
    /// Known positions among them.
    pub known: Vec<usize>,
    /// Blocks before the rows that are seen, and up to how many positions.
    pub depths: Vec<(usize, usize)>,
    /// Wrong answers of each kind; 0: not measured.
    pub deviations: usize,
    /// Whether the distinguisher is trained.
    pub distinguish: bool,
}

/// What was found for one model.
#[derive(Debug, Clone)]
pub struct Findings {
    /// The model.
    pub name: String,
    /// Tokens of its vocabulary, width of its rows, blocks that were used.
    pub sizes: (usize, usize, usize),
    /// Tokens that were to be found.
    pub tokens: usize,
    /// Attacks on texts.
    pub rows: Vec<Row>,
    /// `ee` with never-published weights.
    pub curve: Vec<Point>,
    /// The distinguisher.
    pub told: Vec<Told>,
    /// Active deviations.
    pub caught: Vec<Caught>,
    /// Selective abort.
    pub aborts: Option<Aborts>,
}

/// Everything.
#[derive(Debug, Clone)]
pub struct Report {
    /// Per model.
    pub findings: Vec<Findings>,
    /// Rates of A1 and A2 where they must succeed.
    pub frequency: (f64, f64),
    /// A9 by how a client sends.
    pub traffic: Vec<(String, Bits)>,
}

/// Measures one model; `long` are texts for the curve, `other` another model of the same shape for
/// the deviations.
///
/// # Errors
/// What the model refuses.
pub fn examine(
    subject: &Subject,
    long: &[Vec<u32>],
    other: &[nesa_model::Block],
    effort: &Effort,
    seed: u64,
) -> Result<Findings, AttackError> {
    let base = &subject.base;
    let mut rows = subject.public(effort.search)?;
    for (i, scheme) in (0u64..).zip(&effort.schemes) {
        rows.extend(subject.shared(*scheme, seed + i)?);
    }
    let mut points = Vec::new();
    for (depth, most) in &effort.depths {
        let counts: Vec<usize> = (effort.positions.iter().copied())
            .filter(|n| n <= most)
            .collect();
        points.extend(curve(
            subject,
            &texts(long, *most),
            *depth,
            &counts,
            &effort.known,
        )?);
    }
    let [a, b, ..] = &subject.texts[..] else {
        return Err(AttackError::Needs("two texts"));
    };
    let told = if effort.distinguish {
        distinguish(subject, [a, b], &effort.schemes, seed)?
    } else {
        Vec::new()
    };
    let (caught, aborts) = if effort.deviations > 0 {
        let caught = deviate(&base.shape, &base.blocks, other, effort.deviations, seed)?;
        (
            caught,
            Some(aborts(base, [a, b], effort.deviations * 100, seed)?),
        )
    } else {
        (Vec::new(), None)
    };
    Ok(Findings {
        name: subject.name.clone(),
        sizes: (base.shape.vocab, base.shape.dim, base.blocks.len()),
        tokens: subject.truth().len(),
        rows,
        curve: points,
        told,
        caught,
        aborts,
    })
}

/// A holder aborts where its share resembles the first row of the first of two texts.
fn aborts(
    base: &Base,
    texts: [&[u32]; 2],
    sessions: usize,
    seed: u64,
) -> Result<Aborts, AttackError> {
    let row = |text: &[u32]| base.rows(Stage::FirstProduct, &text[..1], 0);
    let (first, second) = (row(texts[0])?, row(texts[1])?);
    let like_first = |share: &[u32]| {
        let pairs = share.iter().zip(&first);
        let terms = pairs.map(|(s, x)| i64::from(nesa_field::centred(*s)) * i64::from(*x));
        terms.map(i128::from).sum::<i128>() > 0
    };
    selective_abort([&first, &second], &like_first, sessions, seed)
}

/// As many of `long` as give `most` tokens.
fn texts(long: &[Vec<u32>], most: usize) -> Vec<Vec<u32>> {
    let mut left = most;
    let cut = long.iter().map_while(|t| {
        let n = t.len().min(left);
        left -= n;
        (n > 0).then(|| t[..n].to_vec())
    });
    cut.collect()
}

/// Puts `findings` together with what needs no model. `ways` are how clients send, by name; drafts are as
/// wide as the widest of them.
#[must_use]
pub fn report(findings: Vec<Findings>, ways: &[(&str, Shaping)], seed: u64) -> Report {
    let width = ways.iter().map(|w| w.1.width).max().unwrap_or(1);
    let requests = requests(REQUESTS, width, seed);
    let counted = |(name, shaping): &(&str, Shaping)| {
        let bits = bits(&requests, shaping);
        ((*name).to_owned(), bits)
    };
    Report {
        findings,
        frequency: frequency_controls(),
        traffic: ways.iter().map(counted).collect(),
    }
}

impl Report {
    /// Measurements that must be at chance: for how many the bound is corrected.
    #[must_use]
    pub fn tests(&self) -> usize {
        let rows = self.findings.iter().flat_map(|f| &f.rows);
        rows.filter(|r| r.expect == Expect::Chance).count()
    }

    /// What is not as it must be; empty when all holds.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        let tests = self.tests();
        let mut out = Vec::new();
        for f in &self.findings {
            for r in &f.rows {
                if !holds(r, tests) {
                    let (weights, s) = (r.weights, r.score);
                    out.push(format!(
                        "{}: {} {} {} ({weights:?}): {} of {}",
                        f.name, r.tier, r.attack, r.how, s.recovered, s.total
                    ));
                }
            }
            for told in &f.told {
                let area = told.verdict.worst();
                let right = match told.expect {
                    Expect::Chance => (AREA.0..=AREA.1).contains(&area),
                    Expect::Broken => area >= APART,
                    Expect::Reported => true,
                };
                if !right {
                    out.push(format!(
                        "{}: {} {}: area {area}",
                        f.name, told.tier, told.payload
                    ));
                }
            }
            for c in &f.caught {
                if c.sent != c.refused || c.sent != c.right_accepted {
                    out.push(format!("{}: {c:?}", f.name));
                }
            }
            out.extend(
                f.aborts
                    .filter(|a| a.z().abs() > 3.0)
                    .map(|a| format!("{a:?}")),
            );
        }
        if self.frequency.0 < BROKEN || self.frequency.1 < BROKEN {
            out.push(format!("controls of A1 and A2: {:?}", self.frequency));
        }
        out
    }
}

/// Whether a row shows what it has to.
fn holds(row: &Row, tests: usize) -> bool {
    let shown = match row.expect {
        Expect::Broken => row.score.rate() >= BROKEN,
        Expect::Chance => row.score.is_chance(tests),
        Expect::Reported => true,
    };
    shown && row.control.is_none_or(|c| c >= BROKEN)
}

/// The best rate among rows of one cell of the summary, with its row.
fn best<'a>(
    rows: &'a [Row],
    tier: impl Fn(Tier) -> bool,
    attack: &str,
    weights: Weights,
) -> Option<&'a Row> {
    let rows = rows.iter().filter(|r| {
        // What needs no base works with one as well.
        let knows = r.weights == weights || r.weights == Weights::NeverPublished;
        tier(r.tier) && r.attack == attack && knows && !r.how.contains("heads")
    });
    rows.max_by(|a, b| a.score.rate().total_cmp(&b.score.rate()))
}

//! The verifier of committed proofs: it holds a key, and no weights.

use nesa_model::ops::round::{clamp, round_div};
use nesa_model::spec::{RESIDUAL_MAX, spec_digest};
use nesa_model::{Linear, Sampler, Vocabulary};
use rayon::prelude::*;

use super::claims::{self, Rest, Sampled};
use super::key::Key;
use super::{
    ANSWERS_MAX, Answer, CommittedError, CommittedProof, Opened, SUMS_MAX, Section, TableError,
};
use crate::form::Form;
use crate::pcs::Commitment;
use crate::transcript::Transcript;
use crate::transformer::{Matrices, Rejection, Statement, verify_as};

/// A range with the rows before it.
struct Job<'a> {
    answer: usize,
    layers: std::ops::Range<u32>,
    input: &'a [i32],
    section: &'a Section,
}

/// Accepts exactly if the model behind the key gives all answers as stated, but for an error of at most `2^-100`
/// (`SOUNDNESS.md`). Whoever calls relies on the key's digest.
///
/// # Errors
/// [`CommittedError`].
pub fn verify(key: &Key, proof: &CommittedProof) -> Result<(), CommittedError> {
    if proof.key != key.digest() {
        return Err(CommittedError::Other("key"));
    }
    let answers = &proof.answers;
    if answers.is_empty() || answers.len() > ANSWERS_MAX {
        return Err(CommittedError::Malformed("answers"));
    }
    for a in answers {
        is_about(key, a)?;
    }
    let dim = key.shape.dim;
    let tokens = claims::known(key, answers).ok_or(CommittedError::Malformed("tokens"))?;
    if proof.token_rows.len() != tokens.len() * dim {
        return Err(CommittedError::Malformed("token rows"));
    }
    let vocabulary = Vocabulary {
        tokens: proof.token_rows.clone(),
        ..key.vocabulary.clone()
    };
    let embed = |a: &Answer| {
        let places = claims::places(&tokens, &a.inference.fed());
        vocabulary.embed(&key.shape, &places, 0)
    };
    let embedded = answers.iter().map(embed).collect::<Result<Vec<_>, _>>()?;
    let jobs = jobs(key, answers, &embedded)?;
    let rest: Vec<_> = jobs.par_iter().map(|job| range(key, job)).collect();
    let rest = rest.into_iter().collect::<Result<Vec<Rest>, _>>()?;
    let sampled = Sampled::of(key, answers).ok_or(CommittedError::Malformed("sums of the head"))?;
    if sampled.sums.is_empty() != proof.head.is_none() {
        return Err(CommittedError::Malformed("sums of the head"));
    }
    let t = claims::bind(key, answers, &proof.token_rows, &rest);
    let (shown, drawn) = rayon::join(
        || tables(key, proof, &t, (&rest, &tokens, &sampled)),
        || drawn(key, answers),
    );
    shown.and(drawn)
}

/// Whether an answer is about this model, under these semantics, with tokens that can be.
fn is_about(key: &Key, a: &Answer) -> Result<(), CommittedError> {
    let i = &a.inference;
    if i.model != key.model() {
        return Err(CommittedError::Other("model"));
    }
    if i.spec != spec_digest() {
        return Err(CommittedError::Other("version of the integer semantics"));
    }
    if i.prompt.is_empty() || (!i.answer.is_empty() && !key.has_head()) {
        return Err(CommittedError::Malformed("tokens"));
    }
    if i.answer.len().saturating_mul(key.shape.vocab) > SUMS_MAX {
        return Err(CommittedError::Malformed("sums of the head"));
    }
    Ok(())
}

/// All ranges of all answers, which cover all blocks once each.
fn jobs<'a>(
    key: &Key,
    answers: &'a [Answer],
    embedded: &'a [Vec<i32>],
) -> Result<Vec<Job<'a>>, CommittedError> {
    let mut all = Vec::new();
    for (answer, (a, embedded)) in answers.iter().zip(embedded).enumerate() {
        let (mut first, mut input) = (0, embedded.as_slice());
        for section in &a.sections {
            if section.end <= first || section.end as usize > key.shape.layers {
                return Err(CommittedError::Ranges(answer));
            }
            // Rows that the head cannot take either; the last range's are looked at before they are read.
            let inside = |v: &i32| v.unsigned_abs() <= RESIDUAL_MAX.unsigned_abs();
            if section.rows.len() != embedded.len() || !section.rows.iter().all(inside) {
                return Err(CommittedError::Malformed("rows"));
            }
            all.push(Job {
                answer,
                layers: first..section.end,
                input,
                section,
            });
            input = &section.rows;
            first = section.end;
        }
        if first as usize != key.shape.layers {
            return Err(CommittedError::Ranges(answer));
        }
    }
    Ok(all)
}

/// Verifies one range but for its matrices.
fn range(key: &Key, job: &Job<'_>) -> Result<Rest, CommittedError> {
    let Job {
        layers, section, ..
    } = job;
    let statement = Statement {
        shape: &key.shape,
        common: &key.common,
        blocks: &key.blocks[layers.start as usize..layers.end as usize],
        roots: &[],
        model: &key.model,
        layers,
        input: job.input,
        output: &section.rows,
    };
    let digest = key.digest();
    let matrices = Matrices::Committed {
        key: &digest,
        open: false,
    };
    let left = verify_as(&statement, matrices, &section.proof, section.sum)
        .and_then(|left| left.ok_or(Rejection::Relations));
    left.map(|left| (layers.start, left))
        .map_err(|error| CommittedError::Range {
            answer: job.answer,
            first: layers.start,
            end: layers.end,
            error,
        })
}

/// Verifies what is said of the tables, all at once.
fn tables(
    key: &Key,
    proof: &CommittedProof,
    t: &Transcript,
    (rest, tokens, sampled): (&[Rest], &[u32], &Sampled<'_>),
) -> Result<(), CommittedError> {
    let (roots, tables) = (&key.roots, &key.tables);
    let one = |table: &super::table::Table,
               name: &'static str,
               root: &Commitment,
               form: &(dyn Fn(&mut Transcript) -> Form + Sync),
               opened: &Opened| {
        let mut t = t.clone();
        let mut run = || {
            table.start(&mut t, name, root)?;
            let form = form(&mut t);
            table.verify(root, &form, opened, &mut t)
        };
        run().map_err(|error: TableError| CommittedError::Table { table: name, error })
    };
    let blocks = || {
        let form = |t: &mut Transcript| claims::blocks(key, rest, t);
        one(
            &tables.blocks,
            "blocks",
            &roots.blocks,
            &form,
            &proof.blocks,
        )
    };
    let rows = || {
        let form = |t: &mut Transcript| claims::tokens(key, tokens, &proof.token_rows, t);
        one(
            &tables.tokens,
            "token rows",
            &roots.tokens,
            &form,
            &proof.tokens,
        )
    };
    let head = || match (&tables.head, &roots.head, &proof.head) {
        (Some(table), Some(root), Some(opened)) => {
            let form = |t: &mut Transcript| sampled.form(key, t);
            one(table, "head", root, &form, opened)
        }
        (_, _, None) => Ok(()),
        _ => Err(CommittedError::Malformed("sums of the head")),
    };
    let (a, (b, c)) = rayon::join(blocks, || rayon::join(rows, head));
    a.and(b).and(c)
}

/// The head's outputs for its exact sums.
fn logits(head: &Linear, sums: &[i64]) -> Vec<i32> {
    let one = |(i, &s): (usize, &i64)| {
        let bias = head.bias.get(i).copied().unwrap_or(0);
        let divisor = head.divisor.get(i).copied().unwrap_or(1);
        clamp(round_div(s + bias, divisor), head.clamp)
    };
    sums.iter().enumerate().map(one).collect()
}

/// Whether every answer's tokens are drawn from the stated sums.
fn drawn(key: &Key, answers: &[Answer]) -> Result<(), CommittedError> {
    let Some(head) = &key.vocabulary.head else {
        return Ok(());
    };
    for (answer, a) in answers.iter().enumerate() {
        let mut sampler = Sampler::new(a.inference.sampling);
        let rows: Vec<Vec<i32>> = a
            .sums
            .par_chunks_exact(key.shape.vocab)
            .map(|sums| logits(head, sums))
            .collect();
        for (token, (&said, row)) in a.inference.answer.iter().zip(&rows).enumerate() {
            if sampler.next(row) != said {
                return Err(CommittedError::Token { answer, token });
            }
        }
    }
    Ok(())
}

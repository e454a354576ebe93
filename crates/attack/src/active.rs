//! A11, active deviations: a holder that does not answer what it was asked, and what it learns by it.
//!
//! What is measured is the client's check of one answer, before anything else reads it. That a session
//! then names the liar is the client's part.

use nesa_field::{P, add};
use nesa_kernels::Level;
use nesa_model::split::{Product, multiply_reference};
use nesa_model::testing::Noise;
use nesa_model::{Block, Shape};
use nesa_privacy::shares::{Checks, Dealer};

use crate::AttackError;
use crate::holders::entropy;

/// Rows of a flight.
const ROWS: usize = 2;

/// How an answer is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deviation {
    /// One element is off by one.
    OneOff,
    /// One element is any other.
    OneAny,
    /// The answer to the flight before.
    Replayed,
    /// Nothing but zeros.
    Zero,
    /// Twice the right answer.
    Scaled,
    /// The rows in another order.
    Swapped,
    /// The same product of another layer.
    OtherLayer,
    /// The same layer of another model.
    OtherModel,
    /// The right answer for another share: what a holder that tells two clients different things sends.
    Equivocated,
    /// An element that has p added, so that it is the same number in other bytes.
    NotCanonical,
    /// A row is missing.
    Short,
}

impl Deviation {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::OneOff,
        Self::OneAny,
        Self::Replayed,
        Self::Zero,
        Self::Scaled,
        Self::Swapped,
        Self::OtherLayer,
        Self::OtherModel,
        Self::Equivocated,
        Self::NotCanonical,
        Self::Short,
    ];

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OneOff => "one element off by one",
            Self::OneAny => "one element replaced",
            Self::Replayed => "the answer before, replayed",
            Self::Zero => "zeros",
            Self::Scaled => "twice the answer",
            Self::Swapped => "rows exchanged",
            Self::OtherLayer => "another layer",
            Self::OtherModel => "another model",
            Self::Equivocated => "the answer for another share",
            Self::NotCanonical => "the same number in other bytes",
            Self::Short => "a row missing",
        }
    }
}

/// How many deviations of a kind the check refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caught {
    /// The kind.
    pub deviation: Deviation,
    /// Wrong answers.
    pub sent: usize,
    /// Of them, refused.
    pub refused: usize,
    /// Right answers to the same flights that were accepted.
    pub right_accepted: usize,
}

/// Sends `runs` wrong answers of each kind, over all products of the first two of `blocks`, beside as
/// many right ones; `other` is a model of the same shape.
///
/// # Errors
/// [`AttackError::Stage`] with fewer than two blocks.
pub fn deviate(
    shape: &Shape,
    blocks: &[Block],
    other: &[Block],
    runs: usize,
    seed: u64,
) -> Result<Vec<Caught>, AttackError> {
    let ([first, second, ..], [foreign, ..]) = (blocks, other) else {
        return Err(AttackError::Stage);
    };
    let level = Level::detect();
    let noise = &mut Noise(seed);
    let mut checks = Checks::new(entropy(noise), nesa_codec::Digest(entropy(noise)));
    checks.push(level, first);
    let mut dealer = Dealer::new(entropy(noise));
    let mut out: Vec<Caught> = Deviation::ALL.map(none).to_vec();
    for run in 0..runs {
        let product = Product::ALL[run % Product::ALL.len()];
        let (rows, cols) = product.dims(shape);
        let check = checks.get(0, product).ok_or(AttackError::Stage)?;
        let mut deal = || -> Result<Vec<u32>, AttackError> {
            let inputs: Vec<i32> = (0..ROWS * cols).map(|_| noise.within(32_767)).collect();
            let flight = dealer.deal(level, 1, &[1, 2], &inputs)?;
            Ok(flight.share(1).unwrap_or_default().to_vec())
        };
        let (share, before) = (deal()?, deal()?);
        let right = multiply_reference(first, product, &share);
        let stale = multiply_reference(first, product, &before);
        for caught in &mut out {
            let mut answer = right.clone();
            match caught.deviation {
                Deviation::OneOff | Deviation::OneAny | Deviation::NotCanonical => {
                    let at = (noise.bits() % answer.len() as u64) as usize;
                    let off = 1 + (noise.bits() % u64::from(P - 1)) as u32;
                    answer[at] = match caught.deviation {
                        Deviation::OneOff => add(answer[at], 1),
                        Deviation::OneAny => add(answer[at], off),
                        _ => answer[at] + P,
                    };
                }
                Deviation::Replayed | Deviation::Equivocated => answer.clone_from(&stale),
                Deviation::Zero => answer.fill(0),
                Deviation::Scaled => answer.iter_mut().for_each(|v| *v = add(*v, *v)),
                Deviation::Swapped => answer.rotate_left(rows),
                Deviation::OtherLayer => answer = multiply_reference(second, product, &share),
                Deviation::OtherModel => answer = multiply_reference(foreign, product, &share),
                Deviation::Short => answer.truncate(rows),
            }
            caught.sent += 1;
            caught.refused += usize::from(!check.holds(level, ROWS, &share, &answer));
            caught.right_accepted += usize::from(check.holds(level, ROWS, &share, &right));
        }
    }
    Ok(out)
}

fn none(deviation: Deviation) -> Caught {
    Caught {
        deviation,
        sent: 0,
        refused: 0,
        right_accepted: 0,
    }
}

/// What selective abort tells: how often a holder aborts a session of either of two secrets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aborts {
    /// Sessions of each secret.
    pub sessions: usize,
    /// Aborted sessions, by secret.
    pub aborted: [usize; 2],
}

impl Aborts {
    /// Difference of the two rates in standard deviations of what chance gives.
    #[must_use]
    pub fn z(&self) -> f64 {
        let n = self.sessions.max(1) as f64;
        let [a, b] = self.aborted.map(|v| v as f64 / n);
        let p = (a + b) / 2.0;
        (a - b) / (2.0 * p * (1.0 - p) / n).sqrt().max(1e-12)
    }
}

/// A holder answers wrongly exactly where `suspicious` holds for the share it got, hoping that the
/// client's refusal tells which of two secret rows was shared.
///
/// # Errors
/// [`AttackError::Privacy`] for rows that cannot be shared.
pub fn selective_abort(
    secrets: [&[i32]; 2],
    suspicious: &dyn Fn(&[u32]) -> bool,
    sessions: usize,
    seed: u64,
) -> Result<Aborts, AttackError> {
    let noise = &mut Noise(seed);
    let mut aborted = [0; 2];
    for (secret, aborted) in secrets.iter().zip(&mut aborted) {
        for _ in 0..sessions {
            let mut dealer = Dealer::new(entropy(noise));
            let flight = dealer.deal(Level::detect(), 1, &[1, 2], secret)?;
            *aborted += usize::from(flight.share(1).is_some_and(suspicious));
        }
    }
    Ok(Aborts { sessions, aborted })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nesa_model::testing::{model, shapes};

    #[test]
    fn every_deviation_is_refused_and_no_right_answer() {
        for shape in shapes() {
            let (a, b) = (model(&shape, 1), model(&shape, 2));
            let caught = deviate(&shape, &a.blocks, &b.blocks, 40, 3).unwrap();
            assert_eq!(caught.len(), 11);
            for c in caught {
                assert_eq!((c.sent, c.refused, c.right_accepted), (40, 40, 40), "{c:?}");
            }
        }
    }

    #[test]
    fn aborts_tell_nothing_of_a_shared_row_and_all_of_a_plain_one() {
        let secrets = [&[30_000; 8][..], &[-30_000; 8][..]];
        let suspicious = |share: &[u32]| share[0] < P / 2;
        let aborts = selective_abort(secrets, &suspicious, 4000, 5).unwrap();
        assert!(aborts.z().abs() < 4.0, "{aborts:?}");
        assert!(aborts.aborted[0] > 1500, "the holder does abort");
        let plain = |row: &[i32]| suspicious(&[nesa_field::from_i64(row[0].into())]);
        assert!(plain(secrets[0]) && !plain(secrets[1]));
    }
}

//! Random coefficients of the relations, all from one point.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nesa_model::spec::Shape;
use p3_field::PrimeCharacteristicRing;

use crate::field::E;
use crate::form::Vector;
use crate::layout::{eq_first, eq_table, log_ceil};
use crate::transcript::Transcript;

/// Most variables of a channel index.
const CHANNEL_VARS: usize = 17;

/// Coefficients over positions, channels and heads.
#[derive(Debug)]
pub(super) struct Challenges {
    /// Per position; zero for padding.
    pub time: Vector,
    /// Per key position; zero for padding.
    pub key: Vector,
    /// Per padded key position; zero for real ones.
    pub padding: Vector,
    /// One for real positions, zero for padding.
    pub real: Vector,
    /// Per head.
    pub heads: Vector,
    /// Per channel of a head.
    pub within: Vector,
    /// `heads ⊗ time`: per attention row.
    pub rows: Vector,
    /// Coefficients of a normalisation's three sums.
    pub squares: [E; 3],
    /// `Σ time`.
    pub time_sum: E,
    /// Running sums of `key`.
    pub key_prefix: Vec<E>,
    channel: Vec<E>,
    by_len: Mutex<BTreeMap<usize, Vector>>,
}

impl Challenges {
    /// Draws them for `positions` positions, padded to `2^log_t`.
    #[must_use]
    pub(super) fn draw(shape: &Shape, positions: usize, log_t: u32, t: &mut Transcript) -> Self {
        let mut time = eq_table(&t.challenges(log_t as usize));
        let mut key = eq_table(&t.challenges(log_t as usize));
        let mut padding = key.clone();
        for i in positions..time.len() {
            time[i] = E::ZERO;
            key[i] = E::ZERO;
        }
        padding[..positions].fill(E::ZERO);
        let head_point = t.challenges(log_ceil(shape.heads) as usize);
        let within_point = t.challenges(log_ceil(shape.head_dim) as usize);
        let heads = eq_first(&head_point, shape.heads);
        let rows = heads
            .iter()
            .flat_map(|&h| time.iter().map(move |&t| h * t))
            .collect::<Vec<E>>();
        let mut real = vec![E::ZERO; time.len()];
        real[..positions].fill(E::ONE);
        let mut sum = E::ZERO;
        let key_prefix = key
            .iter()
            .map(|&k| {
                sum += k;
                sum
            })
            .collect();
        let squares = [t.challenge(), t.challenge(), t.challenge()];
        Self {
            time_sum: time.iter().copied().sum(),
            real: real.into(),
            padding: padding.into(),
            rows: rows.into(),
            within: eq_first(&within_point, shape.head_dim).into(),
            heads: heads.into(),
            time: time.into(),
            key: key.into(),
            key_prefix,
            squares,
            channel: t.challenges(CHANNEL_VARS),
            by_len: Mutex::default(),
        }
    }

    /// Coefficients of `n` channels.
    #[must_use]
    pub(super) fn channels(&self, n: usize) -> Vector {
        let new = || Arc::from(eq_first(&self.channel, n));
        let mut known = self.by_len.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(n).or_insert_with(new).clone()
    }
}

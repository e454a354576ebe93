//! The rounds of one level: `Σ_x eq(z, x) · Σ_k a_k(x)·b_k(x)` for multilinear `a_k`, `b_k`.
//!
//! Memory is the limit, not arithmetic: a round binds a variable and sums the next message in one pass, in place, and
//! the first bound values are the first that are written. The equality polynomial is a product of two
//! short tables.

use p3_field::PrimeCharacteristicRing;
use rayon::prelude::*;

use crate::field::E;
use crate::layout::eq_table;
use crate::lazy::{Factor, dot};
use crate::transcript::Transcript;

/// The factors of every product at one index.
pub(super) type Row<const N: usize> = [[E; 2]; N];

/// Variables of the inner equality table.
const LOW_VARS: usize = 9;

/// Blocks of the inner table's length that one task takes at least.
const BLOCKS_MIN: usize = 4;

/// `eq(z, ·) = high ⊗ low`.
struct Split {
    high: Vec<E>,
    low: Vec<E>,
}

impl Split {
    fn new(z: &[E]) -> Self {
        let (high, low) = z.split_at(z.len() - z.len().min(LOW_VARS));
        Self {
            high: eq_table(high),
            low: eq_table(low),
        }
    }
}

/// The first `len` places of memory that only grows, whatever was in them.
pub(crate) fn grown<T: Copy>(memory: &mut Vec<T>, len: usize, zero: T) -> &mut [T] {
    if memory.len() < len {
        memory.resize(len, zero);
    }
    &mut memory[..len]
}

fn add(a: [E; 2], b: [E; 2]) -> [E; 2] {
    [a[0] + b[0], a[1] + b[1]]
}

#[inline(always)]
fn products<const N: usize>(row: &Row<N>) -> E {
    if N == 1 {
        row[0][0] * row[0][1]
    } else {
        let factor = |d: usize| std::array::from_fn::<E, N, _>(|k| row[k][d]);
        dot(&factor(0), &factor(1))
    }
}

#[inline(always)]
fn zip<const N: usize>(a: &Row<N>, b: &Row<N>, f: impl Fn(E, E) -> E) -> Row<N> {
    std::array::from_fn(|k| std::array::from_fn(|d| f(a[k][d], b[k][d])))
}

/// The round's factor at 0 and its leading coefficient for a pair of rows.
#[inline(always)]
fn message<const N: usize>([low, high]: [Row<N>; 2]) -> [E; 2] {
    let slope = zip(&low, &high, |a, b| b - a);
    [products(&low), products(&slope)]
}

/// `Σ_i eq[i] · message(pair(i))`.
#[inline(always)]
fn weigh<const N: usize>(eq: &[E], mut pair: impl FnMut(usize) -> [Row<N>; 2]) -> [E; 2] {
    let mut sum = [E::ZERO; 2];
    let (fours, rest) = eq.as_chunks::<4>();
    for (k, eq) in fours.iter().enumerate() {
        let values: [[E; 2]; 4] = std::array::from_fn(|i| message(pair(4 * k + i)));
        sum[0] += dot(eq, &values.map(|v| v[0]));
        sum[1] += dot(eq, &values.map(|v| v[1]));
    }
    for (i, &w) in rest.iter().enumerate() {
        let value = message(pair(4 * fours.len() + i));
        sum = add(sum, value.map(|v| v * w));
    }
    sum
}

/// The first message, from rows that are computed on demand.
fn first<const N: usize>(row: &(impl Fn(usize) -> Row<N> + Sync), eq: &Split) -> [E; 2] {
    let (n, half) = (eq.low.len(), eq.low.len() * eq.high.len());
    eq.high
        .par_iter()
        .with_min_len(BLOCKS_MIN)
        .enumerate()
        .map(|(k, &w)| {
            let pair = |i: usize| [row(k * n + i), row(k * n + i + half)];
            weigh(&eq.low, pair).map(|s| s * w)
        })
        .reduce(|| [E::ZERO; 2], add)
}

/// Binds the first variable of computed rows into `out`; returns the second message.
fn second<const N: usize>(
    row: &(impl Fn(usize) -> Row<N> + Sync),
    r: &Factor,
    eq: &Split,
    out: &mut Vec<Row<N>>,
) -> [E; 2] {
    let (n, quarter) = (eq.low.len(), eq.low.len() * eq.high.len());
    let out = grown(out, 2 * quarter, [[E::ZERO; 2]; N]);
    let (a, b) = out.split_at_mut(quarter);
    let bound = |x: usize| zip(&row(x), &row(x + 2 * quarter), |a, b| r.line(a, b));
    (a.par_chunks_mut(n), b.par_chunks_mut(n), &eq.high)
        .into_par_iter()
        .with_min_len(BLOCKS_MIN)
        .enumerate()
        .map(|(k, (a, b, &w))| {
            let pair = |i: usize| {
                a[i] = bound(k * n + i);
                b[i] = bound(k * n + i + quarter);
                [a[i], b[i]]
            };
            weigh(&eq.low, pair).map(|s| s * w)
        })
        .reduce(|| [E::ZERO; 2], add)
}

/// Binds the first variable in place; returns the next message.
fn next<const N: usize>(rows: &mut [Row<N>], r: &Factor, eq: &Split) -> [E; 2] {
    let (n, quarter) = (eq.low.len(), eq.low.len() * eq.high.len());
    let (low, high) = rows[..4 * quarter].split_at_mut(2 * quarter);
    let (a, b) = low.split_at_mut(quarter);
    let (c, d) = high.split_at(quarter);
    (
        a.par_chunks_mut(n),
        b.par_chunks_mut(n),
        c.par_chunks(n),
        d.par_chunks(n),
        &eq.high,
    )
        .into_par_iter()
        .with_min_len(BLOCKS_MIN)
        .map(|(a, b, c, d, &w)| {
            let pair = |i: usize| {
                a[i] = zip(&a[i], &c[i], |x, y| r.line(x, y));
                b[i] = zip(&b[i], &d[i], |x, y| r.line(x, y));
                [a[i], b[i]]
            };
            weigh(&eq.low, pair).map(|s| s * w)
        })
        .reduce(|| [E::ZERO; 2], add)
}

/// Runs all rounds over `row(x)`, `x < 2^len(z)`. `sent` turns a sum into the message that is sent.
/// Returns the messages, the point, and the row there.
pub(super) fn run<const N: usize>(
    row: impl Fn(usize) -> Row<N> + Sync,
    z: &[E],
    sent: impl Fn([E; 2]) -> [E; 2],
    rows: &mut Vec<Row<N>>,
    t: &mut Transcript,
) -> (Vec<[E; 2]>, Vec<E>, Row<N>) {
    let (mut messages, mut point) = (Vec::with_capacity(z.len()), Vec::with_capacity(z.len()));
    let mut r = Factor::new(E::ZERO);
    for k in 0..z.len() {
        let eq = Split::new(&z[k + 1..]);
        let sum = match k {
            0 => first(&row, &eq),
            1 => second(&row, &r, &eq, rows),
            _ => next(rows, &r, &eq),
        };
        let message = sent(sum);
        t.absorb_ext(&message);
        let challenge = t.challenge();
        r = Factor::new(challenge);
        messages.push(message);
        point.push(challenge);
    }
    let last = match z.len() {
        0 => row(0),
        1 => zip(&row(0), &row(1), |a, b| r.line(a, b)),
        _ => zip(&rows[0], &rows[1], |a, b| r.line(a, b)),
    };
    (messages, point, last)
}

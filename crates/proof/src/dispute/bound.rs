//! What settling one step costs a referee at most, from the shape of the model alone.

use nesa_model::spec::{Shape, TILE_ROWS};

use super::openings::{divisors_of, matrix, norm_of};
use super::program::{ACTIVATIONS, Cell, Half, Op, Program};
use super::tree::depth;

/// Bytes read and multiply-adds done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Bytes of the message that opens the step.
    pub bytes: u64,
    /// Multiply-adds.
    pub multiply_adds: u64,
}

/// Bytes of siblings beside a run of leaves among `n`, of a path to one, and of counts.
fn beside(n: usize) -> usize {
    64 * depth(n) as usize + 8
}

/// The bound of step `m` of `p` in a hop of `lists` lists over `positions` positions.
#[must_use]
pub fn of(p: &Program<'_>, m: usize, lists: usize, positions: usize) -> Option<Work> {
    let (op, part) = p.at(m)?;
    let (reads, s) = (p.reads(op, part), p.shape);
    let run = 32 + beside(lists) + beside(positions);
    let mut bytes = 256;
    if reads.row {
        bytes += 4 * s.dim + run;
    }
    if !reads.cached.is_empty() {
        bytes += reads.cached.len() * (4 * s.kv_dim() + 8) + run;
    }
    for span in &reads.steps {
        let widths = (span.lo..span.lo + span.len).filter_map(|m| p.at(m));
        let values: usize = widths.map(|(op, part)| p.width(op, part)).sum();
        bytes += 4 * values + beside(p.len());
    }
    // The operators' roots of the block, or the shared tables'.
    bytes += 17 * 32 + 13 * 32;
    if norm_of(s, op).is_some() {
        bytes += 6 * s.dim + 64;
    }
    if let Some((_, rows, cols)) = matrix(s, op) {
        bytes += TILE_ROWS * (cols + 12) + 64 + beside(rows.div_ceil(TILE_ROWS));
    }
    let slice = |size: usize, len: usize| size + 2048 + beside(len.div_ceil(1024));
    if let Some((_, l)) = divisors_of(p, op, part) {
        bytes += slice(l.size, l.len);
    }
    bytes += match op {
        Op::RotateQ | Op::RotateK => 2 * slice(s.head_dim, 2 * s.context * s.head_dim),
        Op::Activation => ACTIVATIONS * slice(2, 2 << 16),
        _ => 0,
    };
    Some(Work {
        bytes: bytes as u64,
        multiply_adds: p.multiply_adds(op, part),
    })
}

/// The largest bound of any step of the hop.
#[must_use]
pub fn largest(shape: &Shape, lists: usize, positions: usize) -> Work {
    let position = positions.saturating_sub(1) as u32;
    let mut most = Work::default();
    for half in [Half::Cached, Half::Row] {
        let cell = Cell {
            layer: 0,
            position,
            half,
        };
        let p = Program::new(shape, cell, positions);
        // The parts of an operator differ in that the last may be smaller, and the first two windows of a
        // head in what they carry over.
        for &(op, n) in p.sections() {
            let at = p.steps(op).start;
            for part in [0, 1, n / 2, n - 1].into_iter().filter(|&i| i < n) {
                if let Some(w) = of(&p, at + part, lists, positions) {
                    most.bytes = most.bytes.max(w.bytes);
                    most.multiply_adds = most.multiply_adds.max(w.multiply_adds);
                }
            }
        }
    }
    most
}

/// One tile of the model's widest layer with its input row: what the bound is held against.
#[must_use]
pub fn tile(s: &Shape) -> Work {
    let cols = s.dim.max(s.ffn).max(s.q_dim());
    Work {
        bytes: (TILE_ROWS * cols + 4 * cols) as u64,
        multiply_adds: (TILE_ROWS * cols) as u64,
    }
}

//! The hop runs its model, and changes rows or what it cached.

use nesa_model::spec::RESIDUAL_MAX;

use super::{Lie, hop};

const RUN: &str = "model-level lie";
const HINT: &str = "JSTprove #238: outputs as free hints";

/// All of them.
pub(super) const LIES: &[Lie] = &[
    hop(
        "last layer skipped",
        RUN,
        |_, h| h.after = Some((1, |s, r| r.copy_from_slice(s.before))),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "first layer of the hop skipped",
        RUN,
        |_, h| h.after = Some((0, |s, r| r.copy_from_slice(s.before))),
        [
            "Cell(hop 1, output row)",
            "Sums(hop 1, Qkv)",
            "Executed(commit)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "one bit of one value flipped",
        RUN,
        |_, h| {
            h.after = Some((1, |s, r| {
                if s.start == 2 {
                    r[3] ^= 1;
                }
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Statement(hop 1, output rows)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one value one more",
        "off-by-one rounding",
        |_, h| {
            h.after = Some((1, |s, r| {
                if s.start == 0 {
                    r[5] += 1;
                }
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Statement(hop 1, output rows)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one value one less",
        "off-by-one rounding",
        |_, h| {
            h.after = Some((1, |s, r| {
                if s.start == 0 {
                    r[5] -= 1;
                }
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Statement(hop 1, output rows)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one value one more between the hop's layers",
        "off-by-one rounding",
        |_, h| {
            h.after = Some((0, |s, r| {
                if s.start == 2 {
                    r[0] += 1;
                }
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Statement(hop 1, output rows)",
            "Executed(commit)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "output rows at random",
        HINT,
        |_, h| {
            h.after = Some((1, |s, r| {
                r.iter_mut()
                    .enumerate()
                    .for_each(|(i, v)| *v = (i as i32 * 7919) % 100_000 + s.start as i32);
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "output rows of zeros",
        HINT,
        |_, h| h.after = Some((1, |_, r| r.fill(0))),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "values saturated at their bound",
        "saturating instead of exact addition",
        |_, h| h.after = Some((1, |_, r| r[0] = RESIDUAL_MAX)),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "values wrapped at 16 bits",
        "wrapping instead of exact addition",
        |_, h| {
            h.after = Some((1, |_, r| {
                r.iter_mut().for_each(|v| *v = i32::from(*v as i16));
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "the residual not added",
        "jolt-atlas #138: a branch with two claims",
        |_, h| {
            h.after = Some((1, |s, r| {
                r.iter_mut().zip(s.before).for_each(|(v, b)| *v -= b);
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "the residual added twice",
        "jolt-atlas #138: a branch with two claims",
        |_, h| {
            h.after = Some((1, |s, r| {
                r.iter_mut()
                    .zip(s.before)
                    .for_each(|(v, b)| *v = (*v + b).clamp(-RESIDUAL_MAX, RESIDUAL_MAX));
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "signs changed",
        "EZKL audit: zero with a free sign",
        |_, h| h.after = Some((1, |_, r| r.iter_mut().for_each(|v| *v = -*v))),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "channels in another order",
        "EZKL audit: shuffle",
        |_, h| {
            h.after = Some((1, |s, r| {
                r.chunks_exact_mut(s.dim).for_each(|r| r.rotate_left(1));
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "one value repeated in all channels",
        "EZKL audit: shuffle without multiplicities",
        |_, h| {
            h.after = Some((1, |s, r| {
                r.chunks_exact_mut(s.dim).for_each(|r| r.fill(r[0]));
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "positions of a flight exchanged",
        RUN,
        |_, h| {
            h.after = Some((1, |s, r| {
                if r.len() > s.dim {
                    r.rotate_left(s.dim);
                }
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "every position as the flight's last",
        "truncated context",
        |_, h| {
            h.after = Some((1, |s, r| {
                let last = r[r.len() - s.dim..].to_vec();
                r.chunks_exact_mut(s.dim)
                    .for_each(|r| r.copy_from_slice(&last));
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Statement(hop 1, output rows)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "rows of eight bits",
        "engy SN53, Token-DiFR",
        |_, h| h.after = Some((1, |_, r| r.iter_mut().for_each(|v| *v &= !0xff))),
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "rows of an older session",
        "replay",
        |_, h| {
            h.after = Some((1, |s, r| {
                let at = s.start * s.dim;
                let n = r.len();
                r.copy_from_slice(&s.old[at..at + n]);
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "the last row of an older session",
        "splice of two sessions",
        |_, h| {
            h.after = Some((1, |s, r| {
                if s.start == 2 {
                    let n = r.len();
                    r[n - s.dim..].copy_from_slice(&s.old[3 * s.dim..4 * s.dim]);
                }
            }));
        },
        [
            "Cell(hop 1, output row)",
            "Row(hop 1)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "other rows computed on than those that came",
        RUN,
        |_, h| h.before = Some((0, |_, r| r[0] += 9_999)),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(commit)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "an input row left out",
        "truncated context",
        |_, h| {
            h.before = Some((0, |s, r| {
                if s.start == 0 {
                    r[..s.dim].fill(1);
                }
            }));
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(commit)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "other rows between the hop's layers",
        RUN,
        |_, h| h.before = Some((1, |_, r| r[3] -= 9_999)),
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Qkv)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "keys and values of the first positions forgotten",
        "truncated context",
        |_, h| {
            h.cache = Some(|c, n| {
                if n == 2 {
                    for p in 0..n {
                        c.store(0, p, &[0; 4], &[0; 4]);
                    }
                }
            });
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(commit)",
            "Range(1..2, Relations)",
        ],
    ),
    hop(
        "a cached key one more",
        "KV quantisation",
        |_, h| {
            h.cache = Some(|c, n| {
                if n == 2 {
                    let (mut k, v) = c.row(1, 0);
                    k[1] += 1;
                    c.store(1, 0, &k, &v);
                }
            });
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "a cached value one less",
        "KV quantisation",
        |_, h| {
            h.cache = Some(|c, n| {
                if n == 4 {
                    let (k, mut v) = c.row(1, 3);
                    v[2] -= 1;
                    c.store(1, 3, &k, &v);
                }
            });
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "cached values of four bits",
        "KV quantisation",
        |_, h| {
            h.cache = Some(|c, n| {
                for p in 0..n {
                    let (k, mut v) = c.row(1, p);
                    v.iter_mut().for_each(|v| *v &= !15);
                    c.store(1, p, &k, &v);
                }
            });
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
    hop(
        "keys of two positions exchanged",
        "wrong position ids",
        |_, h| {
            h.cache = Some(|c, n| {
                if n == 4 {
                    let ((a, v), (b, u)) = (c.row(1, 0), c.row(1, 1));
                    c.store(1, 0, &b, &v);
                    c.store(1, 1, &a, &u);
                }
            });
        },
        [
            "Cell(hop 1, key or value row)",
            "Sums(hop 1, Output)",
            "Executed(commit)",
            "Range(2..3, Relations)",
        ],
    ),
];

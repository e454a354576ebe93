//! Every level equals the scalar specification, on odd shapes and at the extremes.

use crate::scalar;
use crate::{
    BLOCK_ROWS, Divisors, Epilogue, KernelError, Level, PackedMatrix, Panel, RESIDUAL_MAX, Rows,
    Width, dot_rows, dot_rows_multi, gemm_f32, matmul, matmul_i32, matmul_i64, weighted_rows,
    weighted_rows_multi,
};
use crate::{
    EXP_LEN, NormScale, TABLE_LEN, finish_sums, gated, gated_wide, look_up, norm_row, rotate,
    round_rows, softmax, sum_squares,
};

/// A small seeded generator (splitmix64): the tests need no more.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn within(&mut self, max: i64) -> i64 {
        (self.next() % (2 * max as u64 + 1)) as i64 - max
    }

    fn weights(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| self.within(127) as i8).collect()
    }

    fn values(&mut self, len: usize, max: i64) -> Vec<i16> {
        (0..len).map(|_| self.within(max) as i16).collect()
    }
}

/// (rows, cols, n) that miss every multiple: of 16 rows, 4 columns, 6 batch rows.
const SHAPES: [(usize, usize, usize); 14] = [
    (1, 1, 1),
    (15, 3, 2),
    (16, 4, 3),
    (17, 5, 4),
    (31, 64, 5),
    (33, 63, 6),
    (48, 100, 7),
    (65, 576, 8),
    (64, 1, 13),
    (80, 1029, 3),
    (129, 37, 19),
    (100, 130, 40),
    (7, 2050, 1),
    (192, 576, 1),
];

/// The product through every entry point, at every level, against the specification.
fn check_product(rows: usize, cols: usize, n: usize, w: &[i8], x: &[i16]) {
    let expected = scalar::matmul(cols, w, x);
    let matrix = PackedMatrix::pack(rows, cols, w);
    assert_eq!(matrix.unpack(), w);
    let mut batch = Rows::default();
    for level in Level::available() {
        batch.prepare(level, n, cols, x);
        let case = format!("{level}: rows {rows} cols {cols} n {n}");
        let mut wide = vec![1; n * rows];
        matmul_i64(&matrix, &batch, 0..matrix.blocks(), &mut wide);
        assert!(wide == expected, "i64 {case}");
        let mut narrow = vec![1; n * rows];
        matmul_i32(&matrix, &batch, 0..matrix.blocks(), &mut narrow);
        let wrapped: Vec<i32> = expected.iter().map(|&y| y as i32).collect();
        assert!(narrow == wrapped, "i32 {case}");
    }
}

#[test]
fn every_level_multiplies_odd_shapes_exactly() {
    let mut seed = Seed(1);
    for (rows, cols, n) in SHAPES {
        let (w, x) = (seed.weights(rows * cols), seed.values(n * cols, 32_767));
        check_product(rows, cols, n, &w, &x);
    }
    for n in 1..=40 {
        let (w, x) = (seed.weights(50 * 21), seed.values(n * 21, 32_767));
        check_product(50, 21, n, &w, &x);
    }
}

#[test]
fn extremes_do_not_overflow() {
    for cols in [1, 255, 1024, 1028, 4096] {
        for (a, b) in [
            (127, 32_767),
            (-127, 32_767),
            (127, -32_767),
            (-127, -32_767),
        ] {
            check_product(18, cols, 3, &vec![a; 18 * cols], &vec![b; 3 * cols]);
        }
    }
    check_product(
        2,
        65_536,
        1,
        &vec![-127; 2 * 65_536],
        &vec![-32_768; 65_536],
    );
    check_product(
        2,
        65_536,
        2,
        &vec![127; 2 * 65_536],
        &vec![32_767; 2 * 65_536],
    );
}

#[test]
fn blocks_of_a_product_are_strips_of_its_output() {
    let mut seed = Seed(2);
    let (rows, cols, n) = (83, 40, 9);
    let (w, x) = (seed.weights(rows * cols), seed.values(n * cols, 32_767));
    let expected = scalar::matmul(cols, &w, &x);
    let matrix = PackedMatrix::pack(rows, cols, &w);
    let mut batch = Rows::default();
    for level in Level::available() {
        batch.prepare(level, n, cols, &x);
        for cut in 0..=matrix.blocks() {
            let mut out = vec![0i64; n * rows];
            let whole = Panel::new(&mut out, n, rows);
            let (left, right) = whole.split_at((cut * BLOCK_ROWS).min(rows));
            std::thread::scope(|scope| {
                let (matrix, batch) = (&matrix, &batch);
                scope.spawn(move || {
                    matmul(matrix, batch, 0..cut, Width::I64, Epilogue::RawI64(left));
                });
                let rest = cut..matrix.blocks();
                matmul(matrix, batch, rest, Width::I64, Epilogue::RawI64(right));
            });
            assert!(out == expected, "{level} cut at block {cut}");
        }
    }
}

/// Divisors from one to nearly 2^31, small ones first.
fn divisors(seed: &mut Seed, len: usize) -> Vec<u32> {
    (0..len)
        .map(|i| (seed.next() as u32 >> (1 + i % 31)) | 1)
        .collect()
}

#[test]
fn epilogues_round_as_specified() {
    let mut seed = Seed(3);
    for (rows, cols, n) in SHAPES {
        // |y| ≤ 127 · 400 · 2050 and |bias| ≤ 2^30 leave the sum inside 32 bits.
        let (w, x) = (seed.weights(rows * cols), seed.values(n * cols, 400));
        let d = divisors(&mut seed, rows);
        let bias: Vec<i64> = (0..rows).map(|_| seed.within(1 << 30)).collect();
        for width in [Width::I32, Width::I64] {
            check_epilogues((rows, cols, n), &w, &x, &d, None, width);
            check_epilogues((rows, cols, n), &w, &x, &d, Some(&bias), width);
        }
        let bias: Vec<i64> = (0..rows)
            .map(|_| seed.next() as i64 >> (4 + seed.next() % 40))
            .collect();
        let x = seed.values(n * cols, 32_767);
        check_epilogues((rows, cols, n), &w, &x, &d, Some(&bias), Width::I64);
    }
}

fn check_epilogues(
    (rows, cols, n): (usize, usize, usize),
    w: &[i8],
    x: &[i16],
    d: &[u32],
    bias: Option<&[i64]>,
    width: Width,
) {
    let y = scalar::matmul(cols, w, x);
    let at = |i: usize| (y[i], bias.map_or(0, |bias| bias[i % rows]), d[i % rows]);
    let matrix = PackedMatrix::pack(rows, cols, w);
    let divisors = Divisors::new(d).unwrap();
    let mut seed = Seed(4);
    let old: Vec<i32> = (0..n * rows)
        .map(|_| seed.next() as i32 >> (seed.next() % 31))
        .collect();
    let mut batch = Rows::default();
    for level in Level::available() {
        batch.prepare(level, n, cols, x);
        for max in [0, 127, 32_767] {
            let mut out = vec![0i16; n * rows];
            let panel = Panel::new(&mut out, n, rows);
            let divisors = &divisors;
            let epilogue = Epilogue::Requantize {
                divisors,
                bias,
                max,
                out: panel,
            };
            matmul(&matrix, &batch, 0..matrix.blocks(), width, epilogue);
            for (i, &q) in out.iter().enumerate() {
                let (y, bias, d) = at(i);
                assert_eq!(
                    q,
                    scalar::requantize(y, bias, d, max),
                    "{level} {width:?} {y} {bias} / {d}"
                );
            }
        }
        // Where |y + bias| may reach 2^31, 32 bits leave no place to raise it.
        let lift = if width == Width::I64 {
            rows as u32 % 3
        } else {
            0
        };
        for max in [0, 1000, 1 << 26, RESIDUAL_MAX] {
            let mut out = old.clone();
            let residual = Panel::new(&mut out, n, rows);
            let divisors = &divisors;
            let epilogue = Epilogue::AddResidual {
                divisors,
                bias,
                lift,
                max,
                residual,
            };
            matmul(&matrix, &batch, 0..matrix.blocks(), width, epilogue);
            for (i, &sum) in out.iter().enumerate() {
                let (y, bias, d) = at(i);
                let raised = y.wrapping_add(bias) << lift;
                let expected = scalar::add_residual(old[i], raised, d, max);
                assert_eq!(
                    sum, expected,
                    "{level} {width:?} {} + ({y} + {bias}) / {d}",
                    old[i]
                );
            }
        }
    }
}

#[test]
fn multipliers_divide_exactly() {
    let small: Vec<u32> = (1..2000).step_by(2).collect();
    let check = |d: &[u32], y_of: &dyn Fn(u32) -> Vec<i32>| {
        let divisors = Divisors::new(d).unwrap();
        for (row, &d) in d.iter().enumerate() {
            for y in y_of(d) {
                let expected = scalar::round_div(i64::from(y), d);
                assert_eq!(divisors.round_div(row, i64::from(y)), expected, "{y} / {d}");
                assert_eq!(
                    i64::from(divisors.round_div_magic(row, y)),
                    expected,
                    "{y} / {d}"
                );
            }
        }
    };
    check(&small, &|_| (-3000..3000).collect());
    let mut seed = Seed(5);
    let mut large = divisors(&mut seed, 3000);
    large.extend((1..31).flat_map(|bit| [(1 << bit) - 1, (1 << bit) + 1]));
    large.extend([(1 << 31) - 1, (1 << 31) - 3]);
    large.extend(small);
    // Quotients change where |y| + (D−1)/2 is a multiple of D: test both sides of such places.
    check(&large, &|d| {
        let turns = [
            0,
            1,
            2,
            3,
            u64::from(u32::MAX >> 1) / u64::from(d) - 1,
            u64::from(u32::MAX >> 1) / u64::from(d),
        ];
        let mut ys = vec![0, 1, -1, i32::MAX, -i32::MAX, i32::MAX - 1];
        for turn in turns {
            let y = (turn * u64::from(d)) as i64 + i64::from((d - 1) / 2);
            ys.extend(
                (y - 2..=y + 2)
                    .filter_map(|y| i32::try_from(y).ok())
                    .flat_map(|y| [y, -y]),
            );
        }
        ys
    });
}

/// The vector divisions, at the places where quotients change: a matrix of zeros leaves the bias.
#[test]
fn epilogues_divide_exactly_at_the_turns() {
    let mut seed = Seed(8);
    for (width, bits) in [
        (Width::I32, 31),
        (Width::I64, 51),
        (Width::I64, 53),
        (Width::I64, 62),
    ] {
        let mut d = divisors(&mut seed, 4000);
        d.extend([(1 << 31) - 1, (1 << 30) + 1, (1 << 30) - 1, 3, 1]);
        let turn = |&d: &u32| {
            let d = i64::from(d);
            let quotients = ((1i64 << bits) / d).clamp(1, i64::from(RESIDUAL_MAX));
            let y = (seed.within(quotients).abs() * d + (d - 1) / 2).min((1 << bits) - 3);
            let y = y + seed.within(2);
            if seed.next().is_multiple_of(2) { y } else { -y }
        };
        let bias: Vec<i64> = d.iter().map(turn).collect();
        check_epilogues(
            (d.len(), 1, 1),
            &vec![0; d.len()],
            &[0],
            &d,
            Some(&bias),
            width,
        );
    }
}

#[test]
fn divisors_that_allow_ties_are_refused() {
    for value in [0, 2, 1 << 31, (1 << 31) + 1] {
        assert_eq!(
            Divisors::new(&[3, value]),
            Err(KernelError::Divisor { row: 1, value })
        );
    }
    let divisors = Divisors::new(&[1]).unwrap();
    assert_eq!(divisors.round_div(0, i64::MIN), i64::MIN);
    assert_eq!(divisors.round_div(0, i64::MAX), i64::MAX);
}

#[test]
fn attention_products_equal_the_specification() {
    let mut seed = Seed(6);
    for hd in [1, 2, 7, 16, 31, 32, 33, 64, 80, 96, 128, 130, 256] {
        for t in [1, 2, 3, 15, 16, 17, 33, 100] {
            // 4 rows of 12-bit queries and 14-bit values: the sums may wrap, and must wrap alike.
            let (q, k) = (seed.values(5 * hd, 32_767), seed.values(t * hd, 32_767));
            let p: Vec<i16> = seed
                .values(5 * t, 32_767)
                .iter()
                .map(|p| p.unsigned_abs() as i16)
                .collect();
            let (mut dots, mut sums) = (vec![0; 5 * t], vec![0; 5 * hd]);
            for i in 0..5 {
                scalar::dot_rows(&q[i * hd..][..hd], &k, &mut dots[i * t..][..t]);
                scalar::weighted_rows(&p[i * t..][..t], &k, &mut sums[i * hd..][..hd]);
            }
            for level in Level::available() {
                for count in 1..=5 {
                    let mut out = vec![7; count * t];
                    dot_rows_multi(level, hd, &q[..count * hd], &k, &mut out);
                    assert!(
                        out == dots[..count * t],
                        "dot {level} hd {hd} t {t} count {count}"
                    );
                    let mut out = vec![7; count * hd];
                    weighted_rows_multi(level, hd, &p[..count * t], &k, &mut out);
                    assert!(
                        out == sums[..count * hd],
                        "sum {level} hd {hd} t {t} count {count}"
                    );
                }
                let (mut one_dot, mut one_sum) = (vec![7; t], vec![7; hd]);
                dot_rows(level, &q[..hd], &k, &mut one_dot);
                weighted_rows(level, &p[..t], &k, &mut one_sum);
                assert!(
                    one_dot == dots[..t] && one_sum == sums[..hd],
                    "{level} hd {hd} t {t}"
                );
            }
        }
    }
}

#[test]
fn float_products_have_the_same_bits_at_every_level() {
    let mut seed = Seed(7);
    for (n, m, k) in [
        (1, 1, 1),
        (3, 5, 15),
        (4, 4, 16),
        (5, 9, 17),
        (13, 6, 100),
        (8, 8, 577),
    ] {
        let mut float = |len: usize| -> Vec<f32> {
            (0..len)
                .map(|_| seed.within(1 << 24) as f32 * 1e-5)
                .collect()
        };
        let (a, w) = (float(n * k), float(m * k));
        let dots = a
            .chunks(k)
            .flat_map(|a| w.chunks(k).map(|w| scalar::dot_f32(a, w).to_bits()));
        let expected: Vec<u32> = dots.collect();
        for level in Level::available() {
            let mut out = vec![0.0; n * m];
            gemm_f32(level, k, &a, &w, &mut out);
            let bits: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
            assert!(bits == expected, "{level} n {n} m {m} k {k}");
        }
    }
}

#[test]
fn empty_shapes_are_fine() {
    let mut batch = Rows::default();
    batch.prepare(Level::detect(), 0, 8, &[]);
    matmul_i32(&PackedMatrix::pack(3, 8, &[1; 24]), &batch, 0..1, &mut []);
    batch.prepare(Level::detect(), 2, 0, &[]);
    let mut out = [5; 6];
    matmul_i64(&PackedMatrix::pack(3, 0, &[]), &batch, 0..1, &mut out);
    assert_eq!(out, [0; 6]);
    batch.prepare(Level::detect(), 1, 8, &[1; 8]);
    matmul_i32(&PackedMatrix::pack(0, 8, &[]), &batch, 0..0, &mut []);
}

#[test]
fn levels_parse_and_are_ordered() {
    for level in [Level::Scalar, Level::Avx2, Level::Avx512] {
        assert_eq!(level.to_string().parse(), Ok(level));
    }
    assert!("sse".parse::<Level>().is_err());
    assert!(Level::Scalar < Level::Avx2 && Level::Avx2 < Level::Avx512);
    assert_eq!(Level::available().last(), Some(&Level::detect()));
    assert_eq!(Level::Scalar.checked(), Some(Level::Scalar));
}

#[test]
fn sums_finish_as_specified() {
    let mut seed = Seed(9);
    for (rows, n, bits) in [(1, 1, 20), (16, 2, 36), (37, 3, 50), (50, 1, 60)] {
        let d = divisors(&mut seed, rows);
        let divisors = Divisors::new(&d).unwrap();
        let bias: Vec<i64> = (0..rows).map(|_| seed.within(1 << (bits - 12))).collect();
        let sums: Vec<i64> = (0..n * rows)
            .map(|_| seed.within(1 << (bits - 2)))
            .collect();
        let old: Vec<i32> = (0..n * rows).map(|_| seed.within(1 << 29) as i32).collect();
        for level in Level::available() {
            let mut out = old.clone();
            let epilogue = Epilogue::AddResidual {
                divisors: &divisors,
                bias: Some(&bias),
                lift: 2,
                max: RESIDUAL_MAX,
                residual: Panel::new(&mut out, n, rows),
            };
            finish_sums(level, &sums, epilogue);
            for (i, &sum) in out.iter().enumerate() {
                let y = (sums[i] + bias[i % rows]) << 2;
                let expected = scalar::add_residual(old[i], y, d[i % rows], RESIDUAL_MAX);
                assert_eq!(sum, expected, "{level} {y}");
            }
        }
    }
}

#[test]
fn element_wise_steps_equal_their_definitions() {
    let mut seed = Seed(10);
    let table = seed.values(TABLE_LEN, 32_767);
    let value = |x: i16| table[(i32::from(x) + 32_768) as usize];
    for width in [1, 7, 64, 65, 200] {
        let d = divisors(&mut seed, width);
        let scale = Divisors::new(&d).unwrap();
        let (gate, up) = (
            seed.values(3 * width, 32_768),
            seed.values(3 * width, 32_767),
        );
        let product = |i: usize, max: i64| {
            let y = i64::from(value(gate[i])) * i64::from(up[i]);
            scalar::round_div(y, d[i % width]).clamp(-max, max)
        };
        let sums: Vec<i32> = (0..width).map(|_| seed.next() as i32).collect();
        for level in Level::available() {
            let case = format!("{level} {width}");
            let mut out = vec![0i16; 3 * width];
            gated(level, &table, &scale, &gate, &up, 30_000, &mut out);
            assert!(
                (0..out.len()).all(|i| i64::from(out[i]) == product(i, 30_000)),
                "{case}"
            );
            let (mut wide, max) = (vec![0; out.len()], 8_000_000);
            gated_wide(level, &table, &scale, &gate, &up, max, &mut wide);
            for (i, &q) in wide.iter().enumerate() {
                assert_eq!(i64::from(q), product(i, i64::from(max)), "{case}");
            }
            let mut looked = gate.clone();
            look_up(level, &table, &mut looked);
            assert!(
                looked.iter().zip(&gate).all(|(&y, &x)| y == value(x)),
                "{case}"
            );
            let first = width / 3;
            let mut rounded = vec![0i16; width - first];
            round_rows(level, &scale, first, &sums[first..], 9_000, &mut rounded);
            for (i, &q) in rounded.iter().enumerate() {
                let (y, d) = (sums[first + i], d[first + i]);
                assert_eq!(
                    q,
                    scalar::requantize(i64::from(y), 0, d, 9_000),
                    "{case} {y} / {d}"
                );
            }
        }
    }
}

#[test]
fn softmax_equals_its_definition() {
    let mut seed = Seed(11);
    let exp: Vec<u16> = (0..EXP_LEN as u32)
        .map(|i| (32_767 - (2 * i).min(32_767)) as u16)
        .collect();
    let d = divisors(&mut seed, 40);
    let scale = Divisors::new(&d).unwrap();
    for n in [1, 2, 63, 64, 65, 500, 3000] {
        for (row, &d) in d.iter().enumerate() {
            let spread = 1 + (i64::from(d) * 20_000).min((1 << 30) - 2);
            let scores: Vec<i32> = (0..n).map(|_| seed.within(spread) as i32).collect();
            let expected = scalar::softmax(&exp, &scores, d);
            for level in Level::available() {
                let mut probs = vec![7; n];
                softmax(level, &exp, &scale, row, &scores, &mut probs);
                assert!(probs == expected, "{level} n {n} divisor {d}");
            }
        }
    }
}

#[test]
fn rotations_and_normalisations_equal_their_definitions() {
    let mut seed = Seed(12);
    for half in [1, 3, 8, 32, 40] {
        let (cos, sin) = (seed.values(half, 1 << 14), seed.values(half, 1 << 14));
        let row = seed.values(6 * half, 32_767);
        for level in Level::available() {
            let mut out = row.clone();
            rotate(level, &cos, &sin, 2047, &mut out);
            for (i, &y) in out.iter().enumerate() {
                let (j, high) = (i % half, i / half % 2 == 1);
                let (a, b) = if high {
                    (i64::from(row[i]), -i64::from(row[i - half]))
                } else {
                    (i64::from(row[i]), i64::from(row[i + half]))
                };
                let sum = a * i64::from(cos[j]) - b * i64::from(sin[j]);
                assert_eq!(y, scalar::requantize(sum, 0, 65_537, 2047), "{level} {i}");
            }
        }
    }
    for n in [1, 5, 33, 576] {
        let x: Vec<i32> = (0..n)
            .map(|_| seed.next() as i32 >> (seed.next() % 20))
            .collect();
        let squares: u128 = x.iter().map(|&v| u128::from(v.unsigned_abs()).pow(2)).sum();
        let gain = seed.values(n, 32_767);
        let bias: Vec<i32> = (0..n).map(|_| seed.within(1 << 20) as i32).collect();
        for level in Level::available() {
            assert_eq!(sum_squares(level, &x), squares, "{level} {n}");
            for (scale, shift, bias, max) in [
                (1, 0, &[][..], 2000),
                (1, 0, &bias[..], 1 << 29),
                (n as i64, -77, &bias[..], 30_000),
            ] {
                let norm = NormScale {
                    scale,
                    shift,
                    r: 40_001,
                    m: 36,
                    gain: &gain,
                    bias,
                    max,
                };
                let mut out = vec![0; n];
                // |u| below 2^26 keeps quotients within 31 bits.
                let x: Vec<i32> = x.iter().map(|v| v >> 16).collect();
                norm_row(level, &norm, &x, &mut out);
                for (j, &y) in out.iter().enumerate() {
                    let u = i128::from(scale * i64::from(x[j]) - shift);
                    let y_exact = u * 40_001 * i128::from(gain[j]);
                    let d = (1i128 << 36) - 1;
                    let q = (y_exact.abs() + (d - 1) / 2) / d * y_exact.signum();
                    let b = bias.get(j).map_or(0, |&b| i128::from(b));
                    let expected = (q + b).clamp(-i128::from(max), i128::from(max));
                    assert_eq!(i128::from(y), expected, "{level} {n} {j}");
                }
            }
        }
    }
}

//! Every field loop equals `nesa-field` element by element, at every level, on odd lengths.

use nesa_field::{P, add, centred, from_i64, is_canonical, mul, uniform};

use crate::{
    BLOCK_ROWS, FieldRows, FieldScratch, Level, PackedMatrix, Panel, field_canonical,
    field_centred, field_combine, field_dot2, field_from_signed, field_left, field_matmul,
    field_uniform,
};

const LENGTHS: [usize; 12] = [0, 1, 3, 4, 7, 64, 65, 255, 256, 257, 576, 3072];

/// `n` uniform elements, the first few replaced by the edges of the field.
fn elements(seed: u8, n: usize) -> Vec<u32> {
    let mut all = uniform(&[seed; 32], n);
    let edges = [P - 1, 0, P / 2, P / 2 + 1, 1];
    all.iter_mut().zip(edges).for_each(|(x, edge)| *x = edge);
    all
}

fn dot(r: &[u32], x: &[u32]) -> u32 {
    r.iter().zip(x).fold(0, |sum, (&r, &x)| add(sum, mul(r, x)))
}

#[test]
fn dot_products_equal_the_field() {
    for n in LENGTHS {
        let [r0, r1, x] = [1, 2, 3].map(|seed| elements(seed, n));
        let all = vec![P - 1; n];
        for level in Level::available() {
            assert_eq!(
                field_dot2(level, &r0, &r1, &x),
                [dot(&r0, &x), dot(&r1, &x)]
            );
            assert_eq!(
                field_dot2(level, &all, &r1, &all),
                [dot(&all, &all), dot(&r1, &all)]
            );
        }
    }
}

#[test]
fn combinations_equal_the_field() {
    for n in LENGTHS {
        for count in 0..=7 {
            let coeffs = elements(count as u8, count);
            let rows: Vec<Vec<u32>> = (0..count)
                .map(|i| {
                    if i == 1 {
                        vec![P - 1; n]
                    } else {
                        elements(i as u8 + 9, n)
                    }
                })
                .collect();
            let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
            let sum = |j: usize| {
                let terms = coeffs.iter().zip(&rows);
                terms.fold(0, |sum, (&c, row)| add(sum, mul(c, row[j])))
            };
            let expected: Vec<u32> = (0..n).map(sum).collect();
            for level in Level::available() {
                let mut out = vec![7; n];
                field_combine(level, &coeffs, &rows, &mut out);
                assert_eq!(out, expected, "{count} rows of {n} at {level}");
            }
        }
    }
}

#[test]
fn signed_integers_equal_the_field() {
    let p = P.cast_signed();
    let edges = [
        0,
        1,
        -1,
        p / 2,
        p / 2 + 1,
        -(p / 2),
        -(p / 2) - 1,
        p - 1,
        p,
        p + 1,
        -p,
        1 - p,
        -p - 1,
        i32::MAX,
        i32::MIN,
        i32::MIN + 1,
    ];
    let x: Vec<i32> = edges
        .into_iter()
        .chain(
            uniform(&[4; 32], 1000)
                .iter()
                .map(|v| (v * 2).cast_signed()),
        )
        .collect();
    let expected: Vec<u32> = x.iter().map(|&v| from_i64(i64::from(v))).collect();
    for level in Level::available() {
        for n in [x.len(), 0, 1, 15, 33] {
            let (mut out, mut back) = (vec![0; n], vec![0; n]);
            field_from_signed(level, &x[..n], &mut out);
            assert_eq!(out, expected[..n], "{level}");
            field_centred(level, &out, &mut back);
            let centred: Vec<i32> = out.iter().map(|&e| centred(e)).collect();
            assert_eq!(back, centred, "{level}");
        }
    }
}

#[test]
fn elements_of_a_seed_equal_the_field() {
    // Past 255 and 256 words, and past the end of a call's blocks by the words that are left out.
    for n in LENGTHS
        .into_iter()
        .chain([253, 254, 508, 511, 512, 513, 5000])
    {
        for seed in [[0; 32], [7; 32], std::array::from_fn(|i| i as u8)] {
            let expected = uniform(&seed, n);
            for level in Level::available() {
                let mut out = vec![1; n];
                field_uniform(level, &seed, &mut out);
                assert_eq!(out, expected, "{n} at {level}");
            }
        }
    }
}

#[test]
fn elements_are_told_from_other_values() {
    let edges = [
        0,
        1,
        P - 1,
        P,
        P + 1,
        1 << 31,
        (1 << 31) + P - 1,
        (1 << 31) + P,
        u32::MAX,
    ];
    for level in Level::available() {
        assert!(field_canonical(level, &[]));
        for n in [1, 16, 65] {
            for edge in edges {
                for at in [0, n / 2, n - 1] {
                    let mut x = elements(1, n);
                    assert!(field_canonical(level, &x));
                    x[at] = edge;
                    assert_eq!(
                        field_canonical(level, &x),
                        is_canonical(&x),
                        "{edge} at {level}"
                    );
                    assert_eq!(is_canonical(&x), edge < P);
                }
            }
        }
    }
}

/// `W·x` modulo p by the field alone.
fn product(cols: usize, w: &[i8], x: &[u32]) -> Vec<u32> {
    let row = |x: &[u32], w: &[i8]| {
        let terms = w.iter().zip(x);
        terms.fold(0, |sum, (&w, &x)| add(sum, mul(from_i64(i64::from(w)), x)))
    };
    x.chunks_exact(cols)
        .flat_map(|x| w.chunks_exact(cols).map(move |w| row(x, w)))
        .collect()
}

fn check_product(rows: usize, cols: usize, n: usize, w: &[i8], x: &[u32]) {
    let expected = product(cols, w, x);
    let matrix = PackedMatrix::pack(rows, cols, w);
    let mut batch = FieldRows::default();
    let mut scratch = FieldScratch::default();
    for level in Level::available() {
        batch.prepare(level, n, cols, x);
        assert_eq!((batch.n(), batch.cols()), (n, cols));
        // Two threads' worth of blocks, each into its own strip.
        for cut in [0, matrix.blocks() / 2] {
            let mut out = vec![1; n * rows];
            let panel = Panel::new(&mut out, n, rows);
            let (left, right) = panel.split_at(cut * BLOCK_ROWS);
            field_matmul(&matrix, &batch, 0..cut, &mut scratch, left);
            field_matmul(&matrix, &batch, cut..matrix.blocks(), &mut scratch, right);
            assert_eq!(
                out, expected,
                "({rows}, {cols}) x {n} at {level}, cut {cut}"
            );
        }
    }
}

#[test]
fn products_equal_the_field() {
    let shapes = [
        (1, 1, 1),
        (15, 3, 2),
        (17, 5, 4),
        (33, 63, 49),
        (300, 20, 97),
        (48, 100, 48),
        (513, 576, 3),
        (64, 1, 13),
        (7, 2050, 1),
        (192, 576, 1),
    ];
    for (i, (rows, cols, n)) in shapes.into_iter().enumerate() {
        let w: Vec<i8> = uniform(&[i as u8; 32], rows * cols)
            .iter()
            .map(|v| (v % 255) as u8 as i16 - 127)
            .map(|w| w as i8)
            .collect();
        check_product(rows, cols, n, &w, &elements(50 + i as u8, n * cols));
    }
}

#[test]
fn products_are_exact_at_the_extremes() {
    // 516 columns of ±127 sum up to 65,532 and fit 32 bits, 517 do not; 65,536 are the most there are.
    let half = P / 2; // its halves are ±2^14 and −2^15 … 2^15
    for cols in [515, 516, 517, 1036, 65_536] {
        for w in [127i8, -127] {
            let weights = vec![w; 3 * cols];
            for x in [
                half,
                half + 1,
                0x3f80_8000,
                0x3f7f_7fff,
                P - 0x8000,
                P - 1,
                0x7fff,
                0x8000,
            ] {
                check_product(3, cols, 1, &weights, &vec![x; cols]);
            }
        }
    }
}

#[test]
fn rows_times_matrices_equal_the_field() {
    let shapes = [
        (1, 1),
        (3, 5),
        (4, 64),
        (511, 7),
        (512, 3),
        (513, 33),
        (1100, 20),
        (5, 0),
        (0, 5),
    ];
    for (rows, cols) in shapes {
        let mixed: Vec<i8> = (0..rows * cols)
            .map(|i| (i * 37 % 255) as i16 - 127)
            .map(|w| w as i8)
            .collect();
        // A centred 2^30 − 2^23 − 2^15 has the low half −2^15, of largest magnitude.
        let extreme = vec![0x3f7f_8000; rows];
        for r in [elements(3, rows), vec![P / 2; rows], extreme] {
            for w in [&mixed, &vec![-127; rows * cols]] {
                let column = |c: usize| {
                    let terms = r.iter().enumerate();
                    let term =
                        |(i, &r): (usize, &u32)| mul(r, from_i64(i64::from(w[i * cols + c])));
                    terms.map(term).fold(0, add)
                };
                let expected: Vec<u32> = (0..cols).map(column).collect();
                for level in Level::available() {
                    let mut out = vec![1; cols];
                    field_left(level, &r, w, &mut out);
                    assert_eq!(out, expected, "({rows}, {cols}) at {level}");
                }
            }
        }
    }
}

#[test]
fn nothing_is_multiplied_to_nothing() {
    check_product(20, 4, 0, &[1; 80], &[]);
    check_product(0, 4, 2, &[], &[1; 8]);
}

//! Prints the cost of field products against int16 products, and of the client's loops over shares.
//!
//! `cargo run --release -p nesa-kernels --example field [level]`. Wall clock of one thread; compare
//! only within one run.

use std::hint::black_box;
use std::time::Instant;

use nesa_field::{uniform, uniform_into};
use nesa_kernels::{
    FieldRows, FieldScratch, Level, PackedMatrix, Panel, Rows, field_centred, field_combine,
    field_dot2, field_from_signed, field_left, field_matmul, field_uniform, matmul_i32,
};

/// Seconds of one `run`: the best of five averages.
fn best(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    run();
    let repeats = (0.02 / start.elapsed().as_secs_f64()).ceil().max(1.0) as usize;
    (0..5).fold(f64::INFINITY, |best, _| {
        let start = Instant::now();
        (0..repeats).for_each(|_| run());
        best.min(start.elapsed().as_secs_f64() / repeats as f64)
    })
}

fn products(level: Level, (rows, cols): (usize, usize)) {
    let weights: Vec<i8> = uniform(&[1; 32], rows * cols)
        .iter()
        .map(|v| ((v % 61) as u8).cast_signed() - 30)
        .collect();
    let matrix = PackedMatrix::pack(rows, cols, &weights);
    for n in [1, 4, 16, 64, 256] {
        let x = uniform(&[2; 32], n * cols);
        let plain: Vec<i16> = x.iter().map(|&v| v as i16).collect();
        let (mut batch, mut out) = (Rows::default(), vec![0; n * rows]);
        let int16 = best(|| {
            batch.prepare(level, n, cols, black_box(&plain));
            matmul_i32(&matrix, &batch, 0..matrix.blocks(), &mut out);
        });
        let (mut batch, mut scratch) = (FieldRows::default(), FieldScratch::default());
        let mut out = vec![0; n * rows];
        let field = best(|| {
            batch.prepare(level, n, cols, black_box(&x));
            let panel = Panel::new(&mut out, n, rows);
            field_matmul(&matrix, &batch, 0..matrix.blocks(), &mut scratch, panel);
        });
        let rate = |seconds: f64| (rows * cols * n) as f64 / seconds / 1e9;
        println!(
            "{rows} x {cols}, n = {n:3}: int16 {:6.1}, field {:6.1} G multiplications/s, {:.2} x the time",
            rate(int16),
            rate(field),
            field / int16
        );
    }
}

fn left(level: Level) {
    let (rows, cols) = (3072, 576);
    let weights: Vec<i8> = (0..rows * cols)
        .map(|i| (i % 201) as i16 - 100)
        .map(|w| w as i8)
        .collect();
    let (r, mut out) = (uniform(&[3; 32], rows), vec![0; cols]);
    let seconds = best(|| field_left(level, black_box(&r), &weights, &mut out));
    let rate = (rows * cols) as f64 / seconds / 1e9;
    println!("row times matrix: {rate:.1} G weights/s");
}

fn loops(level: Level) {
    const N: usize = 1 << 13;
    let [a, b, c] = [1, 2, 3].map(|seed| uniform(&[seed; 32], N));
    let mut out = vec![0; N];
    let mut signed = vec![0; N];
    let show = |name: &str, seconds: f64| {
        println!("{name:20} {:6.3} ns per element", seconds / N as f64 * 1e9);
    };
    show(
        "uniform, plain",
        best(|| uniform_into(&[4; 32], black_box(&mut out))),
    );
    show(
        "uniform",
        best(|| field_uniform(level, &[4; 32], black_box(&mut out))),
    );
    show(
        "dot2",
        best(|| {
            black_box(field_dot2(level, &a, &b, black_box(&c)));
        }),
    );
    show(
        "combine 2 rows",
        best(|| field_combine(level, &[5, 6], &[&a, &b], black_box(&mut out))),
    );
    show(
        "combine 3 rows",
        best(|| field_combine(level, &[5, 6, 7], &[&a, &b, &c], black_box(&mut out))),
    );
    show(
        "centred",
        best(|| field_centred(level, black_box(&a), &mut signed)),
    );
    show(
        "from signed",
        best(|| field_from_signed(level, black_box(&signed), &mut out)),
    );
}

fn main() {
    let level = std::env::args()
        .nth(1)
        .and_then(|name| name.parse().ok())
        .unwrap_or_else(Level::detect);
    println!("{level}");
    products(level, (3072, 576));
    products(level, (576, 1536));
    left(level);
    loops(level);
}

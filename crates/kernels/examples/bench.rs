//! Prints the throughput of the kernels on the linear layers of a 135M-parameter model.
//!
//! `cargo run --release -p nesa-kernels --example bench [level]`. Times are thread CPU time where the
//! system reports it, so that a busy machine does not distort them; compare only within one run.

use std::hint::black_box;
use std::time::Instant;

use nesa_kernels::{
    Divisors, Epilogue, Level, PackedMatrix, Panel, Rows, Width, dot_rows_multi, gemm_f32, matmul,
    weighted_rows_multi,
};

/// (rows, cols) of one layer: q, k, v, o, gate, up, down.
const SHAPES: [(usize, usize); 7] = [
    (576, 576),
    (192, 576),
    (192, 576),
    (576, 576),
    (1536, 576),
    (1536, 576),
    (576, 1536),
];
const LAYERS: usize = 30;
const HEADS: usize = 3;

struct Linear {
    matrix: PackedMatrix,
    divisors: Divisors,
}

/// CPU seconds of this thread; wall clock where the system does not say.
fn cpu_seconds(start: Instant) -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| {
            text.split_whitespace()
                .next()
                .and_then(|field| field.parse::<f64>().ok())
        });
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |ns| ns * 1e-9)
}

/// CPU seconds of one `run`: the least disturbed of three averages over about 0.2 s each, since the
/// system's clock of a thread advances in steps of milliseconds.
fn best(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    run();
    let repeats = (0.2 / start.elapsed().as_secs_f64()).ceil().max(1.0) as usize;
    (0..3).fold(f64::INFINITY, |best, _| {
        let before = cpu_seconds(start);
        (0..repeats).for_each(|_| run());
        best.min((cpu_seconds(start) - before) / repeats as f64)
    })
}

fn model() -> Vec<Linear> {
    let shapes = (0..LAYERS).flat_map(|_| SHAPES);
    let linear = |(rows, cols): (usize, usize)| {
        let weights: Vec<i8> = (0..rows * cols)
            .map(|i| (i * 31 % 255) as u8 as i8)
            .collect();
        let weights: Vec<i8> = weights.iter().map(|w| (*w).max(-127)).collect();
        let divisors = Divisors::new(&vec![100_003; rows]).ok()?;
        Some(Linear {
            matrix: PackedMatrix::pack(rows, cols, &weights),
            divisors,
        })
    };
    shapes.filter_map(linear).collect()
}

/// One pass through all linear layers with `n` batch rows, activations prepared once per layer.
fn pass(
    (level, width): (Level, Width),
    model: &[Linear],
    n: usize,
    x: &[i16],
    rows: &mut Rows,
    out: &mut [i16],
) {
    for (i, linear) in model.iter().enumerate() {
        let matrix = &linear.matrix;
        if ![1, 2, 5].contains(&(i % SHAPES.len())) {
            rows.prepare(level, n, matrix.cols(), &x[..n * matrix.cols()]);
        }
        let out = Panel::new(&mut out[..n * matrix.rows()], n, matrix.rows());
        let divisors = &linear.divisors;
        let epilogue = Epilogue::Requantize {
            divisors,
            bias: None,
            max: 32_767,
            out,
        };
        matmul(matrix, rows, 0..matrix.blocks(), width, epilogue);
    }
}

fn integer(level: Level) {
    let model = model();
    let macs: usize = model
        .iter()
        .map(|l| l.matrix.rows() * l.matrix.cols())
        .sum();
    let x: Vec<i16> = (0..256 * 1536)
        .map(|i| (i * 7919 % 4095) as i16 - 2047)
        .collect();
    let (mut rows, mut out) = (Rows::default(), vec![0i16; 256 * 1536]);
    let words = vec![1u64; macs / 8];
    let read = best(|| {
        // Four independent sums, so that the additions do not limit the reads.
        let sums = words
            .as_chunks::<32>()
            .0
            .iter()
            .fold([0u64; 32], |mut sums, chunk| {
                sums.iter_mut()
                    .zip(chunk)
                    .for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
                sums
            });
        black_box(sums);
    });
    println!(
        "read  {:>8.2} GB/s (plain sum over the same bytes)",
        macs as f64 / read * 1e-9
    );
    for n in [1, 2, 3, 4, 8, 16, 64, 256] {
        let seconds = best(|| pass((level, Width::I32), &model, n, &x, &mut rows, &mut out));
        let rate = (macs * n) as f64 / seconds * 1e-9;
        let tokens = n as f64 / seconds;
        println!("n {n:>4} {rate:>8.2} GMAC/s {tokens:>8.1} tok/s");
    }
    let wide = best(|| pass((level, Width::I64), &model, 64, &x, &mut rows, &mut out));
    println!(
        "n   64 {:>8.2} GMAC/s in 64 bits",
        (macs * 64) as f64 / wide * 1e-9
    );
}

fn attention(level: Level) {
    let (hd, t, heads) = (64, 1024, HEADS);
    let k: Vec<i16> = (0..t * hd)
        .map(|i| (i * 7919 % 4095) as i16 - 2047)
        .collect();
    let (mut scores, mut sums) = (vec![0; heads * t], vec![0; heads * hd]);
    let p = vec![3i16; heads * t];
    let macs = (200 * heads * t * hd) as f64;
    let dots = best(|| {
        (0..200).for_each(|_| dot_rows_multi(level, hd, &k[..heads * hd], &k, &mut scores));
    });
    let weighted = best(|| {
        (0..200).for_each(|_| weighted_rows_multi(level, hd, &p, &k, &mut sums));
    });
    println!(
        "q·k   {:>8.2} GMAC/s   p·v {:.2} GMAC/s",
        macs / dots * 1e-9,
        macs / weighted * 1e-9
    );
}

fn float(level: Level) {
    let (n, m, k) = (256, 576, 1536);
    let a: Vec<f32> = (0..n * k).map(|i| (i % 1000) as f32 * 1e-3).collect();
    let w: Vec<f32> = (0..m * k).map(|i| (i % 777) as f32 * 1e-3).collect();
    let mut out = vec![0.0; n * m];
    let seconds = best(|| gemm_f32(level, k, &a, &w, &mut out));
    println!(
        "f32   {:>8.2} GFLOP/s",
        (2 * n * m * k) as f64 / seconds * 1e-9
    );
}

fn main() {
    let named = std::env::args().nth(1).and_then(|name| name.parse().ok());
    let level = named.and_then(Level::checked).unwrap_or_else(Level::detect);
    println!("level {level}");
    integer(level);
    attention(level);
    float(level);
}

//! Prints what shares cost a client per token of a 135M-parameter model: dealing, checking and putting
//! together, and what making the checks of the model costs once.
//!
//! `cargo run --release -p nesa-privacy --example shares [t n positions]`. Wall clock of one thread.

use std::hint::black_box;
use std::time::{Duration, Instant};

use nesa_codec::{Digest, Encode};
use nesa_kernels::Level;
use nesa_model::{Product, testing};
use nesa_privacy::shares::{Checks, Dealer, Scheme, reconstruct};

const LAYERS: usize = 30;

/// Rows of a product's input per position: `down` has two limbs.
fn limbs(product: Product) -> usize {
    if product == Product::Down { 2 } else { 1 }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse());
    let t = numbers.next().transpose()?.unwrap_or(1);
    let scheme = Scheme::new(t, numbers.next().transpose()?.unwrap_or(t + 1))?;
    let positions: usize = numbers.next().transpose()?.unwrap_or(1);
    let points: Vec<u8> = (1..=scheme.n() as u8).collect();
    let level = Level::detect();

    let mut shape = testing::shapes()[0].clone();
    (shape.layers, shape.dim, shape.ffn, shape.context) = (1, 576, 1536, 64);
    (shape.heads, shape.kv_heads, shape.head_dim) = (9, 3, 64);
    let block = testing::block(&shape, &mut testing::Noise(1));
    let mut checks = Checks::new([1; 32], Digest([2; 32]));
    let start = Instant::now();
    (0..LAYERS).for_each(|_| checks.push(level, &block));
    println!(
        "checks of {LAYERS} layers: {:.1} ms once, {} KiB stored",
        start.elapsed().as_secs_f64() * 1e3,
        checks.to_bytes().len() >> 10
    );

    let mut dealer = Dealer::new([3; 32]);
    let mut best = [Duration::MAX; 3];
    for round in 0..60.min(4 + 100 / positions) {
        let mut spent = [Duration::ZERO; 3];
        for layer in 0..LAYERS {
            for product in Product::ALL {
                let check = checks.get(layer, product).ok_or("a check is missing")?;
                let n = positions * limbs(product);
                let inputs = vec![round as i32 - 30; n * check.cols()];
                let start = Instant::now();
                let flight = dealer.deal(level, scheme.t(), &points, black_box(&inputs))?;
                spent[0] += start.elapsed();
                // Wrong answers cost what right ones do; here they come for nothing.
                let answers = vec![vec![7; n * check.rows()]; scheme.n()];
                let start = Instant::now();
                for (i, answer) in answers.iter().enumerate() {
                    let share = flight.share(i).ok_or("a share is missing")?;
                    black_box(check.holds(level, n, share, answer));
                }
                spent[1] += start.elapsed();
                let answers: Vec<&[u32]> = answers.iter().map(Vec::as_slice).collect();
                let needed = scheme.needed();
                let start = Instant::now();
                black_box(reconstruct(level, &points[..needed], &answers[..needed])?);
                spent[2] += start.elapsed();
                let start = Instant::now();
                drop(flight);
                spent[0] += start.elapsed();
            }
        }
        for (best, spent) in best.iter_mut().zip(spent) {
            *best = spent.min(*best);
        }
    }
    let [deal, check, join] = best.map(|time| time.as_secs_f64() * 1e3 / positions as f64);
    println!(
        "{scheme} per token at {level}: dealing {deal:.3} ms, checking {check:.3} ms, putting together {join:.3} ms"
    );
    println!("in all {:.3} ms", deal + check + join);
    Ok(())
}

//! Time the commitment: `cargo run --release -p nesa-argument --example commitment -- 20 22 24`.

use std::time::Instant;

use nesa_argument::field::from_i64;
use nesa_argument::pcs::{commit, observe, open, verify};
use nesa_argument::{E, Transcript};
use nesa_codec::Encode as _;

/// Processor seconds of this process, all threads.
fn cpu() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let fields = after.split_whitespace().skip(11).take(2);
    fields.filter_map(|f| f.parse::<u64>().ok()).sum::<u64>() * 10
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let (wall, before) = (Instant::now(), cpu());
    let out = run();
    let micros = wall.elapsed().as_micros();
    println!("  {what}: {micros} us wall, {} ms cpu", cpu() - before);
    out
}

/// The polynomial at a point: folded from the most significant bit.
fn value(values: &[nesa_argument::F], point: &[E]) -> E {
    let mut v: Vec<E> = values.iter().map(|&x| E::from(x)).collect();
    for &r in point {
        let (low, high) = v.split_at(v.len() / 2);
        v = low
            .iter()
            .zip(high)
            .map(|(&a, &b)| a + r * (b - a))
            .collect();
    }
    v[0]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for arg in std::env::args().skip(1) {
        let m: usize = arg.parse()?;
        let values: Vec<_> = (0..1i64 << m).map(|i| from_i64(i * 977 % 65521)).collect();
        println!("{m} variables");
        let mut t = Transcript::new("example");
        let (root, committed) = timed("commit", || commit(values, &mut t))?;
        let point = t.challenges(m);
        let claimed = value(committed.values(), &point);
        let opening = timed("open", || open(committed, &point, &mut t))?;
        println!("  size: {} bytes", opening.to_bytes().len());
        let mut t = Transcript::new("example");
        observe(&root, m, &mut t)?;
        let point = t.challenges(m);
        timed("verify", || {
            verify(&root, m, &point, claimed, &opening, &mut t)
        })?;
    }
    Ok(())
}

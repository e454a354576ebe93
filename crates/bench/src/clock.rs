//! CPU time and memory bandwidth.

use std::hint::black_box;

use anyhow::{Context, Result};

/// CPU seconds of all threads of this process.
///
/// # Errors
/// Where the system does not tell (`/proc` is Linux's).
pub(crate) fn cpu_seconds() -> Result<f64> {
    let mut nanoseconds = 0.0;
    for task in std::fs::read_dir("/proc/self/task").context("CPU time needs Linux")? {
        // A thread that ends meanwhile has no file any more.
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else {
            continue;
        };
        let first = text.split_whitespace().next().unwrap_or_default();
        nanoseconds += first.parse::<f64>().context("schedstat")?;
    }
    Ok(nanoseconds * 1e-9)
}

/// Bytes per CPU-second that one thread reads from memory: a plain sum over 256 MiB, the best of 8.
pub(crate) fn read_rate() -> f64 {
    let words = vec![1u64; 32 << 20];
    let bytes = (words.len() * size_of::<u64>()) as f64;
    let mut best = 0.0f64;
    for _ in 0..8 {
        let before = cpu_seconds().unwrap_or_default();
        for _ in 0..2 {
            // Independent sums, so that the additions do not limit the reads.
            let sums = (words.as_chunks::<32>().0)
                .iter()
                .fold([0u64; 32], |mut sums, chunk| {
                    (sums.iter_mut().zip(chunk)).for_each(|(s, w)| *s = s.wrapping_add(*w));
                    sums
                });
            black_box(sums);
        }
        let seconds = cpu_seconds().unwrap_or_default() - before;
        if seconds > 0.0 {
            best = best.max(2.0 * bytes / seconds);
        }
    }
    best
}

//! CPU time of this process, for the honest cost of an answer.

use std::fs;

/// CPU seconds of all running threads of this process, or `None` where the system does not tell.
#[must_use]
pub fn seconds() -> Option<f64> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let mut ns = 0;
    for task in tasks.flatten() {
        // A thread that ends meanwhile has no file any more.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else {
            continue;
        };
        ns += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(ns as f64 / 1e9)
}

/// CPU seconds of the calling thread, or `None` where the system does not tell.
#[must_use]
pub fn thread_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let ns: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(ns as f64 / 1e9)
}

/// Most bytes of memory that this process has held, or `None` where the system does not tell.
#[must_use]
pub fn peak_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::seconds;

    #[test]
    fn work_costs_time() {
        let before = seconds().unwrap();
        let mut x = 1u64;
        while seconds().unwrap() - before < 0.01 {
            x = (0..10_000).fold(x, |x, i| std::hint::black_box(x ^ i));
        }
        assert!(seconds().unwrap() > before);
    }
}

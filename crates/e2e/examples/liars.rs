//! Tells lies of every kind and prints how often each was caught, against the formula.

use clap::Parser;
use nesa_e2e::liars::{Row, measure};
use nesa_pipeline::Fault;
use serde_json::json;

/// Measure how often lying nodes are caught.
#[derive(Parser)]
struct Options {
    /// Sessions per lie
    #[arg(long, default_value_t = 400)]
    runs: u64,
    /// Seed of prompts, keys and nonces
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    let mut rows = Vec::new();
    for fault in Fault::ALL {
        match measure(fault, options.runs, options.seed) {
            Ok(r) => rows.extend(r),
            Err(e) => {
                eprintln!("{fault:?}: {e}");
                return std::process::ExitCode::FAILURE;
            }
        }
    }
    let holds = rows.iter().all(Row::holds);
    if options.json {
        let values: Vec<_> = rows.iter().map(value).collect();
        println!("{}", json!({"holds": holds, "rows": values}));
    } else {
        table(&rows);
        println!("\nholds: {holds}");
    }
    if holds {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}

fn value(r: &Row) -> serde_json::Value {
    json!({
        "fault": format!("{:?}", r.fault),
        "share": f64::from(r.share) / 1000.0,
        "runs": r.trials.runs,
        "detected": r.trials.hits,
        "expected": r.trials.expected,
        "z": r.trials.z(),
        "liar_named": r.named,
        "lied": r.lied,
        "caught_with_all_cells": r.caught_by_all,
        "bad_cells": [r.bad.0, r.bad.1],
        "cells": [r.cells.0, r.cells.1],
    })
}

fn table(rows: &[Row]) {
    println!(
        "{:<15} {:>5} {:>5} {:>9} {:>9} {:>6} {:>6} {:>9} {:>10} {:>9}",
        "lie",
        "k/N",
        "runs",
        "detected",
        "expected",
        "z",
        "named",
        "all cells",
        "bad cells",
        "cells"
    );
    for r in rows {
        println!(
            "{:<15} {:>5} {:>5} {:>9} {:>9.1} {:>6.2} {:>6} {:>9} {:>10} {:>9}",
            format!("{:?}", r.fault),
            f64::from(r.share) / 1000.0,
            r.trials.runs,
            r.trials.hits,
            r.trials.expected,
            r.trials.z(),
            r.named,
            format!("{}/{}", r.caught_by_all, r.lied),
            format!("{}-{}", r.bad.0, r.bad.1),
            format!("{}-{}", r.cells.0, r.cells.1),
        );
    }
}

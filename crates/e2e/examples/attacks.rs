//! Tells every attack to every level of evidence, and fails if one is answered otherwise than declared.

use clap::Parser;
use nesa_e2e::attacks::report::{Summary, json, page, terminal};
use nesa_e2e::attacks::{Row, World, all};

/// Tell every attack to every level of evidence.
#[derive(Parser)]
struct Options {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the page `ATTACKS.md`
    #[arg(long, conflicts_with = "json")]
    page: bool,
    /// Only groups whose name contains this
    #[arg(long, default_value = "")]
    group: String,
}

fn rows(options: &Options) -> nesa_e2e::Result<Vec<Row>> {
    let world = World::new()?;
    let attacks = all().into_iter();
    let chosen = attacks.filter(|a| a.group.contains(&options.group));
    chosen.map(|a| a.run(&world)).collect()
}

fn main() -> std::process::ExitCode {
    let options = Options::parse();
    let rows = match rows(&options) {
        Ok(rows) => rows,
        Err(e) => {
            eprintln!("{e}");
            return std::process::ExitCode::FAILURE;
        }
    };
    if options.json {
        println!("{}", json(&rows));
    } else if options.page {
        print!("{}", page(&rows));
    } else {
        print!("{}", terminal(&rows));
    }
    if Summary::of(&rows).differ == 0 {
        std::process::ExitCode::SUCCESS
    } else {
        std::process::ExitCode::FAILURE
    }
}

//! Put a ledger under load, and let agents try to live off it.
//!
//! `cargo xtask bench chain`, `check chain` and `econ` call this program:
//!
//! ```text
//! nesa-drill accounts N                  the addresses of N senders, whose keys are known to everybody
//! nesa-drill load KIND SECONDS RATE RPC...    signed transactions at a steady rate: transfers, settle, settle-many
//! nesa-drill econ [--quick]              agents that cheat, collude, trade with themselves, do not look, or only harm
//! nesa-drill session                     what a session of 10,000 tokens costs, on a ledger in this process
//! ```
//! Every answer is one JSON value. Transactions are signed before the clock starts.

mod econ;
mod keys;
mod load;
mod session;
mod world;

use anyhow::{Result, bail};
use serde_json::json;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let answer = match args[..] {
        ["accounts", n] => {
            let all = (0..n.parse::<u32>()?).map(|i| keys::address(i).to_string());
            json!(all.collect::<Vec<_>>())
        }
        ["load", kind, seconds, rate, ref rpcs @ ..] if !rpcs.is_empty() => {
            let kind = kind.parse()?;
            load::run(kind, seconds.parse()?, rate.parse()?, rpcs)?
        }
        ["econ"] => econ::run(false)?,
        ["econ", "--quick"] => econ::run(true)?,
        ["session"] => session::run()?,
        _ => bail!("usage: nesa-drill accounts|load|econ|session ...; see the top of main.rs"),
    };
    println!("{answer}");
    Ok(())
}

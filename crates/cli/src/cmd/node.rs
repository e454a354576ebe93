//! `nesa node`: the nodes that serve, and what they are known for.

use serde_json::Value;

use crate::ledger::Endpoint;
use crate::signer::{node_key, rows, text};
use crate::{Context, Failure};

/// Look at the nodes of the network.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Node {
    /// List nodes with score and threshold
    Ls(Ls),
    /// Show a node: the score that decides, its threshold, and why it moved
    Show(Show),
}

/// A page of nodes.
#[derive(Debug, clap::Args)]
pub(crate) struct Ls {
    /// Only those after this key
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

/// One node.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Its key
    node: String,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Node {
    /// Runs `nesa node`.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Ls(l) => list(l, context),
            Self::Show(s) => show(s, context),
        }
    }
}

fn list(l: &Ls, context: &Context) -> Result<(), Failure> {
    let after = match &l.after {
        Some(key) => format!("?after={}", alloy_primitives::hex::encode(node_key(key)?)),
        None => String::new(),
    };
    let value = l.endpoint.get(&format!("/v1/operators{after}"))?;
    let columns = [
        ("NODE", "node"),
        ("STAGE", "stage"),
        ("SCORE", "score"),
        ("THRESHOLD", "threshold"),
        ("BOND", "bond"),
        ("LEASES", "leases"),
    ];
    context
        .out
        .result(&value, || rows(&value["operators"], &columns));
    Ok(())
}

fn show(s: &Show, context: &Context) -> Result<(), Failure> {
    let key = alloy_primitives::hex::encode(node_key(&s.node)?);
    let value = s.endpoint.get(&format!("/v1/operators/{key}"))?;
    context.out.result(&value, || {
        let field = |name: &str| text(&value[name]);
        let mut lines = vec![
            format!("node {}", field("node")),
            format!("  owner      {}", field("owner")),
            format!(
                "  stage      {}, bond {} NES",
                field("stage"),
                field("bond")
            ),
            format!(
                "  score      {} (takes leases from {})",
                field("score"),
                field("threshold")
            ),
        ];
        let why = value["why"].as_array().into_iter().flatten();
        lines.extend(why.map(|c: &Value| {
            let part = |name: &str| text(&c[name]);
            format!(
                "    block {}: {} -> {}",
                part("height"),
                part("cause"),
                part("score")
            )
        }));
        let leases = value["lease"].as_array().into_iter().flatten();
        lines.extend(leases.map(|l: &Value| {
            let part = |name: &str| text(&l[name]);
            let layers = format!("{}..{}", part("first"), part("end"));
            format!(
                "  serves     {} {layers} until block {}",
                part("model"),
                part("until")
            )
        }));
        lines.join("\n")
    });
    Ok(())
}

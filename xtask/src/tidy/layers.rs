//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::tree::demand;
use crate::root;

/// Every crate with its layer; dependencies point to a lower one.
const LAYERS: [(&str, u8); 29] = [
    ("nesa-codec", 0),
    ("nesa-field", 0),
    ("nesa-finality", 1),
    ("nesa-kernels", 1),
    ("nesa-model", 1),
    ("nesa-decision", 1),
    ("nesa-checkpoint", 1),
    ("nesa-compile", 2),
    ("nesa-privacy", 2),
    ("nesa-proof", 2),
    ("nesa-argument", 2),
    ("nesa-attack", 2),
    ("nesa-ledger", 3),
    ("nesa-evm", 3),
    ("nesa-pipeline", 3),
    ("nesa-client", 3),
    ("nesa-chain", 4),
    ("nesa-config", 4),
    ("nesa-net", 4),
    ("nesa-shards", 4),
    ("nesa-storage", 4),
    ("nesa-wallet", 4),
    ("nesa-gateway", 5),
    ("nesa-nesad", 5),
    ("nesa-validator", 5),
    ("nesa-cli", 5),
    ("nesa-bench", 5),
    ("nesa-drill", 5),
    ("nesa-e2e", 6),
];
/// All edges within one layer.
const SIDEWAYS: [(&str, &str); 10] = [
    ("nesa-attack", "nesa-privacy"),
    ("nesa-model", "nesa-kernels"),
    ("nesa-decision", "nesa-model"),
    ("nesa-client", "nesa-pipeline"),
    ("nesa-client", "nesa-ledger"),
    ("nesa-pipeline", "nesa-ledger"),
    ("nesa-evm", "nesa-ledger"),
    ("nesa-storage", "nesa-shards"),
    ("nesa-wallet", "nesa-shards"),
    ("nesa-cli", "nesa-gateway"),
];
/// The crates that may wait: everything below is pure.
const TOKIO: [&str; 5] = [
    "nesa-net",
    "nesa-nesad",
    "nesa-cli",
    "nesa-gateway",
    "nesa-validator",
];
/// What a node must never contain: text, keys of clients, float checkpoints, user surfaces.
const NOT_IN_NODES: [&str; 8] = [
    "nesa-attack",
    "nesa-client",
    "nesa-privacy",
    "nesa-checkpoint",
    "nesa-compile",
    "nesa-storage",
    "nesa-cli",
    "nesa-gateway",
];

/// Per workspace crate, the packages that its production code names directly.
type Graph = BTreeMap<String, BTreeSet<String>>;

fn metadata() -> Value {
    let out = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .expect("cargo metadata starts");
    assert!(out.status.success(), "cargo metadata fails");
    serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON")
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or_default().to_owned()
}

/// The graph with the dependencies of the `kinds`: "" is normal, "dev" and "build" as named.
fn graph(kinds: &[&str]) -> Graph {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let direct = |p: &Value| {
        let all = p["dependencies"].as_array().expect("dependencies").iter();
        all.filter(|d| kinds.contains(&d["kind"].as_str().unwrap_or("")))
            .map(|d| text(&d["name"]))
            .collect()
    };
    packages
        .iter()
        .map(|p| (text(&p["name"]), direct(p)))
        .filter(|(name, _)| name != "xtask")
        .collect()
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let (mut seen, mut todo) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = todo.pop() {
        for next in graph.get(&name).into_iter().flatten() {
            if seen.insert(next.clone()) {
                todo.push(next.clone());
            }
        }
    }
    seen
}

fn layer(name: &str) -> Option<u8> {
    LAYERS.iter().find(|l| l.0 == name).map(|l| l.1)
}

#[test]
fn every_crate_has_a_layer_and_its_folders_name() {
    let named: BTreeSet<String> = graph(&[""]).into_keys().collect();
    let listed: BTreeSet<String> = LAYERS.iter().map(|l| l.0.to_owned()).collect();
    assert_eq!(named, listed);
    for name in named {
        let folder = name.strip_prefix("nesa-").expect("the common prefix");
        let manifest = root().join("crates").join(folder).join("Cargo.toml");
        assert!(manifest.is_file(), "{name} is not in crates/{folder}");
    }
}

#[test]
fn dependencies_point_down() {
    let mut wrong = Vec::new();
    for (name, direct) in graph(&["", "build"]) {
        for other in &direct {
            let (Some(a), Some(b)) = (layer(&name), layer(other)) else {
                continue;
            };
            let sideways = SIDEWAYS.contains(&(name.as_str(), other.as_str()));
            if a < b || (a == b && !sideways) {
                wrong.push(format!("{name} (layer {a}) -> {other} (layer {b})"));
            }
        }
    }
    demand("dependencies point to a lower layer", &wrong);
}

#[test]
fn hiding_and_checking_do_not_know_each_other() {
    let graph = graph(&["", "build", "dev"]);
    assert!(!reachable(&graph, "nesa-privacy").contains("nesa-proof"));
    assert!(!reachable(&graph, "nesa-proof").contains("nesa-privacy"));
}

#[test]
fn only_the_world_waits() {
    let graph = graph(&[""]);
    let mut wrong = Vec::new();
    for (name, direct) in &graph {
        let waits = ["tokio", "quinn", "axum", "hyper"];
        let found = direct.iter().filter(|d| waits.contains(&d.as_str()));
        if !TOKIO.contains(&name.as_str()) {
            wrong.extend(found.map(|d| format!("{name} -> {d}")));
        }
    }
    demand("only layers 4 and 5 know tokio", &wrong);
    for pure in LAYERS.iter().filter(|l| l.1 < 4) {
        assert!(!reachable(&graph, pure.0).contains("tokio"), "{}", pure.0);
    }
}

#[test]
fn only_the_chain_names_the_engine() {
    let mut wrong = Vec::new();
    for (name, direct) in &graph(&["", "build", "dev"]) {
        let found = direct.iter().filter(|d| d.starts_with("commonware-"));
        if name != "nesa-chain" {
            wrong.extend(found.map(|d| format!("{name} -> {d}")));
        }
    }
    demand("only nesa-chain names the consensus engine", &wrong);
}

#[test]
fn a_node_links_no_client_and_no_key_code() {
    let linked = reachable(&graph(&["", "build"]), "nesa-nesad");
    assert!(linked.contains("nesa-pipeline"), "the graph is empty");
    let wrong: Vec<String> = NOT_IN_NODES
        .iter()
        .filter(|n| linked.contains(**n))
        .map(|n| format!("nesad links {n}"))
        .collect();
    demand("a node links neither clients' code nor keys", &wrong);
}

#[test]
fn every_pinned_dependency_is_used() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("the root manifest");
    let used: BTreeSet<String> = graph(&["", "build", "dev"])
        .into_values()
        .flatten()
        .collect();
    let table = manifest.split("[workspace.dependencies]").nth(1);
    let table = table.and_then(|t| t.split("\n[").next()).expect("a table");
    let wrong: Vec<String> = table
        .lines()
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name.to_owned()))
        .filter(|name| !used.contains(name))
        .filter(|name| name != "nesa-nesad")
        .collect();
    demand("no unused workspace dependency", &wrong);
}

//! What the words must and must not say.

use std::fs;

use super::tree::{crate_files, demand, files};
use crate::root;

const TEXT: [&str; 7] = [".rs", ".md", ".toml", ".py", ".mjs", ".json", "run"];

/// Claims that this project does not make, in parts so that this file does not make them either.
const CLAIMS: [[&str; 2]; 5] = [
    ["zero-", "knowledge"],
    ["zero ", "knowledge"],
    ["at zero ", "overhead"],
    ["N! ", "security"],
    ["no node can see ", "your data"],
];
/// Left-overs of work in progress.
const LEFT: [[&str; 2]; 4] = [["FIX", "ME"], ["XX", "X"], ["tod", "o!("], ["db", "g!("]];
/// Folders of one machine.
const MACHINE: [[&str; 2]; 4] = [
    ["/wo", "rk/"],
    ["/ro", "ot/"],
    ["/tm", "p/"],
    ["/ho", "me/"],
];
/// Hosts that a text may name: public ones, the machine itself, and names reserved for examples.
const HOSTS: [&str; 16] = [
    "127.0.0.1",
    "localhost",
    "example.com",
    "example.org",
    "evil.example",
    "localhost.evil.example",
    "huggingface.co",
    "pypi.org",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "crates.io",
    "docs.rs",
    "github.com",
    "www.apache.org",
    "no-color.org",
    "rustup.rs",
];

fn containing(ends: &[&str], words: &[[&str; 2]], fold: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files(ends) {
        for (i, line) in file.text.lines().enumerate() {
            let line = if fold {
                line.to_lowercase()
            } else {
                line.to_owned()
            };
            for word in words {
                let word = word.concat();
                let word = if fold { word.to_lowercase() } else { word };
                if line.contains(&word) {
                    wrong.push(format!("{}:{}: {word}", file.path, i + 1));
                }
            }
        }
    }
    wrong
}

#[test]
fn no_claim_beyond_what_is_shown() {
    demand(
        "words that we do not use",
        &containing(&TEXT, &CLAIMS, true),
    );
}

#[test]
fn nothing_is_left_unfinished() {
    demand("no left-overs", &containing(&[".rs", "run"], &LEFT, false));
}

#[test]
fn no_path_of_one_machine() {
    demand("no absolute path", &containing(&TEXT, &MACHINE, false));
}

#[test]
fn only_public_hosts() {
    let mut wrong = Vec::new();
    for file in files(&TEXT) {
        for (at, _) in file.text.match_indices("://") {
            let scheme = file.text[..at].ends_with("http") || file.text[..at].ends_with("https");
            let host: String = file.text[at + 3..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || ['.', '-'].contains(c))
                .collect();
            let host = host.trim_end_matches('.');
            if scheme && !host.is_empty() && !HOSTS.contains(&host) {
                wrong.push(format!("{}: {host}", file.path));
            }
        }
    }
    demand("only public hosts and examples", &wrong);
}

#[test]
fn one_sentence_per_crate() {
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let mut wrong = Vec::new();
    let mut folders: Vec<_> = fs::read_dir(root().join("crates"))
        .expect("the crates")
        .flatten()
        .collect();
    folders.sort_by_key(fs::DirEntry::file_name);
    for folder in folders {
        let name = folder.file_name().to_string_lossy().into_owned();
        let read = |file: &str| fs::read_to_string(folder.path().join(file)).unwrap_or_default();
        let manifest = read("Cargo.toml");
        let sentence = manifest
            .lines()
            .find_map(|l| l.strip_prefix("description = \"")?.strip_suffix('"'))
            .unwrap_or("no description");
        let library = read("src/lib.rs");
        let door = if library.is_empty() {
            read("src/main.rs")
        } else {
            library
        };
        if door.lines().next() != Some(&format!("//! {sentence}")) {
            wrong.push(format!("{name}: its first line is not: {sentence}"));
        }
        if !readme.contains(&format!("| `{name}` | {sentence} |")) {
            wrong.push(format!("README lacks: | `{name}` | {sentence} |"));
        }
    }
    demand("one sentence says what a crate does", &wrong);
}

#[test]
fn code_cites_existing_documents() {
    let mut cited = 0;
    let mut wrong = Vec::new();
    for file in crate_files() {
        for (at, _) in file.text.match_indices("docs/") {
            let path: String = file.text[at..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "/.-_".contains(*c))
                .collect();
            let path = path.trim_end_matches('.');
            if path.ends_with(".md") {
                cited += 1;
                if !root().join(path).is_file() {
                    wrong.push(format!("{}: {path}", file.path));
                }
            }
        }
    }
    assert!(cited > 0, "the search finds citations");
    demand("every cited document exists", &wrong);
}

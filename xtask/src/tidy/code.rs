//! What the code itself must not do.

use super::tree::{crate_files, demand, files, has_word};

/// Crates whose run-time path is exact.
const EXACT: [&str; 9] = [
    "argument", "codec", "decision", "model", "proof", "privacy", "pipeline", "shards", "kernels",
];
/// Where a float is meant: the arithmetic of calibration.
const FLOAT_FILES: [&str; 4] = [
    "crates/kernels/src/float.rs",
    "crates/kernels/src/avx2/float.rs",
    "crates/kernels/src/avx512/float.rs",
    // `dot_f32`, the pinned sum that the three files above equal.
    "crates/kernels/src/scalar.rs",
];
/// Reads of the environment outside `config`, each with its reason.
const ENVIRONMENT: [(&str, &str); 1] = [
    // The convention of no-color.org concerns the look of output alone.
    ("crates/cli/src/output.rs", "NO_COLOR"),
];
/// Lines of production code per file.
const FILE_LINES_MAX: usize = 500;
/// Lines that fit a screen.
const SCREEN_LINES: usize = 60;
/// Functions longer than a screen today. It only ever goes down.
const LONG_FUNCTIONS_MAX: usize = 16;

#[test]
fn no_float_where_integers_decide() {
    let mut wrong = Vec::new();
    for file in crate_files() {
        let exact = file.krate().is_some_and(|k| EXACT.contains(&k));
        if !exact || FLOAT_FILES.contains(&file.path.as_str()) {
            continue;
        }
        for (n, line) in file.code() {
            if has_word(&line, "f32") || has_word(&line, "f64") {
                wrong.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    demand("no float in exact code", &wrong);
}

#[test]
fn unsafe_code_lives_in_kernels_alone() {
    let mut found = 0;
    let mut wrong = Vec::new();
    for file in crate_files() {
        for (n, line) in file.code().filter(|(_, line)| has_word(line, "unsafe")) {
            found += 1;
            if file.krate() != Some("kernels") {
                wrong.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    demand("unsafe only in crates/kernels", &wrong);
    assert!(found > 0, "the search finds the kernels' own");
}

#[test]
fn one_crate_reads_the_environment() {
    let mut wrong = Vec::new();
    for file in crate_files() {
        if file.krate() == Some("config") {
            continue;
        }
        let reads = |line: &str| {
            ["env::var", "env::vars", "env::var_os", "env::vars_os"]
                .iter()
                .any(|f| has_word(line, f))
        };
        let excused = |n: usize| {
            let line = file.text.lines().nth(n - 1).unwrap_or_default();
            ENVIRONMENT
                .iter()
                .any(|(path, name)| file.path == *path && line.contains(name))
        };
        for (n, line) in file.code() {
            if reads(&line) && !excused(n) {
                wrong.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    demand("only crates/config reads the environment", &wrong);
}

#[test]
fn nodes_do_not_name_clients_secrets() {
    let mut wrong = Vec::new();
    for file in crate_files() {
        if !["nesad", "pipeline", "net", "proof", "shards"].contains(&file.krate().unwrap_or("")) {
            continue;
        }
        for (n, line) in file.code() {
            let secrets = ["DeploymentKey", "RowKey", "BlockKey", "Vocabulary"];
            if secrets.iter().any(|s| has_word(&line, s)) {
                wrong.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    demand("nodes' code names no client secret", &wrong);
}

/// What the verifiers of the succinct proofs are made of, by folder.
const VERIFIERS: [(&str, &[&str]); 5] = [
    (
        "committed",
        &["verify", "claims", "key", "skeleton", "table", "file"],
    ),
    (
        "transformer",
        &[
            "verify",
            "public",
            "relations",
            "relations/attention",
            "families",
            "hints",
            "plan",
            "bounds",
            "challenge",
        ],
    ),
    ("decision/linear", &["verify"]),
    (
        "decision/mlp",
        &["verify", "relations", "families", "plan", "bounds"],
    ),
    ("decision/trees", &["verify", "system"]),
];

/// Whether a path inside of the argument's sources is a verifier's.
fn is_of_a_verifier(part: &str) -> bool {
    let named = |(folder, files): &(&str, &[&str])| {
        let file = part.strip_prefix(folder).and_then(|f| f.strip_prefix('/'));
        file.is_some_and(|f| files.contains(&f))
    };
    VERIFIERS.iter().any(named)
}

#[test]
fn the_verifier_knows_nothing_of_the_prover() {
    let mut wrong = Vec::new();
    for file in crate_files() {
        let part = file.path.strip_prefix("crates/argument/src/");
        let part = part.and_then(|p| p.strip_suffix(".rs"));
        if !part.is_some_and(is_of_a_verifier) {
            continue;
        }
        for (n, line) in file.code() {
            let names = ["prove", "witness", "quadratic::Instance", "rows::"];
            if line.trim_start().starts_with("use ") && names.iter().any(|w| line.contains(w)) {
                wrong.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    demand("the verifier names nothing of the prover", &wrong);
}

#[test]
fn the_ledger_judges_and_computes_nothing() {
    let prover = [
        "Record",
        "Defence",
        "Party",
        "Parts",
        "Engine",
        "Trace",
        "Bundle",
        "checked",
        "verify::",
        "nesa_model",
        "nesa_kernels",
        "nesa_field",
        "::find(",
    ];
    let (mut wrong, mut judges) = (Vec::new(), false);
    for file in crate_files() {
        if file.krate() != Some("ledger") {
            continue;
        }
        for (n, line) in file.code() {
            let names = line.contains("nesa_");
            judges |= line.contains("nesa_proof");
            if names && prover.iter().any(|w| line.contains(w)) {
                wrong.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    assert!(judges, "the ledger names no verifier");
    demand("the ledger names nothing that computes a run", &wrong);
}

#[test]
fn bytes_from_outside_cannot_panic() {
    let mut wrong = Vec::new();
    for file in crate_files() {
        let decoder = [
            "argument",
            "codec",
            "decision",
            "proof",
            "pipeline",
            "net",
            "shards",
            "checkpoint",
        ];
        if !decoder.contains(&file.krate().unwrap_or("")) {
            continue;
        }
        for (n, line) in file.code() {
            // A message in quotes is no code: `.expect("…")` reads `.expect()` here.
            let calls = [".unwrap()", ".expect()", "panic!(", "unreachable!("];
            if calls.iter().any(|c| line.contains(c)) {
                wrong.push(format!("{}:{n}: {}", file.path, line.trim()));
            }
        }
    }
    demand("crates that decode foreign bytes do not panic", &wrong);
}

#[test]
fn every_file_says_what_it_is() {
    let wrong: Vec<String> = files(&[".rs"])
        .into_iter()
        .filter(|f| !f.text.starts_with("//! "))
        .map(|f| f.path)
        .collect();
    demand("every file begins with a `//!` sentence", &wrong);
}

#[test]
fn files_stay_readable() {
    let wrong: Vec<String> = crate_files()
        .iter()
        .map(|f| (f.path.clone(), f.production().lines().count()))
        .filter(|(_, n)| *n > FILE_LINES_MAX)
        .map(|(path, n)| format!("{path}: {n} lines"))
        .collect();
    demand("production code of a file fits 500 lines", &wrong);
}

/// Name and length of each function of `code`, by the indentation that rustfmt gives.
fn functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some((head, rest)) = line.split_once("fn ") else {
            continue;
        };
        let words = [
            "pub",
            "pub(crate)",
            "pub(super)",
            "async",
            "const",
            "unsafe",
        ];
        if !head.split_whitespace().all(|w| words.contains(&w)) {
            continue;
        }
        // A declaration in a trait has no body of its own.
        let open = lines[i..].iter().find(|l| l.ends_with(['{', ';', '}']));
        if !open.is_some_and(|l| l.ends_with('{')) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[i..].iter().position(|l| *l == end) {
            let name = rest.split(['(', '<']).next().unwrap_or_default();
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

#[test]
fn functions_fit_a_screen() {
    let sample = "pub fn a() {\n    b();\n}\n    fn d();\n    async fn c(\n    ) {\n    }\n";
    assert_eq!(functions(sample), [("a".into(), 3), ("c".into(), 3)]);
    let mut long = Vec::new();
    for file in crate_files() {
        for (name, n) in functions(file.production()) {
            if n > SCREEN_LINES {
                long.push(format!("{}: {name}: {n} lines", file.path));
            }
        }
    }
    if long.len() > LONG_FUNCTIONS_MAX {
        demand("no more functions beyond a screen than there were", &long);
    }
}

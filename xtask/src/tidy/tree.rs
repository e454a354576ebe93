//! The source tree as the laws see it: files with their text, production code apart from tests.

use std::fs;
use std::path::Path;

use crate::root;

/// Folders that hold nothing written by hand.
const SKIPPED: [&str; 6] = [
    "target",
    ".git",
    "corpus",
    "crashes",
    "shared",
    "node_modules",
];

/// One text file of the tree.
pub(crate) struct File {
    /// Path from the root, with forward slashes.
    pub(crate) path: String,
    /// Its whole text.
    pub(crate) text: String,
}

impl File {
    /// Whether all of it is test code.
    fn is_test(&self) -> bool {
        let in_folder = ["/tests/", "/examples/", "/benches/"];
        in_folder.iter().any(|f| self.path.contains(f))
            || self.path.ends_with("/tests.rs")
            || self.path.ends_with("/testing.rs")
    }

    /// The lines before the test module; none in test files.
    pub(crate) fn production(&self) -> &str {
        if self.is_test() {
            return "";
        }
        // A test module that is a file of its own may be declared anywhere.
        let mut from = 0;
        while let Some(at) = self.text[from..].find("#[cfg(test)]\nmod ") {
            let at = from + at;
            let line = self.text[at..].lines().nth(1).unwrap_or_default();
            if line.ends_with('{') {
                return &self.text[..at];
            }
            from = at + 1;
        }
        &self.text
    }

    /// Production lines without comments and literal text, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, String)> {
        let lines = self.production().lines().map(bare);
        lines.enumerate().map(|(i, line)| (i + 1, line))
    }

    /// `crates/NAME/...` gives `NAME`.
    pub(crate) fn krate(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }
}

/// A line without its comment and without what stands between double quotes.
fn bare(line: &str) -> String {
    let mut out = String::new();
    let (mut quoted, mut previous) = (false, ' ');
    for (i, c) in line.char_indices() {
        if !quoted && line[i..].starts_with("//") {
            break;
        }
        if c == '"' && previous != '\\' && previous != '\'' {
            quoted = !quoted;
        } else if !quoted {
            out.push(c);
        }
        previous = if previous == '\\' { ' ' } else { c };
    }
    out
}

/// All text files of the tree whose name ends with one of `ends`.
pub(crate) fn files(ends: &[&str]) -> Vec<File> {
    let mut found = Vec::new();
    walk(&root(), "", ends, &mut found);
    assert!(!found.is_empty(), "no files ending with {ends:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn walk(folder: &Path, prefix: &str, ends: &[&str], found: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() && !SKIPPED.contains(&name.as_str()) {
            walk(&entry.path(), &format!("{path}/"), ends, found);
        } else if kind.is_file()
            && ends.iter().any(|e| name.ends_with(e))
            && let Ok(text) = fs::read_to_string(entry.path())
        {
            found.push(File { path, text });
        }
    }
}

/// The Rust files of the workspace's crates.
pub(crate) fn crate_files() -> Vec<File> {
    let mut all = files(&[".rs"]);
    all.retain(|f| f.path.starts_with("crates/"));
    all
}

/// Whether `word` stands in `line` between other characters than those of names.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].chars().next_back().is_some_and(name)
            && !line[at + word.len()..].chars().next().is_some_and(name)
    })
}

/// Fails with all `violations` of a law.
pub(crate) fn demand(law: &str, violations: &[String]) {
    assert!(
        violations.is_empty(),
        "\n{law}\n  {}\n",
        violations.join("\n  ")
    );
}

#[test]
fn comments_and_literals_are_no_code() {
    assert_eq!(bare(r#"a("f32 \" // no", 'x') // f64"#), "a(, 'x') ");
    assert!(has_word("x: f32,", "f32") && !has_word("gemm_f32(x)", "f32"));
}

#[test]
fn test_modules_are_no_production() {
    let file = |text: &str| File {
        path: "crates/x/src/y.rs".into(),
        text: text.into(),
    };
    let inline = file("fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n");
    assert_eq!(inline.production(), "fn a() {}\n");
    let apart = file("#[cfg(test)]\nmod tests;\nfn a() {}\n");
    assert_eq!(apart.production(), apart.text);
}

//! Node processes on loopback for measurements, and `nesa ask` over them, its CPU time included.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::link::Access;
use crate::live::{self, binary};

/// Running nodes, each of its own operator and with one thread; ended when dropped.
pub(crate) struct Nodes {
    children: Vec<Child>,
    /// As `nesa ask --network` reads them.
    list: Vec<Value>,
    work: PathBuf,
}

impl Nodes {
    /// Starts `n` nodes that keep their parts in `work`, and waits until they are ready.
    pub(crate) fn start(work: &Path, n: usize) -> Result<Self> {
        let mut nodes = Self {
            children: Vec::new(),
            list: Vec::new(),
            work: work.to_owned(),
        };
        for i in 0..n {
            let folder = work.join(format!("node-{i}"));
            fs::create_dir_all(&folder)?;
            let mut child = Command::new(binary("nesad"))
                .args(["run", "--json", "--exit-with-stdin", "--threads", "1"])
                .args(["--listen", "127.0.0.1:0", "--operator"])
                .arg(format!("bench-{i}"))
                .arg("--home")
                .arg(&folder)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(File::create(folder.join("log.txt"))?)
                .spawn()
                .context("nesad does not start; run `cargo build --release`")?;
            let out = child.stdout.take().context("no output of nesad")?;
            nodes.children.push(child);
            let mut line = String::new();
            BufReader::new(out).read_line(&mut line)?;
            let ready: Value = serde_json::from_str(&line)
                .with_context(|| format!("a node did not start; see {}", folder.display()))?;
            nodes.list.push(json!({
                "peer": ready["peer"],
                "address": ready["listen"],
                "operator": ready["operator"],
            }));
        }
        Ok(nodes)
    }

    /// Writes the list of nodes that a client uses, behind an access line where one is given.
    pub(crate) fn network(&self, name: &str, access: Option<&Access>) -> Result<PathBuf> {
        let mut list = self.list.clone();
        for node in &mut list {
            let Some(access) = access else { continue };
            let address = node["address"].as_str().context("a node's address")?;
            let relay = access.relay(address.parse::<SocketAddr>()?)?;
            node["address"] = json!(relay.to_string());
        }
        let file = self.work.join(format!("{name}.json"));
        fs::write(&file, Value::from(list).to_string())?;
        Ok(file)
    }

    /// CPU seconds of all nodes so far.
    pub(crate) fn cpu(&self) -> Result<f64> {
        self.children
            .iter()
            .map(|c| live::cpu_seconds(c.id()))
            .sum()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in &mut self.children {
            live::stop(child, "-TERM");
        }
    }
}

/// What `nesa` printed, and the CPU seconds of its process.
pub(crate) struct Ran {
    /// Its JSON value.
    pub(crate) value: Value,
    /// User and system time, all threads.
    pub(crate) cpu_s: f64,
}

impl Ran {
    /// A number of the JSON value, by its path.
    pub(crate) fn number(&self, path: &[&str]) -> Result<f64> {
        let at = path.iter().fold(&self.value, |v, key| &v[key]);
        let missing = || format!("`nesa` printed no {}: {}", path.join("."), self.value);
        at.as_f64().with_context(missing)
    }
}

/// Runs `nesa` in `home` under a shell that reports its CPU time.
pub(crate) fn nesa(home: &Path, args: &[&str]) -> Result<Ran> {
    let script = "\"$0\" \"$@\"; code=$?; times >&2; exit $code";
    let out = Command::new("sh")
        .args(["-c", script])
        .arg(binary("nesa"))
        .args(args)
        .env("NESA_HOME", home)
        .stdin(Stdio::null())
        .output()
        .context("no shell")?;
    let told = String::from_utf8_lossy(&out.stderr);
    let what = args.join(" ");
    ensure!(out.status.success(), "nesa {what}: {}: {told}", out.status);
    let text = String::from_utf8_lossy(&out.stdout);
    Ok(Ran {
        value: serde_json::from_str(&text).with_context(|| format!("nesa {what}: {text}"))?,
        cpu_s: times(&told).with_context(|| format!("no times in: {told}"))?,
    })
}

/// User and system seconds of the shell's children, from the last line that `times` prints.
fn times(told: &str) -> Option<f64> {
    let line = told.lines().last()?;
    let seconds = |word: &str| {
        let (minutes, rest) = word.trim_end_matches('s').split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + rest.parse::<f64>().ok()?)
    };
    line.split_whitespace().map(seconds).sum()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_shells_times_are_read() {
        let told = "a warning\n0m0.001s 0m0.002s\n1m2.500s 0m0.250s\n";
        assert_eq!(super::times(told), Some(62.75));
        assert_eq!(super::times("no such thing"), None);
        assert_eq!(super::times(""), None);
    }
}

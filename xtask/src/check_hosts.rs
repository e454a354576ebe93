//! Two hosts: nodes in two network namespaces find each other through one bootstrap address and
//! answer a question together; one leaves and comes back; a wrong address is named.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::live::{self, MODEL, binary};

/// Namespaces, one per host, and their addresses.
const HOSTS: [(&str, &str); 2] = [("nesa-host-a", "10.77.0.1"), ("nesa-host-b", "10.77.0.2")];
const BOOTSTRAP_PORT: u16 = 4433;
const READY: Duration = Duration::from_secs(20);

/// Runs `check hosts`; needs root, `ip` and network namespaces.
pub(crate) fn run(json: bool) -> Result<()> {
    let home = live::home("hosts")?;
    let hosts = Hosts::create()?;
    let work = home.join("hosts-run");
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let bootstrap = format!("{}:{BOOTSTRAP_PORT}", HOSTS[0].1);

    let listen = bootstrap.clone();
    let first = ["run", "--be-bootstrap", "--listen", &listen];
    let _first = Node::start(&work, 0, "alder", &first)?;
    let _second = join(&work, 0, "birch", 4434, &bootstrap)?;
    let third = join(&work, 1, "cedar", 4435, &bootstrap)?;
    let _fourth = join(&work, 1, "damson", 4436, &bootstrap)?;

    let all = ask(&home, &bootstrap)?;
    ensure!(
        all.operators == ["alder", "birch", "cedar", "damson"],
        "{:?}",
        all.operators
    );
    drop(third);
    let fewer = ask(&home, &bootstrap)?;
    ensure!(
        fewer.operators == ["alder", "birch", "damson"],
        "{:?}",
        fewer.operators
    );
    let _third = join(&work, 1, "cedar", 4435, &bootstrap)?;
    let again = ask(&home, &bootstrap)?;
    ensure!(again.operators == all.operators, "{:?}", again.operators);
    ensure!(
        all.text == fewer.text && all.text == again.text,
        "the answer depends on the nodes"
    );
    let refusal = wrong_address(&work, &bootstrap)?;
    let slow = match hosts.delay("20ms") {
        false => None,
        true => Some(ask(&home, &bootstrap)?),
    };
    let same = |s: &Answer| s.text == all.text;
    ensure!(
        slow.as_ref().is_none_or(same),
        "the answer depends on the delay"
    );
    let value = json!({
        "hosts": HOSTS.map(|h| h.1),
        "bootstrap": bootstrap,
        "answered_by": all.operators,
        "after_one_left": fewer.operators,
        "after_it_came_back": again.operators,
        "wrong_address": refusal,
        "tokens_per_second": all.rate,
        "tokens_per_second_with_20_ms_delay": slow.map(|s| s.rate),
        "text": all.text,
    });
    live::report(json, "one question, nodes on two hosts", true, &value)
}

/// Both namespaces; removed when dropped.
struct Hosts;

impl Hosts {
    fn create() -> Result<Self> {
        Self::remove();
        let hosts = Self;
        for (name, _) in HOSTS {
            ip(&["netns", "add", name])?;
        }
        let [a, b] = HOSTS;
        let ends = [
            "veth0", "netns", a.0, "type", "veth", "peer", "name", "veth0", "netns", b.0,
        ];
        ip(&[&["link", "add"][..], &ends].concat())?;
        for (name, address) in HOSTS {
            ip(&[
                "-n",
                name,
                "address",
                "add",
                &format!("{address}/24"),
                "dev",
                "veth0",
            ])?;
            ip(&["-n", name, "link", "set", "veth0", "up"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(hosts)
    }

    /// Delays what the second host sends; whether the kernel can.
    fn delay(&self, time: &str) -> bool {
        let (name, _) = HOSTS[1];
        let what = [
            "netns", "exec", name, "tc", "qdisc", "add", "dev", "veth0", "root", "netem",
        ];
        let done = ip(&[&what[..], &["delay", time]].concat()).is_ok();
        if !done {
            eprintln!("this kernel has no netem: the delay is left out");
        }
        done
    }

    fn remove() {
        for (name, _) in HOSTS {
            let _ = Command::new("ip")
                .args(["netns", "delete", name])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        Self::remove();
    }
}

fn ip(args: &[&str]) -> Result<()> {
    let out = Command::new("ip")
        .args(args)
        .output()
        .context("`ip` is missing: install iproute2")?;
    let told = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "ip {}: {told}; this check needs root",
        args.join(" ")
    );
    Ok(())
}

/// A command that runs on host `i`.
fn on(i: usize, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", HOSTS[i].0]).arg(program);
    command
}

/// A node process; leaves in order when dropped.
struct Node(Child);

impl Node {
    fn start(work: &Path, host: usize, name: &str, args: &[&str]) -> Result<Self> {
        let log = work.join(format!("{name}.log"));
        let child = on(host, &binary("nesad"))
            .args(args)
            .args(["--operator", name, "--threads", "1", "--home"])
            .arg(work.join(name))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()?;
        let node = Self(child);
        let word = if args.contains(&"join") {
            "joined"
        } else {
            "ready"
        };
        wait_for(&log, word)?;
        Ok(node)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        live::stop(&mut self.0, "-TERM");
    }
}

fn join(work: &Path, host: usize, name: &str, port: u16, bootstrap: &str) -> Result<Node> {
    let listen = format!("{}:{port}", HOSTS[host].1);
    let args = ["join", "--bootstrap", bootstrap, "--listen", &listen];
    Node::start(work, host, name, &args)
}

fn wait_for(log: &PathBuf, word: &str) -> Result<()> {
    let started = Instant::now();
    while started.elapsed() < READY {
        if fs::read_to_string(log).unwrap_or_default().contains(word) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
    bail!(
        "no {word:?} in {}: {}",
        log.display(),
        fs::read_to_string(log).unwrap_or_default()
    )
}

struct Answer {
    text: String,
    operators: Vec<String>,
    rate: f64,
}

/// Asks from the second host.
fn ask(home: &Path, bootstrap: &str) -> Result<Answer> {
    let mut command = on(1, &binary("nesa"));
    command
        .args([
            "ask",
            "--json",
            "--quiet",
            "--model",
            MODEL,
            "--bootstrap",
            bootstrap,
        ])
        .args(["--max-tokens", "24", "Why is the sky blue?"])
        .env("NESA_HOME", home);
    let v = live::json_of(command, "nesa ask --bootstrap")?;
    let nodes = v["nodes"].as_array().cloned().unwrap_or_default();
    let name = |n: &Value| n["operator"].as_str().unwrap_or_default().to_owned();
    let mut operators: Vec<String> = nodes.iter().map(name).collect();
    operators.sort();
    // A holder of two ranges of layers has two entries.
    operators.dedup();
    Ok(Answer {
        text: v["text"].as_str().unwrap_or_default().to_owned(),
        operators,
        rate: v["tokens_per_second"].as_f64().unwrap_or_default(),
    })
}

/// What a node is told that announces an address where nobody reaches it.
fn wrong_address(work: &Path, bootstrap: &str) -> Result<String> {
    let out = on(1, &binary("nesad"))
        .args([
            "join",
            "--bootstrap",
            bootstrap,
            "--operator",
            "elder",
            "--threads",
            "1",
        ])
        .args([
            "--listen",
            "10.77.0.2:4437",
            "--announce",
            "10.77.0.99:4437",
            "--home",
        ])
        .arg(work.join("elder"))
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(!out.status.success(), "a node nobody reaches was listed");
    let names_both = told.contains("10.77.0.99:4437") && told.contains("--announce 10.77.0.2");
    ensure!(names_both, "the message does not say what is wrong: {told}");
    let lines = told.lines().filter(|l| l.contains("10.77.0."));
    Ok(lines.collect::<Vec<_>>().join(" | "))
}

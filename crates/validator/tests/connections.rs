//! The program itself, its socket, and clients that mean harm.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nesa_validator::rpc::CONNECTIONS_MAX;

struct Node {
    child: Child,
    host: String,
}

impl Node {
    fn start(home: &Path) -> Self {
        let program = env!("CARGO_BIN_EXE_nesa-validator");
        let owner = "0x0000000000000000000000000000000000001234";
        let made = Command::new(program)
            .args(["init", "--owner", owner, "--home"])
            .arg(home)
            .output()
            .expect("the program runs");
        assert!(made.status.success(), "{made:?}");
        let mut child = Command::new(program)
            .args(["run", "--rpc", "127.0.0.1:0", "--home"])
            .arg(home)
            .arg("--genesis")
            .arg(home.join("genesis.json"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let ready: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let url = ready["rpc"].as_str().expect("an endpoint");
        let host = url.trim_start_matches("http://").to_owned();
        Self { child, host }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.host).expect("it listens");
        let wait = Some(Duration::from_secs(60));
        stream.set_read_timeout(wait).expect("a socket");
        stream
    }

    /// What it answers to these bytes until it closes the connection.
    fn answer(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // It may answer and close before it has read all.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn post(&self, body: &str) -> String {
        let n = body.len();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n"
        );
        self.answer(&[head.as_bytes(), body.as_bytes()].concat())
    }

    /// Resident memory in KiB: now, and the most so far.
    fn memory(&self) -> Option<(u64, u64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let field = |name: &str| {
            let line = status.lines().find(|l| l.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        Some((field("VmRSS:")?, field("VmHWM:")?))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ASK: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}"#;

#[test]
fn harmful_clients_get_errors_not_memory_and_others_their_answers() {
    let home = tempfile::tempdir().expect("a folder");
    let node = Node::start(home.path());
    assert!(node.post(ASK).contains("\"result\":\"0x"), "it works");
    let before = node.memory();
    // Bodies that are too long, promised or sent; heads that are too long; values without end.
    let long = "x".repeat(2 << 20);
    assert!(node.post(&long).contains(" 413 "), "a long body");
    let promised =
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n";
    assert!(node.answer(promised).contains(" 413 "), "a promise");
    let head = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    let told = node.answer(head.as_bytes());
    assert!(
        told.contains(" 414 ") || told.contains(" 431 "),
        "a long head: {told}"
    );
    for _ in 0..64 {
        let many = format!("[{}1]", "[],".repeat(300_000));
        assert!(node.post(&many).contains("too many values"));
    }
    // More connections than there are places: half a head, or half a body, and then silence.
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..CONNECTIONS_MAX + 40).map(|_| node.connect()).collect();
    for (i, stream) in slow.iter_mut().enumerate() {
        let half: &[u8] = match i % 2 {
            0 => b"POST / HTTP/1.1\r\nHost:",
            _ => b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
        };
        stream.write_all(half).expect("it takes the half");
    }
    assert!(
        node.post(ASK).contains("\"result\":\"0x"),
        "behind slow clients"
    );
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(50), "it took {waited:?}");
    let mut told = String::new();
    let _ = slow[1].read_to_string(&mut told);
    assert!(told.contains(" 408 "), "half a body: {told}");
    drop(slow);
    if let (Some((before, _)), Some((_, most))) = (before, node.memory()) {
        let grown = most.saturating_sub(before) >> 10;
        assert!(grown < 96, "{grown} MiB for clients that mean harm");
    }
}

#[test]
fn a_node_whose_genesis_lists_others_follows_and_says_so() {
    let home = tempfile::tempdir().expect("a folder");
    let program = env!("CARGO_BIN_EXE_nesa-validator");
    let key = |name: &str| {
        let out = Command::new(program)
            .args(["key", "--home"])
            .arg(home.path().join(name))
            .output()
            .expect("the program runs");
        String::from_utf8(out.stdout)
            .expect("text")
            .trim()
            .to_owned()
    };
    let owner = "0x0000000000000000000000000000000000001234";
    let other = "0x0000000000000000000000000000000000005678";
    let listed = [key("a"), format!("{}@{other}", key("b"))];
    let init = |validators: &[String]| {
        let mut command = Command::new(program);
        command
            .args(["init", "--owner", owner, "--home"])
            .arg(home.path().join("a"));
        for v in validators {
            command.args(["--validator", v]);
        }
        command.output().expect("the program runs")
    };
    let refused = init(&["zz".to_owned()]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("KEY@OWNER"));
    assert!(init(&listed).status.success());
    let path = home.path().join("a/genesis.json");
    let bytes = std::fs::read(path).expect("a genesis");
    let file: nesa_validator::GenesisFile = serde_json::from_slice(&bytes).expect("a genesis");
    let owners: Vec<String> = file
        .validators
        .iter()
        .map(|v| v.owner.to_string())
        .collect();
    assert_eq!(owners.len(), 2);
    assert!(owners[0].ends_with("1234") && owners[1].ends_with("5678"));
    assert!(!init(&listed).status.success(), "a chain begins once");
}

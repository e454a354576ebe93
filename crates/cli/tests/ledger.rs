//! Commands of the ledger against a node that answers as it is told: what they send, print and return.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What the node answers: a function of method and path, and the call.
type Answer = fn(&str, &Value) -> Value;

/// A node that answers, and remembers what it was asked.
struct Fake {
    url: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Fake {
    fn new(answer: Answer) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", socket.local_addr().expect("an address"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                serve(stream, answer, &log);
            }
        });
        Self { url, asked }
    }

    /// The raw transaction that was sent.
    fn sent(&self) -> nesa_ledger::tx::Tx {
        let asked = self.asked.lock().expect("nobody panicked");
        let raw = asked
            .iter()
            .find(|c| c["method"] == "eth_sendRawTransaction");
        let raw = raw.expect("a transaction")["params"][0].clone();
        let bytes = alloy_primitives::hex::decode(raw.as_str().expect("hexadecimal"));
        nesa_ledger::tx::Tx::decode(&bytes.expect("hexadecimal")).expect("a transaction")
    }
}

fn serve(stream: TcpStream, answer: Answer, log: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).is_err() {
        return;
    }
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).is_err() || header.trim().is_empty() {
            break;
        }
        if let Some(n) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = n.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    let call: Value = serde_json::from_slice(&body).unwrap_or_default();
    log.lock().expect("nobody panicked").push(call.clone());
    let method = call["method"].as_str().unwrap_or(&path);
    let value = answer(method, &call);
    let value = match call["method"].is_string() {
        true => json!({"jsonrpc": "2.0", "id": 1, "result": value}),
        false => value,
    };
    let text = value.to_string();
    let status = match value["error"].is_object() {
        true => "404 Not Found",
        false => "200 OK",
    };
    let _ = write!(
        reader.get_mut(),
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    );
}

fn chain(method: &str, succeeded: bool) -> Value {
    let status = if succeeded { "0x1" } else { "0x0" };
    match method {
        "eth_chainId" => json!("0x278a2f8"),
        "eth_sendRawTransaction" => json!("0xaa"),
        "eth_getTransactionReceipt" => json!({
            "status": status, "blockNumber": "0x7", "revertReason": "only the ledger knows; ask it",
            "logs": [{"address": "0x000000000000000000000000000000004e455306", "topics": ["0x01", "0x05"]}],
        }),
        path if path.starts_with("/v1/proposals") => {
            json!({"error": {"message": "only the ledger knows, with 404; ask it"}})
        }
        "/v1/params" => json!([{"name": "gov_deposit", "value": "1000000000000000000000"}]),
        _ => json!("0x1"),
    }
}

fn takes(method: &str, _: &Value) -> Value {
    chain(method, true)
}

fn refuses(method: &str, _: &Value) -> Value {
    chain(method, false)
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a folder"));
        let made = home.run(&["key", "new", "--unattended"]);
        assert!(made.status.success());
        home
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nesa"));
        command
            .env("NESA_HOME", self.0.path())
            .env("NESA_HUB", "none");
        command.args(args).output().expect("it starts")
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_proposal_is_sent_with_its_deposit_and_names_its_number() {
    let (home, node) = (Home::new(), Fake::new(takes));
    let args = ["gov", "propose", "a title", "--set", "seats=7", "--json"];
    let done = home.run(&[&args[..], &["--rpc", &node.url]].concat());
    assert!(done.status.success(), "{}", said(&done));
    let value: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    assert_eq!((&value["id"], &value["block"]), (&json!(5), &json!(7)));
    let body = node.sent().body().clone();
    assert_eq!(body.to, Some(nesa_ledger::governance::ADDRESS));
    assert_eq!(body.value, nesa_ledger::Amount::nes(1_000));
    let action = nesa_ledger::dispatch::Action::decode(&body.to.expect("a module"), &body.input);
    let action = action.expect("a module").expect("a call");
    let mut bare = body.clone();
    bare.gas_limit = 0;
    assert_eq!(body.gas_limit, bare.intrinsic_gas() + action.gas());
}

#[test]
fn a_refused_transaction_ends_with_the_ledgers_reason() {
    let (home, node) = (Home::new(), Fake::new(refuses));
    let key = "07".repeat(32);
    for args in [
        vec![
            "gov",
            "propose",
            "x",
            "--pay",
            "0x0000000000000000000000000000000000000001=5",
        ],
        vec!["gov", "execute", "3"],
        vec!["gov", "vote", "3", "yes"],
        vec!["gov", "show", "3"],
        vec!["stake", &key, "10"],
        vec!["unstake", &key, "all"],
        vec![
            "wallet",
            "send",
            "0x0000000000000000000000000000000000000001",
            "1",
        ],
    ] {
        let done = home.run(&[&args[..], &["--rpc", &node.url]].concat());
        assert_eq!(done.status.code(), Some(1), "{args:?}");
        let why = said(&done);
        assert!(why.contains("only the ledger knows"), "{args:?}: {why}");
    }
}

#[test]
fn a_wrong_command_line_reaches_no_node() {
    let home = Home::new();
    let node = ["--rpc", "http://127.0.0.1:1"];
    for (args, code) in [
        (vec!["gov", "propose", "x"], 2),
        (
            vec!["gov", "propose", "x", "--set", "seats", "--deposit", "1"],
            2,
        ),
        (
            vec![
                "gov",
                "propose",
                "x",
                "--set",
                "seats=many",
                "--deposit",
                "1",
            ],
            2,
        ),
        (vec!["gov", "vote", "1", "maybe"], 2),
        (vec!["stake", "zz", "1"], 2),
        (vec!["node", "show", "zz"], 2),
        (vec!["wallet", "history", "--before", "x&y=1"], 2),
        (vec!["gov", "ls"], 3),
        (vec!["faucet"], 3),
    ] {
        let done = home.run(&[&args[..], &node].concat());
        assert_eq!(done.status.code(), Some(code), "{args:?}: {}", said(&done));
    }
}

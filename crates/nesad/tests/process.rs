//! The program itself: ready line, sudden death, restart, metrics, record, orderly end.
#![allow(clippy::unwrap_used, reason = "tests")]

mod kit;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use kit::{Session, identity, model, receive};
use nesa_nesad::net_config;
use nesa_net::quic::Quic;
use nesa_net::{PeerId, Transport};
use nesa_pipeline::{Message, RefusalCode};
use serde_json::Value;
use tempfile::TempDir;

/// A node as a child process; killed when dropped.
struct Program {
    child: Child,
    ready: Value,
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Program {
    fn start(home: &Path, listen: &str, more: &[&str]) -> Self {
        let mut child = command(home, listen).args(more).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self { child, ready }
    }

    fn text(&self, key: &str) -> &str {
        self.ready[key].as_str().unwrap()
    }

    async fn target(&self, client: &Quic) -> kit::Target<<Quic as Transport>::Connection> {
        let peer: PeerId = self.text("peer").parse().unwrap();
        kit::target(client, peer, &self.text("listen").parse().unwrap()).await
    }

    fn wait(&mut self, what: &str) -> ExitStatus {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(10) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the node goes on after {what}");
    }
}

fn command(home: &Path, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nesad"));
    command
        .arg("run")
        .arg("--home")
        .arg(home)
        .args(["--listen", listen, "--threads", "1"]);
    command.args([
        "--operator",
        "test \"quoted\"",
        "--json",
        "--exit-with-stdin",
    ]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

fn client() -> Quic {
    let any = "127.0.0.1:0".parse().unwrap();
    Quic::bind(identity(0), &any, net_config(&any)).unwrap()
}

#[test]
fn a_killed_node_is_noticed_and_its_successor_serves_at_once() {
    kit::quic(|| async {
        let homes: Vec<TempDir> = (0..2).map(|_| TempDir::new().unwrap()).collect();
        let mut programs: Vec<Program> = homes
            .iter()
            .map(|h| Program::start(h.path(), "127.0.0.1:0", &[]))
            .collect();
        let (client, model) = (client(), model());
        let mut targets = Vec::new();
        for (program, range) in programs.iter().zip(kit::split(3, 2)) {
            let target = program.target(&client).await;
            kit::deploy_all(&target.connection, &model, range).await;
            targets.push(target);
        }
        let me = client.peer_id();
        let dim = model.manifest.shape.dim;
        let script = kit::script(&model, 1, 2);
        let mut s = Session::open(&targets, me, &model, kit::digest(1))
            .await
            .unwrap();
        kit::play(&mut s, &script, dim).await;

        let listen = programs[1].text("listen").to_owned();
        programs[1].child.kill().unwrap();
        programs[1].child.wait().unwrap();
        let killed = Instant::now();
        let refusal = loop {
            match receive(&mut s.streams[0].receiver).await {
                Message::Refused(refusal) => break refusal,
                other => assert!(matches!(other, Message::Rows { .. }), "{other:?}"),
            }
        };
        assert_eq!(refusal.code, RefusalCode::NextUnreachable, "{refusal}");
        assert!(
            killed.elapsed() < Duration::from_secs(3),
            "{:?}",
            killed.elapsed()
        );

        // The same home and port: same identity, same blocks, no deployment.
        programs[1] = Program::start(homes[1].path(), &listen, &[]);
        targets[1] = programs[1].target(&client).await;
        let mut s = Session::open(&targets, me, &model, kit::digest(2))
            .await
            .unwrap();
        kit::play(&mut s, &script, dim).await;
        assert!(s.verify(&model, 3).await == 3);
        s.close().await;
    });
}

#[test]
fn the_program_reports_and_ends_in_order() {
    let home = TempDir::new().unwrap();
    let record = home.path().join("record");
    let record_text = record.to_str().unwrap().to_owned();
    let more = ["--metrics", "127.0.0.1:0", "--record", &record_text];
    let mut program = Program::start(&home.path().join("node"), "127.0.0.1:0", &more);
    assert_eq!(program.text("operator"), "test \"quoted\"");

    // Somebody else on the same port is told so.
    let taken = command(&home.path().join("other"), program.text("listen"))
        .output()
        .unwrap();
    assert!(!taken.status.success() && taken.stdout.is_empty());

    kit::quic(|| async {
        let (client, model) = (client(), model());
        let target = program.target(&client).await;
        kit::deploy_all(&target.connection, &model, (0, 3)).await;
        let me = client.peer_id();
        let mut s = Session::open(&[target], me, &model, kit::digest(1))
            .await
            .unwrap();
        let script = kit::script(&model, 1, 0);
        kit::play(&mut s, &script, model.manifest.shape.dim).await;
        s.close().await;
        let seen = std::fs::read(record.join("received.bin")).unwrap();
        let sent = Message::Rows {
            start: 0,
            rows: script.flights[0].clone(),
        }
        .payload();
        assert!(
            seen.windows(sent.len()).any(|w| w == sent),
            "rows are on record"
        );
        let index = std::fs::read_to_string(record.join("index.jsonl")).unwrap();
        let lines: Vec<Value> = index
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert!(lines.iter().any(|l| l["stream"] == 2 && l["type"] == 4));
        assert!(lines.iter().all(|l| l["peer"] == me.to_string()));
    });

    let mut http = TcpStream::connect(program.text("metrics")).unwrap();
    http.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut page = String::new();
    http.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("\nnesad_rows_total 8\n"), "{page}");

    drop(program.child.stdin.take());
    assert!(program.wait("the end of its standard input").success());
}

#[cfg(unix)]
#[test]
fn a_signal_drains_and_a_second_one_ends_at_once() {
    let signal = |program: &Program| {
        let id = program.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
    };
    let home = TempDir::new().unwrap();
    let mut idle = Program::start(home.path(), "127.0.0.1:0", &[]);
    signal(&idle);
    assert!(idle.wait("a signal").success());

    kit::quic(|| async {
        let mut busy = Program::start(home.path(), "127.0.0.1:0", &["--drain", "60"]);
        let (client, model) = (client(), model());
        let target = busy.target(&client).await;
        kit::deploy_all(&target.connection, &model, (0, 3)).await;
        let me = client.peer_id();
        let _s = Session::open(&[target], me, &model, kit::digest(1))
            .await
            .unwrap();
        signal(&busy);
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(
            busy.child.try_wait().unwrap().is_none(),
            "it waits for the session"
        );
        signal(&busy);
        assert_eq!(busy.wait("two signals").code(), Some(130));
    });
}

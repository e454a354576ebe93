//! The local ledger: `nesa-validator` as a child process, a chain of one validator in this home.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nesa_storage::disk;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::NetworkError;

/// Longest wait for the ledger to answer, in seconds.
const READY_S_MAX: u64 = 30;
/// Longest wait for it to end, in seconds.
const STOP_S_MAX: u64 = 10;

/// What `nesa-validator init` printed, in the ledger's folder.
pub const PINS: &str = "pins.json";

/// A running ledger; dropping it ends it.
#[derive(Debug)]
pub struct LocalLedger {
    child: Child,
    /// Its endpoint.
    pub rpc: String,
}

/// The validator: beside this program, or found by name.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok();
    let beside = beside.and_then(|p| Some(p.parent()?.join("nesa-validator")));
    beside
        .filter(|p| p.exists())
        .unwrap_or_else(|| PathBuf::from("nesa-validator"))
}

fn failed(what: &str, e: impl std::fmt::Display) -> NetworkError {
    NetworkError::Process(format!(
        "{what} {}: {e}; build it with `cargo build --release`, or give --no-ledger",
        program().display()
    ))
}

impl LocalLedger {
    /// Starts the ledger in `home`; a new one belongs to `owner`.
    ///
    /// # Errors
    /// [`NetworkError::Process`].
    pub async fn start(home: &Path, owner: &str) -> Result<Self, NetworkError> {
        let genesis = home.join("genesis.json");
        if !genesis.exists() {
            let made = Command::new(program())
                .args(["init", "--owner", owner, "--home"])
                .arg(home)
                .stdin(Stdio::null())
                .output()
                .await
                .map_err(|e| failed("cannot start", e))?;
            if !made.status.success() {
                return Err(failed(
                    "cannot begin a chain with",
                    String::from_utf8_lossy(&made.stderr).trim(),
                ));
            }
            // What a light client pins: without it, receipts ask for it on the command line.
            let _ = disk::write(&home.join(PINS), &made.stdout, disk::Access::Shared);
        }
        let log =
            std::fs::File::create(home.join("log.txt")).map_err(|e| failed("cannot log for", e))?;
        let mut command = Command::new(program());
        command
            .args(["run", "--rpc", "127.0.0.1:0", "--exit-with-stdin", "--home"])
            .arg(home);
        command.arg("--genesis").arg(&genesis);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        command.process_group(0);
        let mut child = command.spawn().map_err(|e| failed("cannot start", e))?;
        let out = child
            .stdout
            .take()
            .ok_or_else(|| failed("no output of", ""))?;
        let mut lines = BufReader::new(out).lines();
        let wait = tokio::time::timeout(Duration::from_secs(READY_S_MAX), lines.next_line()).await;
        let Ok(Ok(Some(line))) = wait else {
            return Err(failed(
                "no answer of",
                format!("see {}", home.join("log.txt").display()),
            ));
        };
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        let rpc = ready["rpc"]
            .as_str()
            .ok_or_else(|| failed("no endpoint of", line.clone()))?
            .to_owned();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, rpc })
    }

    /// Asks it to end, and waits.
    pub async fn stop(mut self) {
        drop(self.child.stdin.take());
        let wait = tokio::time::timeout(Duration::from_secs(STOP_S_MAX), self.child.wait());
        if wait.await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

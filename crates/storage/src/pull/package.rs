//! Packages, downloaded by the user's own pip or npm with that client's configuration.
//!
//! The archive is kept until its files are installed, so a failed installation does not
//! download again; a file placed there by hand is used as well.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::catalog::{Client, Package, PinnedFile};
use super::{ByHand, Error, OnProgress, Options, Progress, Result, Stage, disk};

/// A client that takes longer is stopped.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(3600);
const POLL: Duration = Duration::from_millis(100);
/// Bytes of a client's last words that are shown.
const DETAIL_BYTES_MAX: u64 = 600;

/// The verified archive of `package`, under `root`.
pub(super) fn fetch(
    package: &Package,
    root: &Path,
    options: &Options,
    missing: &[&'static PinnedFile],
    progress: &mut OnProgress<'_>,
) -> Result<PathBuf> {
    let downloads = root.join(".downloads");
    let archive = downloads.join(package.file);
    if archive.is_file() {
        if check(package, &archive, progress).is_ok() {
            return Ok(archive);
        }
        disk::remove(&archive)?;
    }
    let staging = downloads.join(format!("{}.staging", package.file));
    disk::create_folder(&staging)?;
    let ran = run_any(package, &staging, &downloads, options, progress);
    let moved = ran.and_then(|()| {
        let found = staging.join(package.file);
        check(package, &found, progress)?;
        fs::rename(&found, &archive).map_err(|e| disk::io_error(&archive, e, 0))
    });
    // Leftovers of the client; failing to delete them harms nobody.
    let _ = fs::remove_dir_all(&staging);
    match moved {
        Ok(()) => Ok(archive),
        Err(Error::DiskFull { path, .. }) => {
            let files: u64 = missing.iter().map(|file| file.bytes).sum();
            Err(Error::DiskFull {
                path,
                needed: files + package.bytes,
            })
        }
        Err(e) => Err(e),
    }
}

/// Fails unless `archive` is the pinned one; a wrong one is deleted.
fn check(package: &Package, archive: &Path, progress: &mut OnProgress<'_>) -> Result<()> {
    let total = package.bytes;
    let actual = disk::sha256(archive, &mut |done| {
        let done = done.min(total);
        progress(Progress {
            stage: Stage::Verify,
            file: package.file,
            done,
            total,
        });
    })?;
    if actual == package.sha256 {
        return Ok(());
    }
    disk::remove(archive)?;
    let (what, expected) = (package.file.to_owned(), package.sha256.to_owned());
    Err(Error::WrongHash {
        what,
        expected,
        actual,
    })
}

/// Run the first command of the client that exists.
fn run_any(
    package: &Package,
    staging: &Path,
    into: &Path,
    options: &Options,
    progress: &mut OnProgress<'_>,
) -> Result<()> {
    let commands = match package.client {
        Client::Pip => &options.pip,
        Client::Npm => &options.npm,
    };
    let mut detail = None;
    for command in commands {
        match run(package, command, staging, progress)? {
            Outcome::Absent => {}
            Outcome::Failed(text) => detail = detail.or(Some(text)),
            Outcome::Done => return Ok(()),
        }
    }
    let client = package.client.name();
    let by_hand = Box::new(ByHand {
        file: package.file.to_owned(),
        sha256: package.sha256.to_owned(),
        into: into.to_owned(),
    });
    match detail {
        None => Err(Error::NoClient { client, by_hand }),
        Some(detail) if detail.contains("No space left") || detail.contains("ENOSPC") => {
            Err(Error::DiskFull {
                path: staging.to_owned(),
                needed: 0,
            })
        }
        Some(detail) => {
            let package = format!("{} {}", package.name, package.version);
            Err(Error::Package {
                client,
                package,
                detail,
                by_hand,
            })
        }
    }
}

enum Outcome {
    /// There is no such command, or it is not this client.
    Absent,
    /// It failed, with these last words.
    Failed(String),
    /// The archive is in the staging folder.
    Done,
}

fn run(
    package: &Package,
    command: &[String],
    staging: &Path,
    progress: &mut OnProgress<'_>,
) -> Result<Outcome> {
    let Some((program, words)) = command.split_first() else {
        return Ok(Outcome::Absent);
    };
    let log_path = staging.join("client.log");
    let log = File::create(&log_path).map_err(|e| disk::io_error(&log_path, e, 0))?;
    let log_too = log
        .try_clone()
        .map_err(|e| disk::io_error(&log_path, e, 0))?;
    let mut command = Command::new(program);
    command.args(words).args(arguments(package, staging));
    command.current_dir(staging).env("TMPDIR", staging);
    command.stdin(Stdio::null()).stdout(log_too).stderr(log);
    let Ok(child) = command.spawn() else {
        return Ok(Outcome::Absent);
    };
    let status = wait(Guard(child), package, staging, progress)?;
    if status.is_some_and(|status| status.success()) && staging.join(package.file).is_file() {
        return Ok(Outcome::Done);
    }
    let text = last_words(&log_path);
    if text.contains("No module named pip") {
        return Ok(Outcome::Absent);
    }
    Ok(Outcome::Failed(match status {
        None => format!("it took longer than {} s", CLIENT_TIMEOUT.as_secs()),
        Some(_) if text.is_empty() => "it ended without a word".to_owned(),
        Some(_) => text,
    }))
}

fn arguments(package: &Package, staging: &Path) -> Vec<std::ffi::OsString> {
    let (name, version) = (package.name, package.version);
    let fixed: &[&str] = match package.client {
        Client::Pip => &[
            "download",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--no-input",
            "--disable-pip-version-check",
            "--progress-bar",
            "off",
            "-d",
        ],
        Client::Npm => &[
            "pack",
            "--ignore-scripts",
            "--loglevel",
            "error",
            "--pack-destination",
        ],
    };
    let wanted = match package.client {
        Client::Pip => format!("{name}=={version}"),
        Client::Npm => format!("{name}@{version}"),
    };
    let mut arguments: Vec<std::ffi::OsString> = fixed.iter().map(Into::into).collect();
    arguments.extend([staging.as_os_str().to_owned(), wanted.into()]);
    arguments
}

/// Kills the client when the pull ends before it.
struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only when the client has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The exit status, or none after the timeout. Progress is what the client has on disk.
fn wait(
    mut child: Guard,
    package: &Package,
    staging: &Path,
    progress: &mut OnProgress<'_>,
) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    let total = package.bytes;
    while start.elapsed() < CLIENT_TIMEOUT {
        match child.0.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) => {}
            Err(e) => return Err(disk::io_error(staging, e, 0)),
        }
        let done = size_of(staging, 8).min(total);
        progress(Progress {
            stage: Stage::Package,
            file: package.file,
            done,
            total,
        });
        std::thread::sleep(POLL);
    }
    Ok(None)
}

/// Bytes of all files under `folder`, which the client changes meanwhile.
fn size_of(folder: &Path, depth: u32) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let meta = entry.metadata().ok()?;
            match (meta.is_dir(), depth) {
                (true, 0) => None,
                (true, _) => Some(size_of(&entry.path(), depth - 1)),
                (false, _) => Some(meta.len()),
            }
        })
        .sum()
}

/// The end of the client's output in one line.
fn last_words(log: &Path) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(DETAIL_BYTES_MAX)))?;
        file.take(DETAIL_BYTES_MAX).read_to_end(&mut text)
    });
    match read {
        Ok(_) => String::from_utf8_lossy(&text)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        Err(_) => String::new(),
    }
}

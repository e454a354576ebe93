//! Downloads from the public hub over HTTPS, resumed by range, accepted by digest only.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use ureq::Agent;

use super::catalog::PinnedFile;
use super::{Error, OnProgress, Progress, Result, Stage, disk};

/// The hub must answer this fast to be used at all.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// One response, headers and body: slow lines resume after it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(3600);
/// Attempts in a row that bring no byte before giving up.
const BARREN_ATTEMPTS_MAX: u32 = 3;
/// Attempts in all per pull, whatever they bring.
const ATTEMPTS_MAX: u32 = 100;
const BUFFER_BYTES: usize = 256 << 10;

/// Fetch what the hub has of `missing`; returns what is still missing then.
///
/// A hub that cannot be reached or holds other bytes is no error: the package has the files, too.
pub(super) fn fetch(
    base: &str,
    folder: &Path,
    missing: Vec<&'static PinnedFile>,
    progress: &mut OnProgress<'_>,
) -> Result<Vec<&'static PinnedFile>> {
    let Some(first) = missing.iter().find_map(|file| file.hub) else {
        return Ok(missing);
    };
    if !reachable(base, first) {
        return Ok(missing);
    }
    let agent = agent(base, RESPONSE_TIMEOUT);
    let mut left = Vec::new();
    for file in missing {
        let Some(path) = file.hub else {
            left.push(file);
            continue;
        };
        match download(&agent, &format!("{base}/{path}"), folder, file, progress) {
            Ok(true) => {}
            Ok(false) | Err(Error::WrongHash { .. }) => left.push(file),
            Err(e) => return Err(e),
        }
    }
    Ok(left)
}

fn agent(base: &str, timeout: Duration) -> Agent {
    Agent::config_builder()
        .https_only(base.starts_with("https://"))
        .http_status_as_error(false)
        .timeout_connect(Some(PROBE_TIMEOUT))
        .timeout_global(Some(timeout))
        .build()
        .new_agent()
}

/// Whether the hub answers for `path`, be it with a redirect.
fn reachable(base: &str, path: &str) -> bool {
    let request = agent(base, PROBE_TIMEOUT).head(format!("{base}/{path}"));
    let request = request
        .config()
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build();
    request
        .call()
        .is_ok_and(|response| response.status().as_u16() < 400)
}

/// Download `file`; false when the hub does not have it.
fn download(
    agent: &Agent,
    url: &str,
    folder: &Path,
    file: &'static PinnedFile,
    progress: &mut OnProgress<'_>,
) -> Result<bool> {
    let path = folder.join(file.path);
    if let Some(parent) = path.parent() {
        disk::create_folder(parent)?;
    }
    let part = disk::part_of(&path);
    let (mut attempts, mut barren) = (0, 0);
    loop {
        let before = fs::metadata(&part).map_or(0, |meta| meta.len());
        // A part that is too long is not this file either; its digest says so.
        if before >= file.bytes {
            disk::accept(&part, &path, file, progress)?;
            return Ok(true);
        }
        let detail = match attempt(agent, url, &part, before, file, progress)? {
            Attempt::Absent => return Ok(false),
            Attempt::Ended(detail) => detail,
        };
        let after = fs::metadata(&part).map_or(0, |meta| meta.len());
        barren = if after > before { 0 } else { barren + 1 };
        attempts += 1;
        if barren == BARREN_ATTEMPTS_MAX || attempts == ATTEMPTS_MAX {
            return Err(Error::Interrupted {
                url: url.to_owned(),
                detail,
                done: after,
            });
        }
    }
}

enum Attempt {
    /// The hub does not have the file.
    Absent,
    /// The response ended, for this reason; the part file tells how far it came.
    Ended(String),
}

/// One request for the bytes from `from` on, appended to `part`.
fn attempt(
    agent: &Agent,
    url: &str,
    part: &Path,
    from: u64,
    file: &'static PinnedFile,
    progress: &mut OnProgress<'_>,
) -> Result<Attempt> {
    let request = agent.get(url).header("Accept-Encoding", "identity");
    let request = match from {
        0 => request,
        _ => request.header("Range", format!("bytes={from}-")),
    };
    let response = match request.call() {
        Ok(response) => response,
        Err(e) => return Ok(Attempt::Ended(e.to_string())),
    };
    let status = response.status().as_u16();
    let range = response
        .headers()
        .get("Content-Range")
        .and_then(|value| value.to_str().ok());
    let continues = range.is_some_and(|range| range.starts_with(&format!("bytes {from}-")));
    let start = match status {
        200 => 0,
        206 if continues => from,
        400..=415 | 417..=499 => return Ok(Attempt::Absent),
        _ => {
            // The server and the part file disagree: start again.
            disk::remove(part)?;
            return Ok(Attempt::Ended(format!("status {status}")));
        }
    };
    let mut out = open_at(part, start).map_err(|e| disk::io_error(part, e, file.bytes - start))?;
    // One byte more than expected is enough to see that the file is another one.
    let mut body = response
        .into_body()
        .into_reader()
        .take(file.bytes + 1 - start);
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut done = start;
    loop {
        let n = match body.read(&mut buffer) {
            Ok(0) => return Ok(Attempt::Ended("the connection ended early".to_owned())),
            Ok(n) => n,
            Err(e) => return Ok(Attempt::Ended(e.to_string())),
        };
        let left = file.bytes.saturating_sub(done);
        out.write_all(&buffer[..n])
            .map_err(|e| disk::io_error(part, e, left))?;
        done += n as u64;
        let (stage, done, total) = (Stage::Hub, done.min(file.bytes), file.bytes);
        progress(Progress {
            stage,
            file: file.path,
            done,
            total,
        });
    }
}

fn open_at(part: &Path, start: u64) -> std::io::Result<File> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(part)?;
    file.set_len(start)?;
    file.seek(SeekFrom::Start(start))?;
    Ok(file)
}

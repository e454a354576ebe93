//! What the store promises: content by name, resumable growth, a quota, one owner.

use super::*;

const LAYER: PartId = PartId::Layer(3);
const MODEL: Digest = Digest([7; 32]);

fn store(quota: u64) -> (tempfile::TempDir, PartStore) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let store = PartStore::open(folder.path(), quota).expect("opens");
    (folder, store)
}

#[test]
fn a_part_comes_back_as_it_was_put() {
    let (folder, s) = store(1000);
    assert_eq!(s.get(&MODEL, LAYER).expect("reads"), None);
    s.put(&MODEL, LAYER, b"weights").expect("puts");
    assert_eq!(
        s.get(&MODEL, LAYER).expect("reads").as_deref(),
        Some(&b"weights"[..])
    );
    assert_eq!(s.len(&MODEL, LAYER), Some(7));
    assert!(!s.has(&MODEL, PartId::Common));
    assert!(!s.has(&Digest([8; 32]), LAYER));
    assert_eq!(s.models().expect("lists"), vec![MODEL]);
    drop(s);
    let s = PartStore::open(folder.path(), 1000).expect("opens again");
    assert_eq!(s.used(), 7);
    s.discard_model(&MODEL).expect("discards");
    assert_eq!((s.used(), s.has(&MODEL, LAYER)), (0, false));
}

#[test]
fn a_transfer_goes_on_after_a_restart_where_it_stopped() {
    let (folder, s) = store(1000);
    assert_eq!(
        s.append_partial(&MODEL, LAYER, 0, b"abc").expect("appends"),
        3
    );
    drop(s);
    let s = PartStore::open(folder.path(), 1000).expect("opens again");
    assert_eq!(s.partial_len(&MODEL, LAYER), 3);
    assert!(!s.has(&MODEL, LAYER), "an unfinished part is not a part");
    let wrong = s.append_partial(&MODEL, LAYER, 0, b"abc");
    assert!(matches!(
        wrong,
        Err(Error::Offset {
            expected: 3,
            actual: 0
        })
    ));
    s.append_partial(&MODEL, LAYER, 3, b"def").expect("appends");
    assert_eq!(s.partial(&MODEL, LAYER).expect("reads"), b"abcdef");
    s.complete(&MODEL, LAYER).expect("completes");
    assert_eq!(
        s.get(&MODEL, LAYER).expect("reads").as_deref(),
        Some(&b"abcdef"[..])
    );
    assert_eq!((s.partial_len(&MODEL, LAYER), s.used()), (0, 6));
}

#[test]
fn the_quota_holds_and_what_was_stored_stays() {
    let (_folder, s) = store(10);
    s.put(&MODEL, LAYER, b"12345678").expect("fits");
    let refused = s.put(&MODEL, PartId::Common, b"123");
    assert!(matches!(
        refused,
        Err(Error::Quota {
            quota: 10,
            used: 8,
            needed: 3
        })
    ));
    let refused = s.append_partial(&MODEL, PartId::Common, 0, b"123");
    assert!(matches!(refused, Err(Error::Quota { .. })));
    s.put(&MODEL, LAYER, b"1234567890")
        .expect("a replacement frees what it replaces");
    assert_eq!(s.used(), 10);
    s.discard(&MODEL, LAYER).expect("discards");
    s.put(&MODEL, PartId::Common, b"123").expect("fits now");
}

#[test]
fn a_second_process_is_refused() {
    let (folder, s) = store(10);
    assert!(matches!(
        PartStore::open(folder.path(), 10),
        Err(Error::Busy { .. })
    ));
    drop(s);
    PartStore::open(folder.path(), 10).expect("free again");
}

#[test]
fn leftovers_of_a_crash_are_swept() {
    let (folder, s) = store(100);
    s.put(&MODEL, LAYER, b"weights").expect("puts");
    drop(s);
    let torn = folder.path().join(MODEL.to_string()).join("common.17.tmp");
    std::fs::write(&torn, b"half").expect("writes");
    let s = PartStore::open(folder.path(), 100).expect("opens");
    assert_eq!(s.used(), 7);
    assert!(!torn.exists());
}

#[test]
fn a_full_disk_is_called_that() {
    let full = Error::io(Path::new("x"), std::io::ErrorKind::StorageFull.into(), 5);
    assert!(matches!(full, Error::DiskFull { needed: 5, .. }));
    assert!(full.to_string().contains("free at least 5 bytes"));
    // The device that is always full, through the same code path as a part.
    let target = Path::new("/dev/full");
    if target.exists() {
        let error = write_to(target).expect_err("no room");
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
    }
}

fn write_to(path: &Path) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path).expect("opens");
    file.write_all(b"bytes").map_err(|e| Error::io(path, e, 5))
}

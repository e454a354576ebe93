//! What a home promises: whole models or none, verified texts, near names, private keys.

use nesa_codec::{Digest, Encode};
use nesa_model::PartId;
use nesa_model::manifest::TextSide;
use nesa_storage::{DiskError, Error, Lock, disk};

use crate::parts::{put, scene, tiny};

#[test]
fn a_model_is_found_by_name_and_by_root_and_can_be_removed() {
    let (folder, home) = scene(&tiny(), 1);
    let model = put(&folder, &home, "tiny").expect("installs");
    let root = model.root().to_string();
    assert_eq!(home.model("tiny").expect("found").root(), model.root());
    assert_eq!(home.model(&root[..8]).expect("found").name(), "tiny");
    assert_eq!(model.parts().len(), 4);
    let source = model.source().expect("recorded");
    assert_eq!((source.arch.as_str(), source.catalog), ("llama", None));
    assert!(matches!(
        put(&folder, &home, "tiny"),
        Err(Error::Exists { .. })
    ));
    let near = home.model("tinny").expect_err("unknown").to_string();
    assert!(near.contains("did you mean tiny?"), "{near}");
    assert!(
        home.remove(&root[..8]).is_err(),
        "a root prefix must not remove"
    );
    assert!(home.remove("tiny").expect("removes") > 10_000);
    assert!(home.models().expect("lists").is_empty());
    put(&folder, &home, "tiny").expect("installs again");
}

#[test]
fn a_second_compilation_of_one_name_is_refused_and_a_crashed_one_forgotten() {
    let (folder, home) = scene(&tiny(), 1);
    let models = home.models_folder();
    std::fs::create_dir_all(models.join(".tiny.compiling")).expect("a crash's remains");
    std::fs::write(models.join(".tiny.compiling/layer-0000.bin"), b"half").expect("writes");
    let lock = Lock::take(&models.join(".tiny.lock")).expect("free");
    let busy = put(&folder, &home, "tiny").expect_err("locked");
    assert!(
        matches!(busy, Error::Disk(DiskError::Busy { .. })),
        "{busy}"
    );
    assert!(
        home.models().expect("lists").is_empty(),
        "half a model is no model"
    );
    drop(lock);
    put(&folder, &home, "tiny").expect("installs");
}

#[test]
fn a_failed_compilation_leaves_nothing_and_keeps_the_rest() {
    let (folder, home) = scene(&tiny(), 1);
    put(&folder, &home, "good").expect("installs");
    let weights = folder.path().join("ckpt/model.safetensors");
    let mut bytes = std::fs::read(&weights).expect("reads");
    // A weight that is not a number, in the middle of the file.
    let at = bytes.len() / 2 / 4 * 4;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&weights, &bytes).expect("writes");
    let error = put(&folder, &home, "bad").expect_err("not finite");
    assert!(error.to_string().contains("not finite"), "{error}");
    bytes.truncate(at);
    std::fs::write(&weights, &bytes).expect("writes");
    put(&folder, &home, "bad").expect_err("truncated");
    let names: Vec<String> = home
        .models()
        .expect("lists")
        .into_iter()
        .map(|l| l.name)
        .collect();
    assert_eq!(names, ["good"]);
    home.model("good")
        .expect("found")
        .open_shard(0..2)
        .expect("whole");
    let left = std::fs::read_dir(home.models_folder())
        .expect("lists")
        .flatten();
    let left = left.filter(|e| e.file_name().to_string_lossy().contains("compiling"));
    assert_eq!(left.count(), 0);
    let gone = home.model("good").expect("found").float_checkpoint();
    assert!(
        matches!(gone, Err(Error::NoSource { .. })),
        "the original has changed"
    );
}

#[test]
fn every_changed_file_is_noticed() {
    let (folder, home) = scene(&tiny(), 1);
    let model = put(&folder, &home, "tiny").expect("installs");
    let common = model.open_common().expect("opens");
    for name in [
        "common.bin",
        "vocabulary.bin",
        "layer-0001.bin",
        "tokenizer.json",
        "template.jinja",
    ] {
        let path = model.path().join(name);
        let whole = std::fs::read(&path).expect("reads");
        let mut changed = whole.clone();
        match changed.last_mut() {
            Some(last) => *last ^= 1,
            None => changed.push(b'x'),
        }
        for bytes in [changed, whole[..whole.len() / 2].to_vec()] {
            if bytes == whole {
                continue;
            }
            std::fs::write(&path, &bytes).expect("writes");
            let refused = model.open_common().is_err()
                || model.open_vocabulary().is_err()
                || model.open_layer(1, &common).is_err()
                || model.chat().is_err();
            assert!(refused, "{name} of {} bytes", bytes.len());
        }
        std::fs::write(&path, &whole).expect("writes");
    }
    model.chat().expect("whole again");
    std::fs::write(model.path().join("manifest.bin"), b"no manifest").expect("writes");
    let error = home.model("tiny").expect_err("damaged").to_string();
    assert!(error.contains("nesa model rm tiny"), "{error}");
}

#[test]
fn sealing_goes_on_where_it_stopped_and_shows_when_whole() {
    let (folder, home) = scene(&tiny(), 1);
    let model = put(&folder, &home, "tiny").expect("installs");
    let key = Digest([9; 32]);
    let bytes = |id| model.part_bytes(id).expect("reads");
    let w = home.sealing(&model.root(), &key).expect("starts");
    assert!(
        home.sealing(&model.root(), &key).is_err(),
        "one process at a time"
    );
    w.put(PartId::Common, &bytes(PartId::Common))
        .expect("stores");
    drop(w);
    let w = home.sealing(&model.root(), &key).expect("goes on");
    assert_eq!(
        w.part(PartId::Common).expect("reads"),
        Some(bytes(PartId::Common))
    );
    assert_eq!(w.part(PartId::Layer(0)).expect("reads"), None);
    let mut manifest = model.manifest().clone();
    manifest.text = TextSide::default();
    manifest.sealed_under = Some(key);
    let early = home.sealed_of(&model.root()).expect("lists");
    assert!(early.is_empty());
    for i in 0..2 {
        w.put(PartId::Layer(i), &bytes(PartId::Layer(i)))
            .expect("stores");
    }
    let sealed = w.finish(&manifest, b"proof".to_vec()).expect("finishes");
    assert_eq!(sealed.root(), manifest.root());
    assert_eq!(
        home.sealed(&sealed.root()).expect("found").manifest(),
        &manifest
    );
    let all = home.sealed_of(&model.root()).expect("lists");
    assert_eq!(all.len(), 1);
    assert_eq!(
        (all[0].1.key, all[0].1.evidence.as_slice()),
        (key, &b"proof"[..])
    );
    home.remove("tiny").expect("removes");
    assert!(
        home.sealed(&sealed.root()).is_err(),
        "sealed versions go with the model"
    );
}

#[test]
fn an_unfinished_sealing_cannot_be_shown() {
    let (folder, home) = scene(&tiny(), 1);
    let model = put(&folder, &home, "tiny").expect("installs");
    let w = home
        .sealing(&model.root(), &Digest([1; 32]))
        .expect("starts");
    let mut manifest = model.manifest().clone();
    manifest.text = TextSide::default();
    assert!(matches!(
        w.finish(&manifest, Vec::new()),
        Err(Error::Damaged { .. })
    ));
    assert!(home.sealed_of(&model.root()).expect("lists").is_empty());
    assert!(!manifest.to_bytes().is_empty());
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, home) = scene(&tiny(), 1);
    assert_eq!(home.read_key("deployment").expect("reads"), None);
    home.write_key("deployment", b"secret").expect("writes");
    assert_eq!(
        home.read_key("deployment").expect("reads").as_deref(),
        Some(&b"secret"[..])
    );
    let mode =
        |p: &std::path::Path| std::fs::metadata(p).expect("there").permissions().mode() & 0o777;
    let keys = home.keys().expect("created");
    assert_eq!(
        (mode(&keys), mode(&keys.join("deployment"))),
        (0o700, 0o600)
    );
    for name in ["", "../x", "a/b", ".hidden", "UP"] {
        assert!(
            matches!(home.read_key(name), Err(Error::BadName { .. })),
            "{name:?}"
        );
    }
    assert_eq!(mode(&home.node("n1").expect("created")), 0o700);
    disk::remove_folder(&keys).expect("removes");
}

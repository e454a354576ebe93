//! Hugging Face folders and npz files: strict headers, clear refusals.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::common::safetensors;
use nesa_checkpoint::npz::Arrays;
use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::safetensors::Header;
use nesa_checkpoint::{Arch, Checkpoint, Error, Tensor};
use serde_json::{Value, json};

fn header(bytes: &[u8]) -> Result<Header, Error> {
    Header::parse(bytes, "test.safetensors", bytes.len() as u64)
}

const GOOD: &str = r#"{"__metadata__":{"format":"pt"},
    "a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},
    "ids":{"dtype":"I64","shape":[1,1],"data_offsets":[16,24]},
    "b":{"dtype":"BF16","shape":[],"data_offsets":[24,26]}}"#;

#[test]
fn safetensors_header() {
    let header = header(&safetensors(GOOD, 26)).expect("parses");
    assert_eq!(header.tensors.len(), 2, "integer tensors are left out");
    assert_eq!(header.tensors["a"].offset, 8 + GOOD.len() as u64);
}

#[test]
fn safetensors_header_is_strict() {
    assert!(header(&safetensors(GOOD, 25)).is_err(), "truncated data");
    assert!(header(&safetensors(GOOD, 27)).is_err(), "surplus data");
    let bytes = safetensors(GOOD, 26);
    for cut in 0..bytes.len() {
        assert!(header(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for at in 0..8 + GOOD.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut changed = bytes.clone();
            changed[at] ^= flip;
            let _ = header(&changed);
        }
    }
    for (what, from, to) in [
        ("duplicate", "\"b\":", "\"a\":"),
        ("overlap", "[16,24]", "[15,24]"),
        ("gap", "[24,26]", "[25,26]"),
        ("backwards", "[24,26]", "[26,24]"),
        ("size", "[2,2]", "[2,3]"),
        ("overflow", "[2,2]", "[9223372036854775807,9]"),
        ("dimensions", "[2,2]", "[1,1,1,2,2]"),
        ("negative", "[2,2]", "[-2,-2]"),
        (
            "unknown field",
            "\"dtype\":\"I64\"",
            "\"x\":1,\"dtype\":\"I64\"",
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{what}");
        assert!(header(&safetensors(&text, 26)).is_err(), "{what}");
    }
    let mut huge = u64::MAX.to_le_bytes().to_vec();
    huge.extend(b"{}");
    assert!(matches!(header(&huge), Err(Error::TooLarge { .. })));
}

fn folder(arch: Arch) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("temporary folder");
    write_random(folder.path(), &small_config(arch), 5, Store::F16).expect("writes");
    folder
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).expect("reads")).expect("JSON");
    change(&mut value);
    fs::write(path, value.to_string()).expect("writes");
}

#[test]
fn contradictions_are_refused() {
    for (arch, key, value) in [
        (Arch::Llama, "model_type", json!("mamba")),
        (Arch::Llama, "hidden_size", json!(65)),
        (Arch::Llama, "hidden_size", json!(1u64 << 50)),
        (Arch::Llama, "num_hidden_layers", json!(4)),
        (Arch::Llama, "num_hidden_layers", json!(0)),
        (Arch::Llama, "num_key_value_heads", json!(3)),
        (Arch::Llama, "head_dim", json!(15)),
        (Arch::Llama, "rope_scaling", json!({"rope_type": "llama3"})),
        (Arch::Llama, "rope_theta", json!(-1.0)),
        (Arch::Llama, "rms_norm_eps", json!(0.0)),
        (Arch::Llama, "hidden_act", json!("relu")),
        (Arch::Llama, "eos_token_id", json!(384)),
        (Arch::Llama, "vocab_size", json!(383)),
        (Arch::Qwen2, "use_sliding_window", json!(true)),
        (Arch::Gpt2, "activation_function", json!("silu")),
        (Arch::Gpt2, "n_positions", json!(64)),
        (Arch::Bert, "position_embedding_type", json!("relative_key")),
        (Arch::Bert, "type_vocab_size", json!(0)),
    ] {
        let folder = folder(arch);
        assert!(Checkpoint::open(folder.path()).is_ok());
        edit(&folder.path().join("config.json"), |config| {
            config[key] = value.clone();
        });
        let error = Checkpoint::open(folder.path()).expect_err(key).to_string();
        assert!(
            error.contains(&folder.path().display().to_string()),
            "{error}"
        );
    }
}

#[test]
fn missing_and_damaged_files_are_named() {
    let name = |folder: &Path, what: &str| {
        let error = Checkpoint::open(folder).expect_err(what).to_string();
        assert!(error.contains(what), "{error} names {what}");
    };
    name(Path::new("no-such-place"), "no-such-place");
    let empty = tempfile::tempdir().expect("temporary folder");
    name(empty.path(), "config.json");
    let damaged = folder(Arch::Llama);
    let weights = damaged.path().join("model.safetensors");
    let bytes = fs::read(&weights).expect("reads");
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("writes");
    name(damaged.path(), "model.safetensors");
    fs::remove_file(&weights).expect("removes");
    name(damaged.path(), ".safetensors");
    let pickled = folder(Arch::Llama);
    edit(&pickled.path().join("tokenizer.json"), |json| {
        json["model"]["type"] = "Unigram".into();
    });
    let checkpoint = Checkpoint::open(pickled.path()).expect("weights are fine");
    assert!(
        checkpoint
            .tokenizer_json()
            .expect_err("refused")
            .to_string()
            .contains("Unigram")
    );
}

#[test]
fn sharded_weights_and_prefixes() {
    let folder = folder(Arch::Gpt2);
    let whole = Checkpoint::open(folder.path()).expect("opens");
    let embed = whole.tensor(Tensor::PosEmbed).expect("tensor");
    let path = folder.path().join("model.safetensors");
    let bytes = fs::read(&path).expect("reads");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("length")) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("JSON");
    let entries = header.as_object_mut().expect("map");
    let prefixed: serde_json::Map<String, Value> = entries
        .iter()
        .map(|(k, v)| (format!("transformer.{k}"), v.clone()))
        .collect();
    let text = Value::from(prefixed.clone()).to_string();
    let mut renamed = (text.len() as u64).to_le_bytes().to_vec();
    renamed.extend(text.as_bytes());
    renamed.extend(&bytes[8 + length..]);
    fs::remove_file(&path).expect("removes");
    fs::write(folder.path().join("part-1.safetensors"), renamed).expect("writes");
    let names: serde_json::Map<String, Value> = prefixed
        .keys()
        .map(|name| (name.clone(), "part-1.safetensors".into()))
        .collect();
    let index = folder.path().join("model.safetensors.index.json");
    fs::write(&index, json!({"weight_map": names}).to_string()).expect("writes");
    let sharded = Checkpoint::open(folder.path()).expect("opens");
    assert_eq!(sharded.tensor(Tensor::PosEmbed).expect("tensor"), embed);
    edit(&index, |json| {
        json["weight_map"]["x"] = "../secret.safetensors".into();
    });
    assert!(
        Checkpoint::open(folder.path()).is_err(),
        "a path outside the folder"
    );
}

#[test]
fn template_and_ends_come_from_companion_files() {
    let folder = folder(Arch::Llama);
    let write = |name: &str, value: Value| {
        fs::write(folder.path().join(name), value.to_string()).expect("writes");
    };
    write("generation_config.json", json!({"eos_token_id": [0, 9]}));
    write(
        "tokenizer_config.json",
        json!({"chat_template": [
            {"name": "tools", "template": "no"}, {"name": "default", "template": "yes {{ eos_token }}"},
        ]}),
    );
    let checkpoint = Checkpoint::open(folder.path()).expect("opens");
    assert_eq!(checkpoint.config.eos_ids, [0, 9]);
    assert_eq!(
        checkpoint
            .chat()
            .expect("template")
            .render(&[], false)
            .expect("text"),
        "yes <|end|>"
    );
}

fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(data);
    out
}

fn zip(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        writer
            .start_file(*name, zip::write::SimpleFileOptions::default())
            .expect("starts");
        writer.write_all(bytes).expect("writes");
    }
    writer.finish().expect("finishes").into_inner()
}

#[test]
fn npz_arrays() {
    let good = zip(&[("E.npy", npy("<f4", "(1, 2)", &[0, 0, 128, 63, 0, 0, 0, 64]))]);
    let arrays = Arrays::parse(&good, "test.npz").expect("parses");
    assert_eq!(arrays.tensors["E"].shape, [1, 2]);
    for cut in 0..good.len() {
        assert!(
            Arrays::parse(&good[..cut], "test.npz").is_err(),
            "cut at {cut}"
        );
    }
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 0x41;
        let _ = Arrays::parse(&changed, "test.npz");
    }
    for (what, bytes) in [
        ("too few bytes", npy("<f4", "(2, 2)", &[0; 8])),
        ("too many bytes", npy("<f4", "(1,)", &[0; 8])),
        ("big-endian", npy(">f4", "(2,)", &[0; 8])),
        ("objects", npy("|O", "(2,)", &[0; 8])),
        ("overflow", npy("<f4", "(9223372036854775807, 9)", &[0; 8])),
        ("no header", vec![0; 64]),
    ] {
        assert!(
            Arrays::parse(&zip(&[("a.npy", bytes)]), "test.npz").is_err(),
            "{what}"
        );
    }
    assert!(
        Arrays::parse(&zip(&[("../a", vec![])]), "test.npz").is_err(),
        "not an array"
    );
}

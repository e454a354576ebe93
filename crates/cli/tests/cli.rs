//! The real binary on tiny random checkpoints: results, exit codes, next steps, nothing lost.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use nesa_checkpoint::random::{Store, small_config, write_random};
use nesa_checkpoint::{Arch, Config};
use serde_json::Value;
use tempfile::TempDir;

/// A temporary home and checkpoints beside it.
struct Scene {
    folder: TempDir,
}

/// How a command ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("temporary folder");
        Self { folder }
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A tiny random checkpoint; equal seeds give equal weights.
    fn checkpoint(&self, name: &str, arch: Arch, seed: u64) -> PathBuf {
        let path = self.folder.path().join(name);
        let config = Config {
            layers: 2,
            ..small_config(arch)
        };
        write_random(&path, &config, seed, Store::F32).expect("writes");
        path
    }

    fn text(&self) -> PathBuf {
        let path = self.folder.path().join("text.txt");
        let line = "The quick brown fox jumps over 13 lazy dogs; none of them minds.\n";
        std::fs::write(&path, line.repeat(20)).expect("writes");
        path
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("NESA_HOME", self.home())
            .env("NESA_THREADS", "1")
            .env("NESA_HUB", "none")
            .env_remove("NESA_SIMD");
        command
    }

    fn nesa(&self, args: &[&str]) -> Ran {
        ran(self
            .command(env!("CARGO_BIN_EXE_nesa"))
            .args(args)
            .output()
            .expect("runs"))
    }

    fn import(&self, path: &Path, name: &str) -> Ran {
        self.nesa(&["model", "import", text(path), "--name", name, "--json"])
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The failure has this code and this text, and names a next step.
fn fails(ran: &Ran, code: i32, what: &str) {
    assert_eq!(ran.code, code, "{} {}", ran.out, ran.err);
    assert_eq!(ran.out, "", "data on a failure");
    assert!(ran.err.contains(what), "{what:?} in {}", ran.err);
    let next = ran.err.contains("  next: ") || ran.err.contains("\"next\":\"");
    assert!(next, "a next step in {}", ran.err);
    assert!(!ran.err.contains("panicked"), "{}", ran.err);
}

#[test]
fn a_model_is_imported_listed_shown_and_removed() {
    let s = Scene::new();
    let imported = s
        .import(&s.checkpoint("My Model", Arch::Llama, 1), "mine")
        .json();
    let root = imported["root"].as_str().expect("a root").to_owned();
    assert_eq!(root.len(), 64);
    let listed = s.nesa(&["model", "ls", "--json"]).json();
    assert_eq!(listed[0]["name"], "mine");
    assert_eq!(listed[0]["root"], root.as_str());
    let shown = s.nesa(&["model", "show", &root[..10], "--json"]).json();
    assert_eq!(shown["shape"]["layers"], 2);
    assert!(shown["bounds"]["largest_sum"].as_i64().expect("a number") > 1000);
    assert!(shown["lookups"]["per_token"].as_u64().expect("a number") > 1000);
    assert_eq!(shown["sealed"], serde_json::json!([]));
    let human = s.nesa(&["model", "show", "mine"]);
    assert!(
        human.out.contains(&root) && human.out.contains("all match"),
        "{}",
        human.out
    );
    assert_eq!(s.nesa(&["model", "rm", "mine"]).code, 0);
    assert_eq!(
        s.nesa(&["model", "ls", "--json"]).json(),
        serde_json::json!([])
    );
}

#[test]
fn equal_checkpoints_are_equal_models_and_others_are_told_apart() {
    let s = Scene::new();
    s.import(&s.checkpoint("a", Arch::Llama, 1), "a").json();
    s.import(&s.checkpoint("same", Arch::Llama, 1), "same")
        .json();
    s.import(&s.checkpoint("other", Arch::Llama, 2), "other")
        .json();
    let same = s.nesa(&["model", "compare", "a", "same", "--json"]).json();
    assert_eq!(
        (
            same["equal"].as_bool(),
            same["parts"].as_array().map(Vec::len)
        ),
        (Some(true), Some(0))
    );
    let other = s.nesa(&["model", "compare", "a", "other", "--json"]).json();
    assert_eq!(other["equal"], false);
    let parts = other["parts"].as_array().expect("a list");
    assert!(parts.contains(&"layer-0001".into()) && parts.contains(&"vocabulary".into()));
    assert_eq!(other["shape"], serde_json::json!({}), "the same shape");
}

#[test]
fn evaluation_prints_the_contract_for_scripts() {
    let s = Scene::new();
    let text_file = s.text();
    let eval = |name: &str| {
        let args = [
            "model",
            "eval",
            name,
            "--text",
            text(&text_file),
            "--tokens",
            "400",
            "--json",
        ];
        s.nesa(&args)
    };
    s.import(&s.checkpoint("d", Arch::Qwen2, 1), "decoder")
        .json();
    let ran = eval("decoder");
    assert_eq!(ran.out.lines().count(), 1, "one object on stdout");
    assert!(
        ran.err.contains("evaluate"),
        "progress on stderr: {}",
        ran.err
    );
    let v = ran.json();
    let keys: Vec<&String> = v.as_object().expect("an object").keys().collect();
    assert_eq!(
        keys,
        ["bits_per_byte", "kl_mean", "tokens", "top1_agreement"]
    );
    assert!(v["tokens"].as_u64().expect("a number") >= 400);
    let number = |v: &Value| v.as_f64().expect("a number");
    let (float, int) = (
        number(&v["bits_per_byte"]["float"]),
        number(&v["bits_per_byte"]["int"]),
    );
    assert!((int / float - 1.0).abs() < 0.02, "{v}");
    assert!((0.0..0.05).contains(&number(&v["kl_mean"])), "{v}");
    assert!((0.8..=1.0).contains(&number(&v["top1_agreement"])), "{v}");

    s.import(&s.checkpoint("e", Arch::Bert, 1), "encoder")
        .json();
    let v = eval("encoder").json();
    assert!(v["sentences"].as_u64().expect("a number") >= 5);
    let (min, mean) = (number(&v["cosine_min"]), number(&v["cosine_mean"]));
    // Equal lines have equal cosines, whose mean is rounded.
    assert!(
        0.99 < min && min <= mean + 1e-9 && mean <= 1.0 + 1e-9,
        "{v}"
    );
}

#[test]
fn evaluation_without_its_original_says_how_to_get_it_back() {
    let s = Scene::new();
    let path = s.checkpoint("d", Arch::Llama, 1);
    s.import(&path, "d").json();
    let text_file = s.text();
    std::fs::remove_dir_all(&path).expect("removes");
    let eval = ["model", "eval", "d", "--text", text(&text_file)];
    fails(&s.nesa(&eval), 1, "is gone");
    let missing = s.folder.path().join("no.txt");
    fails(
        &s.nesa(&["model", "eval", "d", "--text", text(&missing)]),
        1,
        "no.txt",
    );
}

#[test]
fn damaged_and_hostile_files_are_refused_and_nothing_is_lost() {
    let s = Scene::new();
    s.import(&s.checkpoint("good", Arch::Llama, 1), "good")
        .json();
    let bad = s.checkpoint("bad", Arch::Llama, 2);
    let weights = bad.join("model.safetensors");
    let whole = std::fs::read(&weights).expect("reads");
    let mut long_header = whole.clone();
    long_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for (what, bytes) in [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("empty", Vec::new()),
        ("a header of 2^64 bytes", long_header),
    ] {
        std::fs::write(&weights, bytes).expect("writes");
        println!("{what}");
        fails(&s.import(&bad, "bad"), 1, "model.safetensors");
    }
    let gguf = s.folder.path().join("x.gguf");
    for bytes in [
        &b"GGUF"[..],
        b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"junk",
    ] {
        std::fs::write(&gguf, bytes).expect("writes");
        fails(&s.nesa(&["model", "import", text(&gguf)]), 1, "x.gguf");
    }
    std::fs::write(&weights, &whole).expect("writes");
    std::fs::write(bad.join("config.json"), r#"{"model_type": "mamba"}"#).expect("writes");
    fails(&s.import(&bad, "bad"), 1, "unknown architecture");
    let listed = s.nesa(&["model", "ls", "--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(s.nesa(&["model", "show", "good"]).code, 0);
}

#[test]
fn wrong_names_get_the_right_ones() {
    let s = Scene::new();
    fails(
        &s.nesa(&["model", "pull", "smolm2-135m"]),
        1,
        "did you mean smollm2-135m?",
    );
    fails(
        &s.nesa(&["model", "pull", "gpt-9"]),
        1,
        "known are smollm2-135m",
    );
    fails(
        &s.nesa(&["model", "show", "glassllm"]),
        1,
        "nesa model pull glassllm",
    );
    s.import(&s.checkpoint("good", Arch::Llama, 1), "tiny-model")
        .json();
    fails(
        &s.nesa(&["model", "rm", "tiny-modle", "--json"]),
        1,
        "did you mean tiny-model?",
    );
    fails(&s.import(Path::new("nowhere"), "x"), 1, "does not exist");
    let path = s.folder.path().join("good");
    fails(&s.import(&path, "tiny-model"), 1, "exists");
    fails(&s.import(&path, "../up"), 2, "cannot be a model's name");
}

#[test]
fn wrong_command_lines_and_settings_exit_with_2() {
    let s = Scene::new();
    assert_eq!(s.nesa(&["modle", "ls"]).code, 2);
    assert_eq!(s.nesa(&["model", "eval", "x"]).code, 2, "--text is missing");
    fails(&s.nesa(&["model", "ls", "--threads", "0"]), 2, "threads");
    fails(&s.nesa(&["model", "ls", "--simd", "mmx"]), 2, "avx512");
    std::fs::create_dir_all(s.home()).expect("creates");
    std::fs::write(s.home().join("config.toml"), "colour = red").expect("writes");
    fails(&s.nesa(&["model", "ls"]), 2, "config.toml, line 1");
}

#[test]
fn an_unreachable_source_exits_with_3() {
    let s = Scene::new();
    let nothing = s.folder.path().join("empty");
    std::fs::create_dir_all(&nothing).expect("creates");
    let mut command = s.command(env!("CARGO_BIN_EXE_nesa"));
    command
        .env("PATH", &nothing)
        .args(["model", "pull", "glassllm"]);
    let ran = ran(command.output().expect("runs"));
    fails(&ran, 3, "pip is not installed");
    assert!(
        ran.err.contains("SHA-256"),
        "how to do it by hand: {}",
        ran.err
    );
}

/// A limit on the size of files stands in for a full disk: the same error path.
#[cfg(unix)]
#[test]
fn a_full_disk_is_reported_and_costs_only_the_new_model() {
    let s = Scene::new();
    let path = s.checkpoint("good", Arch::Llama, 1);
    s.import(&path, "good").json();
    let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" \"$@\"";
    let mut command = s.command("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_nesa")]);
    command.args(["model", "import", text(&path), "--name", "second"]);
    let full = ran(command.output().expect("runs"));
    fails(&full, 1, "no space left");
    assert!(
        full.err.contains("everything stored before is kept"),
        "{}",
        full.err
    );
    let listed = s.nesa(&["model", "ls", "--json"]).json();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "{listed}");
    assert_eq!(s.nesa(&["model", "show", "good"]).code, 0);
    s.import(&path, "second").json();
}

#[cfg(unix)]
#[test]
fn the_doctor_finds_open_keys_and_damaged_models() {
    use std::os::unix::fs::PermissionsExt;
    let s = Scene::new();
    s.import(&s.checkpoint("good", Arch::Llama, 1), "good")
        .json();
    let healthy = s.nesa(&["doctor", "--json"]).json();
    assert_eq!(healthy["ok"], true, "{healthy}");
    let keys = s.home().join("keys");
    std::fs::create_dir_all(&keys).expect("creates");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o755)).expect("sets");
    std::fs::write(s.home().join("models/good/manifest.bin"), b"x").expect("writes");
    let ill = s.nesa(&["doctor", "--json"]);
    assert_eq!(ill.code, 1);
    let report: Value = serde_json::from_str(&ill.out).expect("JSON all the same");
    let failed: Vec<&str> = (report["checks"].as_array().expect("a list").iter())
        .filter(|c| c["grade"] == "FAIL" && !c["fix"].as_str().unwrap_or("").is_empty())
        .filter_map(|c| c["check"].as_str())
        .collect();
    assert_eq!(failed, ["key files", "models"]);
}

#[test]
fn quiet_is_quiet_and_completions_complete() {
    let s = Scene::new();
    let path = s.checkpoint("good", Arch::Llama, 1);
    let ran = s.nesa(&["model", "import", text(&path), "--quiet"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.starts_with("good "), "{}", ran.out);
    for shell in ["bash", "zsh", "fish"] {
        let script = s.nesa(&["completions", shell]);
        assert!(script.code == 0 && script.out.contains("nesa"), "{shell}");
    }
}

/// Runs only where `NESA_TEST_CACHE` names a folder of catalog downloads.
#[test]
fn a_pull_from_the_cache_needs_no_network() {
    let Some(cache) = std::env::var_os("NESA_TEST_CACHE") else {
        return;
    };
    let s = Scene::new();
    let (from, to) = (
        Path::new(&cache).join("glassllm"),
        s.home().join("cache/glassllm"),
    );
    std::fs::create_dir_all(&to).expect("creates");
    for entry in std::fs::read_dir(from).expect("a cache").flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copies");
    }
    let pulled = s.nesa(&["model", "pull", "glassllm", "--json"]).json();
    assert_eq!(pulled["origin"], "cache");
    let again = s.nesa(&["model", "pull", "glassllm", "--json"]).json();
    assert_eq!(again["root"], pulled["root"]);
}

/// A passphrase file as its owner would leave it.
#[cfg(unix)]
fn passphrase_file(scene: &Scene, name: &str, text: &str, mode: u32) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = scene.folder.path().join(name);
    std::fs::write(&path, text).expect("writes");
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(&path, permissions).expect("sets");
    path
}

#[test]
#[cfg(unix)]
fn keys_are_made_moved_and_never_printed() {
    let scene = Scene::new();
    let file = passphrase_file(&scene, "passphrase", "a long passphrase\n", 0o600);
    let with =
        |args: &[&str]| scene.nesa(&[args, &["--passphrase-file", text(&file), "--json"]].concat());
    let made = with(&["key", "new", "main"]).json();
    let address = made["address"].as_str().expect("an address").to_owned();
    assert!(
        address.starts_with("0x") && address.len() == 42,
        "{address}"
    );
    fails(&with(&["key", "new", "main"]), 1, "exists already");
    // The first account of Ethereum's usual development mnemonic.
    let secret = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80";
    let raw = passphrase_file(&scene, "secret", secret, 0o600);
    let imported = with(&["key", "import", "dev", text(&raw), "--secret"]);
    assert_eq!(
        imported.json()["address"],
        "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"
    );
    let listed = scene.nesa(&["key", "ls", "--json"]).json();
    assert_eq!(listed["keys"].as_array().map(Vec::len), Some(2));
    assert_eq!(listed["keys"][1]["address"], address.as_str());
    // What is exported is a keystore file: another home takes it under the same passphrase.
    let exported = scene.nesa(&["key", "export", "dev"]);
    assert_eq!(exported.code, 0, "{}", exported.err);
    assert!(!exported.out.contains(secret));
    let moved = passphrase_file(&scene, "moved", &exported.out, 0o600);
    let other = Scene::new();
    let taken = other.nesa(&[
        "key",
        "import",
        "dev",
        text(&moved),
        "--passphrase-file",
        text(&file),
        "--json",
    ]);
    assert_eq!(taken.json()["address"], imported.json()["address"]);
    let unattended = other.nesa(&["key", "new", "node", "--unattended", "--json"]);
    assert_eq!(unattended.code, 0, "{}", unattended.err);
}

#[test]
#[cfg(unix)]
fn keys_are_refused_where_a_passphrase_is_not_safe() {
    let scene = Scene::new();
    let new = |file: &Path| scene.nesa(&["key", "new", "--passphrase-file", text(file)]);
    let open = passphrase_file(&scene, "open", "a long passphrase", 0o644);
    fails(&new(&open), 2, "can be read by others");
    let short = passphrase_file(&scene, "short", "1234", 0o600);
    fails(&new(&short), 2, "at least 8 characters");
    fails(&scene.nesa(&["key", "new"]), 2, "--passphrase-file");
    fails(
        &scene.nesa(&["key", "new", "../x", "--unattended"]),
        2,
        "no name",
    );
    fails(
        &scene.nesa(&["key", "export", "none"]),
        1,
        "there is no key",
    );
    assert_eq!(
        scene.nesa(&["key", "ls", "--json"]).json()["keys"],
        serde_json::json!([])
    );
}

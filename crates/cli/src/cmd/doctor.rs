//! `nesa doctor`: what this machine can do, and what to fix.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};

use nesa_kernels::Level;
use nesa_storage::disk;
use serde_json::{Value, json};

use crate::output::{bytes, table};
use crate::{Context, Failure};

/// Check this machine and say what to fix.
#[derive(Debug, clap::Args)]
pub(crate) struct Doctor {}

/// Free disk space that a first pull needs: the download, its package and the compiled model.
const DISK_MIN: u64 = 600 << 20;
/// Memory that a first answer needs.
const MEMORY_MIN: u64 = 1 << 30;

/// How one check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Grade {
    Ok,
    Warn,
    Fail,
}

impl Grade {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warn => "WARN",
            Self::Fail => "FAIL",
        }
    }
}

/// One line of the report.
struct Check {
    name: &'static str,
    grade: Grade,
    found: String,
    fix: &'static str,
}

fn check(name: &'static str, good: bool, bad: Grade, found: String, fix: &'static str) -> Check {
    let (grade, fix) = if good { (Grade::Ok, "") } else { (bad, fix) };
    Check {
        name,
        grade,
        found,
        fix,
    }
}

/// Runs all checks; exit code 1 when one fails.
pub(crate) fn run(_: &Doctor, context: &Context) -> Result<(), Failure> {
    let mut checks = vec![
        cpu(),
        cores(context),
        memory(),
        home(context),
        space(context),
        keys(context),
    ];
    checks.extend(models(context));
    checks.extend([python(), loopback(), nesad()]);
    let worst = checks.iter().map(|c| c.grade).max().unwrap_or(Grade::Ok);
    let value = |c: &Check| json!({"check": c.name, "grade": c.grade.name(), "found": c.found, "fix": c.fix});
    let lines: Vec<Value> = checks.iter().map(value).collect();
    let report = json!({"ok": worst < Grade::Fail, "checks": lines});
    context.out.result(&report, || {
        let row = |c: &Check| {
            let fix = if c.fix.is_empty() {
                String::new()
            } else {
                format!(" -> {}", c.fix)
            };
            vec![
                c.grade.name().to_owned(),
                c.name.to_owned(),
                format!("{}{fix}", c.found),
            ]
        };
        table(&checks.iter().map(row).collect::<Vec<_>>())
    });
    if worst < Grade::Fail {
        return Ok(());
    }
    Err(Failure::failed(
        "this machine cannot run Nesa yet; fix the lines marked FAIL",
    ))
}

fn cpu() -> Check {
    let level = Level::detect();
    let fast = level != Level::Scalar;
    let fix = "works, but slowly: use a processor with AVX2";
    check("processor", fast, Grade::Warn, format!("{level:?}"), fix)
}

fn cores(context: &Context) -> Check {
    let n = context.config.threads;
    check(
        "threads",
        n > 1,
        Grade::Warn,
        n.to_string(),
        "one thread is slow: raise --threads",
    )
}

fn memory() -> Check {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|l| l.trim().split(' ').next()?.parse::<u64>().ok());
    let Some(free) = kib.map(|k| k << 10) else {
        return check(
            "memory",
            true,
            Grade::Warn,
            "not known on this system".into(),
            "",
        );
    };
    let fix = "close other programs: the small model needs about 1 GiB";
    check(
        "memory",
        free >= MEMORY_MIN,
        Grade::Warn,
        format!("{} free", bytes(free)),
        fix,
    )
}

fn home(context: &Context) -> Check {
    let path = context.home.root();
    let probe = path.join(".doctor");
    let wrote =
        disk::write(&probe, b"probe", disk::Access::Owner).and_then(|()| disk::remove(&probe));
    let found = match &wrote {
        Ok(()) => path.display().to_string(),
        Err(e) => e.to_string(),
    };
    check(
        "home",
        wrote.is_ok(),
        Grade::Fail,
        found,
        "make the folder writable or give --home DIR",
    )
}

/// Free space as the system's `df` tells it; the standard library cannot ask.
fn space(context: &Context) -> Check {
    let df = Command::new("df")
        .arg("-Pk")
        .arg(context.home.root())
        .stderr(Stdio::null())
        .output();
    let text = df
        .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
        .unwrap_or_default();
    let fields = text
        .lines()
        .nth(1)
        .map(|l| l.split_whitespace().collect::<Vec<_>>());
    let kib = fields.and_then(|f| f.get(3)?.parse::<u64>().ok());
    let Some(free) = kib.map(|k| k.saturating_mul(1024)) else {
        return check(
            "disk",
            true,
            Grade::Warn,
            "not known on this system".into(),
            "",
        );
    };
    let fix = "free at least 600 MiB, or put the home elsewhere with --home DIR";
    check(
        "disk",
        free >= DISK_MIN,
        Grade::Warn,
        format!("{} free", bytes(free)),
        fix,
    )
}

fn keys(context: &Context) -> Check {
    let folder = context.home.root().join("keys");
    let open = open_to_others(&folder);
    let found = match open.first() {
        Some(path) => format!("{path} can be read by others"),
        None => "readable by you alone".to_owned(),
    };
    let fix = "run `chmod 700` on the keys folder and `chmod 600` on the files in it";
    check("key files", open.is_empty(), Grade::Fail, found, fix)
}

/// Paths in the keys folder that others than the owner may read.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut paths = vec![folder.to_owned()];
    paths.extend(
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path()),
    );
    #[cfg(unix)]
    paths.retain(|path| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 != 0)
    });
    #[cfg(not(unix))]
    paths.clear();
    paths.iter().map(|p| p.display().to_string()).collect()
}

fn models(context: &Context) -> Vec<Check> {
    let listed = match context.home.models() {
        Ok(listed) => listed,
        Err(e) => {
            return vec![check(
                "models",
                false,
                Grade::Fail,
                e.to_string(),
                "check the disk",
            )];
        }
    };
    let bad: Vec<&str> = listed
        .iter()
        .filter(|l| l.model.is_err())
        .map(|l| l.name.as_str())
        .collect();
    let found = if bad.is_empty() {
        format!("{} here", listed.len())
    } else {
        format!("damaged: {}", bad.join(", "))
    };
    let mut checks = vec![check(
        "models",
        bad.is_empty(),
        Grade::Fail,
        found,
        "run `nesa model rm` on them",
    )];
    if listed.is_empty() {
        let fix = "run `nesa model pull smollm2-135m`";
        checks.push(check(
            "first model",
            false,
            Grade::Warn,
            "none yet".into(),
            fix,
        ));
    }
    checks
}

fn python() -> Check {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let there = pip.status().is_ok_and(|s| s.success());
    let found = if there { "pip is here" } else { "no pip" };
    let fix = "needed only where the model hub cannot be reached: install Python and pip";
    check("package client", there, Grade::Warn, found.into(), fix)
}

fn loopback() -> Check {
    let bound = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    let found = match &bound {
        Ok(_) => "UDP on 127.0.0.1 works".to_owned(),
        Err(e) => e.to_string(),
    };
    check(
        "network",
        bound.is_ok(),
        Grade::Fail,
        found,
        "allow UDP on the loopback interface",
    )
}

fn nesad() -> Check {
    let beside = std::env::current_exe()
        .ok()
        .map(|p| p.with_file_name("nesad"));
    let there = beside.as_ref().is_some_and(|p| p.is_file());
    let found = if there {
        "beside this program"
    } else {
        "not beside this program"
    };
    check(
        "nesad",
        there,
        Grade::Warn,
        found.into(),
        "build it: `cargo build --release`",
    )
}

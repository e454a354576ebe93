//! Four validators and a follower as processes: killed, halted, damaged and out of disk, and nobody has another chain.
//!
//! What a simulation cannot show: sockets, processes, files and disks as they are. Every step ends with a comparison of
//! block digests and state roots.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};

use crate::cluster::{self, Cluster};
use crate::live;
use crate::root;

/// Validators; the one after them follows.
const NODES: usize = 4;
/// The follower.
const FOLLOWER: usize = NODES;
/// Killings in the middle of load.
const KILLS: usize = 10;
/// Longest wait for progress.
const PATIENCE: Duration = Duration::from_secs(90);
/// How long a halted chain is watched.
const HALT: Duration = Duration::from_secs(8);
/// What fills a disk.
const FILLER: &str = "filler";

/// One fault; what is said of it.
type Step = fn(&mut Cluster) -> Result<Value>;

/// Runs `check chain`.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    if !options.contains(&"--built") {
        cluster::build()?;
    }
    let work = root().join("target/checks/chain-faults");
    let disk = Disk::new(&work.join(format!("node-{}", NODES - 1)));
    let paces = ["--interval", "50", "--idle", "200"];
    let mut prepare = |i: usize, home: &Path| {
        if i == NODES - 1 {
            disk.mount(home)
        } else {
            Ok(())
        }
    };
    let mut c = Cluster::new(&work, (NODES, 1), &paces, &mut prepare)?;
    c.start_validators()?;
    let mut told = Map::new();
    let steps: [(&str, Step); 6] = [
        ("one_killed_progress", one_killed),
        ("two_killed_halt", two_killed),
        ("fresh_follower_synced", follower),
        ("killed_under_load", killed_under_load),
        ("damaged_database", damaged_database),
        ("torn_logs", torn_logs),
    ];
    for (name, step) in steps {
        eprintln!("{name} ...");
        told.insert(
            name.to_owned(),
            step(&mut c).with_context(|| name.to_owned())?,
        );
    }
    eprintln!("full_disk ...");
    told.insert(
        "full_disk".to_owned(),
        full_disk(&mut c, &disk).context("full_disk")?,
    );
    let all: Vec<usize> = (0..=FOLLOWER).collect();
    let top = c.height(0)?;
    c.reach(&all, top, PATIENCE)?;
    let (heights, compared) = c.agree(&all, top)?;
    told.insert("height".to_owned(), json!(top));
    told.insert("heights_compared".to_owned(), json!(heights));
    told.insert("comparisons".to_owned(), json!(compared));
    drop(c);
    let json = options.contains(&"--json");
    live::report(
        json,
        "validators as processes under faults",
        true,
        &Value::Object(told),
    )
}

/// All validators stand at the highest of their heights, and a little later higher.
fn progress(c: &Cluster, nodes: &[usize]) -> Result<u64> {
    let heights: Vec<u64> = nodes.iter().map(|&i| c.height(i)).collect::<Result<_>>()?;
    let top = heights.into_iter().max().unwrap_or_default();
    c.reach(nodes, top + 3, PATIENCE)?;
    Ok(top + 3)
}

fn one_killed(c: &mut Cluster) -> Result<Value> {
    let four = c.load(&[0, 1, 2, 3], "transfers", 4, 100)?;
    c.kill(3)?;
    let three = c.load(&[0, 1, 2], "transfers", 4, 100)?;
    let top = progress(c, &[0, 1, 2])?;
    c.agree(&[0, 1, 2], top)?;
    Ok(json!({
        "finality_p50_s_with_four": four["finality_p50_s"],
        "finality_p50_s_with_three": three["finality_p50_s"],
        "finality_max_s_with_three": three["finality_max_s"],
    }))
}

fn two_killed(c: &mut Cluster) -> Result<Value> {
    c.kill(2)?;
    // What was certified by three may still arrive.
    sleep(Duration::from_secs(2));
    let stuck = [c.height(0)?, c.height(1)?];
    let load = c.load_beside(&[0, 1], "transfers", 2, 50)?;
    sleep(HALT);
    ensure!([c.height(0)?, c.height(1)?] == stuck, "two of four go on");
    ensure!(
        c.get(0, "/v1/status")?["waiting"].as_u64() > Some(0),
        "no transaction waits"
    );
    c.agree(&[0, 1], stuck[0].min(stuck[1]))?;
    c.start(2, false)?;
    c.start(3, false)?;
    let top = progress(c, &[0, 1, 2, 3])?;
    // What waited through the halt becomes final.
    load.finish()?;
    c.agree(&[0, 1, 2, 3], top)?;
    Ok(json!({"halted_at": stuck[0], "watched_s": HALT.as_secs(), "then_at": top}))
}

fn follower(c: &mut Cluster) -> Result<Value> {
    c.start(FOLLOWER, true)?;
    let top = progress(c, &[0, FOLLOWER])?;
    ensure!(
        c.block(FOLLOWER, 1)?.is_none(),
        "it executed the past instead of taking a state"
    );
    let (heights, _) = c.agree(&[0, FOLLOWER], top)?;
    // A validator that lost everything but its key takes a state as well; its votes are lost, so it waits a while.
    Ok(json!({"height": top, "common_heights": heights}))
}

fn killed_under_load(c: &mut Cluster) -> Result<Value> {
    let load = c.load_beside(&[0], "settle-many", 40, 500)?;
    for k in 0..KILLS {
        // Not node 0, which the load goes through; at another moment of a block each time.
        let victim = 1 + k % (NODES - 1);
        sleep(Duration::from_millis(900 + 137 * k as u64));
        c.kill(victim)?;
        c.start(victim, false)?;
        c.reach(&[victim], c.height(0)?, PATIENCE)?;
    }
    load.finish()?;
    let top = progress(c, &[0, 1, 2, 3, FOLLOWER])?;
    let (heights, compared) = c.agree(&[0, 1, 2, 3, FOLLOWER], top)?;
    Ok(json!({"kills": KILLS, "heights": heights, "comparisons": compared}))
}

fn change(path: &Path, at: u64) -> Result<()> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let mut bytes = [0; 64];
    file.seek(SeekFrom::Start(at))?;
    let n = file.read(&mut bytes)?;
    bytes[..n].iter_mut().for_each(|b| *b ^= 0x55);
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&bytes[..n])?;
    Ok(())
}

/// Damages the state's database of a stopped follower in several ways: it refuses to start with words that help, or
/// stands in the same chain as the others.
fn damaged_database(c: &mut Cluster) -> Result<Value> {
    let state = c.home(FOLLOWER).join("chain/state.redb");
    let kept = c.home(FOLLOWER).join("state.kept");
    c.kill(FOLLOWER)?;
    fs::copy(&state, &kept)?;
    let len = fs::metadata(&state)?.len();
    let (mut refused, mut right) = (0, 0);
    for part in 0..8 {
        fs::copy(&kept, &state)?;
        match part {
            0 => File::options().write(true).open(&state)?.set_len(len / 2)?,
            1 => File::options().write(true).open(&state)?.set_len(100)?,
            _ => (0..40).try_for_each(|k| change(&state, len / 48 * (part + k) + 128 * k))?,
        }
        match c.try_start(FOLLOWER, false)? {
            Some(why) => {
                ensure!(
                    why.contains("delete") || why.contains("restart"),
                    "no help in: {why}"
                );
                refused += 1;
            }
            None => {
                let top = progress(c, &[0, FOLLOWER])?;
                c.agree(&[0, FOLLOWER], top)?;
                right += 1;
                c.kill(FOLLOWER)?;
            }
        }
    }
    // As the message says: without the file the state is built again.
    fs::remove_file(&state)?;
    fs::remove_file(&kept)?;
    let again = match c.try_start(FOLLOWER, false)? {
        None => "from its own blocks",
        Some(_) => {
            fs::remove_dir_all(c.home(FOLLOWER).join("chain"))?;
            c.start(FOLLOWER, true)?;
            "from its peers"
        }
    };
    let synced = progress(c, &[0, FOLLOWER]);
    let again = match synced {
        Ok(_) => again,
        Err(_) => {
            let _ = c.kill(FOLLOWER);
            fs::remove_dir_all(c.home(FOLLOWER).join("chain"))?;
            c.start(FOLLOWER, true)?;
            progress(c, &[0, FOLLOWER])?;
            "from its peers"
        }
    };
    let top = c.height(0)?;
    c.reach(&[FOLLOWER], top, PATIENCE)?;
    c.agree(&[0, FOLLOWER], top)?;
    Ok(
        json!({"refused": refused, "started_with_the_right_state": right, "deleted_file_built_again": again}),
    )
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, out)?;
        } else {
            out.push(path);
        }
    }
    out.sort();
    Ok(())
}

/// Cuts the engine's own files of a stopped node, as a crash may: a few bytes off each, then half of each.
fn torn_logs(c: &mut Cluster) -> Result<Value> {
    let mut told = Map::new();
    for (name, keep) in [("last_bytes", None), ("half", Some(2))] {
        c.kill(FOLLOWER)?;
        let mut all = Vec::new();
        files(&c.home(FOLLOWER).join("chain/engine"), &mut all)?;
        for path in &all {
            let len = fs::metadata(path)?.len();
            let left = keep.map_or(len.saturating_sub(5), |k| len / k);
            File::options().write(true).open(path)?.set_len(left)?;
        }
        let outcome = match c.try_start(FOLLOWER, false)? {
            Some(why) => format!("refused: {}", why.lines().last().unwrap_or_default()),
            None => match progress(c, &[0, FOLLOWER]) {
                Ok(top) => {
                    c.agree(&[0, FOLLOWER], top)?;
                    "went on in the same chain".to_owned()
                }
                Err(e) => {
                    let why = c.ended(FOLLOWER, Duration::from_secs(1))?;
                    why.map_or(format!("stays behind: {e}"), |w| {
                        format!("ended: {}", w.lines().last().unwrap_or_default())
                    })
                }
            },
        };
        if !outcome.starts_with("went on") {
            let _ = c.kill(FOLLOWER);
            fs::remove_dir_all(c.home(FOLLOWER).join("chain"))?;
            c.start(FOLLOWER, true)?;
            let top = progress(c, &[0, FOLLOWER])?;
            c.agree(&[0, FOLLOWER], top)?;
        }
        told.insert(
            name.to_owned(),
            json!({"files": all.len(), "outcome": outcome}),
        );
    }
    Ok(Value::Object(told))
}

/// A disk of its own for one folder, where the system lets us have one.
struct Disk {
    at: PathBuf,
    mounted: std::cell::Cell<bool>,
}

impl Disk {
    fn new(at: &Path) -> Self {
        let disk = Self {
            at: at.to_owned(),
            mounted: std::cell::Cell::new(false),
        };
        // What an interrupted run left.
        disk.unmount();
        disk
    }

    fn mount(&self, home: &Path) -> Result<()> {
        fs::create_dir_all(home)?;
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=256m,mode=700", "tmpfs"])
            .arg(home);
        self.mounted
            .set(mount.output().is_ok_and(|out| out.status.success()));
        if !self.mounted.get() {
            eprintln!("no disk of its own for a node (needs root): the full disk is left out");
        }
        Ok(())
    }

    /// Writes until nothing fits any more.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.at.join(FILLER))?;
        for size in [1 << 20, 4096, 1] {
            let bytes = vec![0; size];
            while file.write_all(&bytes).is_ok() {}
        }
        Ok(())
    }

    fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.at.join(FILLER))?)
    }

    fn unmount(&self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted.get() {
            self.unmount();
        }
    }
}

/// The last validator's disk runs full in the middle of load: it ends with an error, the others go on, and with room it
/// comes back to the same chain.
fn full_disk(c: &mut Cluster, disk: &Disk) -> Result<Value> {
    if !disk.mounted.get() {
        return Ok(json!("left out: needs root"));
    }
    let full = NODES - 1;
    disk.fill()?;
    let load = c.load_beside(&[0], "transfers", 30, 400)?;
    let why = c.ended(full, Duration::from_secs(60))?;
    let why = why.context("a full disk ends nothing")?;
    load.finish().context("the others do not go on")?;
    let top = progress(c, &[0, 1, 2])?;
    let again = c.try_start(full, false)?;
    let refused = again.is_some() || c.ended(full, Duration::from_secs(20))?.is_some();
    disk.empty()?;
    if !refused {
        c.kill(full)?;
    }
    c.start(full, false)?;
    c.reach(&[full], top, PATIENCE)?;
    let top = progress(c, &[0, 1, 2, full])?;
    c.agree(&[0, 1, 2, full], top)?;
    Ok(json!({
        "it_said": why.lines().last().unwrap_or_default(),
        "refused_to_start_while_full": refused,
        "back_at": top,
    }))
}

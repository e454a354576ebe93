//! Python packages with pinned hashes, in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::root;

/// The interpreter of the environment in `venv` with the packages of `xtask/peers/NAME.txt`, made where it is not.
pub(crate) fn python(name: &str, venv: &Path) -> Result<PathBuf> {
    let pins = root().join(format!("xtask/peers/{name}.txt"));
    let (python, done) = (venv.join("bin/python"), venv.join("installed.txt"));
    let wanted = fs::read_to_string(&pins)?;
    if fs::read_to_string(&done).is_ok_and(|d| d == wanted) {
        return Ok(python);
    }
    let is_3_11 = |program: &&str| {
        let out = Command::new(program).arg("--version").output();
        out.is_ok_and(|o| String::from_utf8_lossy(&o.stdout).starts_with("Python 3.11"))
    };
    let system = ["python3.11", "python3"].into_iter().find(is_3_11);
    let system = system.context("the packages are pinned for CPython 3.11; install it")?;
    succeed(
        Command::new(system)
            .args(["-m", "venv", "--clear"])
            .arg(venv),
    )?;
    let pip = "-m pip install --quiet --no-deps --require-hashes -r";
    succeed(Command::new(&python).args(pip.split(' ')).arg(&pins))?;
    fs::write(&done, wanted)?;
    Ok(python)
}

/// Runs a command that must succeed; what it says where it fails.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let out = command.stdin(Stdio::null()).output();
    let out = out.with_context(|| format!("{command:?} does not start"))?;
    let told = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "failed: {command:?}: {told}");
    Ok(())
}

//! Data on stdout, everything else on stderr.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::{Failure, Global};

/// How results and progress are shown.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    json: bool,
    quiet: bool,
    verbose: bool,
    terminal: bool,
    color: bool,
}

impl Out {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = std::io::stderr().is_terminal();
        // Needed before the configuration is read, to print its errors.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            terminal,
            color: terminal && !no_color,
        }
    }

    /// Whether the result must be JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// The result: `value` with `--json`, else the text that `human` makes.
    pub(crate) fn result(&self, value: &Value, human: impl FnOnce() -> String) {
        let text = if self.json {
            value.to_string()
        } else {
            human()
        };
        self.print(&text);
    }

    /// A line on stdout. A reader that went away is no error.
    pub(crate) fn print(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        let _ = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    }

    /// A line about what happens.
    pub(crate) fn step(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// A line for those who want to know more.
    pub(crate) fn note(&self, text: &str) {
        if self.verbose {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// A progress bar of `total` units called `unit`; on no terminal one line per label.
    pub(crate) fn bar(&self, total: u64, unit: Unit) -> Bar {
        let bar = (self.terminal && !self.quiet).then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            let count = match unit {
                Unit::Bytes => "{bytes}/{total_bytes} ({eta})",
                Unit::Items => "{pos}/{len} ({eta})",
            };
            let template = format!("{{msg:28}} {{bar:30}} {count}");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar
        });
        Bar {
            bar,
            out: self.clone(),
            label: Mutex::new(String::new()),
            done: AtomicU64::new(0),
        }
    }

    /// Prints why the command failed and what to do.
    pub(crate) fn failure(&self, failure: &Failure) {
        let (what, next) = failure.parts();
        if self.json {
            let value = json!({"error": {"code": failure.code, "what": what, "next": next}});
            let _ = writeln!(std::io::stderr(), "{value}");
            return;
        }
        let (red, off) = if self.color {
            ("\x1b[31m", "\x1b[0m")
        } else {
            ("", "")
        };
        let mut text = format!("{red}error:{off} {what}\n");
        if let Some(next) = next {
            text.push_str(&format!("  next: {next}\n"));
        }
        if self.verbose {
            for cause in failure.error.chain().skip(1) {
                text.push_str(&format!("  cause: {cause}\n"));
            }
        }
        let _ = write!(std::io::stderr(), "{text}");
    }
}

/// What a bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Bytes.
    Bytes,
    /// Layers, sequences.
    Items,
}

/// Progress of one activity; shared between threads.
#[derive(Debug)]
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    out: Out,
    label: Mutex<String>,
    done: AtomicU64,
}

impl Bar {
    /// Shows `label` at `done` of `total`.
    pub(crate) fn set(&self, label: &str, done: u64, total: u64) {
        let mut last = self
            .label
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if *last != label {
            label.clone_into(&mut last);
            match &self.bar {
                Some(bar) => bar.set_message(label.to_owned()),
                None => self.out.step(label),
            }
        }
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    /// Counts one more item.
    pub(crate) fn tick(&self) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Bytes for people.
pub(crate) fn bytes(n: u64) -> String {
    let n = n as f64;
    match n {
        _ if n >= 1e9 => format!("{:.1} GB", n / 1e9),
        _ if n >= 1e6 => format!("{:.1} MB", n / 1e6),
        _ if n >= 1e3 => format!("{:.1} kB", n / 1e3),
        _ => format!("{n} bytes"),
    }
}

/// Rows as aligned columns, the first row being the heading.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        let cells = rows.iter().filter_map(|r| r.get(c));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, w)| format!("{cell:w$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

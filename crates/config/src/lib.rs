//! Read files and environment once, into one plain struct.
//!
//! Every setting comes from the first of: command-line flag, environment variable `NESA_…`,
//! `config.toml` in the home folder, default. No other code in the workspace reads environment or
//! configuration files. The file is `key = value`, one per line, `#` starts a comment:
//!
//! ```text
//! threads = 4
//! simd = "avx2"
//! operator = "dana"
//! ```
//!
//! ```
//! use nesa_config::{Config, Flags, Sources};
//! let env = |name: &str| (name == "NESA_THREADS").then(|| "2".into());
//! let sources = Sources { env: &env, cores: 8 };
//! let flags = Flags { home: Some("home".into()), ..Flags::default() };
//! assert_eq!(Config::read(&flags, &sources).unwrap().threads, 2);
//! ```

mod read;

use std::ffi::OsString;
use std::path::PathBuf;

/// Where a setting came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// `config.toml`.
    File,
    /// An environment variable.
    Environment,
    /// A command-line flag.
    Flag,
}

/// Why the configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A value that the setting cannot have.
    #[error("{place}: {key} = {value:?} is not valid; use {expected}")]
    Value {
        /// The file, variable or flag.
        place: String,
        /// The setting.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be.
        expected: &'static str,
    },
    /// A line of the file that is not `key = value`.
    #[error("{file}, line {line}: {what}; write `key = value`, known keys are {known}")]
    Line {
        /// The file.
        file: String,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: String,
        /// All keys.
        known: String,
    },
    /// The file cannot be read.
    #[error("{file}: {reason}; fix or remove the file")]
    File {
        /// The file.
        file: String,
        /// The system's reason.
        reason: String,
    },
    /// No place for a home folder.
    #[error("neither NESA_HOME nor HOME is set; give --home DIR")]
    NoHome,
}

/// A SIMD level to force, or the best there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Simd {
    /// The best that the processor has.
    #[default]
    Auto,
    /// None: the slow path that every processor has.
    Scalar,
    /// AVX2.
    Avx2,
    /// AVX-512 VNNI.
    Avx512,
}

impl Simd {
    /// Its name, as in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// What the command line set; `None` where it did not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--home`.
    pub home: Option<PathBuf>,
    /// `--threads`.
    pub threads: Option<usize>,
    /// `--simd`.
    pub simd: Option<String>,
    /// `--operator`.
    pub operator: Option<String>,
    /// `--region`.
    pub region: Option<String>,
    /// `--model`.
    pub model: Option<String>,
    /// `--hub`.
    pub hub: Option<String>,
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The home folder: `NESA_HOME`, else `$XDG_DATA_HOME/nesa`, else `~/.nesa`.
    pub home: PathBuf,
    /// Threads for computation; the number of cores unless set.
    pub threads: usize,
    /// SIMD level.
    pub simd: Simd,
    /// Name of the operator that a node declares.
    pub operator: String,
    /// Region that a node declares.
    pub region: String,
    /// The model that is used where none is named.
    pub model: String,
    /// Base address of the public hub for downloads; `None` skips it (`hub = "none"`).
    pub hub: Option<String>,
    /// Whether colours are unwanted (`NO_COLOR`).
    pub no_color: bool,
    /// Key, value and origin of every setting, for people.
    pub origins: Vec<(&'static str, String, Origin)>,
}

/// The outside world, as far as settings come from it.
pub struct Sources<'a> {
    /// An environment variable.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Processor cores that may be used.
    pub cores: usize,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("cores", &self.cores)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The configuration of this process.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let env = |name: &str| std::env::var_os(name);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::read(flags, &Sources { env: &env, cores })
    }
}

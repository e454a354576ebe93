//! From flags, environment and file to settings.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::{Config, ConfigError, Flags, Origin, Simd, Sources};

/// Settings that the file may have, besides what only flags and environment can set.
const KEYS: [&str; 6] = ["threads", "simd", "operator", "region", "model", "hub"];
/// Bytes of a configuration file.
const FILE_BYTES_MAX: u64 = 1 << 16;
/// Threads that are worth asking for.
const THREADS_MAX: usize = 1024;
/// Characters of an operator's or region's name.
const NAME_MAX: usize = 64;
/// Where public models are.
const HUB: &str = "https://huggingface.co";

/// A raw value with its place.
struct Found {
    value: String,
    origin: Origin,
    place: String,
}

impl Found {
    fn bad(&self, key: &'static str, expected: &'static str) -> ConfigError {
        ConfigError::Value {
            place: self.place.clone(),
            key,
            value: self.value.clone(),
            expected,
        }
    }
}

/// Looks a key up: flag, then environment, then file.
struct Lookup<'a> {
    sources: &'a Sources<'a>,
    file: BTreeMap<String, String>,
    file_name: String,
    origins: Vec<(&'static str, String, Origin)>,
}

impl Lookup<'_> {
    fn find(&self, key: &'static str, flag: Option<String>) -> Option<Found> {
        if let Some(value) = flag {
            let place = format!("--{key}");
            return Some(Found {
                value,
                origin: Origin::Flag,
                place,
            });
        }
        let variable = format!("NESA_{}", key.to_uppercase());
        if let Some(value) = (self.sources.env)(&variable).filter(|v| !v.is_empty()) {
            return Some(Found {
                value: value.to_string_lossy().into_owned(),
                origin: Origin::Environment,
                place: variable,
            });
        }
        self.file.get(key).map(|value| Found {
            value: value.clone(),
            origin: Origin::File,
            place: self.file_name.clone(),
        })
    }

    /// The value of `key` as `parse` reads it, or `default`.
    fn get<T>(
        &mut self,
        key: &'static str,
        flag: Option<String>,
        expected: &'static str,
        default: (T, &str),
        parse: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        let Some(found) = self.find(key, flag) else {
            self.origins
                .push((key, default.1.to_owned(), Origin::Default));
            return Ok(default.0);
        };
        let value = parse(&found.value).ok_or_else(|| found.bad(key, expected))?;
        self.origins.push((key, found.value, found.origin));
        Ok(value)
    }
}

impl Config {
    /// The configuration that `flags` and `sources` give.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn read(flags: &Flags, sources: &Sources<'_>) -> Result<Self, ConfigError> {
        let (home, origin) = home(flags, sources.env)?;
        let path = home.join("config.toml");
        let file_name = path.display().to_string();
        let mut at = Lookup {
            sources,
            file: file(&path, &file_name)?,
            file_name,
            origins: vec![("home", home.display().to_string(), origin)],
        };
        let threads = flags.threads.map(|n| n.to_string());
        let cores = sources.cores.clamp(1, THREADS_MAX);
        let threads = at.get(
            "threads",
            threads,
            "a number from 1 to 1024",
            (cores, &cores.to_string()),
            |v| v.parse().ok().filter(|n| (1..=THREADS_MAX).contains(n)),
        )?;
        let simd = at.get(
            "simd",
            flags.simd.clone(),
            "auto, scalar, avx2 or avx512",
            (Simd::Auto, "auto"),
            simd,
        )?;
        let short = "1 to 64 printable characters";
        let own = |v: &str| (v.to_owned(), v.to_owned());
        let (value, text) = own("self");
        let operator = at.get(
            "operator",
            flags.operator.clone(),
            short,
            (value, &text),
            name,
        )?;
        let (value, text) = own("local");
        let region = at.get("region", flags.region.clone(), short, (value, &text), name)?;
        let (value, text) = own("smollm2-135m");
        let model = at.get("model", flags.model.clone(), short, (value, &text), name)?;
        let hub = at.get(
            "hub",
            flags.hub.clone(),
            "an http or https address, or none",
            (Some(HUB.to_owned()), HUB),
            hub,
        )?;
        Ok(Self {
            home,
            threads,
            simd,
            operator,
            region,
            model,
            hub,
            no_color: (sources.env)("NO_COLOR").is_some_and(|v| !v.is_empty()),
            origins: at.origins,
        })
    }
}

fn simd(v: &str) -> Option<Simd> {
    let all = [Simd::Auto, Simd::Scalar, Simd::Avx2, Simd::Avx512];
    all.into_iter().find(|s| s.name() == v)
}

fn name(v: &str) -> Option<String> {
    let fits = (1..=NAME_MAX).contains(&v.chars().count()) && !v.chars().any(char::is_control);
    fits.then(|| v.to_owned())
}

fn hub(v: &str) -> Option<Option<String>> {
    if v == "none" {
        return Some(None);
    }
    let address = v.starts_with("https://") || v.starts_with("http://");
    address.then(|| Some(v.trim_end_matches('/').to_owned()))
}

fn home(
    flags: &Flags,
    env: &dyn Fn(&str) -> Option<OsString>,
) -> Result<(PathBuf, Origin), ConfigError> {
    if let Some(home) = &flags.home {
        return Ok((home.clone(), Origin::Flag));
    }
    let set = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(home) = set("NESA_HOME") {
        return Ok((home, Origin::Environment));
    }
    // The XDG specification says to ignore relative paths.
    if let Some(data) = set("XDG_DATA_HOME").filter(|p| p.is_absolute()) {
        return Ok((data.join("nesa"), Origin::Default));
    }
    let home = set("HOME").ok_or(ConfigError::NoHome)?;
    Ok((home.join(".nesa"), Origin::Default))
}

/// Keys and values of the file at `path`; none where it does not exist.
fn file(path: &Path, file_name: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let refuse = |reason: String| ConfigError::File {
        file: file_name.to_owned(),
        reason,
    };
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(e) => return Err(refuse(e.to_string())),
        Ok(meta) if meta.len() > FILE_BYTES_MAX => {
            return Err(refuse(format!(
                "{} bytes, at most {FILE_BYTES_MAX}",
                meta.len()
            )));
        }
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
    parse(&text, file_name)
}

fn parse(text: &str, file_name: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut values = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let refuse = |what: String| ConfigError::Line {
            file: file_name.to_owned(),
            line: index + 1,
            what,
            known: KEYS.join(", "),
        };
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line
            .split_once('=')
            .ok_or_else(|| refuse("no `=`".into()))?;
        let key = key.trim();
        if !KEYS.contains(&key) {
            return Err(refuse(format!("unknown key {key:?}")));
        }
        let value = unquote(value.trim()).ok_or_else(|| refuse("an open quote".into()))?;
        if values.insert(key.to_owned(), value).is_some() {
            return Err(refuse(format!("{key} is set twice")));
        }
    }
    Ok(values)
}

/// The value without quotes and without a comment behind it.
fn unquote(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        let bare = value.split('#').next().unwrap_or_default();
        return Some(bare.trim().to_owned());
    };
    let (inside, after) = rest.split_once('"')?;
    let after = after.trim();
    (after.is_empty() || after.starts_with('#')).then(|| inside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flags: &Flags, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let env = |name: &str| {
            let found = env.iter().find(|(n, _)| *n == name);
            found.map(|(_, v)| OsString::from(v))
        };
        Config::read(
            flags,
            &Sources {
                env: &env,
                cores: 6,
            },
        )
    }

    fn home_with(file: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temporary folder");
        std::fs::write(folder.path().join("config.toml"), file).expect("writes");
        folder
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let folder = home_with("threads = 3 # cores\nsimd = \"avx2\"\n\n# region\nregion=eu\n");
        let home = folder.path().display().to_string();
        let env = [("NESA_HOME", home.as_str()), ("NESA_SIMD", "scalar")];
        let flags = Flags {
            region: Some("us".into()),
            ..Flags::default()
        };
        let c = read(&flags, &env).expect("reads");
        assert_eq!(
            (c.threads, c.simd, c.region.as_str()),
            (3, Simd::Scalar, "us")
        );
        assert_eq!(c.operator, "self");
        let origin = |key: &str| c.origins.iter().find(|o| o.0 == key).map(|o| o.2);
        assert_eq!(origin("threads"), Some(Origin::File));
        assert_eq!(origin("simd"), Some(Origin::Environment));
        assert_eq!(origin("region"), Some(Origin::Flag));
        assert_eq!(origin("operator"), Some(Origin::Default));
    }

    #[test]
    fn the_home_is_found_where_users_expect_it() {
        let none = Flags::default();
        let home = |env: &[(&str, &str)]| read(&none, env).map(|c| c.home);
        assert_eq!(home(&[("HOME", "/h")]), Ok("/h/.nesa".into()));
        assert_eq!(
            home(&[("HOME", "/h"), ("XDG_DATA_HOME", "/x")]),
            Ok("/x/nesa".into())
        );
        assert_eq!(
            home(&[("HOME", "/h"), ("XDG_DATA_HOME", "x")]),
            Ok("/h/.nesa".into())
        );
        let all = [("HOME", "/h"), ("XDG_DATA_HOME", "/x"), ("NESA_HOME", "/n")];
        assert_eq!(home(&all), Ok("/n".into()));
        assert_eq!(home(&[]), Err(ConfigError::NoHome));
    }

    #[test]
    fn wrong_values_are_refused_with_their_place() {
        for (key, value) in [
            ("NESA_THREADS", "0"),
            ("NESA_THREADS", "many"),
            ("NESA_SIMD", "mmx"),
            ("NESA_HUB", "ftp://x"),
            ("NESA_OPERATOR", "a\u{7}b"),
        ] {
            let error = read(&Flags::default(), &[("HOME", "/h"), (key, value)]);
            let error = error.expect_err(value).to_string();
            assert!(error.contains(key) && error.contains("use "), "{error}");
        }
        let hub = read(&Flags::default(), &[("HOME", "/h"), ("NESA_HUB", "none")]);
        assert_eq!(hub.expect("reads").hub, None);
    }

    #[test]
    fn wrong_lines_are_refused_with_their_number() {
        for (file, what) in [
            ("threads", "line 1"),
            ("\ncolour = red", "line 2: unknown key"),
            ("simd = \"auto", "open quote"),
            ("threads = 1\nthreads = 2", "line 2: threads is set twice"),
        ] {
            let folder = home_with(file);
            let flags = Flags {
                home: Some(folder.path().to_owned()),
                ..Flags::default()
            };
            let error = read(&flags, &[]).expect_err(file).to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}

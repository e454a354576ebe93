//! A folder of keystore files, one per key.

use std::path::{Path, PathBuf};

use alloy_primitives::Address;
use nesa_shards::disk::{self, Access};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{Key, Passphrase, WalletError};

/// Most bytes of a keystore file.
const FILE_MAX: u64 = 16 << 10;
/// Largest `n` of scrypt that is computed: 1 GiB of memory at `r = 8`.
const SCRYPT_N_MAX: u64 = 1 << 20;
/// Largest `r` and `p` of scrypt.
const SCRYPT_RP_MAX: u64 = 16;
/// Most rounds of PBKDF2.
const PBKDF2_ROUNDS_MAX: u64 = 10_000_000;

/// A folder of keys.
#[derive(Debug, Clone)]
pub struct Keystore {
    folder: PathBuf,
}

/// A key that is here, unopened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// The address that it owns, as the file says.
    pub address: Option<Address>,
}

impl Keystore {
    /// The keys in `folder`, which is created at the first write; only its owner may enter it then.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, name: &str) -> Result<PathBuf, WalletError> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        if !(1..=64).contains(&name.len()) || !name.bytes().all(fits) {
            return Err(WalletError::Name(name.chars().take(64).collect()));
        }
        Ok(self.folder.join(format!("{name}.json")))
    }

    /// Whether there is a key of this name.
    ///
    /// # Errors
    /// [`WalletError::Name`].
    pub fn has(&self, name: &str) -> Result<bool, WalletError> {
        Ok(disk::size(&self.path(name)?).is_some())
    }

    /// Stores a key under a name that is free.
    ///
    /// # Errors
    /// [`WalletError`].
    pub fn store(&self, name: &str, key: &Key, passphrase: &Passphrase) -> Result<(), WalletError> {
        if self.has(name)? {
            return Err(WalletError::Exists(name.to_owned()));
        }
        self.write(name, key, passphrase)
    }

    /// Encrypts a stored key under another passphrase.
    ///
    /// # Errors
    /// [`WalletError`]; the file stays as it was then.
    pub fn change(
        &self,
        name: &str,
        old: &Passphrase,
        new: &Passphrase,
    ) -> Result<(), WalletError> {
        self.write(name, &self.open(name, old)?, new)
    }

    fn write(&self, name: &str, key: &Key, passphrase: &Passphrase) -> Result<(), WalletError> {
        let path = self.path(name)?;
        disk::create_private_folder(&self.folder)?;
        // The library writes the file itself: into a folder of its own, so that the file here is whole or absent.
        let bad = |e: eth_keystore::KeystoreError| file(&path, &e.to_string());
        let fresh = self.folder.join(format!(".{name}.{}", std::process::id()));
        disk::create_private_folder(&fresh)?;
        let secret = key.to_bytes();
        let made = eth_keystore::encrypt_key(
            &fresh,
            &mut k256::elliptic_curve::rand_core::OsRng,
            secret.as_slice(),
            passphrase.reveal(),
            Some("key"),
        )
        .map_err(bad)
        .and_then(|_| read(&fresh.join("key")));
        disk::remove_folder(&fresh)?;
        let mut value = made?;
        value["address"] = json!(format!("{:x}", key.address()));
        Ok(disk::write(
            &path,
            value.to_string().as_bytes(),
            Access::Owner,
        )?)
    }

    /// All keys here, by name.
    ///
    /// # Errors
    /// [`WalletError::Read`] where the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Entry>, WalletError> {
        let failed = |error| WalletError::Read {
            path: self.folder.clone(),
            error,
        };
        let entries = match std::fs::read_dir(&self.folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let name = path.file_stem().and_then(|n| n.to_str()).map(str::to_owned);
            let is_json = path.extension().is_some_and(|e| e == "json");
            if let Some(name) = name.filter(|n| is_json && self.path(n).is_ok()) {
                let address = read(&path).ok().and_then(|v| stated_address(&v));
                all.push(Entry { name, address });
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The address of a key, without opening it.
    ///
    /// # Errors
    /// [`WalletError::Missing`], [`WalletError::File`].
    pub fn address(&self, name: &str) -> Result<Address, WalletError> {
        let path = self.existing(name)?;
        stated_address(&read(&path)?).ok_or_else(|| file(&path, "it states no address"))
    }

    /// A key's file, encrypted as it is.
    ///
    /// # Errors
    /// [`WalletError::Missing`], [`WalletError::File`].
    pub fn file(&self, name: &str) -> Result<Value, WalletError> {
        read(&self.existing(name)?)
    }

    fn existing(&self, name: &str) -> Result<PathBuf, WalletError> {
        if self.has(name)? {
            return self.path(name);
        }
        Err(WalletError::Missing(name.to_owned()))
    }

    /// Opens a key.
    ///
    /// # Errors
    /// [`WalletError::Missing`], [`WalletError::Passphrase`], [`WalletError::File`].
    pub fn open(&self, name: &str, passphrase: &Passphrase) -> Result<Key, WalletError> {
        open_file(&self.existing(name)?, name, passphrase)
    }

    /// Opens a keystore file of any wallet and stores its key here under the same passphrase.
    ///
    /// # Errors
    /// [`WalletError`].
    pub fn import(
        &self,
        name: &str,
        path: &Path,
        passphrase: &Passphrase,
    ) -> Result<Address, WalletError> {
        let key = open_file(path, name, passphrase)?;
        self.store(name, &key, passphrase)?;
        Ok(key.address())
    }
}

fn file(path: &Path, what: &str) -> WalletError {
    WalletError::File {
        path: path.to_owned(),
        what: what.to_owned(),
    }
}

fn read(path: &Path) -> Result<Value, WalletError> {
    let bytes = disk::read(path, FILE_MAX)?.ok_or_else(|| WalletError::Read {
        path: path.to_owned(),
        error: std::io::ErrorKind::NotFound.into(),
    })?;
    serde_json::from_slice(&bytes).map_err(|e| file(path, &e.to_string()))
}

fn stated_address(v: &Value) -> Option<Address> {
    let text = v["address"].as_str()?;
    text.strip_prefix("0x").unwrap_or(text).parse().ok()
}

/// Opens a file after its key derivation was found to ask for bounded work.
fn open_file(path: &Path, name: &str, passphrase: &Passphrase) -> Result<Key, WalletError> {
    let v = read(path)?;
    if v["version"].as_u64() != Some(3) {
        return Err(file(path, "its version is not 3"));
    }
    if !is_well_formed(&v["crypto"]) {
        let what = "its cipher or key derivation is unknown, malformed, or asks for too much work";
        return Err(file(path, what));
    }
    let secret = match eth_keystore::decrypt_key(path, passphrase.reveal()) {
        Ok(secret) => Zeroizing::new(secret),
        Err(eth_keystore::KeystoreError::MacMismatch) => {
            return Err(WalletError::Passphrase(name.to_owned()));
        }
        Err(e) => return Err(file(path, &e.to_string())),
    };
    let bytes: &[u8; 32] = secret
        .as_slice()
        .try_into()
        .map_err(|_| file(path, "it holds no key of 32 bytes"))?;
    Key::from_bytes(bytes)
}

/// Whether the library can work on it: it slices by the sizes that the definition gives.
fn is_well_formed(crypto: &Value) -> bool {
    let p = &crypto["kdfparams"];
    let within = |field: &str, max: u64| p[field].as_u64().is_some_and(|x| (1..=max).contains(&x));
    let hex = |v: &Value, bytes: std::ops::RangeInclusive<usize>| {
        let text = v.as_str().unwrap_or_default();
        let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
        digits && text.len().is_multiple_of(2) && bytes.contains(&(text.len() / 2))
    };
    let derivation = match crypto["kdf"].as_str() {
        Some("scrypt") => {
            let n = p["n"].as_u64().is_some_and(u64::is_power_of_two);
            n && within("n", SCRYPT_N_MAX)
                && within("r", SCRYPT_RP_MAX)
                && within("p", SCRYPT_RP_MAX)
        }
        Some("pbkdf2") => within("c", PBKDF2_ROUNDS_MAX),
        _ => false,
    };
    derivation
        && p["dklen"].as_u64() == Some(32)
        && hex(&p["salt"], 1..=256)
        && hex(&crypto["cipherparams"]["iv"], 16..=16)
        && hex(&crypto["ciphertext"], 32..=32)
        && hex(&crypto["mac"], 32..=32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned())
    }

    #[test]
    fn keys_are_stored_listed_opened_and_changed() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Keystore::new(folder.path().join("wallet"));
        assert_eq!(keys.list().expect("none"), []);
        let key = Key::random().expect("randomness");
        keys.store("main", &key, &pass("one long passphrase"))
            .expect("stored");
        let entry = Entry {
            name: "main".to_owned(),
            address: Some(key.address()),
        };
        assert_eq!(keys.list().expect("one"), [entry]);
        let again = keys
            .open("main", &pass("one long passphrase"))
            .expect("opens");
        assert_eq!(again.address(), key.address());
        let wrong = keys.open("main", &pass("another passphrase"));
        assert!(
            matches!(wrong, Err(WalletError::Passphrase(_))),
            "{wrong:?}"
        );
        assert!(matches!(
            keys.store("main", &key, &pass("another")),
            Err(WalletError::Exists(_))
        ));
        let (old, new) = (pass("one long passphrase"), pass("two long passphrases"));
        assert!(keys.change("main", &new, &old).is_err());
        keys.change("main", &old, &new).expect("changed");
        assert!(keys.open("main", &old).is_err());
        assert!(keys.open("main", &new).is_ok());
        let left = std::fs::read_dir(folder.path().join("wallet")).expect("a folder");
        assert_eq!(left.count(), 1, "nothing is left beside the key");
    }

    #[test]
    fn the_secret_is_in_no_file_and_files_are_the_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Keystore::new(folder.path().to_owned());
        let key = Key::random().expect("randomness");
        keys.store("k", &key, &pass("a passphrase"))
            .expect("stored");
        let path = folder.path().join("k.json");
        let text = std::fs::read_to_string(&path).expect("readable");
        let secret: String = key.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert!(!text.contains(&secret));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&path)
                .expect("a file")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_keystore_of_another_wallet_is_read() {
        // The PBKDF2 example of the Web3 Secret Storage Definition, whose key is public.
        let other = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
            "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":
            {"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
            "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
            "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("other");
        std::fs::write(&path, other).expect("writes");
        let keys = Keystore::new(folder.path().join("wallet"));
        let address = keys
            .import("other", &path, &pass("testpassword"))
            .expect("opens");
        let known =
            Key::from_hex("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d");
        assert_eq!(address, known.expect("a key").address());
    }

    #[test]
    fn hostile_files_and_names_are_refused_quickly() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = Keystore::new(folder.path().to_owned());
        keys.store(
            "k",
            &Key::random().expect("randomness"),
            &pass("a passphrase"),
        )
        .expect("stored");
        let good = read(&folder.path().join("k.json")).expect("JSON");
        for (pointer, value) in [
            ("/crypto/kdfparams/n", json!(1u64 << 40)),
            ("/crypto/kdfparams/n", json!(12345)),
            ("/crypto/kdfparams/n", json!(0)),
            ("/crypto/kdfparams/r", json!(1u64 << 31)),
            ("/crypto/kdfparams/p", json!(-1)),
            ("/crypto/kdfparams/dklen", json!(64)),
            ("/crypto/kdfparams/dklen", json!(1)),
            ("/crypto/kdf", json!("md5")),
            ("/crypto/ciphertext", json!("")),
            ("/crypto/cipherparams/iv", json!("00")),
            ("/crypto/mac", json!("zz")),
            ("/version", json!(1)),
            ("/crypto", json!([])),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).expect("a field") = value;
            std::fs::write(folder.path().join("bad.json"), bad.to_string()).expect("writes");
            let got = keys.open("bad", &pass("a passphrase"));
            assert!(got.is_err(), "{pointer}");
        }
        for name in ["", "..", "a/b", "A", "é", &"a".repeat(65)] {
            let got = keys.open(name, &pass("a passphrase"));
            assert!(matches!(got, Err(WalletError::Name(_))), "{name}");
        }
        assert!(matches!(keys.address("none"), Err(WalletError::Missing(_))));
    }
}

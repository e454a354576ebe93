//! `nesa key`: keys that own NES.

use std::path::{Path, PathBuf};

use nesa_storage::disk;
use nesa_wallet::Key as Secret;
use serde_json::json;
use zeroize::Zeroizing;

use crate::output::table;
use crate::{Context, Failure, keys};

/// Most bytes of a file with a secret in hexadecimal.
const SECRET_MAX: u64 = 256;

/// Make, list and move keys that own NES.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Key {
    /// Make a key
    New(New),
    /// List the keys of this home
    Ls,
    /// Take a key from a keystore file, or a secret from a file in hexadecimal
    Import(Import),
    /// Print a key's keystore file, encrypted as it is
    Export(Named),
    /// Change the passphrase of a key
    Passphrase(Change),
}

/// Make a key.
#[derive(Debug, clap::Args)]
pub(crate) struct New {
    /// Its name
    #[arg(default_value = keys::DEFAULT)]
    name: String,
    /// File whose first line is the passphrase; only you may be able to read it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Keep a random passphrase beside the key, for machines where nobody types: whoever reads this home spends the key
    #[arg(long, conflicts_with = "passphrase_file")]
    unattended: bool,
}

/// Take a key from elsewhere.
#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// Its name here
    name: String,
    /// A keystore file of version 3, or, with --secret, 64 hexadecimal digits
    file: PathBuf,
    /// The file holds the secret itself
    #[arg(long)]
    secret: bool,
    /// File whose first line is the passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// A key of this home.
#[derive(Debug, clap::Args)]
pub(crate) struct Named {
    /// Its name
    #[arg(default_value = keys::DEFAULT)]
    name: String,
}

/// Change a passphrase.
#[derive(Debug, clap::Args)]
pub(crate) struct Change {
    /// The key's name
    #[arg(default_value = keys::DEFAULT)]
    name: String,
    /// File whose first line is the passphrase until now
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// File whose first line is the new one
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
}

impl Key {
    /// Runs `nesa key`.
    pub(crate) fn run(&self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::New(n) => new(n, context),
            Self::Ls => list(context),
            Self::Import(i) => import(i, context),
            Self::Export(n) => export(n, context),
            Self::Passphrase(c) => change(c, context),
        }
    }
}

fn made(context: &Context, name: &str, address: &str) {
    context
        .out
        .result(&json!({"name": name, "address": address}), || {
            format!("{name}  {address}")
        });
}

fn new(n: &New, context: &Context) -> Result<(), Failure> {
    let store = keys::keystore(context)?;
    if store.has(&n.name)? {
        return Err(nesa_wallet::WalletError::Exists(n.name.clone()).into());
    }
    let key = if n.unattended {
        keys::make_unattended(context, &n.name)?
    } else {
        let key = Secret::random()?;
        let passphrase = keys::new_passphrase(&n.name, n.passphrase_file.as_deref())?;
        store.store(&n.name, &key, &passphrase)?;
        key
    };
    made(context, &n.name, &key.address().to_string());
    Ok(())
}

fn list(context: &Context) -> Result<(), Failure> {
    let all = keys::keystore(context)?.list()?;
    let address =
        |a: Option<nesa_wallet::Address>| a.map_or_else(|| "?".to_owned(), |a| a.to_string());
    let value: Vec<_> = all
        .iter()
        .map(|e| json!({"name": e.name, "address": e.address.map(|a| a.to_string())}))
        .collect();
    context.out.result(&json!({"keys": value}), || {
        if all.is_empty() {
            return "no keys yet; `nesa key new` makes one".to_owned();
        }
        let rows: Vec<Vec<String>> = all
            .iter()
            .map(|e| vec![e.name.clone(), address(e.address)])
            .collect();
        table(&rows)
    });
    Ok(())
}

fn secret(path: &Path) -> Result<Secret, Failure> {
    let bytes = disk::read(path, SECRET_MAX)
        .map_err(nesa_storage::Error::from)?
        .ok_or_else(|| Failure::usage(format!("{} does not exist", path.display())))?;
    let bytes = Zeroizing::new(bytes);
    let text = std::str::from_utf8(&bytes).map_err(|_| nesa_wallet::WalletError::Secret)?;
    Ok(Secret::from_hex(text)?)
}

fn import(i: &Import, context: &Context) -> Result<(), Failure> {
    let (store, file) = (keys::keystore(context)?, i.passphrase_file.as_deref());
    let address = if i.secret {
        let key = secret(&i.file)?;
        store.store(&i.name, &key, &keys::new_passphrase(&i.name, file)?)?;
        key.address()
    } else {
        let passphrase = keys::passphrase(context, &i.name, file)?;
        store.import(&i.name, &i.file, &passphrase)?
    };
    made(context, &i.name, &address.to_string());
    Ok(())
}

fn export(n: &Named, context: &Context) -> Result<(), Failure> {
    let value = keys::keystore(context)?.file(&n.name)?;
    context.out.result(&value, || value.to_string());
    Ok(())
}

fn change(c: &Change, context: &Context) -> Result<(), Failure> {
    let store = keys::keystore(context)?;
    let address = store.address(&c.name)?;
    let old = keys::passphrase(context, &c.name, c.passphrase_file.as_deref())?;
    let new = keys::new_passphrase(&c.name, c.new_passphrase_file.as_deref())?;
    store.change(&c.name, &old, &new)?;
    keys::forget(context, &c.name)?;
    made(context, &c.name, &address.to_string());
    Ok(())
}

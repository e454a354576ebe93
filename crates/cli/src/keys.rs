//! Keys of this home: where they are, and what opens them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use nesa_storage::disk::{self, Access};
use nesa_wallet::{Key, Keystore, Passphrase, WalletError};

use crate::{Context, Failure};

/// The key that is used where none is named.
pub(crate) const DEFAULT: &str = "main";

/// The keys of this home.
pub(crate) fn keystore(context: &Context) -> Result<Keystore, Failure> {
    Ok(Keystore::new(context.home.keys()?.join("wallet")))
}

/// Where the passphrase of an unattended key lies.
fn beside(context: &Context, name: &str) -> Result<PathBuf, Failure> {
    let keys = context.home.keys()?;
    Ok(keys.join("wallet").join(format!("{name}.passphrase")))
}

/// The passphrase of a key that exists: from a file that is named, from beside an unattended key, or typed.
pub(crate) fn passphrase(
    context: &Context,
    name: &str,
    file: Option<&Path>,
) -> Result<Passphrase, Failure> {
    let kept = beside(context, name)?;
    match file {
        Some(path) => Ok(Passphrase::of_file(path)?),
        None if disk::size(&kept).is_some() => Ok(Passphrase::of_file(&kept)?),
        None => typed(&format!("passphrase of key {name}: ")),
    }
}

/// A passphrase for a key that is made: from a file, or typed twice.
pub(crate) fn new_passphrase(name: &str, file: Option<&Path>) -> Result<Passphrase, Failure> {
    let first = match file {
        Some(path) => Passphrase::of_file(path)?,
        None => typed(&format!("new passphrase of key {name}: "))?,
    };
    let first = first.long_enough()?;
    if file.is_none() && typed("the same again: ")?.reveal() != first.reveal() {
        return Err(Failure::usage(
            "the two passphrases differ; run the command again".to_owned(),
        ));
    }
    Ok(first)
}

fn typed(prompt: &str) -> Result<Passphrase, Failure> {
    if !std::io::stdin().is_terminal() {
        let text = "there is no terminal to type a passphrase at; give --passphrase-file FILE";
        return Err(Failure::usage(text.to_owned()));
    }
    let text = rpassword::prompt_password(prompt)
        .map_err(|e| Failure::failed(format!("the passphrase could not be read: {e}")))?;
    Ok(Passphrase::new(text))
}

/// Makes a key whose random passphrase lies beside it, so that nobody needs to type it: as safe as this home's folder.
pub(crate) fn make_unattended(context: &Context, name: &str) -> Result<Key, Failure> {
    let (key, passphrase) = (Key::random()?, Passphrase::random()?);
    let store = keystore(context)?;
    if store.has(name)? {
        return Err(WalletError::Exists(name.to_owned()).into());
    }
    let folder = context.home.keys()?.join("wallet");
    disk::create_private_folder(&folder).map_err(WalletError::Disk)?;
    let kept = beside(context, name)?;
    disk::write(&kept, passphrase.reveal(), Access::Owner).map_err(WalletError::Disk)?;
    store.store(name, &key, &passphrase)?;
    Ok(key)
}

/// Opens a key.
pub(crate) fn open(context: &Context, name: &str, file: Option<&Path>) -> Result<Key, Failure> {
    let store = keystore(context)?;
    if !store.has(name)? {
        return Err(WalletError::Missing(name.to_owned()).into());
    }
    Ok(store.open(name, &passphrase(context, name, file)?)?)
}

/// After a passphrase was changed by hand: the one beside the key, if any, no longer opens it.
pub(crate) fn forget(context: &Context, name: &str) -> Result<(), Failure> {
    Ok(disk::remove(&beside(context, name)?).map_err(WalletError::Disk)?)
}

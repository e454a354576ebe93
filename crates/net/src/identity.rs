//! Who a peer is: an ed25519 key, and signatures under a namespace.

use std::fmt;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::str::FromStr;

use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use zeroize::Zeroizing;

use crate::NetError;

/// Size of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Largest identity file read: a PEM-encoded ed25519 key has about 120 bytes.
const IDENTITY_FILE_BYTES_MAX: u64 = 4096;

/// What every signed message starts with, so that a signature means nothing elsewhere.
const SIGN_PREFIX: &[u8] = b"nesa.sign.v1";

/// What a signature is about. Each use has its own constant, and no two constants are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Namespace(&'static str);

impl Namespace {
    /// A namespace such as `"nesa.net.peer-record.v1"`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        assert!(!name.is_empty() && name.len() < 256);
        Self(name)
    }

    /// The bytes that are signed: prefix, length-delimited name, message.
    fn bound(self, message: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(SIGN_PREFIX.len() + 1 + self.0.len() + message.len());
        out.extend_from_slice(SIGN_PREFIX);
        out.extend_from_slice(&(self.0.len() as u16).to_le_bytes());
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(message);
        out
    }
}

/// A peer's public key, which is its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 32]);

impl PeerId {
    /// Accepts only keys that one holder can have: a valid point that is not of small order.
    ///
    /// # Errors
    /// [`NetError::Key`].
    pub fn checked(bytes: [u8; 32]) -> Result<Self, NetError> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| NetError::Key {
            reason: "the bytes are not a point of the curve",
        })?;
        if key.is_weak() {
            return Err(NetError::Key {
                reason: "the key has small order, so that anyone could sign for it",
            });
        }
        Ok(Self(bytes))
    }

    /// Checks `signature` over `message` under `namespace`.
    ///
    /// # Errors
    /// [`NetError::Signature`] for anything but this peer's signature, non-canonical ones included.
    pub fn verify(
        &self,
        namespace: Namespace,
        message: &[u8],
        signature: &[u8; SIGNATURE_BYTES],
    ) -> Result<(), NetError> {
        let wrong = NetError::Signature { peer: *self };
        let Ok(key) = VerifyingKey::from_bytes(&self.0) else {
            return Err(wrong);
        };
        key.verify_strict(&namespace.bound(message), &Signature::from_bytes(signature))
            .map_err(|_| wrong)
    }

    /// The first eight digits, for logs.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest(self.0).fmt(f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = NetError;

    fn from_str(s: &str) -> Result<Self, NetError> {
        let Digest(bytes) = s.parse().map_err(|_| NetError::Key {
            reason: "a peer id is 64 lower-case hexadecimal digits",
        })?;
        Self::checked(bytes)
    }
}

impl Encode for PeerId {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.0);
    }
}

impl Decode for PeerId {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(r.digest()?.0))
    }
}

/// A secret ed25519 key. Never printed, wiped when dropped.
#[derive(Clone)]
pub struct Identity {
    key: SigningKey,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.peer_id())
    }
}

impl Identity {
    /// A fresh key from the operating system's randomness.
    ///
    /// # Errors
    /// [`NetError::Key`] if there is none.
    pub fn generate() -> Result<Self, NetError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|_| NetError::Key {
            reason: "the operating system gave no randomness",
        })?;
        Ok(Self::from_seed(*seed))
    }

    /// The key of a 32-byte secret seed.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self {
            key: SigningKey::from_bytes(&seed),
        }
    }

    /// The public name.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        PeerId(self.key.verifying_key().to_bytes())
    }

    /// Signs `message` under `namespace`.
    #[must_use]
    pub fn sign(&self, namespace: Namespace, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(&namespace.bound(message)).to_bytes()
    }

    /// Signs a digest as it is, for formats of others that have no namespace of this kind. It must
    /// come from a hash that separates its uses by itself, as `nesa_codec::Hasher` does.
    #[must_use]
    pub fn sign_digest(&self, digest: &[u8; 32]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(digest).to_bytes()
    }

    /// Reads the key at `path`, or creates it there (PEM, mode 0600) if there is no file. Two
    /// processes that start at once end with the same key.
    ///
    /// # Errors
    /// [`NetError::IdentityFile`] if the file is unreadable, damaged or readable by other users.
    pub fn load_or_create(path: &Path) -> Result<Self, NetError> {
        match fs::metadata(path) {
            Ok(_) => Self::load(path),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let fresh = Self::generate()?;
                fresh
                    .store_new(path)
                    .map_err(|e| file_error(path, &e.to_string()))?;
                Self::load(path)
            }
            Err(e) => Err(file_error(path, &e.to_string())),
        }
    }

    /// Reads a PEM (PKCS #8) or raw 32-byte seed file.
    ///
    /// # Errors
    /// As [`Identity::load_or_create`], and if there is no file.
    pub fn load(path: &Path) -> Result<Self, NetError> {
        let meta = fs::metadata(path).map_err(|e| file_error(path, &e.to_string()))?;
        if meta.len() > IDENTITY_FILE_BYTES_MAX || !meta.is_file() {
            return Err(file_error(path, "this is not a key file; name another one"));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            if meta.permissions().mode() & 0o077 != 0 {
                let hint = format!(
                    "other users can read it; run `chmod 600 {}`",
                    path.display()
                );
                return Err(file_error(path, &hint));
            }
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(|e| file_error(path, &e.to_string()))?);
        if let Ok(seed) = <[u8; 32]>::try_from(bytes.as_slice()) {
            return Ok(Self::from_seed(seed));
        }
        let damaged = || {
            let hint = "neither a PEM-encoded ed25519 key nor a 32-byte seed; restore it from a \
                        backup, or move it away to get a new identity";
            file_error(path, hint)
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| damaged())?;
        let key = SigningKey::from_pkcs8_pem(text).map_err(|_| damaged())?;
        Ok(Self { key })
    }

    /// Writes a temporary file and links it to `path`, so that no reader sees half a key and no
    /// existing key is ever replaced.
    fn store_new(&self, path: &Path) -> std::io::Result<()> {
        let pem = self
            .key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(std::io::Error::other)?;
        if let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.tmp", self.peer_id().short()));
        let temporary = path.with_file_name(name);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let linked = options
            .open(&temporary)
            .and_then(|mut f| f.write_all(pem.as_bytes()).and_then(|()| f.sync_all()))
            .and_then(|()| match fs::hard_link(&temporary, path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            });
        let _ = fs::remove_file(&temporary);
        linked
    }

    /// PKCS #8 version 1 of the key, for the TLS stack.
    pub(crate) fn pkcs8(&self) -> Zeroizing<Vec<u8>> {
        // RFC 8410: SEQUENCE { 0, AlgorithmIdentifier ed25519, OCTET STRING { OCTET STRING seed } }.
        const PREFIX: [u8; 16] = [
            0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22,
            0x04, 0x20,
        ];
        let mut der = Zeroizing::new(Vec::with_capacity(48));
        der.extend_from_slice(&PREFIX);
        der.extend_from_slice(self.key.as_bytes());
        der
    }
}

fn file_error(path: &Path, reason: &str) -> NetError {
    NetError::IdentityFile {
        path: path.display().to_string(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Namespace = Namespace::new("nesa.net.test.v1");
    const OTHER: Namespace = Namespace::new("nesa.net.test.v2");

    #[test]
    fn a_signature_holds_for_one_key_namespace_and_message() {
        let a = Identity::from_seed([1; 32]);
        let b = Identity::from_seed([2; 32]);
        let s = a.sign(NS, b"m");
        a.peer_id().verify(NS, b"m", &s).unwrap();
        assert!(a.peer_id().verify(OTHER, b"m", &s).is_err());
        assert!(a.peer_id().verify(NS, b"n", &s).is_err());
        assert!(b.peer_id().verify(NS, b"m", &s).is_err());
        for i in 0..SIGNATURE_BYTES {
            let mut t = s;
            t[i] ^= 1;
            assert!(a.peer_id().verify(NS, b"m", &t).is_err(), "byte {i}");
        }
    }

    #[test]
    fn weak_and_malformed_keys_are_no_peers() {
        let mut identity_point = [0; 32];
        identity_point[0] = 1;
        assert!(PeerId::checked(identity_point).is_err());
        assert!(PeerId::checked([0; 32]).is_err());
        let id = Identity::from_seed([3; 32]).peer_id();
        assert_eq!(id.to_string().parse::<PeerId>().unwrap(), id);
        assert!("00".parse::<PeerId>().is_err());
    }

    #[test]
    fn the_secret_is_never_printed() {
        let id = Identity::from_seed([0xab; 32]);
        assert!(!format!("{id:?}").contains("abab"));
    }

    #[test]
    fn a_file_is_created_once_private_and_read_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/identity.pem");
        let a = Identity::load_or_create(&path).unwrap();
        assert_eq!(
            Identity::load_or_create(&path).unwrap().peer_id(),
            a.peer_id()
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let e = Identity::load_or_create(&path).unwrap_err().to_string();
        assert!(e.contains("chmod 600"), "{e}");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, [7; 32]).unwrap();
        assert_eq!(
            Identity::load(&path).unwrap().peer_id(),
            Identity::from_seed([7; 32]).peer_id()
        );
        fs::write(&path, "-----BEGIN nothing").unwrap();
        let e = Identity::load_or_create(&path).unwrap_err().to_string();
        assert!(e.contains("backup"), "{e}");
        assert_eq!(
            fs::read(&path).unwrap(),
            b"-----BEGIN nothing",
            "a damaged key is kept"
        );
    }

    #[test]
    fn starters_at_the_same_time_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id.pem");
        let ids: Vec<_> = std::thread::scope(|s| {
            let start = || Identity::load_or_create(&path).unwrap().peer_id();
            let all: Vec<_> = (0..4).map(|_| s.spawn(start)).collect();
            all.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|i| *i == ids[0]));
    }
}

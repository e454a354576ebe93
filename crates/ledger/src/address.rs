//! Who owns money: the last 20 bytes of a key's Keccak hash, or a module of the ledger.

use std::fmt;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};

/// An Ethereum address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address(pub [u8; 20]);

impl Address {
    /// The address of a family of native actions: `0x…4e455300 + index` ("NES").
    #[must_use]
    pub const fn module(index: u8) -> Self {
        let mut bytes = [0; 20];
        bytes[16] = 0x4e;
        bytes[17] = 0x45;
        bytes[18] = 0x53;
        bytes[19] = index;
        Self(bytes)
    }

    /// Padded to 32 bytes, as pots and event topics spell it.
    #[must_use]
    pub fn to_digest(self) -> Digest {
        let mut out = [0; 32];
        out[12..].copy_from_slice(&self.0);
        Digest(out)
    }
}

impl From<alloy_primitives::Address> for Address {
    fn from(a: alloy_primitives::Address) -> Self {
        Self(a.into_array())
    }
}

impl From<Address> for alloy_primitives::Address {
    fn from(a: Address) -> Self {
        Self::new(a.0)
    }
}

impl Encode for Address {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.0);
    }
}

impl Decode for Address {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut out = [0; 20];
        out.copy_from_slice(r.raw(20)?);
        Ok(Self(out))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The mixed-case checksum of EIP-55.
        fmt::Display::fmt(&alloy_primitives::Address::from(*self), f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

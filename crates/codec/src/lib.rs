//! Encode and decode canonical bytes, hash them under a namespace, and never beyond a stated bound.
//!
//! Every value has exactly one encoding: little-endian fixed-width integers, `u32` length prefixes,
//! no padding, no optional trailing bytes. [`Reader::finish`] refuses leftovers, so
//! `encode(decode(bytes)) == bytes` for every accepted input.
//!
//! ```
//! use nesa_codec::{Decode, Encode, Reader, Writer};
//! let mut w = Writer::default();
//! w.u32(7);
//! w.bytes(b"abc");
//! let mut r = Reader::new(w.as_slice());
//! assert_eq!(r.u32().unwrap(), 7);
//! assert_eq!(r.bytes(16).unwrap(), b"abc");
//! r.finish().unwrap();
//! ```

mod digest;
pub mod merkle;
mod reader;
mod writer;

pub use digest::{Digest, Hasher};
pub use reader::{Decode, DecodeError, Reader};
pub use writer::{Encode, Writer};

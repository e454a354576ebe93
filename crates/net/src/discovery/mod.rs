//! Finding peers through a bootstrap node.
//!
//! A joining node signs a [`PeerRecord`] and announces it; the bootstrap node dials each announced
//! address back and answers what it met ([`ProbeOutcome`]), so that the joiner learns what is
//! wrong; only a record with a reachable address is listed. Records expire and are renewed by
//! announcing again with a higher epoch. The bootstrap node cannot forge records, only withhold
//! them.
//!
//! ```text
//! joiner                           bootstrap
//!   Announce{record, signature} ──▶  check, dial back ──connect──▶ joiner's address
//!   ◀── Announced{per address: reachable or why not, your address as seen}
//!   List{model, role, after}    ──▶
//!   ◀── Page{records, more}
//!   Leave{epoch}                ──▶
//!   ◀── Left
//! ```
//!
//! [`Directory`] is the bootstrap node's state: pure, time comes in. [`Server`] answers streams with
//! it over any [`crate::Transport`]; [`Client`] asks.

mod client;
mod directory;
mod encoding;
mod message;
mod record;
mod server;

pub use client::{Client, REPLY_MS_MAX};
pub use directory::{Directory, DirectoryConfig};
pub use message::{
    Announced, Message, PAGE_RECORDS_MAX, Page, Probe, ProbeOutcome, Query, Refusal, decode,
};
pub use record::{
    ADDRESSES_MAX, OFFERS_MAX, OPERATOR_BYTES_MAX, Offer, PeerRecord, RECORD_NAMESPACE, Roles,
    SignedRecord,
};
pub use server::Server;

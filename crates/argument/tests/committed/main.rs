//! Committed proofs: verified without weights; whatever is changed, on either side of the commitment, is refused.
#![allow(clippy::too_many_lines, reason = "tables of named attacks")]

#[path = "../common/bytes.rs"]
mod bytes;
mod file;
mod honest;
mod lies;
mod world;

//! Check that a block is final, and that a validator contradicted itself, from bytes alone.
//!
//! A light client needs no node: [`Finalized::verify`] takes a header, a certificate and the hash
//! of the validator set that it trusts. A ledger needs no engine: [`Evidence::check`] says whether
//! two votes of one validator exclude each other. Everything is pure, bounded and free of clocks.
//!
//! The votes are ed25519 signatures over the bytes that the consensus engine signs; the engine's
//! adapter has a test that both spell them alike.

mod certificate;
mod envelope;
mod evidence;
mod finalized;
mod validators;
mod vote;

pub use certificate::{Certificate, CertificateError};
pub use envelope::{Envelope, HEADER_MAX};
pub use evidence::{Contradiction, Evidence, EvidenceError};
pub use finalized::{DESCENDANTS_MAX, Finalized, FinalizedError};
pub use validators::{VALIDATORS_MAX, ValidatorSet, ValidatorSetError};
pub use vote::{Domain, Proposal, Statement, Vote};

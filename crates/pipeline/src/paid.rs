//! Work for pay: who is paid, what a client has paid for, and where a node stops.
//!
//! A client opens a payment session on the ledger with one lane per node, binds the sessions of its
//! answers to the lanes, and signs cumulative vouchers. A node keeps one [`Payee`] per lane and does
//! work only while at most one chunk is unpaid; so much is what it can lose, and what a client can.
//!
//! ```text
//! client ──Quote──► node ──Terms{ledger, payee, chunk}──► client ──open──► ledger
//! client ──Lane{payment, lane, salt}──► node (reads the lane from the ledger) ──Ready──► client
//! client ──Voucher──► node, again and again
//! ```
//! Work is counted in quarters of (position × layer): a share holder computes one of the four products
//! of a layer at a time.

pub(crate) mod books;
mod message;
mod payee;
#[cfg(test)]
mod tests;

pub use books::{Charge, LANES_MAX, Offer, Till};
pub use message::{LaneName, Pay, Terms};
pub use payee::{Found, Payee, check_lane};

/// Positions that a node works ahead of its pay unless told otherwise: one flight of full size.
pub const CHUNK_POSITIONS: u32 = crate::wire::FLIGHT_ROWS_MAX as u32;
/// Quarters of a unit of work: one for each product of a layer.
pub const QUARTERS: u64 = 4;
/// How long a flight waits for its pay, in ms.
pub const PAY_WAIT_MS_MAX: u64 = 10_000;

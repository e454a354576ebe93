//! Whole networks in one process: bits, evidence, privacy, robustness.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails where it stands"
)]

mod attacks;
mod checked;
mod common;
mod disputes;
mod evidence;
mod identity;
mod liars;
mod readable;
mod receipts;
mod robust;

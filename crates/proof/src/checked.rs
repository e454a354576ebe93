//! Check every product of every position while it runs, and compute all the rest.
//!
//! A hop streams the exact sums of its products ([`Sums`]). Who asked leads the rows that it sent through the
//! blocks on these sums ([`Checker`]): attention, norms, tables and roundings it computes itself, so the sums
//! are all that it takes from a hop, and each is checked before use. For a secret uniform vector `r` over the
//! field of 2^61 − 1 elements it knows `r·W` ([`Keys`]), and `r·y = (r·W)·x` holds for a row `y` that is not
//! `W·x` with probability at most 1 / (2^61 − 1) < 2^-60: sums and differences of sums are smaller than the
//! prime, so an integer that differs differs in the field. `N` checks under one key miss anything with
//! probability at most `N·2^-60`; an answer of 10^4 positions on 10^2 blocks makes 2^22 checks.
//!
//! ```text
//! rows sent ─► walk ─ x ─► r·y = (r·W)·x ? ◄─ y ─ hop      … ─► rows = rows returned = rows signed
//! ```

mod keys;
mod machine;
mod subject;
mod sums;
mod wrong;

pub use keys::Keys;
pub use machine::Checker;
pub use subject::Subject;
pub use sums::{Malformed, Packer, Sums, flight_rows_max, pack, unpack};
pub use wrong::Wrong;

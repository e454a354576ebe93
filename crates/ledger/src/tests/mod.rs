//! The state machine as a whole.

mod ballots;
mod blocks;
mod envelopes;
mod random;
mod stakes;

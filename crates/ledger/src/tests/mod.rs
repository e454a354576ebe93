//! The state machine as a whole.

mod blocks;
mod envelopes;
mod random;
mod stakes;

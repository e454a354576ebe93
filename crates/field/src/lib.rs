//! Compute in the 31-bit prime field that secret shares and proofs live in.

/// The KoalaBear prime, 2^31 − 2^24 + 1.
pub const P: u32 = 0x7f00_0001;

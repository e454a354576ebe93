//! Compute in the 31-bit prime field that secret shares and proofs live in.
//!
//! An element is a `u32` below [`P`]. These are the plain versions, the specification; the loops over
//! whole rows are in `nesa-kernels`, whose tests compare them with these.
//!
//! ```
//! use nesa_field::{add, centred, from_i64, lagrange, mul, uniform};
//!
//! // A secret is shared over two points: one share is uniform, the other lies on the line.
//! let (secret, mask) = (from_i64(-7), uniform(&[1; 32], 1)[0]);
//! let line = lagrange(&[0, 1], 2);
//! let share = add(mul(line[0], secret), mul(line[1], mask));
//!
//! let back = lagrange(&[1, 2], 0);
//! let sum = add(mul(back[0], mask), mul(back[1], share));
//! assert_eq!(centred(sum), -7);
//! ```
//!
//! # Limits
//! Results are elements only where the arguments are: whatever comes from outside is compared with
//! [`P`] first ([`is_canonical`]).

pub mod modular;
mod uniform;

pub use uniform::{uniform, uniform_into};

/// The KoalaBear prime, 2^31 − 2^24 + 1.
pub const P: u32 = 0x7f00_0001;

/// Largest magnitude of a signed integer that an element stands for: (p − 1) / 2.
pub const CENTRED_MAX: i32 = (P / 2) as i32;

/// `a + b`.
#[must_use]
pub const fn add(a: u32, b: u32) -> u32 {
    modular::add::<P>(a, b)
}

/// `a − b`.
#[must_use]
pub const fn sub(a: u32, b: u32) -> u32 {
    modular::sub::<P>(a, b)
}

/// `a · b`.
#[must_use]
pub const fn mul(a: u32, b: u32) -> u32 {
    modular::mul::<P>(a, b)
}

/// `1 / a`; 0 for 0.
#[must_use]
pub const fn inverse(a: u32) -> u32 {
    modular::inverse::<P>(a)
}

/// The element that any integer is congruent to.
#[must_use]
pub const fn from_i64(v: i64) -> u32 {
    modular::from_i64::<P>(v)
}

/// The integer of least magnitude that `a` is congruent to, in ±[`CENTRED_MAX`].
#[must_use]
pub const fn centred(a: u32) -> i32 {
    modular::centred::<P>(a)
}

/// Whether every value is an element: the check for whatever comes from outside.
///
/// All values are read, whatever the first ones are.
#[must_use]
pub fn is_canonical(values: &[u32]) -> bool {
    values.iter().fold(true, |all, &v| all & (v < P))
}

/// Coefficients `c` with `f(at) = Σ c[i] · f(points[i])` for every polynomial `f` of lower degree than
/// there are points.
///
/// Points are elements and differ from each other; coefficients of a repeated point mean nothing.
#[must_use]
pub fn lagrange(points: &[u32], at: u32) -> Vec<u32> {
    modular::lagrange::<P>(points, at)
}

#[cfg(test)]
mod tests;

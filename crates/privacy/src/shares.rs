//! Hide the input of a linear layer from its holders, and check what they return.
//!
//! A [`Dealer`] shares the input of each flight over evaluation points; a holder multiplies its share by
//! the layer's matrices; a [`Check`] tells a wrong product before anything else reads it;
//! [`reconstruct`] puts `t + 1` of them together. Whoever has `t` shares has learned nothing.
//! `docs/spec/hss.md` is the norm.
//!
//! ```
//! use nesa_kernels::Level;
//! use nesa_privacy::shares::{Dealer, Scheme, Sent, reconstruct};
//!
//! let scheme = Scheme::new(1, 2)?;
//! let mut dealer = Dealer::new([7; 32]); // fresh from the system in every session
//! let points = [1, 2];
//! let inputs = [40, -2, 7];
//! let flight = dealer.deal(Level::detect(), scheme.t(), &points, &inputs)?;
//! assert!(matches!(flight.sent(0), Some(Sent::Seed(_)))); // 32 bytes to the first holder
//! assert!(matches!(flight.sent(1), Some(Sent::Values(_)))); // elements to the second
//!
//! // Holders would multiply; a layer that does nothing is enough here.
//! let answers: Vec<&[u32]> = (0..2).filter_map(|i| flight.share(i)).collect();
//! assert_eq!(reconstruct(Level::detect(), &points, &answers)?, inputs);
//! # Ok::<(), nesa_privacy::PrivacyError>(())
//! ```
//!
//! # Limits
//! More than `t` holders who talk to each other learn everything. Seeds expand by ChaCha20, so shares
//! that travel as seeds hide computationally, the others whatever the computing power.

use std::fmt;

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};
use nesa_kernels::{Level, field_centred, field_combine};

use crate::PrivacyError;

mod check;
mod dealer;
mod points;

pub use check::{Check, Checks};
pub use dealer::{Dealer, Flight, Reserved, Sent};

/// Most points of a scheme.
pub const POINTS_MAX: usize = 16;

/// How many holders there are, and how many of them together learn nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Scheme {
    t: u8,
    n: u8,
}

impl Scheme {
    /// (t, n): `n` points, any `t` of which tell nothing; 1 ≤ t < n ≤ [`POINTS_MAX`].
    ///
    /// # Errors
    /// [`PrivacyError::Scheme`] for other numbers.
    pub fn new(t: usize, n: usize) -> Result<Self, PrivacyError> {
        if (1..n).contains(&t) && n <= POINTS_MAX {
            // Both are at most 16.
            Ok(Self {
                t: t as u8,
                n: n as u8,
            })
        } else {
            Err(PrivacyError::Scheme { t, n })
        }
    }

    /// How many holders together learn nothing.
    #[must_use]
    pub const fn t(self) -> usize {
        self.t as usize
    }

    /// How many holders there are.
    #[must_use]
    pub const fn n(self) -> usize {
        self.n as usize
    }

    /// How many right answers make a result: `t + 1`.
    #[must_use]
    pub const fn needed(self) -> usize {
        self.t as usize + 1
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.t, self.n)
    }
}

impl Encode for Scheme {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.t);
        w.u8(self.n);
    }
}

impl Decode for Scheme {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (t, n) = (r.u8()?, r.u8()?);
        Self::new(t.into(), n.into())
            .map_err(|_| DecodeError::Invalid("a scheme is 1 ≤ t < n ≤ 16"))
    }
}

/// Values that shares hide: any `t` holders together learn nothing from what they were sent.
///
/// [`Obfuscated`](crate::Obfuscated) values are not private.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Private<T>(T);

impl<T> Private<T> {
    /// Marks what a holder sent as hidden.
    #[must_use]
    pub const fn received(hidden: T) -> Self {
        Self(hidden)
    }

    /// What a holder may see.
    #[must_use]
    pub const fn as_hidden(&self) -> &T {
        &self.0
    }

    /// What a holder may see.
    #[must_use]
    pub fn into_hidden(self) -> T {
        self.0
    }
}

impl<'a> From<Sent<'a>> for Private<Sent<'a>> {
    fn from(sent: Sent<'a>) -> Self {
        Self(sent)
    }
}

/// The integers behind the `answers` at `points`, one answer per point: `t + 1` of them, each checked.
///
/// Integers of magnitude below p/2 come back exactly.
///
/// # Errors
/// [`PrivacyError::Points`] when points are none, too many, zero or repeated, [`PrivacyError::Shape`] when
/// there are not as many answers or their lengths differ.
pub fn reconstruct(
    level: Level,
    points: &[u8],
    answers: &[&[u32]],
) -> Result<Vec<i32>, PrivacyError> {
    points::check(points)?;
    let shape = |what, expected, actual| PrivacyError::Shape {
        what,
        expected,
        actual,
    };
    if answers.len() != points.len() {
        return Err(shape("answers", points.len(), answers.len()));
    }
    let len = answers.first().map_or(0, |answer| answer.len());
    if let Some(other) = answers.iter().find(|answer| answer.len() != len) {
        return Err(shape("values of an answer", len, other.len()));
    }
    let coefficients = points::lagrange(points, 0);
    let mut sum = vec![0; len];
    field_combine(level, &coefficients, answers, &mut sum);
    let mut out = vec![0; len];
    field_centred(level, &sum, &mut out);
    Ok(out)
}

#[cfg(test)]
mod tests;

//! Dealing: fresh randomness for every flight, whatever the flight repeats.

use std::fmt;

use nesa_kernels::{Level, field_combine, field_from_signed, field_uniform};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::points;
use crate::PrivacyError;
use crate::key::derive;

/// The source of all masks of one session.
///
/// Flights are counted; no two have the same masks. So that this stays true a dealer cannot be copied,
/// stored or set back, and every session, after a restart as well, makes a new one.
#[derive(ZeroizeOnDrop)]
pub struct Dealer {
    secret: [u8; 32],
    next: u64, // the number of the next flight
    #[zeroize(skip)]
    plain: Vec<u32>, // inputs of the flight that is dealt; zero between flights
}

/// The number of a flight that is not dealt yet. It cannot be copied, so that it is dealt once at most.
#[derive(Debug, PartialEq, Eq)]
pub struct Reserved {
    number: u64,
}

/// Shares of one flight's inputs, one for each point.
pub struct Flight {
    number: u64,
    points: usize,
    len: usize,
    seeds: Vec<[u8; 32]>, // of the first t points
    shares: Vec<u32>,     // (points, len)
}

/// What a holder is sent: its share, or what it expands its share from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sent<'a> {
    /// The seed of [`nesa_field::uniform`].
    Seed(&'a [u8; 32]),
    /// The share itself: elements of the field.
    Values(&'a [u32]),
}

impl Dealer {
    /// A dealer with `entropy` from the system, drawn for this session alone.
    #[must_use]
    pub fn new(mut entropy: [u8; 32]) -> Self {
        let secret = *derive("nesa.hss.dealer.v1", &entropy, &[]);
        entropy.zeroize();
        Self {
            secret,
            next: 0,
            plain: Vec::new(),
        }
    }

    /// Takes the next flight's number, before its inputs are known: the shares that travel as seeds do not
    /// depend on them and may be sent at once, see [`Dealer::seed_of`].
    pub fn reserve(&mut self) -> Reserved {
        let number = self.next;
        // 2^64 flights are not reached.
        self.next += 1;
        Reserved { number }
    }

    /// The seed that a reserved flight's share at `point` expands from, where `point` is one of the first `t`.
    #[must_use]
    pub fn seed_of(&self, reserved: &Reserved, point: u8) -> [u8; 32] {
        self.seed(reserved.number, point)
    }

    /// Shares `inputs` (n, cols), integers of magnitude below p/2, over `points`, any `t` of which tell
    /// nothing. The first `t` points get seeds.
    ///
    /// # Errors
    /// [`PrivacyError::Points`] when points are zero or repeated, [`PrivacyError::Scheme`] when
    /// 1 ≤ `t` < points does not hold. No flight number is spent then.
    pub fn deal(
        &mut self,
        level: Level,
        t: usize,
        points: &[u8],
        inputs: &[i32],
    ) -> Result<Flight, PrivacyError> {
        check(t, points)?;
        let reserved = self.reserve();
        self.deal_reserved(level, reserved, t, points, inputs)
    }

    /// [`Dealer::deal`] under a number that was taken before. It is spent, whatever comes of it.
    ///
    /// # Errors
    /// As [`Dealer::deal`].
    #[allow(clippy::needless_pass_by_value, reason = "a number serves one flight")]
    pub fn deal_reserved(
        &mut self,
        level: Level,
        reserved: Reserved,
        t: usize,
        points: &[u8],
        inputs: &[i32],
    ) -> Result<Flight, PrivacyError> {
        check(t, points)?;
        let number = reserved.number;
        let len = inputs.len();
        let seeds: Vec<[u8; 32]> = points[..t].iter().map(|&p| self.seed(number, p)).collect();
        let mut shares = vec![0; points.len() * len];
        let (masks, rest) = shares.split_at_mut(t * len);
        for (seed, mask) in seeds.iter().zip(masks.chunks_exact_mut(len.max(1))) {
            field_uniform(level, seed, mask);
        }
        self.plain.resize(len, 0);
        field_from_signed(level, inputs, &mut self.plain);
        // The polynomial is known at 0 and at the first t points.
        let known: Vec<u8> = std::iter::once(0)
            .chain(points[..t].iter().copied())
            .collect();
        let values: Vec<&[u32]> = std::iter::once(&self.plain[..])
            .chain(masks.chunks_exact(len.max(1)))
            .collect();
        if len > 0 {
            for (&point, share) in points[t..].iter().zip(rest.chunks_exact_mut(len)) {
                field_combine(level, &points::lagrange(&known, point), &values, share);
            }
        }
        wipe(&mut self.plain);
        Ok(Flight {
            number,
            points: points.len(),
            len,
            seeds,
            shares,
        })
    }

    /// Flights that were dealt.
    #[must_use]
    pub const fn flights(&self) -> u64 {
        self.next
    }

    fn seed(&self, flight: u64, point: u8) -> [u8; 32] {
        let mut rest = [0; 9];
        rest[..8].copy_from_slice(&flight.to_le_bytes());
        rest[8] = point;
        *derive("nesa.hss.seed.v1", &self.secret, &rest)
    }
}

impl Flight {
    /// The flight's number in its session.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The share at the `i`-th of the points, as [`super::Check`] needs it.
    #[must_use]
    pub fn share(&self, i: usize) -> Option<&[u32]> {
        (i < self.points).then(|| &self.shares[i * self.len..][..self.len])
    }

    /// What the holder at the `i`-th of the points is sent.
    #[must_use]
    pub fn sent(&self, i: usize) -> Option<Sent<'_>> {
        match self.seeds.get(i) {
            Some(seed) => Some(Sent::Seed(seed)),
            None => self.share(i).map(Sent::Values),
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.seeds.zeroize();
        wipe(&mut self.shares);
    }
}

/// Overwrites `values`, whole vectors at a time: `zeroize` writes element by element, which would be a
/// third of the time of dealing.
fn wipe(values: &mut [u32]) {
    values.fill(0);
    // Who might read them keeps the compiler from leaving the zeros out.
    std::hint::black_box(values);
}

impl Reserved {
    /// The flight's number in its session.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// # Errors
/// As [`Dealer::deal`].
fn check(t: usize, points: &[u8]) -> Result<(), PrivacyError> {
    points::check(points)?;
    if (1..points.len()).contains(&t) {
        return Ok(());
    }
    let n = points.len();
    Err(PrivacyError::Scheme { t, n })
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dealer({} flights)", self.next)
    }
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            points,
            len,
            ..
        } = self;
        write!(f, "Flight({number}: {len} values over {points} points)")
    }
}

impl fmt::Debug for Sent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seed(_) => f.write_str("Seed"),
            Self::Values(values) => write!(f, "Values({})", values.len()),
        }
    }
}

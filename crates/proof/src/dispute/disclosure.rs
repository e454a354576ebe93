//! Disputes under `hss` disclose a share; never more than the threshold of one flight.

use std::collections::{BTreeMap, BTreeSet};

use crate::share::{NotProven, WrongAnswer};

/// Most flights whose disclosures are kept.
pub const FLIGHTS_MAX: usize = 1 << 16;

/// Why a share is not made public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The evidence convicts nobody.
    #[error(transparent)]
    NotProven(#[from] NotProven),
    /// One more share of this flight would reveal its input.
    #[error("{0} shares of this flight are public already; one more would reveal what was shared")]
    Threshold(u8),
    /// The list of flights is full.
    #[error("too many flights are disputed; settle and drop the ended sessions first")]
    Full,
    /// The evidence is about another flight than the one named.
    #[error("the evidence is about another flight; name the layer, product and number it states")]
    Flight,
    /// A point that no share has.
    #[error("evaluation points count from 1")]
    Point,
}

/// A flight of shares over all its holders, as the client names it: session, layer, product, number.
pub type Flight = ([u8; 32], u32, u8, u64);

/// Which shares of which flight are public. Holders' sessions have different names, so the client,
/// who alone knows that they belong together, names the flight.
#[derive(Debug, Clone)]
pub struct Disclosure {
    threshold: u8,
    flights: BTreeMap<Flight, BTreeSet<u8>>,
}

impl Disclosure {
    /// Nothing is public yet; `threshold` shares of a flight say nothing about its input.
    #[must_use]
    pub fn new(threshold: u8) -> Self {
        Self {
            threshold,
            flights: BTreeMap::new(),
        }
    }

    /// Makes evidence against the holder at `point` public, and returns its convicted key.
    ///
    /// # Errors
    /// [`Refused`], with nothing made public.
    pub fn publish(
        &mut self,
        flight: Flight,
        point: u8,
        e: &WrongAnswer,
    ) -> Result<[u8; 32], Refused> {
        let (s, (_, layer, product, number)) = (&e.statement, flight);
        if (s.layer, s.product, s.flight) != (layer, product, number) {
            return Err(Refused::Flight);
        }
        self.admits(flight, point)?;
        let key = e.verify()?;
        self.note(flight, point)?;
        Ok(key)
    }

    /// Shares of `flight` that are public.
    #[must_use]
    pub fn public(&self, flight: Flight) -> usize {
        self.flights.get(&flight).map_or(0, BTreeSet::len)
    }

    /// Whether the share at `point` may become public.
    ///
    /// # Errors
    /// [`Refused::Point`], [`Refused::Threshold`], [`Refused::Full`].
    pub fn admits(&self, flight: Flight, point: u8) -> Result<(), Refused> {
        let own = self.flights.get(&flight);
        if point == 0 {
            Err(Refused::Point)
        } else if own.is_none() && self.flights.len() >= FLIGHTS_MAX {
            Err(Refused::Full)
        } else if own.is_some_and(|p| p.contains(&point)) {
            Ok(())
        } else if self.public(flight) >= usize::from(self.threshold) {
            Err(Refused::Threshold(self.threshold))
        } else {
            Ok(())
        }
    }

    /// Notes that the share at `point` is public.
    ///
    /// # Errors
    /// As [`Disclosure::admits`].
    pub fn note(&mut self, flight: Flight, point: u8) -> Result<(), Refused> {
        self.admits(flight, point)?;
        self.flights.entry(flight).or_default().insert(point);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_than_the_threshold_of_a_flight_becomes_public() {
        for t in 0..4 {
            let mut d = Disclosure::new(t);
            let flight = ([1; 32], 0, 2, 7);
            for point in 1..=16 {
                let refused = d.note(flight, point).is_err();
                assert_eq!(refused, point > t, "{t} {point}");
                assert!(d.public(flight) <= usize::from(t));
            }
            assert_eq!(d.note(flight, 0), Err(Refused::Point));
            if t > 0 {
                assert_eq!(d.note(flight, 1), Ok(()));
                assert_eq!(d.note(([1; 32], 0, 2, 8), 9), Ok(()));
            }
        }
    }
}

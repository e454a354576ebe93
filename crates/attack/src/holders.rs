//! What the holders of a secret-shared session receive, and what coalitions make of it (A10).

use nesa_field::{P, centred, lagrange};
use nesa_kernels::Level;
use nesa_model::testing::Noise;
use nesa_privacy::shares::{Dealer, Scheme};

use crate::AttackError;
use crate::view::View;

/// Rows of each text that are dealt one by one, as decoding does.
const SINGLE: usize = 3;

/// The words that each holder of one scheme received, for the same rows.
#[derive(Debug, Clone)]
pub struct Holders {
    scheme: Scheme,
    points: Vec<u8>,
    plain: View,
    /// Per holder and session (n, dim).
    words: Vec<Vec<Vec<u32>>>,
}

/// 32 bytes of `noise`.
pub(crate) fn entropy(noise: &mut Noise) -> [u8; 32] {
    let mut out = [0; 32];
    for part in out.chunks_exact_mut(8) {
        part.copy_from_slice(&noise.bits().to_le_bytes());
    }
    out
}

impl Holders {
    /// Deals the rows of `plain` as a client does: a session with fresh entropy per text, one flight
    /// for the prompt and one per further row.
    ///
    /// # Errors
    /// [`AttackError::Privacy`] for rows that cannot be shared.
    pub fn deal(plain: &View, scheme: Scheme, seed: u64) -> Result<Self, AttackError> {
        let noise = &mut Noise(seed);
        let points: Vec<u8> = (1..=scheme.n() as u8).collect();
        let mut words = vec![Vec::new(); points.len()];
        for session in &plain.sessions {
            let mut dealer = Dealer::new(entropy(noise));
            let rows = session.len() / plain.dim;
            let (prompt, rest) = session.split_at(rows.saturating_sub(SINGLE) * plain.dim);
            words.iter_mut().for_each(|w| w.push(Vec::new()));
            let flights = std::iter::once(prompt).chain(rest.chunks_exact(plain.dim));
            for inputs in flights.filter(|f| !f.is_empty()) {
                let flight = dealer.deal(Level::detect(), scheme.t(), &points, inputs)?;
                for (i, sessions) in words.iter_mut().enumerate() {
                    let share = flight.share(i).unwrap_or_default();
                    sessions
                        .last_mut()
                        .into_iter()
                        .for_each(|s| s.extend(share));
                }
            }
        }
        Ok(Self {
            scheme,
            points,
            plain: plain.clone(),
            words,
        })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The words (n, dim) of holder `i`, per session.
    #[must_use]
    pub fn words(&self, i: usize) -> &[Vec<u32>] {
        &self.words[i]
    }

    /// What holder `i` received, as integers.
    #[must_use]
    pub fn view(&self, i: usize) -> View {
        let session = |words: &Vec<u32>| words.iter().map(|w| centred(*w)).collect();
        View {
            sessions: self.words[i].iter().map(session).collect(),
            ..self.plain
        }
    }

    /// What the holders `who` make of their shares together: the value at 0 of the polynomial of least
    /// degree through them. With `t + 1` holders that is what was shared.
    #[must_use]
    pub fn together(&self, who: &[usize]) -> View {
        let points: Vec<u32> = who.iter().map(|&i| u32::from(self.points[i])).collect();
        let coefficients = lagrange(&points, 0);
        let session = |s: usize| {
            let value = |k: usize| {
                let terms = who.iter().zip(&coefficients);
                let sum = terms.fold(0, |sum, (&i, c)| {
                    (sum + u64::from(*c) * u64::from(self.words[i][s][k])) % u64::from(P)
                });
                centred(sum as u32)
            };
            (0..self.words[0][s].len()).map(value).collect()
        };
        View {
            sessions: (0..self.plain.sessions.len()).map(session).collect(),
            ..self.plain
        }
    }

    /// All sets of `size` holders.
    #[must_use]
    pub fn coalitions(&self, size: usize) -> Vec<Vec<usize>> {
        let n = self.points.len();
        let members = |mask: u32| (0..n).filter(|i| mask >> i & 1 == 1).collect::<Vec<_>>();
        (0..1u32 << n)
            .map(members)
            .filter(|m| m.len() == size)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Stage;

    #[test]
    fn one_more_than_t_reconstruct_and_t_do_not() {
        let mut noise = Noise(1);
        let mut session =
            |n: usize| -> Vec<i32> { (0..n * 8).map(|_| noise.within(32_767)).collect() };
        let plain = View {
            stage: Stage::FirstProduct,
            dim: 8,
            sessions: vec![session(6), session(2), session(4)],
        };
        for (t, n) in [(1, 2), (1, 4), (2, 4), (3, 5)] {
            let holders = Holders::deal(&plain, Scheme::new(t, n).unwrap(), 7).unwrap();
            for who in holders.coalitions(t + 1) {
                assert_eq!(holders.together(&who), plain);
            }
            for who in holders.coalitions(t) {
                let view = holders.together(&who);
                let pairs = view
                    .sessions
                    .iter()
                    .flatten()
                    .zip(plain.sessions.iter().flatten());
                assert!(pairs.filter(|(a, b)| a == b).count() < 3, "{who:?}");
            }
            assert_eq!(holders.view(0).count(), plain.count());
        }
    }

    /// The coefficients of a coalition that is too small are not those of the scheme.
    #[test]
    fn coalitions_are_all_sets() {
        let plain = View {
            stage: Stage::FirstProduct,
            dim: 1,
            sessions: vec![vec![1]],
        };
        let holders = Holders::deal(&plain, Scheme::new(2, 4).unwrap(), 1).unwrap();
        assert_eq!(holders.coalitions(2).len(), 6);
        assert_eq!(holders.coalitions(4), [vec![0, 1, 2, 3]]);
    }
}

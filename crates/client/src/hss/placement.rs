//! Who holds which layers' shares: points to nodes, ranges to holders, and who may not serve together.

use std::ops::Range;

use nesa_privacy::shares::Scheme;

/// A node that may hold shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its public key.
    pub peer: [u8; 32],
    /// Who runs it, self-declared.
    pub operator: String,
    /// Where it runs, where that is known.
    pub region: Option<String>,
}

/// Nodes that may not serve one session, or are too few.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// Two nodes of one operator, region or key.
    #[error(
        "nodes {first} and {second} have the same {what} '{name}', and one of them could read what both \
         receive; use nodes of different operators and regions"
    )]
    NotDistinct {
        /// What they share.
        what: &'static str,
        /// Its name.
        name: String,
        /// Place of one node in the list.
        first: usize,
        /// Place of the other.
        second: usize,
    },
    /// Fewer nodes than shares.
    #[error(
        "a {scheme} session needs {needed} nodes of different operators, and {nodes} are there; add nodes"
    )]
    TooFew {
        /// The scheme.
        scheme: String,
        /// Nodes that it needs.
        needed: usize,
        /// Nodes there are.
        nodes: usize,
    },
    /// More nodes than evaluation points.
    #[error("a session has at most 255 nodes, and {0} are listed; list fewer")]
    TooMany(usize),
}

/// Ranges of layers and the nodes that hold shares of each.
///
/// Every node has one evaluation point in the whole session, its place in the list plus one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    scheme: Scheme,
    nodes: Vec<Candidate>,
    ranges: Vec<(Range<usize>, Vec<usize>)>,
}

impl Placement {
    /// Places `layers` layers on all of `nodes`: `n` holders for every layer, as evenly as possible.
    ///
    /// # Errors
    /// [`PlacementError`]; the rule of different operators is never relaxed.
    pub fn new(
        scheme: Scheme,
        nodes: Vec<Candidate>,
        layers: usize,
    ) -> Result<Self, PlacementError> {
        let k = nodes.len();
        if k > usize::from(u8::MAX) {
            return Err(PlacementError::TooMany(k));
        }
        if k < scheme.n() {
            return Err(PlacementError::TooFew {
                scheme: scheme.to_string(),
                needed: scheme.n(),
                nodes: k,
            });
        }
        distinct(&nodes)?;
        let cuts = if k > scheme.n() {
            k.min(layers.max(1))
        } else {
            1
        };
        let range = |i: usize| i * layers / cuts..(i + 1) * layers / cuts;
        let holders = |i: usize| (0..scheme.n()).map(|j| (i + j) % k).collect();
        let ranges = (0..cuts).map(|i| (range(i), holders(i))).collect();
        Ok(Self {
            scheme,
            nodes,
            ranges,
        })
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// All nodes, by place.
    #[must_use]
    pub fn nodes(&self) -> &[Candidate] {
        &self.nodes
    }

    /// The nodes that hold shares of `layer`, by place.
    #[must_use]
    pub fn holders(&self, layer: usize) -> &[usize] {
        let found = self.ranges.iter().find(|(r, _)| r.contains(&layer));
        found.map_or(&[], |(_, holders)| holders)
    }

    /// The evaluation point of node `i`.
    #[must_use]
    pub fn point(i: usize) -> u8 {
        // At most 255 nodes are placed.
        (i + 1) as u8
    }

    /// The layers of which node `i` holds shares: ascending, none touching another.
    #[must_use]
    pub fn layers(&self, i: usize) -> Vec<Range<usize>> {
        let mut all: Vec<Range<usize>> = Vec::new();
        for (range, holders) in &self.ranges {
            if range.is_empty() || !holders.contains(&i) {
                continue;
            }
            match all.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => all.push(range.clone()),
            }
        }
        all
    }
}

fn distinct(nodes: &[Candidate]) -> Result<(), PlacementError> {
    for (second, b) in nodes.iter().enumerate() {
        for (first, a) in nodes[..second].iter().enumerate() {
            let clash = |what, name: &str| {
                Err(PlacementError::NotDistinct {
                    what,
                    name: name.to_owned(),
                    first,
                    second,
                })
            };
            if a.peer == b.peer {
                return clash("key", "of one node");
            }
            if a.operator.trim().to_lowercase() == b.operator.trim().to_lowercase() {
                return clash("operator", &b.operator);
            }
            if let (Some(x), Some(y)) = (&a.region, &b.region)
                && x.trim().to_lowercase() == y.trim().to_lowercase()
            {
                return clash("region", y);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(k: usize) -> Vec<Candidate> {
        let node = |i: usize| Candidate {
            peer: [i as u8; 32],
            operator: format!("operator-{i}"),
            region: None,
        };
        (0..k).map(node).collect()
    }

    #[test]
    fn every_layer_has_n_different_holders_and_nodes_have_even_shares() {
        for (t, n) in [(1, 2), (1, 3), (1, 4), (2, 3), (2, 4)] {
            for k in n..8 {
                for layers in [1, 4, 7, 30, 31] {
                    let scheme = Scheme::new(t, n).unwrap();
                    let p = Placement::new(scheme, nodes(k), layers).unwrap();
                    let mut held = vec![0; k];
                    for layer in 0..layers {
                        let mut holders = p.holders(layer).to_vec();
                        holders.sort_unstable();
                        holders.dedup();
                        assert_eq!(holders.len(), n);
                        for h in holders {
                            held[h] += 1;
                            assert!(p.layers(h).iter().any(|r| r.contains(&layer)));
                        }
                    }
                    let (least, most) = (held.iter().min(), held.iter().max());
                    let spread = most.unwrap() - least.unwrap();
                    assert!(layers < k || spread <= n, "{k} {layers} {held:?}");
                }
            }
        }
    }

    #[test]
    fn three_nodes_hold_two_thirds_each() {
        let p = Placement::new(Scheme::new(1, 2).unwrap(), nodes(3), 30).unwrap();
        assert_eq!(p.layers(0), [0..10, 20..30]);
        assert_eq!(p.layers(1), std::slice::from_ref(&(0..20)));
        assert_eq!(p.layers(2), std::slice::from_ref(&(10..30)));
        assert_eq!(p.holders(30), [] as [usize; 0]);
    }

    #[test]
    fn nodes_of_one_operator_region_or_key_are_refused() {
        let scheme = Scheme::new(1, 2).unwrap();
        let place = |change: &dyn Fn(&mut Vec<Candidate>)| {
            let mut all = nodes(3);
            change(&mut all);
            Placement::new(scheme, all, 30).map(|_| ())
        };
        assert_eq!(place(&|_| ()), Ok(()));
        let clash = |what: &'static str, name: &str| {
            Err(PlacementError::NotDistinct {
                what,
                name: name.to_owned(),
                first: 0,
                second: 2,
            })
        };
        let one_operator = place(&|n| n[2].operator = " Operator-0".into());
        assert_eq!(one_operator, clash("operator", " Operator-0"));
        let one_region = place(&|n| {
            n[0].region = Some("north".into());
            n[2].region = Some("North".into());
        });
        assert_eq!(one_region, clash("region", "North"));
        assert!(place(&|n| n[2].peer = n[0].peer).is_err());
        assert!(place(&|n| n[1].region = Some("south".into())).is_ok());
        let few = Placement::new(scheme, nodes(1), 30).unwrap_err();
        assert!(few.to_string().contains("needs 2 nodes"), "{few}");
    }
}

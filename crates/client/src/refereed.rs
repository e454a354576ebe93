//! Two sides for every range of layers: who they are, and where what they signed first differs.

use std::collections::BTreeMap;
use std::ops::Range;

use nesa_codec::Digest;
use nesa_proof::dispute::{Claim, Side};
use nesa_proof::{SignedHop, challenge};

use crate::evidence::Route;

/// Which nodes run which layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The blocks of each hop.
    pub ranges: Vec<Range<usize>>,
    /// The node of each hop.
    pub first: Vec<usize>,
    /// Another node for each, of another operator; empty where nobody else is there and the client itself is
    /// the second side.
    pub second: Vec<usize>,
}

/// Places a model of `layers` blocks on `nodes`, each with its operator's name, so that two of different operators
/// run every range. Each node is the first side of one range and the second of the next. `None` without nodes.
#[must_use]
pub fn plan(nodes: &[(usize, &str)], layers: usize) -> Option<Plan> {
    let layers = layers.max(1);
    let split = |n: usize| {
        (0..n)
            .map(|i| i * layers / n..(i + 1) * layers / n)
            .collect()
    };
    let order = alternating(nodes, layers.max(2));
    if order.len() < 2 {
        let n = nodes.len().min(layers);
        return (n > 0).then(|| Plan {
            ranges: split(n),
            first: nodes.iter().take(n).map(|n| n.0).collect(),
            second: Vec::new(),
        });
    }
    let hops = order.len().min(layers);
    let at = |i: usize| order.get(i % order.len()).copied().unwrap_or_default();
    Some(Plan {
        ranges: split(hops),
        first: (0..hops).map(at).collect(),
        second: (1..=hops).map(at).collect(),
    })
}

/// Up to `most` nodes in a circle in which neighbours have different operators; as given where that does already.
fn alternating(nodes: &[(usize, &str)], most: usize) -> Vec<usize> {
    let fits = |circle: &[(usize, &str)]| {
        let next = circle.iter().cycle().skip(1);
        circle.len() > 1 && circle.iter().zip(next).all(|(a, b)| a.1 != b.1)
    };
    let ids = |circle: &[(usize, &str)]| circle.iter().map(|n| n.0).collect();
    let given: Vec<_> = nodes.iter().take(most).copied().collect();
    if fits(&given) {
        return ids(&given);
    }
    let mut groups: BTreeMap<&str, Vec<(usize, &str)>> = BTreeMap::new();
    for n in nodes {
        groups.entry(n.1).or_default().push(*n);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|g| std::cmp::Reverse(g.len()));
    // No operator has more places than all others together.
    for places in (2..=most.min(nodes.len())).rev() {
        let mut left = places;
        let mut chosen: Vec<(usize, &str)> = Vec::new();
        let mut depth = 0;
        while left > 0 && depth < nodes.len() {
            for n in groups.iter().filter_map(|g| g.get(depth)).take(left) {
                chosen.push(*n);
                left -= 1;
            }
            depth += 1;
        }
        let size = |operator: &str| chosen.iter().filter(|n| n.1 == operator).count();
        let mut sorted = chosen.clone();
        sorted.sort_by_key(|n| (std::cmp::Reverse(size(n.1)), n.1, n.0));
        // The largest groups take every second place first.
        let mut circle = vec![(0, ""); sorted.len()];
        let spots = (0..sorted.len())
            .step_by(2)
            .chain((1..sorted.len()).step_by(2));
        for (spot, n) in spots.zip(sorted) {
            circle[spot] = n;
        }
        if fits(&circle) {
            return ids(&circle);
        }
    }
    Vec::new()
}

/// What two runs of the same rows came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// All claims are equal.
    Same,
    /// The first range about which both sides claim different things of the same input.
    Differ {
        /// The hop.
        hop: usize,
    },
    /// A statement that does not belong to its session; no dispute is needed.
    Astray {
        /// Whose.
        side: Side,
        /// The hop.
        hop: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Goes along both routes, which have the same ranges, from the rows with the root `input` on.
#[must_use]
pub fn compare(input: Digest, positions: u32, sides: [(&Route, &[SignedHop]); 2]) -> Compared {
    let mut at = input;
    let hops = sides[0].0.hops.len();
    for hop in 0..hops {
        let mut claims = Vec::new();
        for (side, (route, signed)) in Side::ALL.into_iter().zip(sides) {
            match stated(route, signed, hop, at, positions) {
                Ok(claim) => claims.push(claim),
                Err(what) => return Compared::Astray { side, hop, what },
            }
        }
        if claims.first() != claims.last() {
            return Compared::Differ { hop };
        }
        at = claims.first().map_or(at, |c| c.output);
    }
    Compared::Same
}

/// The claim of `hop`, if it is about this session, these rows and its node's range.
fn stated(
    route: &Route,
    signed: &[SignedHop],
    hop: usize,
    input: Digest,
    positions: u32,
) -> Result<Claim, &'static str> {
    let (Some(h), Some(way)) = (signed.get(hop), route.hops.get(hop)) else {
        return Err("no statement");
    };
    let s = &h.statement;
    if !h.is_signed() {
        return Err("its signature does not match its statement");
    }
    if s.node != way.0 || (s.first, s.end) != (way.2, way.3) {
        return Err("it states another node or range");
    }
    let commitment = challenge::commit(&route.nonce);
    if (s.session, s.model, s.nonce_commitment) != (route.session, route.served, commitment) {
        return Err("it states another session or model");
    }
    if s.positions != positions || s.input != input {
        return Err("it states other rows than it was sent");
    }
    Ok(Claim::of(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_operators_run_every_range() {
        for operators in [
            "ab", "aab", "abc", "aabb", "aaab", "abab", "aabbc", "aaaabbcd", "abcdefgh",
        ] {
            for layers in [1, 2, 3, 30] {
                let names: Vec<String> = operators.chars().map(String::from).collect();
                let nodes: Vec<(usize, &str)> =
                    names.iter().enumerate().map(|(i, n)| (i, &n[..])).collect();
                let p = plan(&nodes, layers).unwrap();
                assert_eq!(p.ranges.last().map(|r| r.end), Some(layers));
                assert_eq!(
                    (p.first.len(), p.second.len()),
                    (p.ranges.len(), p.ranges.len())
                );
                for (a, b) in p.first.iter().zip(&p.second) {
                    assert_ne!(names[*a], names[*b], "{operators} {layers}: {p:?}");
                }
                let mut once = p.first.clone();
                once.sort_unstable();
                once.dedup();
                assert_eq!(once.len(), p.first.len(), "a node runs one range first");
            }
        }
        // In their order where neighbours differ already.
        let three = [(0, "x"), (1, "y"), (2, "z")];
        let p = plan(&three, 9).unwrap();
        assert_eq!((p.first, p.second), (vec![0, 1, 2], vec![1, 2, 0]));
    }

    #[test]
    fn one_operator_leaves_the_client_as_the_second_side() {
        let p = plan(&[(4, "x"), (7, "x")], 6).unwrap();
        assert_eq!((p.first, p.second), (vec![4, 7], vec![]));
        assert_eq!(p.ranges, [0..3, 3..6]);
        assert_eq!(plan(&[], 6), None);
    }
}

//! A9, lengths and structure: what sizes and numbers of flights tell, whatever their payload.
//!
//! A party sees how many rows each flight has. That is a function of the text, so the entropy of what
//! is seen, over many requests, is how many bits of each request leak this way.

use std::collections::BTreeMap;

use nesa_model::testing::Noise;

use crate::text::fraction;

/// What a request asks for, and how well its drafts were guessed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens of the answer.
    pub answer: usize,
    /// Tokens of the answer that each pass yielded with drafts; their sum is `answer`.
    pub passes: Vec<usize>,
}

/// How a client shapes its flights.
#[derive(Debug, Clone, Copy)]
pub struct Shaping {
    /// Rows that a prompt is filled up to.
    pub prompt: fn(usize) -> usize,
    /// Decoding flights that an answer is filled up to.
    pub steps: fn(usize) -> usize,
    /// Rows of every decoding flight; 1: no drafts.
    pub width: usize,
}

impl Shaping {
    /// Nothing is filled up.
    #[must_use]
    pub fn none(width: usize) -> Self {
        Self {
            prompt: |n| n,
            steps: |n| n,
            width,
        }
    }

    /// Rows of each flight of `request`.
    #[must_use]
    pub fn flights(&self, request: &Request) -> Vec<usize> {
        let steps = if self.width == 1 {
            request.answer
        } else {
            request.passes.len()
        };
        let mut out = vec![(self.prompt)(request.prompt)];
        out.extend(std::iter::repeat_n(self.width, (self.steps)(steps)));
        out
    }
}

/// Entropy in bits of the values seen.
#[must_use]
pub fn entropy<T: Ord>(seen: impl Iterator<Item = T>) -> f64 {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    let mut total = 0.0;
    for value in seen {
        *counts.entry(value).or_default() += 1;
        total += 1.0;
    }
    let bits = |c: &usize| -(*c as f64 / total) * libm::log2(*c as f64 / total);
    counts.values().map(bits).sum()
}

/// Bits of a request that sizes and numbers of flights tell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bits {
    /// By the first flight: the prompt's length.
    pub prompt: f64,
    /// By the number of flights after it: the answer's length.
    pub answer: f64,
    /// By everything together.
    pub all: f64,
}

/// What `shaping` leaks of `requests`.
#[must_use]
pub fn bits(requests: &[Request], shaping: &Shaping) -> Bits {
    let seen: Vec<Vec<usize>> = requests.iter().map(|r| shaping.flights(r)).collect();
    Bits {
        prompt: entropy(seen.iter().map(|s| s[0])),
        answer: entropy(seen.iter().map(Vec::len)),
        all: entropy(seen.iter()),
    }
}

/// Made-up requests: prompts and answers from a few to some hundreds of tokens, and drafts of up to
/// `width` rows of which some hold.
#[must_use]
pub fn requests(n: usize, width: usize, seed: u64) -> Vec<Request> {
    let noise = &mut Noise(seed);
    let mut one = || {
        let length = |noise: &mut Noise| {
            let doublings = 3.0 + 5.5 * fraction(noise);
            libm::exp2(doublings) as usize
        };
        let (prompt, answer) = (length(noise), length(noise).min(256));
        let luck = fraction(noise);
        let mut passes = Vec::new();
        let mut left = answer;
        while left > 0 {
            let mut got = 1;
            while got < width.min(left) && fraction(noise) < luck {
                got += 1;
            }
            passes.push(got);
            left -= got;
        }
        Request {
            prompt,
            answer,
            passes,
        }
    };
    (0..n).map(|_| one()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_counts_bits() {
        assert_eq!(entropy([1, 2, 3, 4].iter()), 2.0);
        assert_eq!(entropy([7, 7, 7].iter()), 0.0);
    }

    #[test]
    fn filling_up_leaves_fewer_bits() {
        let requests = requests(4000, 4, 1);
        assert!(
            requests
                .iter()
                .all(|r| r.passes.iter().sum::<usize>() == r.answer)
        );
        let open = bits(&requests, &Shaping::none(1));
        let shaped = Shaping {
            prompt: |n| n.next_power_of_two().max(64),
            steps: |n| n.next_power_of_two().max(32),
            width: 4,
        };
        let shaped = bits(&requests, &shaped);
        assert!(
            open.prompt > 6.0 && shaped.prompt < 2.5,
            "{open:?} {shaped:?}"
        );
        assert!(shaped.all < open.all / 2.0);
        let flights = Shaping {
            prompt: |n| n.next_multiple_of(8),
            width: 2,
            ..Shaping::none(1)
        };
        let request = Request {
            prompt: 9,
            answer: 3,
            passes: vec![2, 1],
        };
        assert_eq!(flights.flights(&request), [16, 2, 2]);
    }
}

//! Cut an answer at the first stop sequence, wherever the chunks break.
//!
//! The cut does not depend on how the text was chunked: the sequence that *ends* first wins, and
//! of those that end together the one that starts first (the longest). Text that could still
//! become a sequence is held back, everything before it is let through at once.

/// The filter of one answer.
#[derive(Debug)]
pub(crate) struct StopFilter {
    sequences: Vec<String>, // none empty
    held: String,           // a proper prefix of some sequence, not yet let through
}

impl StopFilter {
    /// A filter for these sequences, none of them empty.
    pub(crate) fn new(sequences: Vec<String>) -> Self {
        debug_assert!(sequences.iter().all(|s| !s.is_empty()));
        Self {
            sequences,
            held: String::new(),
        }
    }

    /// Takes more text; gives what may be shown, and whether a sequence was met (then the rest,
    /// the sequence included, is dropped and nothing more should be pushed).
    pub(crate) fn push(&mut self, text: &str) -> (String, bool) {
        let mut text = std::mem::take(&mut self.held) + text;
        let first = self
            .sequences
            .iter()
            .filter_map(|s| text.find(s).map(|at| (at + s.len(), at)));
        if let Some((_, start)) = first.min() {
            text.truncate(start);
            return (text, true);
        }
        let keep = self
            .sequences
            .iter()
            .map(|s| overlap(&text, s))
            .max()
            .unwrap_or(0);
        self.held = text.split_off(text.len() - keep);
        (text, false)
    }

    /// The answer has ended: what was held back is text after all.
    pub(crate) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// Bytes of the longest proper prefix of `sequence` that `text` ends with.
fn overlap(text: &str, sequence: &str) -> usize {
    let longest = text.len().min(sequence.len() - 1);
    // A prefix of a valid string that ends inside a character cannot end `text`.
    (1..=longest)
        .rev()
        .find(|&n| text.as_bytes().ends_with(&sequence.as_bytes()[..n]))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], chunks: &[&str]) -> (Vec<String>, bool) {
        let mut filter = StopFilter::new(stops.iter().map(ToString::to_string).collect());
        let mut out = Vec::new();
        for chunk in chunks {
            let (text, hit) = filter.push(chunk);
            out.push(text);
            if hit {
                return (out, true);
            }
        }
        out.push(filter.finish());
        (out, false)
    }

    #[track_caller]
    fn check(stops: &[&str], chunks: &[&str], expected: &[&str], hit: bool) {
        assert_eq!(
            run(stops, chunks),
            (expected.iter().map(ToString::to_string).collect(), hit)
        );
    }

    #[test]
    fn holds_back_only_what_may_become_a_sequence() {
        check(&[], &["a", "b"], &["a", "b", ""], false);
        check(&["END"], &["one E", "N", "D two"], &["one ", "", ""], true);
        check(
            &["END"],
            &["one E", "N", "O"],
            &["one ", "", "ENO", ""],
            false,
        );
        check(&["END"], &["one EN"], &["one ", "EN"], false);
        check(&["\n\n"], &["a\n", "b\n", "\nc"], &["a", "\nb", ""], true);
        check(&["aab"], &["aa", "ab"], &["", "a"], true);
    }

    #[test]
    fn the_sequence_that_ends_first_wins() {
        check(&["abcX", "bc"], &["abcX"], &["a"], true);
        check(&["abcX", "bc"], &["ab", "cX"], &["", "a"], true);
        check(&["c", "bc"], &["abc"], &["a"], true);
    }

    #[test]
    fn characters_are_never_split() {
        check(&["é!"], &["caf", "é", "?"], &["caf", "", "é?", ""], false);
        // U+00E9 and U+00EA share their first byte.
        check(&["ê"], &["é"], &["é", ""], false);
    }

    fn reference(stops: &[String], text: &str) -> (String, bool) {
        let first = stops
            .iter()
            .filter_map(|s| text.find(s).map(|at| (at + s.len(), at)))
            .min();
        first.map_or((text.to_string(), false), |(_, at)| {
            (text[..at].to_string(), true)
        })
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            stops in prop::collection::vec("[abé]{1,4}", 0..4),
            chunks in prop::collection::vec("[abcé]{0,4}", 0..12),
        ) {
            let stops_ref: Vec<&str> = stops.iter().map(String::as_str).collect();
            let chunks_ref: Vec<&str> = chunks.iter().map(String::as_str).collect();
            let (out, hit) = run(&stops_ref, &chunks_ref);
            prop_assert_eq!((out.concat(), hit), reference(&stops, &chunks.concat()));
        }
    }
}

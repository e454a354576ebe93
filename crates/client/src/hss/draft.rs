//! Tokens guessed ahead, so that one pass through the network may confirm several.
//!
//! Prompt lookup: what followed the last occurrence of the text's ending probably follows again. A wrong
//! guess costs nothing but its row; a right one saves a pass.

/// Longest ending that is looked up.
const NGRAM_MAX: usize = 4;
/// How far back the text is searched.
const WINDOW_MAX: usize = 4096;

/// `n` tokens that may follow `text`: those after the most recent earlier occurrence of its longest ending
/// that occurred before, and where these reach the end, the guesses themselves again. None where no ending
/// occurred before.
#[must_use]
pub(crate) fn guess(text: &[u32], n: usize) -> Vec<u32> {
    let text = &text[text.len().saturating_sub(WINDOW_MAX)..];
    if n == 0 {
        return Vec::new();
    }
    for len in (1..=NGRAM_MAX.min(text.len().saturating_sub(1))).rev() {
        let (before, ending) = text.split_at(text.len() - len);
        let found = (0..before.len())
            .rev()
            .find(|&i| text[i..i + len] == *ending);
        if let Some(i) = found {
            let period = before.len() - i;
            let mut guesses: Vec<u32> = text[i + len..].iter().copied().take(n).collect();
            while guesses.len() < n {
                guesses.push(guesses[guesses.len() - period]);
            }
            return guesses;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::guess;

    #[test]
    fn what_followed_before_is_guessed() {
        assert_eq!(guess(&[1, 2, 3, 4, 1, 2], 2), [3, 4]);
        // The longer ending wins over the more recent shorter one.
        assert_eq!(guess(&[1, 2, 7, 9, 2, 8, 1, 2], 1), [7]);
        // The most recent of equals.
        assert_eq!(guess(&[5, 6, 5, 7, 5], 1), [7]);
        // An ending may run into itself, and what repeats goes on repeating.
        assert_eq!(guess(&[4, 4, 4], 3), [4, 4, 4]);
        assert_eq!(guess(&[9, 1, 2, 3, 1], 7), [2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(guess(&[1, 2, 3], 4), [] as [u32; 0]);
        assert_eq!(guess(&[], 4), [] as [u32; 0]);
        assert_eq!(guess(&[1, 1], 0), [] as [u32; 0]);
    }
}

//! Near names for a mistyped one.

/// Names of which at most this share is mistyped count as near.
const SHARE: usize = 3;

/// The known name that is nearest to `name`, if one is near enough to be meant.
#[must_use]
pub fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = name.chars().take(64).flat_map(char::to_lowercase).collect();
    let far = typed.chars().count().max(SHARE) / SHARE;
    let within = |k: &&str| k.starts_with(typed.as_str()) && typed.len() >= 3;
    let rated = known
        .into_iter()
        .map(|k| (if within(&k) { 0 } else { distance(&typed, k) }, k));
    rated.filter(|(d, _)| *d <= far).min().map(|(_, k)| k)
}

/// Edits that turn `a` into `b`, a swap of neighbours counting as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().take(128).collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            row[j] = (last[j - 1] + usize::from(a[i - 1] != b[j - 1]))
                .min(last[j] + 1)
                .min(row[j - 1] + 1)
                .min(if swap { before[j - 2] + 1 } else { usize::MAX });
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_name_and_other_words_none() {
        let known = ["smollm2-135m", "glassllm", "minilm"];
        for (typed, meant) in [
            ("smolm2-135m", Some("smollm2-135m")),
            ("SmolLM2", Some("smollm2-135m")),
            ("glasslml", Some("glassllm")),
            ("minlm", Some("minilm")),
            ("gpt-5", None),
            ("", None),
        ] {
            assert_eq!(closest(typed, known), meant, "{typed}");
        }
    }
}

//! Parameters of lists: `?limit=20&after=0x…`.

use nesa_codec::Digest;
use nesa_ledger::query::PAGE_MAX;

/// Rows of a page where none are asked for.
const PAGE: usize = 50;

fn find<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|p| p.0 == name).map(|p| p.1)
}

/// How many rows, at most [`PAGE_MAX`].
pub(super) fn limit(query: Option<&str>) -> usize {
    let asked = find(query, "limit").and_then(|v| v.parse().ok());
    asked.unwrap_or(PAGE).clamp(1, PAGE_MAX)
}

/// A number.
pub(super) fn number(query: Option<&str>, name: &str) -> Result<Option<u64>, String> {
    let text = find(query, name);
    let read = text.map(|v| v.parse().map_err(|_| format!("{name} is a number")));
    read.transpose()
}

/// 32 bytes in hexadecimal.
pub(super) fn key(query: Option<&str>, name: &str) -> Result<Option<Digest>, String> {
    let read = find(query, name).map(|v| {
        let key = crate::genesis::key(v).map(Digest);
        key.ok_or_else(|| format!("{name} has 64 hexadecimal digits"))
    });
    read.transpose()
}

/// A place in the chain, as `HEIGHT-INDEX`.
pub(super) fn place(query: Option<&str>) -> Result<Option<(u64, u32)>, String> {
    let read = find(query, "before").map(|v| {
        let parts = v.split_once('-');
        let place = parts.and_then(|(h, i)| Some((h.parse().ok()?, i.parse().ok()?)));
        place.ok_or_else(|| "before is HEIGHT-INDEX, as the last page said".to_owned())
    });
    read.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_or_refused() {
        assert_eq!(limit(None), 50);
        assert_eq!(limit(Some("limit=7&x=1")), 7);
        assert_eq!(limit(Some("limit=70000")), PAGE_MAX);
        assert_eq!(limit(Some("limit=0")), 1);
        assert_eq!(number(Some("before=9"), "before"), Ok(Some(9)));
        assert!(number(Some("before=x"), "before").is_err());
        assert_eq!(place(Some("before=5-2")), Ok(Some((5, 2))));
        assert!(place(Some("before=5")).is_err());
        assert!(key(Some("after=12"), "after").is_err());
        let key = key(Some(&format!("after=0x{}", "07".repeat(32))), "after");
        assert_eq!(key, Ok(Some(Digest([7; 32]))));
    }
}

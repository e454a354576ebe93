//! The figures of `SOUNDNESS.md`.

use nesa_argument::security::{Report, Shape, all, bits};
use nesa_argument::transformer::LOOKUP_GRIND;

#[test]
fn the_largest_statement_keeps_a_hundred_bits() {
    // 2^27 cells, at most two fractions on each.
    let largest = Shape {
        num_vars: nesa_argument::pcs::MAX_VARS,
        lookups: 1 << 28,
        table_entries: 1 << 22,
        lookup_grind: LOOKUP_GRIND,
        sumcheck_degrees: 1 << 16,
        batching_degrees: 1 << 18,
    };
    let expected = Report {
        opening: 102,
        lookups: 113,
        sumchecks: 111,
        batching: 109,
        total: 101,
    };
    assert_eq!(bits(&largest), expected);
    let text = include_str!("../../../../SOUNDNESS.md");
    for (name, bits) in [
        ("opening", 102),
        ("lookups", 113),
        ("sumchecks", 111),
        ("batching", 109),
        ("all", 101),
    ] {
        assert!(text.contains(&format!("| {name} | {bits} |")), "{name}");
    }
}

#[test]
fn a_range_and_the_opening_of_its_matrices_keep_a_hundred_bits() {
    let range = Shape {
        num_vars: nesa_argument::pcs::MAX_VARS,
        lookups: 1 << 28,
        table_entries: 1 << 22,
        lookup_grind: LOOKUP_GRIND,
        sumcheck_degrees: 1 << 16,
        batching_degrees: 1 << 18,
    };
    // Two degrees per variable; powers of a challenge over 512 ranges of 64 answers, or two points of 2^20 values.
    let table = Shape {
        lookups: 0,
        table_entries: 0,
        lookup_grind: 0,
        sumcheck_degrees: 2 * 27,
        batching_degrees: 512 * 64 + 40,
        ..range
    };
    let both = all(&[range, table]);
    assert_eq!((both.opening, both.batching, both.total), (101, 108, 100));
    // Four would not do, and are not needed: no statement rests on more than two.
    assert!(all(&[range, table, table, table]).total < 100);
    let text = include_str!("../../../../SOUNDNESS.md");
    assert!(text.contains("| a range and the blocks' table | 100 |"));
    assert!(text.contains("| token rows, or the head | 101 |"));
    assert_eq!(all(&[table]).total, 101);
}

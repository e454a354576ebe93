//! The figures of `SOUNDNESS.md`.

use nesa_argument::security::{Report, Shape, bits};
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

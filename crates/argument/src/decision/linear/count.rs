//! How often every table entry is looked up.

use p3_field::{PrimeCharacteristicRing, PrimeField64};

use super::Circuit;
use crate::field::{E, F, coordinates};
use crate::layout::TensorId;
use crate::tables::{ACT_TAG, CLOSED_TAG, Compress, Lookup};
use crate::transformer::families::{Alpha, Kind};
use crate::transformer::rows::Rows;

/// Where the tag of a lookup stands in what is counted.
const TAG_BITS: u32 = 40;

/// The entry with a tag and a first value, if the table has it.
fn entry(table: &Lookup<'_>, tag: u32, value: u64) -> Option<usize> {
    let first = value as usize;
    match table {
        Lookup::Width(w) => (tag <= *w && value >> tag == 0).then(|| (1 << tag) + first),
        Lookup::Closed(log) => {
            let w = tag.checked_sub(CLOSED_TAG).filter(|w| w < log)?;
            (value + 1 < 1 << w).then(|| (1 << w) + first)
        }
        Lookup::Act(i, _) => {
            (tag == ACT_TAG + u32::from(*i) && (1..1 << 16).contains(&value)).then_some(first)
        }
        Lookup::List(of, rows) if *of == tag => rows
            .binary_search_by_key(&value, |r| r[0].as_canonical_u64())
            .ok(),
        Lookup::Exp(_) | Lookup::List(..) => None,
    }
}

/// Writes the multiplicities of all tables into their tensors. A value that is in no table is not counted.
pub(super) fn count(c: &impl Circuit, cells: &mut [F]) {
    // Values that compress to `v0 + tag·2^40`, all in the base field, say which entry they mean.
    let a = Alpha {
        alpha: E::ZERO,
        compress: Compress {
            one: E::ZERO,
            two: E::ZERO,
            tag: E::from_u64(1 << TAG_BITS),
        },
    };
    let tables = c.tables();
    let mut counts: Vec<Vec<u32>> = (tables.iter())
        .map(|(_, t): &(TensorId, Lookup<'_>)| vec![0; 1 << t.log_len()])
        .collect();
    for family in c.families(a).iter().filter(|f| f.kind == Kind::Lookup) {
        let rows = Rows::new(family, |c| coordinates(&c)[0]);
        let mut row = F::zero_vec(1 << family.log_inner);
        for j in 0..family.outer {
            rows.fill(c.layout(), cells, j, &mut row);
            for v in &row {
                let v = v.as_canonical_u64();
                let (tag, value) = ((v >> TAG_BITS) as u32, v & ((1 << TAG_BITS) - 1));
                let found = tables
                    .iter()
                    .zip(&mut counts)
                    .find_map(|((_, t), counts)| Some(&mut counts[entry(t, tag, value)?]));
                if let Some(count) = found {
                    *count += 1;
                }
            }
        }
    }
    for ((id, _), counts) in tables.iter().zip(counts) {
        let at = c.layout().at(*id, 0, 0);
        for (o, n) in cells[at..].iter_mut().zip(counts) {
            *o = F::from_u32(n);
        }
    }
}

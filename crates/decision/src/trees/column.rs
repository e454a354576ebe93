//! How a feature becomes a rank.

use nesa_codec::{Decode, DecodeError, Encode, Reader, Writer};

use crate::key::{ORDER_MAX, order, truncate};
use crate::{DecisionError, limits, refused};

/// Order of the double next to the float 10^-35: LightGBM takes magnitudes up to it as zero.
pub(super) const ZERO_MAX: i64 = 0x38aa_95a5_c000_0000;

/// What a missing value does in a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Missing {
    /// It goes left: rank 0.
    Left,
    /// It goes right: the last rank.
    Right,
    /// It is 0.
    Zero,
}

/// What a column compares.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The rank is the number of cuts at or below the feature's order. Strictly increasing, at least one;
    /// the largest possible is one above the order of infinity, which only a missing value passes.
    Cuts(Vec<i64>),
    /// Rank 0 for a category in the set, given as bits of words, else 1. At least one word, the last not 0.
    Set(Vec<u32>),
}

/// One way to see a feature: a split asks whether the rank is below its cut.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column {
    feature: u32,
    missing: Missing,
    /// Magnitudes up to [`ZERO_MAX`] are zero.
    snap: bool,
    /// Zero counts as missing.
    sparse: bool,
    rule: Rule,
}

impl Column {
    /// A column of `feature`.
    ///
    /// `snap`: magnitudes up to LightGBM's zero threshold are 0. `sparse`: 0 is a missing value too.
    ///
    /// # Errors
    /// [`DecisionError::Invalid`] unless the rule is as [`Rule`] says.
    pub fn new(
        feature: u32,
        missing: Missing,
        snap: bool,
        sparse: bool,
        rule: Rule,
    ) -> Result<Self, DecisionError> {
        let ok = match &rule {
            Rule::Cuts(cuts) => {
                let inside = |c: &i64| (-ORDER_MAX..=ORDER_MAX + 1).contains(c);
                (1..=limits::CUTS).contains(&cuts.len())
                    && cuts.iter().all(inside)
                    && cuts.windows(2).all(|p| p[0] < p[1])
                    && !(sparse && missing == Missing::Zero)
            }
            Rule::Set(words) => {
                (1..=limits::CATEGORY_WORDS).contains(&words.len())
                    && words.last() != Some(&0)
                    && missing == Missing::Right
                    && !sparse
            }
        };
        if ok && (snap || !sparse) {
            Ok(Self {
                feature,
                missing,
                snap,
                sparse,
                rule,
            })
        } else {
            Err(DecisionError::Invalid("column"))
        }
    }

    /// The feature's place in a row.
    #[must_use]
    pub fn feature(&self) -> u32 {
        self.feature
    }

    /// What it compares.
    #[must_use]
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// The largest rank, and the largest cut that a split may have.
    #[must_use]
    pub fn ranks(&self) -> usize {
        match &self.rule {
            Rule::Cuts(cuts) => cuts.len(),
            Rule::Set(_) => 1,
        }
    }

    /// The rank of a feature, given as the bits of a double: 0 up to [`Column::ranks`].
    #[must_use]
    pub fn rank(&self, bits: u64) -> u32 {
        match &self.rule {
            Rule::Cuts(cuts) => {
                let near = |k: &i64| self.snap && (-ZERO_MAX..=ZERO_MAX).contains(k);
                let value = order(bits).map(|k| if near(&k) { 0 } else { k });
                let value = value.filter(|k| !(self.sparse && *k == 0));
                let key = match (value, self.missing) {
                    (Some(key), _) => key,
                    (None, Missing::Zero) => 0,
                    (None, Missing::Left) => return 0,
                    (None, Missing::Right) => return cuts.len() as u32,
                };
                cuts.partition_point(|c| *c <= key) as u32
            }
            Rule::Set(words) => {
                let category = truncate(bits).and_then(|c| usize::try_from(c).ok());
                let word = |c: usize| words.get(c / 32).is_some_and(|w| w >> (c % 32) & 1 == 1);
                u32::from(!category.is_some_and(word))
            }
        }
    }
}

impl Encode for Column {
    fn encode(&self, w: &mut Writer) {
        w.u32(self.feature);
        let missing = match self.missing {
            Missing::Left => 0,
            Missing::Right => 1,
            Missing::Zero => 2,
        };
        w.u8(missing);
        w.u8(u8::from(self.snap));
        w.u8(u8::from(self.sparse));
        match &self.rule {
            Rule::Cuts(cuts) => {
                w.u8(0);
                w.len(cuts.len());
                cuts.iter().for_each(|c| w.i64(*c));
            }
            Rule::Set(words) => {
                w.u8(1);
                w.len(words.len());
                words.iter().for_each(|c| w.u32(*c));
            }
        }
    }
}

impl Decode for Column {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let feature = r.u32()?;
        let missing = match r.u8()? {
            0 => Missing::Left,
            1 => Missing::Right,
            2 => Missing::Zero,
            _ => return Err(DecodeError::Invalid("treatment of missing values")),
        };
        let (snap, sparse) = (r.bool()?, r.bool()?);
        let rule = match r.u8()? {
            0 => {
                let n = r.len(limits::CUTS)?;
                let mut raw = Reader::new(r.raw(n * 8)?);
                Rule::Cuts((0..n).map(|_| raw.i64()).collect::<Result<_, _>>()?)
            }
            1 => {
                let n = r.len(limits::CATEGORY_WORDS)?;
                let mut raw = Reader::new(r.raw(n * 4)?);
                Rule::Set((0..n).map(|_| raw.u32()).collect::<Result<_, _>>()?)
            }
            _ => return Err(DecodeError::Invalid("rule of a column")),
        };
        Self::new(feature, missing, snap, sparse, rule).map_err(refused)
    }
}

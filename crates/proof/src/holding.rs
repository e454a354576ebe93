//! The receipt of a session whose inputs were shared: who held which blocks at which point.
//!
//! Each holder states its own session, under a name that no other holder knows; the client's
//! signature over the bundle puts them together. That the answers were right, the client has checked
//! on every row before use; what stays for others is that enough independent holders signed.

use std::collections::BTreeSet;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_model::spec::{RESIDUAL_MAX, limits};

use crate::bundle::{Bundle, HOPS_MAX};
use crate::share::SignedHolder;
use crate::verify::{Violation, within};

/// The name of the tier in a bundle.
pub const PRIVACY: &str = "hss";
/// Most evaluation points.
pub const POINTS_MAX: u8 = 16;

/// The holders of a session and the scheme that they held shares of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Holding {
    /// Points that together learn nothing, t.
    pub threshold: u8,
    /// Points of each block, n.
    pub points: u8,
    /// What each holder states; empty where inputs were not shared.
    pub signed: Vec<SignedHolder>,
}

impl Holding {
    /// Whether inputs were not shared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signed.is_empty()
    }
}

/// Checks the holders of a bundle whose client signature holds: signatures; one session, key and
/// point per holder; the bundle's model; at least t + 1 points for every block; operators and rows.
/// `layers` comes from the verifier's copy of the model; without it the holders' own coverage counts.
///
/// # Errors
/// The first [`Violation`].
pub fn check(b: &Bundle, layers: Option<u32>) -> Result<(), Violation> {
    let h = &b.holders;
    let scheme = h.threshold >= 1 && h.threshold < h.points && h.points <= POINTS_MAX;
    if !scheme || b.inference.privacy != PRIVACY {
        return Err(Violation::Ends("the scheme of shares"));
    }
    if !b.hops.is_empty() || !b.openings.is_empty() || b.cells != 0 {
        return Err(Violation::Ends("the list of hops"));
    }
    let (mut keys, mut sessions, mut points) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (holder, signed) in h.signed.iter().enumerate() {
        let s = &signed.statement;
        if !signed.is_signed() {
            return Err(Violation::HolderSignature { holder });
        }
        let fits = [
            (s.model == b.inference.model, "the model"),
            (keys.insert(s.node), "the node (it is named twice)"),
            (
                sessions.insert(s.session),
                "the session (it is named twice)",
            ),
            (points.insert(s.point), "the point (it is held twice)"),
        ];
        if let Some((_, what)) = fits.iter().find(|f| !f.0) {
            return Err(Violation::Holder { holder, what });
        }
    }
    covered(h, layers)?;
    ends(b)
}

/// Every block is held at t + 1 points or more.
fn covered(h: &Holding, layers: Option<u32>) -> Result<(), Violation> {
    let ends = h
        .signed
        .iter()
        .flat_map(|s| s.statement.ranges.iter().map(|r| r.1));
    let layers = layers.unwrap_or_else(|| ends.max().unwrap_or(0));
    let limit = limits::LAYERS as u32;
    let needed = usize::from(h.threshold) + 1;
    for layer in 0..layers.clamp(1, limit) {
        let held = h.signed.iter().filter(|s| s.statement.holds(layer)).count();
        if held < needed {
            return Err(Violation::Points {
                layer,
                held,
                needed,
            });
        }
    }
    Ok(())
}

/// The client's end: rows, where it gives them, are one for each token.
fn ends(b: &Bundle) -> Result<(), Violation> {
    let i = &b.inference;
    let names: BTreeSet<&String> = i.operators.iter().collect();
    if i.operators.len() != b.holders.signed.len() || names.len() != i.operators.len() {
        return Err(Violation::Ends("the list of operators"));
    }
    let counted = i.rows.is_empty() || i.rows.len() == i.answer.len();
    if i.prompt.is_empty() || !counted {
        return Err(Violation::Ends("the number of tokens"));
    }
    if !i.rows.iter().all(|r| within(r, RESIDUAL_MAX)) {
        return Err(Violation::Ends("a row that a token was sampled from"));
    }
    if i.output_rows.is_empty() {
        return Ok(());
    }
    // Digests of all positions, where the client gives them, end with those of the sampled rows.
    let positions = (i.prompt.len() + i.rows.len()).saturating_sub(1);
    if i.rows.is_empty() || i.output_rows.len() != positions {
        return Err(Violation::Ends("the list of output rows"));
    }
    let at = positions - i.rows.len();
    let fits = |(row, digest): (&Vec<i32>, &Digest)| crate::trace::row(row) == *digest;
    if i.rows.iter().zip(&i.output_rows[at..]).all(fits) {
        Ok(())
    } else {
        Err(Violation::Ends("a row that a token was sampled from"))
    }
}

impl Encode for Holding {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.threshold);
        w.u8(self.points);
        w.seq(&self.signed);
    }
}

impl Decode for Holding {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let holding = Self {
            threshold: r.u8()?,
            points: r.u8()?,
            signed: r.seq(HOPS_MAX)?,
        };
        if holding.is_empty() {
            return Err(DecodeError::Invalid("a receipt of shares without holders"));
        }
        Ok(holding)
    }
}

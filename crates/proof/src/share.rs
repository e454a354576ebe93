//! What holders of shares sign: each answer as it is given, and a statement when a session ends.
//!
//! ```text
//! share digest  = H(rows, encoded share)        answer digest = H(values)
//! AnswerStatement signed with every answer      transcript    = H(transcript, answer statement)
//! HolderStatement signed at the end: flights and rows metered, last transcript
//! ```
//! An answer is a claim about public matrices and a disclosed share, so that a wrong one convicts
//! its holder before anyone. The claim names no point: W·share does not depend on it.

mod wrong;

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};
use nesa_field::P;
use nesa_model::spec::limits;

use crate::statement::is_signed;
pub use wrong::{NotProven, Tile, WrongAnswer};

/// Most field elements of one share or answer: with their header they fit a frame of 32 MiB.
pub const VALUES_MAX: usize = (32 << 20) / 4 - 64;
/// Most rows of one flight: positions times limbs.
pub const ROWS_MAX: u32 = 1 << 14;
/// Most ranges of blocks that one holder serves in a session.
pub const RANGES_MAX: usize = 16;
/// Kinds of products of a block: q·k·v, output, feed-forward, down.
pub const PRODUCTS: u8 = 4;

/// The share of one flight as it travels: all its rows, each of the product's input width.
#[derive(Clone, PartialEq, Eq)]
pub enum Share {
    /// Uniform rows (rows, cols), expanded from this seed by `nesa_field::uniform`.
    Seed([u8; 32]),
    /// The rows (rows, cols), row-major, each value below [`P`].
    Values(Vec<u32>),
}

/// What a holder signs with one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerStatement {
    /// The holder's ed25519 public key.
    pub node: [u8; 32],
    /// Name of the session, chosen by the client, another one for each holder.
    pub session: Digest,
    /// Root of the model whose matrix was applied.
    pub model: Digest,
    /// The block, counted from the model's first.
    pub layer: u32,
    /// The product of that block, below [`PRODUCTS`].
    pub product: u8,
    /// The flight's number in the session.
    pub flight: u64,
    /// Rows of the flight, 1 to [`ROWS_MAX`].
    pub rows: u32,
    /// [`Share::digest`] of what came in.
    pub share: Digest,
    /// [`answer_digest`] of what goes out.
    pub answer: Digest,
}

/// What a holder states about one session when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HolderStatement {
    /// The holder's ed25519 public key.
    pub node: [u8; 32],
    /// Name of the session.
    pub session: Digest,
    /// Root of the model.
    pub model: Digest,
    /// Blocks held in this session: (first, one past the last), ascending, none touching another.
    pub ranges: Vec<(u32, u32)>,
    /// The evaluation point of this holder's shares, from 1.
    pub point: u8,
    /// Flights answered.
    pub flights: u64,
    /// Rows answered, over all flights: what is metered.
    pub rows: u64,
    /// Running hash over all answers, from the zero digest, see [`advance`].
    pub transcript: Digest,
    /// Price per row of one product, in thousandths of a milli-NES; 0 where nothing is charged.
    pub price: u64,
}

/// A holder's statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHolder {
    /// What is stated.
    pub statement: HolderStatement,
    /// Ed25519 over [`HolderStatement::digest`].
    pub signature: [u8; 64],
}

/// Hands the little-endian bytes of `values` on, by blocks that stay in the nearest cache.
fn by_blocks(values: &[u32], mut take: impl FnMut(&[u8])) {
    let mut block = [0; 4096];
    for part in values.chunks(block.len() / 4) {
        for (b, v) in block.chunks_exact_mut(4).zip(part) {
            b.copy_from_slice(&v.to_le_bytes());
        }
        take(&block[..part.len() * 4]);
    }
}

/// Appends the little-endian bytes of field elements.
pub fn put_values(out: &mut Vec<u8>, values: &[u32]) {
    out.reserve(values.len() * 4);
    by_blocks(values, |bytes| out.extend_from_slice(bytes));
}

/// Field elements behind a count.
///
/// # Errors
/// [`DecodeError`] where there are more than [`VALUES_MAX`], or one is not below [`P`].
pub fn read_values(r: &mut Reader<'_>) -> Result<Vec<u32>, DecodeError> {
    let n = r.len(VALUES_MAX)?;
    let values: Vec<u32> = (r.raw(n * 4)?.chunks_exact(4))
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    if values.iter().fold(0, |m, &v| m.max(v)) < P {
        Ok(values)
    } else {
        Err(DecodeError::Invalid("a field element is not below p"))
    }
}

/// Appends a count and field elements to `w`.
pub fn write_values(w: &mut Writer, values: &[u32]) {
    w.len(values.len());
    by_blocks(values, |bytes| w.raw(bytes));
}

/// The digest of an answer (rows, outputs), row-major.
#[must_use]
pub fn answer_digest(values: &[u32]) -> Digest {
    let mut bytes = Vec::with_capacity(values.len() * 4);
    put_values(&mut bytes, values);
    answer_bytes_digest(&bytes)
}

/// [`answer_digest`] of values that are encoded already, four bytes each.
#[must_use]
pub fn answer_bytes_digest(bytes: &[u8]) -> Digest {
    Hasher::new("nesa.share.answer.v1").bytes(bytes).finish()
}

/// The next value of a session's running hash.
#[must_use]
pub fn advance(transcript: &Digest, answer: &AnswerStatement) -> Digest {
    advance_by(transcript, &answer.digest())
}

/// [`advance`] by the digest of an [`AnswerStatement`].
#[must_use]
pub fn advance_by(transcript: &Digest, answer: &Digest) -> Digest {
    Hasher::new("nesa.share.transcript.v1")
        .digest(transcript)
        .digest(answer)
        .finish()
}

impl Share {
    /// The digest of this share of `rows` rows: of its encoding, as it was sent.
    #[must_use]
    pub fn digest(&self, rows: u32) -> Digest {
        Hasher::new("nesa.share.in.v1")
            .u64(u64::from(rows))
            .bytes(&self.encoded())
            .finish()
    }

    fn encoded(&self) -> Vec<u8> {
        let mut w = Writer::with_capacity(self.encoded_len());
        self.encode(&mut w);
        w.into_bytes()
    }

    /// The rows (rows, cols), or `None` where values of another size were sent.
    #[must_use]
    pub fn expand(self, rows: usize, cols: usize) -> Option<Vec<u32>> {
        self.expand_with(rows, cols, nesa_field::uniform_into)
    }

    /// [`Share::expand`] with a twin of `nesa_field::uniform_into`.
    #[must_use]
    pub fn expand_with(
        self,
        rows: usize,
        cols: usize,
        uniform: impl FnOnce(&[u8; 32], &mut [u32]),
    ) -> Option<Vec<u32>> {
        let n = rows.checked_mul(cols).filter(|n| *n <= VALUES_MAX)?;
        match self {
            Self::Seed(seed) => {
                let mut values = vec![0; n];
                uniform(&seed, &mut values);
                Some(values)
            }
            Self::Values(values) => Some(values).filter(|v| v.len() == n),
        }
    }

    /// Bytes of the encoding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        match self {
            Self::Seed(_) => 33,
            Self::Values(values) => 5 + values.len() * 4,
        }
    }
}

/// Shares are as secret as their holder keeps them: they are never printed.
impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seed(_) => f.write_str("Share::Seed(..)"),
            Self::Values(v) => write!(f, "Share::Values({} elements)", v.len()),
        }
    }
}

impl Encode for Share {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Seed(seed) => {
                w.u8(0);
                w.raw(seed);
            }
            Self::Values(values) => {
                w.u8(1);
                write_values(w, values);
            }
        }
    }
}

impl Decode for Share {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8()? {
            0 => Ok(Self::Seed(r.digest()?.0)),
            1 => read_values(r).map(Self::Values),
            _ => Err(DecodeError::Invalid("kind of share")),
        }
    }
}

impl AnswerStatement {
    /// The digest that is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("nesa.proof.answer.v1")
            .bytes(&self.to_bytes())
            .finish()
    }

    /// Signs with `sign`, which holds the node's key and signs under
    /// [`crate::statement::SIGN_NAMESPACE`].
    #[must_use]
    pub fn sign(&self, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> [u8; 64] {
        sign(&self.digest().0)
    }

    /// Whether the statement's node made `signature` over it.
    #[must_use]
    pub fn is_signed(&self, signature: &[u8; 64]) -> bool {
        is_signed(&self.node, &self.digest(), signature)
    }
}

impl HolderStatement {
    /// The digest that is signed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Hasher::new("nesa.proof.holder.v1")
            .bytes(&self.to_bytes())
            .finish()
    }

    /// Signs with `sign`, as [`AnswerStatement::sign`].
    #[must_use]
    pub fn signed(self, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> SignedHolder {
        let signature = sign(&self.digest().0);
        SignedHolder {
            statement: self,
            signature,
        }
    }

    /// Whether the holder holds block `layer` in this session.
    #[must_use]
    pub fn holds(&self, layer: u32) -> bool {
        (self.ranges.iter()).any(|(first, end)| (*first..*end).contains(&layer))
    }
}

impl SignedHolder {
    /// Whether the statement's node signed it.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        let s = &self.statement;
        is_signed(&s.node, &s.digest(), &self.signature)
    }
}

/// Appends ranges of blocks.
pub fn write_ranges(w: &mut Writer, ranges: &[(u32, u32)]) {
    w.len(ranges.len());
    for (first, end) in ranges {
        w.u32(*first);
        w.u32(*end);
    }
}

/// Ranges of blocks: at least one, none empty, ascending, none touching another.
///
/// # Errors
/// [`DecodeError`] for all others.
pub fn read_ranges(r: &mut Reader<'_>) -> Result<Vec<(u32, u32)>, DecodeError> {
    let n = r.len(RANGES_MAX)?;
    let mut ranges = Vec::with_capacity(n);
    let mut free = 0;
    for i in 0..n {
        let (first, end) = (r.u32()?, r.u32()?);
        let fits = first >= free && (i == 0 || first > free);
        if !fits || first >= end || end as usize > limits::LAYERS {
            return Err(DecodeError::Invalid("ranges of blocks"));
        }
        free = end;
        ranges.push((first, end));
    }
    if ranges.is_empty() {
        return Err(DecodeError::Invalid("ranges of blocks"));
    }
    Ok(ranges)
}

/// An evaluation point: any byte but 0, where the secret is.
///
/// # Errors
/// [`DecodeError`].
pub fn read_point(r: &mut Reader<'_>) -> Result<u8, DecodeError> {
    match r.u8()? {
        0 => Err(DecodeError::Invalid("evaluation point")),
        point => Ok(point),
    }
}

/// Sixty-four bytes.
pub(crate) fn read_signature(r: &mut Reader<'_>) -> Result<[u8; 64], DecodeError> {
    let mut signature = [0; 64];
    signature.copy_from_slice(r.raw(64)?);
    Ok(signature)
}

impl Encode for AnswerStatement {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        w.digest(&self.session);
        w.digest(&self.model);
        w.u32(self.layer);
        w.u8(self.product);
        w.u64(self.flight);
        w.u32(self.rows);
        w.digest(&self.share);
        w.digest(&self.answer);
    }
}

impl Decode for AnswerStatement {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            session: r.digest()?,
            model: r.digest()?,
            layer: r.u32()?,
            product: r.u8()?,
            flight: r.u64()?,
            rows: r.u32()?,
            share: r.digest()?,
            answer: r.digest()?,
        })
    }
}

impl Encode for HolderStatement {
    fn encode(&self, w: &mut Writer) {
        w.raw(&self.node);
        w.digest(&self.session);
        w.digest(&self.model);
        write_ranges(w, &self.ranges);
        w.u8(self.point);
        w.u64(self.flights);
        w.u64(self.rows);
        w.digest(&self.transcript);
        w.u64(self.price);
    }
}

impl Decode for HolderStatement {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            node: r.digest()?.0,
            session: r.digest()?,
            model: r.digest()?,
            ranges: read_ranges(r)?,
            point: read_point(r)?,
            flights: r.u64()?,
            rows: r.u64()?,
            transcript: r.digest()?,
            price: r.u64()?,
        })
    }
}

impl Encode for SignedHolder {
    fn encode(&self, w: &mut Writer) {
        self.statement.encode(w);
        w.raw(&self.signature);
    }
}

impl Decode for SignedHolder {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            statement: HolderStatement::decode(r)?,
            signature: read_signature(r)?,
        })
    }
}

//! A receipt that stands alone: the inference statement, every hop's signature, and opened cells.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};
use nesa_model::Sampling;
use nesa_model::spec::limits;

use crate::holding::Holding;
use crate::opening::LayerOpening;
use crate::statement::{SignedHop, is_signed};

/// Most bytes of a bundle: 256 MiB.
pub const BUNDLE_BYTES_MAX: usize = 256 << 20;
/// Most hops of a session.
pub const HOPS_MAX: usize = 512;
const MAGIC: &[u8; 8] = b"nesabnd1";
/// Marks a bundle with holders of shares; all others keep their first form.
const MAGIC_SHARED: &[u8; 8] = b"nesabnd2";
/// Marks a bundle whose ranges were each run by a second side.
const MAGIC_SECONDS: &[u8; 8] = b"nesabnd3";

/// The inference statement: tokens in, tokens out, under which model and tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inference {
    /// Root of the compiled model, whatever tier hid it.
    pub model: Digest,
    /// Digest of the integer semantics.
    pub spec: Digest,
    /// Privacy tier: `open`, `ee` or `hss`.
    pub privacy: String,
    /// Machine-readable leakage statement (JSON).
    pub leakage: String,
    /// Salt of the commitments; stays with the client unless it shares the bundle.
    pub salt: Digest,
    /// Prompt tokens.
    pub prompt: Vec<u32>,
    /// Answer tokens, in order, the closing one included where it was sampled.
    pub answer: Vec<u32>,
    /// How tokens were chosen.
    pub sampling: Sampling,
    /// The hidden rows (dim) from which each answer token was sampled.
    pub rows: Vec<Vec<i32>>,
    /// Digests of all rows that the last hop put out, by position.
    pub output_rows: Vec<Digest>,
    /// Names that the operators gave themselves, one per hop or holder.
    pub operators: Vec<String>,
}

/// What a second side states about the range of a hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Second {
    /// The same claim as the hop's, signed by another node, or by the client where it computed the range itself.
    pub hop: SignedHop,
    /// The name that its operator gave itself.
    pub operator: String,
}

/// A self-contained receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What the client states.
    pub inference: Inference,
    /// What each hop states, in order.
    pub hops: Vec<SignedHop>,
    /// At level `refereed`, what a second side states about each hop's range; else empty.
    pub seconds: Vec<Second>,
    /// The holders of shares, under `hss`; there are no hops then.
    pub holders: Holding,
    /// The revealed challenge nonce.
    pub nonce: Digest,
    /// Cells drawn for opening; 0 at level `receipt`.
    pub cells: u64,
    /// Opened cells, by layer.
    pub openings: Vec<LayerOpening>,
    /// The client's ed25519 public key.
    pub client: [u8; 32],
    /// The client's signature over everything above.
    pub signature: [u8; 64],
}

impl Inference {
    /// Salted commitment to the prompt.
    #[must_use]
    pub fn input_commitment(&self) -> Digest {
        commitment("nesa.inference.input.v1", &self.salt, &self.prompt)
    }

    /// Salted commitment to the answer.
    #[must_use]
    pub fn output_commitment(&self) -> Digest {
        commitment("nesa.inference.output.v1", &self.salt, &self.answer)
    }
}

fn commitment(namespace: &'static str, salt: &Digest, tokens: &[u32]) -> Digest {
    tokens
        .iter()
        .fold(Hasher::new(namespace).digest(salt), |h, &t| {
            h.u64(u64::from(t))
        })
        .finish()
}

impl Bundle {
    /// The digest that the client signs: every byte but the signature.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut w = Writer::default();
        self.encode_body(&mut w);
        Hasher::new("nesa.bundle.v1").bytes(w.as_slice()).finish()
    }

    /// Signs with `sign`, which holds the client's key.
    #[must_use]
    pub fn signed(mut self, sign: &dyn Fn(&[u8]) -> [u8; 64]) -> Self {
        self.signature = sign(&self.digest().0);
        self
    }

    /// Whether the client named in the bundle signed it as it is.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        is_signed(&self.client, &self.digest(), &self.signature)
    }

    /// Merkle root over the last hop's output rows.
    #[must_use]
    pub fn output_root(&self) -> Digest {
        merkle::root(&self.inference.output_rows)
    }

    fn encode_body(&self, w: &mut Writer) {
        let (shared, twice) = (!self.holders.is_empty(), !self.seconds.is_empty());
        w.raw(match (twice, shared) {
            (true, _) => MAGIC_SECONDS,
            (false, true) => MAGIC_SHARED,
            (false, false) => MAGIC,
        });
        self.inference.encode(w);
        w.seq(&self.hops);
        if twice {
            w.seq(&self.seconds);
        } else if shared {
            self.holders.encode(w);
        }
        w.digest(&self.nonce);
        w.u64(self.cells);
        w.seq(&self.openings);
        w.raw(&self.client);
    }
}

fn tokens(w: &mut Writer, t: &[u32]) {
    w.len(t.len());
    t.iter().for_each(|v| w.u32(*v));
}

fn read_tokens(r: &mut Reader<'_>) -> Result<Vec<u32>, DecodeError> {
    let n = r.len(limits::CONTEXT)?;
    let raw = r.raw(n * 4)?;
    Ok(raw
        .chunks_exact(4)
        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect())
}

impl Encode for Inference {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.model);
        w.digest(&self.spec);
        w.str(&self.privacy);
        w.str(&self.leakage);
        w.digest(&self.salt);
        tokens(w, &self.prompt);
        tokens(w, &self.answer);
        w.u32(self.sampling.temperature_milli);
        w.u32(self.sampling.top_p_milli);
        w.u32(self.sampling.top_k);
        w.u64(self.sampling.seed);
        w.len(self.rows.len());
        self.rows.iter().for_each(|r| w.i32s(r));
        w.seq(&self.output_rows);
        w.len(self.operators.len());
        self.operators.iter().for_each(|o| w.str(o));
    }
}

impl Decode for Inference {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (model, spec) = (r.digest()?, r.digest()?);
        let (privacy, leakage) = (r.str(16)?.to_owned(), r.str(1 << 16)?.to_owned());
        let salt = r.digest()?;
        let (prompt, answer) = (read_tokens(r)?, read_tokens(r)?);
        let sampling = Sampling {
            temperature_milli: r.u32()?,
            top_p_milli: r.u32()?,
            top_k: r.u32()?,
            seed: r.u64()?,
        };
        let n = r.len(limits::CONTEXT)?;
        let rows = (0..n)
            .map(|_| r.i32s(limits::DIM))
            .collect::<Result<_, _>>()?;
        let output_rows = r.seq(limits::CONTEXT)?;
        let n = r.len(HOPS_MAX)?;
        let operators = (0..n)
            .map(|_| r.str(256).map(str::to_owned))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            model,
            spec,
            privacy,
            leakage,
            salt,
            prompt,
            answer,
            sampling,
            rows,
            output_rows,
            operators,
        })
    }
}

/// At least one: without any, a bundle has another first form.
fn seconds(r: &mut Reader<'_>) -> Result<Vec<Second>, DecodeError> {
    let all: Vec<Second> = r.seq(HOPS_MAX)?;
    if all.is_empty() {
        return Err(DecodeError::Invalid("second sides"));
    }
    Ok(all)
}

impl Encode for Second {
    fn encode(&self, w: &mut Writer) {
        self.hop.encode(w);
        w.str(&self.operator);
    }
}

impl Decode for Second {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            hop: SignedHop::decode(r)?,
            operator: r.str(256)?.to_owned(),
        })
    }
}

impl Encode for Bundle {
    fn encode(&self, w: &mut Writer) {
        self.encode_body(w);
        w.raw(&self.signature);
    }
}

impl Decode for Bundle {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.remaining() > BUNDLE_BYTES_MAX {
            return Err(DecodeError::TooLong {
                actual: r.remaining(),
                max: BUNDLE_BYTES_MAX,
            });
        }
        let (shared, twice) = match r.raw(MAGIC.len())? {
            magic if magic == MAGIC => (false, false),
            magic if magic == MAGIC_SHARED => (true, false),
            magic if magic == MAGIC_SECONDS => (false, true),
            _ => return Err(DecodeError::Invalid("not a receipt bundle of this version")),
        };
        let bundle = Self {
            inference: Inference::decode(r)?,
            hops: r.seq(HOPS_MAX)?,
            seconds: if twice { seconds(r)? } else { Vec::new() },
            holders: if shared {
                Holding::decode(r)?
            } else {
                Holding::default()
            },
            nonce: r.digest()?,
            cells: r.u64()?,
            openings: r.seq(limits::LAYERS)?,
            client: r.digest()?.0,
            signature: {
                let mut s = [0; 64];
                s.copy_from_slice(r.raw(64)?);
                s
            },
        };
        Ok(bundle)
    }
}

//! What a model consists of, by digest: the manifest, whose digest is the model root.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer};

use crate::spec::{Shape, limits, spec_digest};

/// How an encoder's rows become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The model is a decoder.
    None,
    /// The mean over all positions, scaled to length one.
    Mean,
    /// The first position, scaled to length one.
    First,
}

/// A part of a model that is stored and sent as one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartId {
    /// [`crate::block::Common`]; nodes need it.
    Common,
    /// [`crate::Vocabulary`]; only clients have it.
    Vocabulary,
    /// One [`crate::Block`].
    Layer(u32),
}

/// Everything that determines a model's output, by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Name for people; part of the root.
    pub name: String,
    /// Sizes.
    pub shape: Shape,
    /// Digest of the integer semantics.
    pub spec: Digest,
    /// Root of [`crate::block::Common`].
    pub common: Digest,
    /// Root of each block.
    pub layers: Vec<Digest>,
    /// What only clients hold.
    pub text: TextSide,
    /// For sealed blocks: the public name of the key they were sealed under.
    pub sealed_under: Option<Digest>,
}

/// The part of the manifest that concerns text; a sealed manifest has only its defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextSide {
    /// Root of [`crate::Vocabulary`].
    pub vocabulary: Digest,
    /// Digest of the tokenizer's canonical JSON.
    pub tokenizer: Digest,
    /// Digest of the chat template's text.
    pub template: Digest,
    /// Tokens that end an answer.
    pub eos: Vec<u32>,
    /// Token put before every prompt.
    pub bos: Option<u32>,
    /// How an encoder's rows become one vector.
    pub pooling: Pooling,
}

impl Default for TextSide {
    fn default() -> Self {
        Self {
            vocabulary: Digest::default(),
            tokenizer: Digest::default(),
            template: Digest::default(),
            eos: Vec::new(),
            bos: None,
            pooling: Pooling::None,
        }
    }
}

impl Manifest {
    /// The model root.
    #[must_use]
    pub fn root(&self) -> Digest {
        Hasher::new("nesa.model.root.v1")
            .bytes(&self.to_bytes())
            .finish()
    }

    /// The root that part `id` must have, or `None` when the model has no such part.
    #[must_use]
    pub fn part_root(&self, id: PartId) -> Option<Digest> {
        match id {
            PartId::Common => Some(self.common),
            PartId::Vocabulary => Some(self.text.vocabulary).filter(|d| *d != Digest::default()),
            PartId::Layer(i) => self.layers.get(i as usize).copied(),
        }
    }
}

impl std::fmt::Display for PartId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Common => write!(f, "common"),
            Self::Vocabulary => write!(f, "vocabulary"),
            Self::Layer(i) => write!(f, "layer-{i:04}"),
        }
    }
}

impl Encode for PartId {
    fn encode(&self, w: &mut Writer) {
        w.u32(match self {
            Self::Common => u32::MAX,
            Self::Vocabulary => u32::MAX - 1,
            Self::Layer(i) => *i,
        });
    }
}

impl Decode for PartId {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u32()? {
            u32::MAX => Ok(Self::Common),
            v if v == u32::MAX - 1 => Ok(Self::Vocabulary),
            v if (v as usize) < limits::LAYERS => Ok(Self::Layer(v)),
            _ => Err(DecodeError::Invalid("part id")),
        }
    }
}

impl Encode for TextSide {
    fn encode(&self, w: &mut Writer) {
        w.digest(&self.vocabulary);
        w.digest(&self.tokenizer);
        w.digest(&self.template);
        w.len(self.eos.len());
        for t in &self.eos {
            w.u32(*t);
        }
        w.u8(u8::from(self.bos.is_some()));
        if let Some(t) = self.bos {
            w.u32(t);
        }
        w.u8(match self.pooling {
            Pooling::None => 0,
            Pooling::Mean => 1,
            Pooling::First => 2,
        });
    }
}

impl Decode for TextSide {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (vocabulary, tokenizer, template) = (r.digest()?, r.digest()?, r.digest()?);
        let n = r.len(64)?;
        let eos = (0..n).map(|_| r.u32()).collect::<Result<_, _>>()?;
        let bos = if r.bool()? { Some(r.u32()?) } else { None };
        let pooling = match r.u8()? {
            0 => Pooling::None,
            1 => Pooling::Mean,
            2 => Pooling::First,
            _ => return Err(DecodeError::Invalid("pooling")),
        };
        Ok(Self {
            vocabulary,
            tokenizer,
            template,
            eos,
            bos,
            pooling,
        })
    }
}

impl Encode for Manifest {
    fn encode(&self, w: &mut Writer) {
        w.str(&self.name);
        self.shape.encode(w);
        w.digest(&self.spec);
        w.digest(&self.common);
        w.seq(&self.layers);
        self.text.encode(w);
        w.u8(u8::from(self.sealed_under.is_some()));
        if let Some(d) = &self.sealed_under {
            w.digest(d);
        }
    }
}

impl Decode for Manifest {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let manifest = Self {
            name: r.str(256)?.to_owned(),
            shape: Shape::decode(r)?,
            spec: r.digest()?,
            common: r.digest()?,
            layers: r.seq(limits::LAYERS)?,
            text: TextSide::decode(r)?,
            sealed_under: if r.bool()? { Some(r.digest()?) } else { None },
        };
        if manifest.spec != spec_digest() {
            return Err(DecodeError::Invalid(
                "the model follows another version of IntSpec",
            ));
        }
        if manifest.layers.len() != manifest.shape.layers {
            return Err(DecodeError::Invalid("number of layers"));
        }
        Ok(manifest)
    }
}

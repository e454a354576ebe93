//! A model as its client and its nodes hold it, from a home or random.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use nesa_checkpoint::{ChatTemplate, Tokenizer};
use nesa_client::{ClientModel, Tier};
use nesa_codec::{Digest, Encode};
use nesa_kernels::Level;
use nesa_model::block::Common;
use nesa_model::{Block, Manifest, PartId, Shape, Shard, Vocabulary, testing};
use nesa_privacy::{DeploymentKey, Kept, RowKey, Sink, StoreError, seal};
use nesa_proof::checked::Subject;
use nesa_storage::ModelDir;

use crate::Result;

/// A chat template of nothing but the messages' texts.
const TEMPLATE: &str = "{% for m in messages %}{{ m.content }}{% endfor %}";

/// A compiled model with all its parts.
#[derive(Debug)]
pub struct Model {
    manifest: Manifest,
    common: Common,
    blocks: Vec<Block>,
    client: Arc<ClientModel>,
}

/// A model as nodes serve it under one tier.
#[derive(Debug)]
pub struct Served {
    /// The client's side.
    pub client: Arc<ClientModel>,
    /// Hides and reveals rows.
    pub tier: Tier,
    /// What nodes get, beside the parts.
    pub manifest: Manifest,
    common: Arc<Common>,
    blocks: Vec<Block>,
    /// Packed one by one, for recomputation.
    single: BTreeMap<u32, Arc<Shard>>,
}

/// The blocks of each of `n` hops; fewer hops where the model has fewer layers.
#[must_use]
pub fn split(layers: usize, n: usize) -> Vec<Range<usize>> {
    let n = n.clamp(1, layers.max(1));
    (0..n)
        .map(|i| i * layers / n..(i + 1) * layers / n)
        .collect()
}

/// A tokenizer whose words are `w0`, `w1`, ….
fn words(vocab: usize) -> Result<Tokenizer> {
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..vocab).map(|i| (format!("w{i}"), i.into())).collect();
    let json = serde_json::json!({
        "version": "1.0",
        "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null, "decoder": null,
        "model": {
            "type": "WordPiece", "vocab": vocab, "unk_token": "w0",
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        },
    });
    Ok(Tokenizer::from_json(&json.to_string(), &[])?)
}

impl Model {
    fn new(
        manifest: Manifest,
        common: Common,
        blocks: Vec<Block>,
        vocabulary: Vocabulary,
        tokenizer: Tokenizer,
        template: ChatTemplate,
    ) -> Result<Self> {
        let client = ClientModel::new(manifest.clone(), vocabulary, tokenizer, template)?;
        Ok(Self {
            manifest,
            common,
            blocks,
            client: Arc::new(client),
        })
    }

    /// A random model; its text is noise.
    ///
    /// # Errors
    /// [`crate::Error::Client`] for an encoder's shape.
    pub fn random(shape: &Shape, seed: u64) -> Result<Self> {
        let m = testing::model(shape, seed);
        let template = ChatTemplate::new(TEMPLATE, "", "")?;
        let tokenizer = words(shape.vocab)?;
        Self::new(
            m.manifest,
            m.common,
            m.blocks,
            m.vocabulary,
            tokenizer,
            template,
        )
    }

    /// A model of a home, all parts verified.
    ///
    /// # Errors
    /// [`crate::Error::Storage`] for missing or damaged parts.
    pub fn open(dir: &ModelDir) -> Result<Self> {
        let common = dir.open_common()?;
        let blocks = (0..dir.manifest().shape.layers as u32)
            .map(|i| dir.open_layer(i, &common))
            .collect::<std::result::Result<_, _>>()?;
        Self::new(
            dir.manifest().clone(),
            common,
            blocks,
            dir.open_vocabulary()?,
            dir.tokenizer()?,
            dir.chat()?,
        )
    }

    /// The client's side.
    #[must_use]
    pub fn client(&self) -> &Arc<ClientModel> {
        &self.client
    }

    /// The model served as it is.
    #[must_use]
    pub fn served_open(&self) -> Served {
        Served {
            client: Arc::clone(&self.client),
            tier: Tier::Open,
            manifest: self.manifest.clone(),
            common: Arc::new(self.common.clone()),
            blocks: self.blocks.clone(),
            single: BTreeMap::new(),
        }
    }

    /// The model sealed under `key`, from the bytes that sealing writes.
    ///
    /// # Errors
    /// [`crate::Error::Privacy`].
    pub fn served_ee(&self, key: &DeploymentKey) -> Result<Served> {
        let mut parts = Parts::default();
        let mut read = |id| match id {
            PartId::Common => Ok(self.common.to_bytes()),
            PartId::Layer(i) => Ok(self.blocks[i as usize].to_bytes()),
            PartId::Vocabulary => Err(StoreError::from("nodes get no vocabulary")),
        };
        let sealed = seal(&self.manifest, key, &mut read, &mut parts, &mut |_| ())?;
        let part = |id| parts.0.get(&id).map_or(&[][..], |b| &b[..]);
        let common = sealed.manifest.open_common(part(PartId::Common))?;
        let blocks = (0..self.manifest.shape.layers as u32)
            .map(|i| (sealed.manifest).open_layer(i, part(PartId::Layer(i)), &common))
            .collect::<std::result::Result<_, _>>()?;
        let rows = RowKey::new(&key.for_model(&self.manifest.root()), &self.manifest.shape);
        Ok(Served {
            client: Arc::clone(&self.client),
            tier: Tier::Ee(Arc::new(rows)),
            manifest: sealed.manifest,
            common: Arc::new(common),
            blocks,
            single: BTreeMap::new(),
        })
    }
}

#[derive(Default)]
struct Parts(BTreeMap<PartId, Vec<u8>>);

impl Sink for Parts {
    fn kept(&mut self, _: PartId) -> std::result::Result<Option<Kept>, StoreError> {
        Ok(None)
    }

    fn keep(
        &mut self,
        part: PartId,
        _: &Digest,
        kept: Kept,
    ) -> std::result::Result<(), StoreError> {
        self.0.insert(part, kept.bytes);
        Ok(())
    }
}

impl Served {
    /// Sizes.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.manifest.shape
    }

    /// What a client keeps to check every product of the served model.
    ///
    /// # Errors
    /// [`crate::Error::Model`].
    pub fn subject(&self) -> Result<Arc<Subject>> {
        let common = Arc::clone(&self.common);
        let mut subject = Subject::new(&[3; 32], self.shape().clone(), common);
        for block in &self.blocks {
            subject.push(Level::detect(), block)?;
        }
        Ok(Arc::new(subject))
    }

    /// Root of the model that the nodes serve.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.manifest.root()
    }

    /// Everything that a node with the blocks `layers` is sent to serve them.
    #[must_use]
    pub fn deployed_bytes(&self, layers: Range<usize>) -> Vec<u8> {
        let mut bytes = self.manifest.to_bytes();
        bytes.extend(self.common.to_bytes());
        for block in &self.blocks[layers] {
            bytes.extend(block.to_bytes());
        }
        bytes
    }

    /// The blocks `layers`, each changed by `corrupt` and packed.
    ///
    /// # Errors
    /// [`crate::Error::Model`].
    pub fn shard(&self, layers: Range<usize>, corrupt: &dyn Fn(Block) -> Block) -> Result<Shard> {
        let common = Arc::clone(&self.common);
        let mut shard = Shard::new(self.shape().clone(), common, layers.clone());
        for block in &self.blocks[layers] {
            shard.push(&corrupt(block.clone()))?;
        }
        Ok(shard)
    }

    /// Block `i` as it was compiled or sealed.
    #[must_use]
    pub fn raw_block(&self, i: u32) -> Option<Block> {
        self.blocks.get(i as usize).cloned()
    }

    /// The tables that the blocks share.
    #[must_use]
    pub fn common(&self) -> &Arc<Common> {
        &self.common
    }

    /// The packed block of layer `i`, for recomputation.
    pub fn block(&mut self, i: u32) -> Option<Arc<Shard>> {
        if let Some(shard) = self.single.get(&i) {
            return Some(Arc::clone(shard));
        }
        let at = i as usize;
        let shard = (at < self.blocks.len()).then(|| self.shard(at..at + 1, &|b| b))?;
        let shard = Arc::new(shard.ok()?);
        self.single.insert(i, Arc::clone(&shard));
        Some(shard)
    }
}

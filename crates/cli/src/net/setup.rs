//! From a model's name to an answer: client side, sealed or open blocks, nodes.

use std::sync::{Arc, Mutex};

use nesa_checkpoint::Message;
use nesa_client::{Ask, Assurance, ClientModel, Padding, Privacy, Request, Tier};
use nesa_codec::{Digest, Encode};
use nesa_kernels::Level;
use nesa_model::block::Common;
use nesa_model::manifest::Pooling;
use nesa_model::{Block, Engine, Sampling, Shard};
use nesa_privacy::RowKey;
use nesa_privacy::shares::Scheme;
use nesa_storage::{Home, ModelDir};

use super::answer::{Answer, Compute, answer, random};
use super::checking::{self, Subjects};
use super::fleet::{Fleet, split};
use super::heads::Heads;
use super::private::{self, PrivateModel};
use super::{NetworkError, deploy, refereed, sealing};

/// A model ready to be asked under one tier.
pub struct Prepared {
    /// Text side, embedding and head.
    pub client: Arc<ClientModel>,
    /// What the nodes serve: sealed under `ee`, else as compiled.
    pub served: ModelDir,
    /// How requests travel.
    pub way: Way,
    common: Arc<Common>,
    home: Home,
    packed: Mutex<Vec<Option<Arc<Shard>>>>,
    subjects: Subjects,
    /// Computes the logits of several answers at once, where answers run side by side.
    pub heads: Option<Heads>,
}

/// How requests travel.
#[derive(Debug, Clone)]
pub enum Way {
    /// Hidden rows go from hop to hop.
    Hops(Tier),
    /// Shares go to holders; everything but the products is done here.
    Shares(Arc<PrivateModel>),
}

/// How shares are dealt and lengths hidden under `hss`.
#[derive(Debug, Clone, Copy)]
pub struct Sharing {
    /// Who learns nothing together, and how many hold a share.
    pub scheme: Scheme,
    /// Rows of one step; by the distance of the holders unless given.
    pub width: Option<usize>,
    /// Buckets of lengths.
    pub padding: Padding,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// One question.
#[derive(Debug, Clone)]
pub struct Question {
    /// The conversation.
    pub messages: Vec<Message>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Most tokens of the answer.
    pub max_tokens: usize,
    /// Evidence asked for.
    pub assurance: Assurance,
}

/// Prompt positions per flight: large enough for full matrix products, small enough that hops of
/// one pipeline work at the same time.
const CHUNK: usize = 64;

/// Loads the client side of `model`, and what the tier needs besides: sealed blocks, or check keys.
///
/// # Errors
/// [`NetworkError`] of the part that fails.
pub fn prepare(
    home: &Home,
    model: &ModelDir,
    privacy: Privacy,
    sharing: Sharing,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Prepared, NetworkError> {
    match privacy {
        Privacy::Open => prepare_with(home, model, None, progress),
        Privacy::Ee => {
            let key = sealing::deployment_key(home)?;
            prepare_with(home, model, Some(&key), progress)
        }
        Privacy::Hss => {
            let mut prepared = prepare_with(home, model, None, &mut |_, _| ())?;
            let private = PrivateModel::load(home, model, sharing, progress)?;
            prepared.way = Way::Shares(Arc::new(private));
            Ok(prepared)
        }
    }
}

/// As [`prepare`], under a given deployment key, or open without one.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_with(
    home: &Home,
    model: &ModelDir,
    key: Option<&nesa_privacy::DeploymentKey>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Prepared, NetworkError> {
    let manifest = model.manifest().clone();
    if manifest.text.pooling != Pooling::None {
        return Err(nesa_client::ClientError::NotAChatModel.into());
    }
    let (served, tier) = match key {
        None => (model.clone(), Tier::Open),
        Some(key) => {
            let served = sealing::sealed(home, model, key, progress)?;
            let rows = RowKey::new(&key.for_model(&manifest.root()), &manifest.shape);
            (served, Tier::Ee(Arc::new(rows)))
        }
    };
    let client = ClientModel::new(
        manifest,
        model.open_vocabulary()?,
        model.tokenizer()?,
        model.chat()?,
    )?;
    let common = Arc::new(served.open_common()?);
    let layers = served.manifest().shape.layers;
    Ok(Prepared {
        client: Arc::new(client),
        served,
        way: Way::Hops(tier),
        common,
        home: home.clone(),
        packed: Mutex::new(vec![None; layers]),
        subjects: Subjects::default(),
        heads: None,
    })
}

impl Prepared {
    /// The tier.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        match &self.way {
            Way::Hops(tier) => tier.privacy(),
            Way::Shares(_) => Privacy::Hss,
        }
    }

    /// A hidden row as the unsealed model puts it out.
    ///
    /// # Errors
    /// As [`Tier::reveal`].
    pub fn reveal(&self, row: &mut [i32]) -> Result<(), NetworkError> {
        match &self.way {
            Way::Hops(tier) => Ok(tier.reveal(row)?),
            Way::Shares(_) => Ok(()),
        }
    }

    /// The packed block of layer `i` as the nodes serve it, for recomputation.
    #[must_use]
    pub fn block(&self, i: u32) -> Option<Arc<Shard>> {
        let at = i as usize;
        let mut packed = self.packed.lock().ok()?;
        if let Some(shard) = packed.get(at)? {
            return Some(Arc::clone(shard));
        }
        let shape = self.served.manifest().shape.clone();
        let mut shard = Shard::new(shape, Arc::clone(&self.common), at..at + 1);
        shard
            .push(&self.served.open_layer(i, &self.common).ok()?)
            .ok()?;
        let shard = Arc::new(shard);
        packed[at] = Some(Arc::clone(&shard));
        Some(shard)
    }

    /// The tables that the blocks share.
    #[must_use]
    pub fn common(&self) -> Arc<Common> {
        Arc::clone(&self.common)
    }

    /// The blocks as the nodes serve them, one at a time.
    pub fn blocks(&self) -> impl FnMut(u32) -> Option<Block> + Send + '_ {
        |i| self.served.open_layer(i, &self.common).ok()
    }

    /// The folder of receipts and evidence.
    ///
    /// # Errors
    /// [`NetworkError::Storage`].
    pub fn receipts(&self) -> Result<std::path::PathBuf, NetworkError> {
        Ok(self.home.receipts()?)
    }

    /// Root of the model that the nodes serve.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.served.root()
    }

    /// Asks over `fleet`, whose nodes serve this model.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub async fn ask(
        &self,
        fleet: &Fleet,
        engine: &mut Engine,
        q: &Question,
        show: &mut (dyn FnMut(&str) -> bool + Send),
    ) -> Result<Answer, NetworkError> {
        let mut request = Request {
            prompt: self.client.prompt(&q.messages)?,
            sampling: q.sampling,
            max_tokens: q.max_tokens,
            chunk: CHUNK,
        };
        let tier = match &self.way {
            Way::Shares(private) => {
                return private::answer(fleet, self, private, request, engine, show).await;
            }
            Way::Hops(tier) => tier.clone(),
        };
        if q.assurance == Assurance::Refereed {
            let table = refereed::Table {
                fleet,
                prepared: self,
                tier: &tier,
                request,
            };
            return refereed::ask(&table, engine, show).await;
        }
        let subject = match q.assurance {
            Assurance::Checked => Some(self.subjects.of(&self.served)?),
            _ => None,
        };
        if let Some(subject) = &subject {
            let ranges = split(subject.shape().layers, fleet.nodes.len());
            request.chunk = CHUNK.min(checking::rows_max(subject, &ranges)?);
        }
        let ask = Ask::new(Arc::clone(&self.client), tier, request)?;
        let mut blocks = |i| self.block(i);
        let compute = Compute {
            engine,
            heads: self.heads.as_ref(),
            blocks: &mut blocks,
            subject,
        };
        answer(fleet, ask, self.root(), q.assurance, compute, show).await
    }

    /// Makes sure that every node of `fleet` serves its range.
    ///
    /// # Errors
    /// As [`deploy::deploy`].
    pub async fn deploy(&self, fleet: &Fleet, sent: &dyn Fn(u64)) -> Result<(), NetworkError> {
        match &self.way {
            Way::Hops(_) => deploy::deploy(fleet, &self.served, sent).await,
            Way::Shares(private) => {
                let placement = private.placement(fleet)?;
                deploy::shares(fleet, &self.served, &placement, sent).await
            }
        }
    }
}

/// An engine for the client's own part.
#[must_use]
pub fn engine(simd: Option<&str>, threads: usize) -> Engine {
    let level = simd
        .and_then(|s| s.parse().ok())
        .unwrap_or_else(Level::detect);
    Engine::new(level, threads)
}

/// Writes a receipt bundle and returns its path.
///
/// # Errors
/// [`NetworkError::Storage`].
pub fn write_receipt(
    home: &Home,
    answer: &Answer,
    to: Option<&std::path::Path>,
) -> Result<std::path::PathBuf, NetworkError> {
    let path = match to {
        Some(path) => path.to_owned(),
        None => {
            let name = random()?.to_string();
            home.receipts()?.join(format!("{}.nesabundle", &name[..16]))
        }
    };
    let bytes = answer.bundle.to_bytes();
    nesa_storage::disk::write(&path, &bytes, nesa_storage::disk::Access::Owner)
        .map_err(nesa_storage::Error::from)?;
    Ok(path)
}

//! The honest world: a small random model, its client, two hops, and what they hold.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use ed25519_dalek::{Signer, SigningKey};
use nesa_argument::transformer::RangeProof;
use nesa_client::{ClientModel, Request};
use nesa_codec::Digest;
use nesa_kernels::Level;
use nesa_model::spec::Order;
use nesa_model::testing::{self, Noise};
use nesa_model::{Engine, Sampling, Shape, Shard};
use nesa_proof::checked::Subject;
use nesa_proof::dispute::apply::Output;
use nesa_proof::dispute::{Cell, Half, Op, Parts, Record};
use nesa_proof::statement::signed_bytes;

use super::hop::Hand;
use super::session::Session;
use crate::{Model, Result};

/// The hops' blocks; the second one lies.
pub(super) const HOPS: [Range<usize>; 2] = [0..1, 1..3];
/// The hop that lies.
pub(super) const LIAR: usize = 1;
const SEED: u64 = 7;

/// A model, its client and its hops.
pub struct World {
    /// The model.
    pub(super) model: testing::Model,
    /// Its client's side.
    pub(super) client: Arc<ClientModel>,
    /// What the client keeps to check products.
    pub(super) subject: Arc<Subject>,
    /// Every block alone, as a verifier holds it.
    shards: Vec<Arc<Shard>>,
    /// Proofs of honest blocks, by layer and the rows at both ends.
    pub(super) proved: Mutex<HashMap<(usize, Digest, Digest), RangeProof>>,
    /// An honest session.
    pub(super) honest: Session,
    /// What the activation table of the last block is asked for first.
    pub(super) activated: i16,
    /// Another one, with another prompt of the same length.
    pub(super) other: Session,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "World({})", self.model.manifest.name)
    }
}

fn shape() -> Shape {
    Shape {
        layers: 3,
        dim: 8,
        heads: 2,
        kv_heads: 1,
        head_dim: 4,
        ffn: 6,
        vocab: 40,
        context: 16,
        order: Order::Pre,
        causal: true,
        gated: true,
        rotary: true,
    }
}

/// The request of the honest session: three flights.
pub(super) fn request(first: u32) -> Request {
    Request {
        prompt: (first..first + 4).collect(),
        sampling: Sampling {
            temperature_milli: 900,
            seed: 7,
            ..Sampling::default()
        },
        max_tokens: 2,
        chunk: 2,
    }
}

/// A signer under the key that `n` names.
pub(super) fn signer(n: u8) -> impl Fn(&[u8]) -> [u8; 64] {
    let key = SigningKey::from_bytes(&[n; 32]);
    move |digest| {
        let mut d = Digest::default();
        d.0.copy_from_slice(digest);
        key.sign(&signed_bytes(&d)).to_bytes()
    }
}

/// The public key that `n` names: hops have 1 and 2, the client 9.
pub(super) fn key(n: u8) -> [u8; 32] {
    SigningKey::from_bytes(&[n; 32]).verifying_key().to_bytes()
}

/// The name of the client's key.
pub(super) const CLIENT: u8 = 9;

/// An engine of one thread.
pub(super) fn engine() -> Engine {
    Engine::new(Level::detect(), 1)
}

/// The first value that the last block looks up at position 0.
fn activated(m: &testing::Model, s: &Session) -> Result<i16> {
    let parts = Parts {
        manifest: &m.manifest,
        common: &m.common,
        first: HOPS[LIAR].start as u32,
        blocks: &m.blocks[HOPS[LIAR].clone()],
    };
    let rows = s.hops[LIAR].bounds[0].chunks_exact(m.manifest.shape.dim);
    let record = Record::run(&parts, rows.map(<[i32]>::to_vec).collect(), None)?;
    let cell = Cell {
        layer: 2,
        position: 0,
        half: Half::Row,
    };
    let (outs, program) = record.expand(&parts, cell)?;
    Ok(match outs.get(program.steps(Op::Gate).start) {
        Some(Output::Values(v)) => v[0] as i16,
        _ => 0,
    })
}

impl World {
    /// The world in which all attacks are told.
    ///
    /// # Errors
    /// [`crate::Error`] where the honest run breaks off.
    pub fn new() -> Result<Self> {
        let shape = shape();
        let model = testing::model(&shape, SEED);
        let client = Arc::clone(Model::random(&shape, SEED)?.client());
        let common = Arc::new(model.common.clone());
        let mut subject = Subject::new(&[3; 32], shape.clone(), Arc::clone(&common));
        let mut shards = Vec::new();
        for (i, block) in model.blocks.iter().enumerate() {
            subject.push(Level::detect(), block)?;
            let mut shard = Shard::new(shape.clone(), Arc::clone(&common), i..i + 1);
            shard.push(block)?;
            shards.push(Arc::new(shard));
        }
        let hand = Hand::honest(&model);
        let mut noise = Noise(SEED);
        let other = Session::run(&client, &model, &hand, request(20), &mut noise, None)?;
        let honest = Session::run(&client, &model, &hand, request(3), &mut noise, None)?;
        let activated = activated(&model, &honest)?;
        Ok(Self {
            activated,
            subject: Arc::new(subject),
            model,
            client,
            shards,
            proved: Mutex::default(),
            honest,
            other,
        })
    }

    /// The packed block of layer `i`.
    pub(super) fn block(&self, i: u32) -> Option<Arc<Shard>> {
        self.shards.get(i as usize).cloned()
    }

    /// The honest session again, with what `hand` changes at the liar's hop.
    pub(super) fn session(&self, hand: &Hand) -> Result<Session> {
        // The nonces and names of the honest session: nothing but the lie differs.
        let mut noise = Noise(SEED);
        let old = Some(&self.other);
        let _ = super::session::route(&self.model, &mut noise);
        let honest = request(3);
        Session::run(&self.client, &self.model, hand, honest, &mut noise, old)
    }

    /// The proof kept for a block, or what `make` makes.
    pub(super) fn proof(
        &self,
        at: (usize, Digest, Digest),
        make: impl FnOnce() -> Result<RangeProof>,
    ) -> Result<RangeProof> {
        let known = || self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(proof) = known().get(&at) {
            return Ok(proof.clone());
        }
        let proof = make()?;
        known().insert(at, proof.clone());
        Ok(proof)
    }
}

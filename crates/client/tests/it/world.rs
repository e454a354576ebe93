//! A random model, its client, and holders in this process that may lie, fall silent or be late.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use nesa_checkpoint::{ChatTemplate, Tokenizer};
use nesa_client::hss::{Candidate, Effect, Holder, Input, Liar, Private};
use nesa_client::hss::{Machine, PrivateRequest, Traffic};
use nesa_client::{Ask, ClientError, ClientModel, Finish, Padding, Placement, PrivateAsk};
use nesa_client::{Effect as OpenEffect, Request, Tier};
use nesa_codec::Digest;
use nesa_kernels::Level;
use nesa_model::engine::Span;
use nesa_model::split::{Outline, Product};
use nesa_model::testing::{self, Model, Noise};
use nesa_model::{Engine, KvCache, Sampling, Shape, Shard};
use nesa_pipeline::share::{Message, Share};
use nesa_privacy::shares::{Checks, Scheme};
use nesa_proof::share::{AnswerStatement, answer_digest};
use nesa_proof::statement::signed_bytes;

/// Holders that keys are made for.
pub(crate) const HOLDERS_MAX: usize = 16;

/// One model as holders have it, and what a client keeps of its blocks.
pub(crate) struct Parts {
    pub(crate) model: Model,
    pub(crate) shard: Shard,
    pub(crate) outline: Arc<Outline>,
    pub(crate) checks: Arc<Checks>,
    keys: Vec<SigningKey>,
}

/// A model that answers, and its client.
pub(crate) struct World {
    parts: Parts,
    pub(crate) client: Arc<ClientModel>,
}

impl std::ops::Deref for World {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What a holder does with one flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Right,
    /// Adds this to the element at this place, modulo their number.
    Off(usize, u32),
    /// Multiplies by the matrices of another layer, where sizes fit all.
    WrongLayer,
    /// What it answered to the same product before, else zeros.
    Stale,
    Zeros,
    /// One element more, or one less.
    Longer,
    Shorter,
    /// An element that is none.
    NotCanonical,
    BadSignature,
    /// Right, under the number of another flight.
    OtherFlight,
    /// Right, twice.
    Twice,
    /// Nothing, and nothing afterwards.
    Silent,
    /// A broken stream.
    Lost,
}

impl Deed {
    /// Deeds for which a holder must be left out at once.
    pub(crate) const LIES: [Self; 8] = [
        Self::Off(0, 1),
        Self::WrongLayer,
        Self::Stale,
        Self::Zeros,
        Self::Longer,
        Self::Shorter,
        Self::NotCanonical,
        Self::OtherFlight,
    ];
}

/// A flight as one holder got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dealt {
    pub(crate) holder: usize,
    pub(crate) flight: u64,
    pub(crate) layer: u32,
    pub(crate) product: u8,
    pub(crate) rows: u32,
    pub(crate) share: Share,
}

/// How an answer went.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) tokens: Vec<u32>,
    pub(crate) rows: Vec<Vec<i32>>,
    pub(crate) text: String,
    pub(crate) finish: Option<Finish>,
    pub(crate) error: Option<ClientError>,
    pub(crate) liars: Vec<Liar>,
    pub(crate) dealt: Vec<Dealt>,
    /// What was done outside, without contents.
    pub(crate) events: Vec<String>,
    pub(crate) traffic: Traffic,
    /// Answers that were wrong in some way.
    pub(crate) lies: usize,
}

/// Decides a deed: holder, flights it got before, the flight.
pub(crate) type Nature<'a> = dyn FnMut(usize, usize, &Dealt) -> Deed + 'a;

pub(crate) fn shape(kind: usize, layers: usize, context: usize) -> Shape {
    let shape = testing::shapes()[kind].clone();
    Shape {
        layers,
        context,
        ..shape
    }
}

fn tokenizer(vocab: usize) -> Tokenizer {
    let symbols = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let entries: Vec<String> = (symbols.chars().take(vocab).enumerate())
        .map(|(i, c)| format!("\"{c}\":{i}"))
        .collect();
    let json = format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},"post_processor":null,"decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{{{}}},"merges":[]}}}}"#,
        entries.join(",")
    );
    Tokenizer::from_json(&json, &[]).unwrap()
}

/// What is random comes from the seed.
pub(crate) fn bytes(seed: u64) -> [u8; 32] {
    let mut noise = Noise(seed);
    std::array::from_fn(|_| noise.bits() as u8)
}

pub(crate) fn no_clock() -> Duration {
    Duration::ZERO
}

impl Parts {
    pub(crate) fn new(shape: &Shape, eos: &[u32], seed: u64) -> Self {
        let mut model = testing::model(shape, seed);
        model.manifest.text.eos = eos.to_vec();
        let common = Arc::new(model.common.clone());
        let mut shard = Shard::new(shape.clone(), Arc::clone(&common), 0..shape.layers);
        let mut outline = Outline::new(shape.clone(), common);
        let mut checks = Checks::new(bytes(seed ^ 77), model.manifest.root());
        for block in &model.blocks {
            shard.push(block).unwrap();
            outline.push(block).unwrap();
            checks.push(Level::detect(), block);
        }
        let key = |i| SigningKey::from_bytes(&bytes(i));
        Self {
            model,
            shard,
            outline: Arc::new(outline),
            checks: Arc::new(checks),
            keys: (0..HOLDERS_MAX as u64).map(key).collect(),
        }
    }

    /// A session of `nodes` nodes at (t, n).
    pub(crate) fn private(&self, (t, n): (usize, usize), nodes: usize) -> Private {
        let candidates = (0..nodes).map(|i| Candidate {
            peer: self.keys[i].verifying_key().to_bytes(),
            operator: format!("operator-{i}"),
            region: None,
        });
        let scheme = Scheme::new(t, n).unwrap();
        let layers = self.outline.shape().layers;
        let placement = Placement::new(scheme, candidates.collect(), layers).unwrap();
        let name = |i: usize| Holder {
            session: Digest(bytes(1000 + i as u64)),
        };
        Private {
            outline: Arc::clone(&self.outline),
            checks: Arc::clone(&self.checks),
            placement: Arc::new(placement),
            holders: (0..nodes).map(name).collect(),
            level: Level::detect(),
        }
    }
}

impl World {
    pub(crate) fn new(shape: &Shape, eos: &[u32], seed: u64) -> Self {
        let parts = Parts::new(shape, eos, seed);
        let template = ChatTemplate::new("{{ messages[0].content }}", "", "").unwrap();
        let client = ClientModel::new(
            parts.model.manifest.clone(),
            parts.model.vocabulary.clone(),
            tokenizer(shape.vocab),
            template,
        );
        Self {
            parts,
            client: Arc::new(client.unwrap()),
        }
    }

    pub(crate) fn ask(
        &self,
        private: Private,
        request: PrivateRequest,
        entropy: u64,
    ) -> PrivateAsk {
        let model = Arc::clone(&self.client);
        PrivateAsk::new(model, private, request, bytes(entropy), no_clock).unwrap()
    }

    pub(crate) fn request(&self, prompt: &[u32], max_tokens: usize) -> PrivateRequest {
        PrivateRequest {
            prompt: prompt.to_vec(),
            sampling: Sampling::default(),
            max_tokens,
            width: 1,
            padding: Padding::Off,
        }
    }

    /// The same question under `open`, all blocks computed here.
    pub(crate) fn open(&self, engine: &mut Engine, request: &PrivateRequest) -> Outcome {
        let open = Request {
            prompt: request.prompt.clone(),
            sampling: request.sampling,
            max_tokens: request.max_tokens,
            chunk: 16,
        };
        let mut ask = Ask::new(Arc::clone(&self.client), Tier::Open, open).unwrap();
        let shape = &self.model.manifest.shape;
        let mut cache = KvCache::new(shape, &(0..shape.layers), shape.context);
        let mut out = Outcome::default();
        let mut effects = VecDeque::from(ask.start().unwrap());
        while let Some(effect) = effects.pop_front() {
            match effect {
                OpenEffect::Send { start, mut rows } => {
                    let n = rows.len() / shape.dim;
                    let mut spans = [Span {
                        cache: &mut cache,
                        rows: n,
                    }];
                    engine.forward(&self.shard, &mut rows, &mut spans).unwrap();
                    let last = rows[rows.len() - shape.dim..].to_vec();
                    let end = start + n as u32 - 1;
                    out.rows.push(last.clone());
                    effects.extend(ask.on_rows(engine, end, last).unwrap());
                }
                OpenEffect::Text(text) => out.text.push_str(&text),
                OpenEffect::Done(finish) => out.finish = Some(finish),
            }
        }
        // Rows within the prompt are sampled from nowhere.
        out.rows.drain(..out.rows.len() - ask.answer().len());
        out.tokens = ask.answer().to_vec();
        out
    }

    /// Leads `ask` to its end through holders that do as `nature` says. Answers of different holders come
    /// in an order that `seed` decides.
    pub(crate) fn drive(
        &self,
        engine: &mut Engine,
        ask: &mut PrivateAsk,
        nature: &mut Nature<'_>,
        seed: u64,
    ) -> Outcome {
        let effects = ask.start(engine);
        self.go_on(engine, ask, effects, nature, seed)
    }

    /// As [`World::drive`], from `effects` on.
    pub(crate) fn go_on(
        &self,
        engine: &mut Engine,
        ask: &mut PrivateAsk,
        mut effects: Result<Vec<Effect>, ClientError>,
        nature: &mut Nature<'_>,
        seed: u64,
    ) -> Outcome {
        let mut net = Net::new(self, ask.private().clone(), seed);
        let mut out = Outcome::default();
        'all: loop {
            let now = match effects {
                Ok(now) => now,
                Err(e) => {
                    out.error = Some(e);
                    break;
                }
            };
            for effect in now {
                match effect {
                    Effect::Send { holder, message } => {
                        net.send(engine, holder, message, nature, &mut out);
                    }
                    Effect::Text(text) => out.text.push_str(&text),
                    Effect::Excluded { holder } => out.events.push(format!("excluded {holder}")),
                    Effect::Done(finish) => {
                        out.events.push("done".into());
                        out.finish = Some(finish);
                    }
                    Effect::Quiet => break 'all,
                }
            }
            let input = net.next().unwrap_or_else(|| Input::Lost {
                holder: *ask.owed().first().expect("somebody owes an answer"),
            });
            if let Input::Answer { holder, flight, .. } = &input {
                out.events.push(format!("answer {holder} {flight}"));
            }
            effects = ask.on(engine, input);
        }
        out.tokens = ask.answer().to_vec();
        out.rows = ask.rows().to_vec();
        out.liars = ask.liars().to_vec();
        out.traffic = ask.traffic().clone();
        out
    }
}

/// The holders and what is on its way from them.
pub(crate) struct Net<'a> {
    world: &'a Parts,
    private: Private,
    noise: Noise,
    queues: Vec<VecDeque<Input>>,
    got: Vec<usize>,
    silent: Vec<bool>,
    past: std::collections::BTreeMap<(usize, u32, u8), Vec<u32>>,
}

impl<'a> Net<'a> {
    pub(crate) fn new(world: &'a Parts, private: Private, seed: u64) -> Self {
        let n = private.holders.len();
        Self {
            world,
            private,
            noise: Noise(seed),
            queues: (0..n).map(|_| VecDeque::new()).collect(),
            got: vec![0; n],
            silent: vec![false; n],
            past: std::collections::BTreeMap::new(),
        }
    }

    /// The next answer, of a holder drawn at random; each holder answers in order.
    pub(crate) fn next(&mut self) -> Option<Input> {
        let full: Vec<usize> = (0..self.queues.len())
            .filter(|&i| !self.queues[i].is_empty())
            .collect();
        let at = full.get((self.noise.bits() % full.len().max(1) as u64) as usize)?;
        self.queues[*at].pop_front()
    }

    /// A holder takes a flight and answers as `nature` has it.
    pub(crate) fn send(
        &mut self,
        engine: &mut Engine,
        holder: usize,
        message: Message,
        nature: &mut Nature<'_>,
        out: &mut Outcome,
    ) {
        let Message::Shares {
            flight,
            layer,
            product,
            rows,
            share,
        } = message
        else {
            panic!("only shares are sent")
        };
        let dealt = Dealt {
            holder,
            flight,
            layer,
            product,
            rows,
            share,
        };
        let what = match &dealt.share {
            Share::Seed(_) => "seed".to_owned(),
            Share::Values(v) => format!("{} values", v.len()),
        };
        out.events.push(format!(
            "send {holder} {flight} {layer} {product} {rows} {what}"
        ));
        let before = self.got[holder];
        self.got[holder] += 1;
        let deed = if self.silent[holder] {
            Deed::Silent
        } else {
            nature(holder, before, &dealt)
        };
        out.dealt.push(dealt.clone());
        self.answer(engine, &dealt, deed, out);
    }

    fn answer(&mut self, engine: &mut Engine, dealt: &Dealt, deed: Deed, out: &mut Outcome) {
        let product = Product::from_code(dealt.product).unwrap();
        let shape = &self.world.model.manifest.shape;
        let (_, cols) = product.dims(shape);
        let shares = dealt
            .share
            .clone()
            .expand(dealt.rows as usize, cols)
            .unwrap();
        let multiply = |engine: &mut Engine, layer: usize| {
            engine
                .multiply(&self.world.shard, layer, product, &shares)
                .unwrap()
        };
        let right = multiply(engine, dealt.layer as usize);
        let mut values = right.clone();
        let (mut flight, mut signature) = (dealt.flight, None);
        let key = (dealt.holder, dealt.layer, dealt.product);
        match deed {
            Deed::Right | Deed::Twice => {}
            Deed::Off(at, by) => {
                let at = at % values.len();
                values[at] = nesa_field::add(values[at], by % nesa_field::P);
            }
            Deed::WrongLayer => {
                values = multiply(engine, (dealt.layer as usize + 1) % shape.layers);
            }
            Deed::Stale => match self.past.get(&key).filter(|p| p.len() == values.len()) {
                Some(past) => values.clone_from(past),
                None => values.fill(0),
            },
            Deed::Zeros => values.fill(0),
            Deed::Longer => values.push(0),
            Deed::Shorter => drop(values.pop()),
            Deed::NotCanonical => {
                let at = values.len() / 2;
                values[at] += nesa_field::P;
            }
            Deed::BadSignature => signature = Some([1; 64]),
            Deed::OtherFlight => flight = flight.wrapping_add(1 << 40),
            Deed::Silent => {
                self.silent[dealt.holder] = true;
                return;
            }
            Deed::Lost => {
                self.silent[dealt.holder] = true;
                self.queues[dealt.holder].push_back(Input::Lost {
                    holder: dealt.holder,
                });
                return;
            }
        }
        if deed != Deed::Right && (deed == Deed::Twice || flight != dealt.flight || values != right)
        {
            out.lies += 1;
        }
        self.past.insert(key, right);
        let signature = signature.unwrap_or_else(|| self.sign(dealt, &values));
        for _ in 0..if deed == Deed::Twice { 2 } else { 1 } {
            self.queues[dealt.holder].push_back(Input::Answer {
                holder: dealt.holder,
                flight,
                values: values.clone(),
                signature,
            });
        }
    }

    fn sign(&self, dealt: &Dealt, values: &[u32]) -> [u8; 64] {
        let statement = AnswerStatement {
            node: self.private.placement.nodes()[dealt.holder].peer,
            session: self.private.holders[dealt.holder].session,
            model: self.world.model.manifest.root(),
            layer: dealt.layer,
            product: dealt.product,
            flight: dealt.flight,
            rows: dealt.rows,
            share: dealt.share.digest(dealt.rows),
            answer: answer_digest(values),
        };
        let bytes = signed_bytes(&statement.digest());
        self.world.keys[dealt.holder].sign(&bytes).to_bytes()
    }
}

/// An honest holder.
pub(crate) fn honest(_: usize, _: usize, _: &Dealt) -> Deed {
    Deed::Right
}

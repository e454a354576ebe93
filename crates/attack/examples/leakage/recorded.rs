//! What the holders of whole private sessions receive: the client's own state machine asks, holders in
//! this process answer and keep a record as nodes do, and the record is what is judged.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use ed25519_dalek::{Signer, SigningKey};
use nesa_attack::chosen::{Told, judge_words};
use nesa_attack::lab::{Expect, Tier};
use nesa_attack::record::{Seen, read};
use nesa_attack::{Base, Stage};
use nesa_checkpoint::{ChatTemplate, Tokenizer};
use nesa_client::hss::{Candidate, Effect, Holder, Input, Machine, Private, PrivateRequest};
use nesa_client::{ClientModel, Padding, Placement, PrivateAsk};
use nesa_codec::Digest;
use nesa_field::{P, lagrange};
use nesa_kernels::Level;
use nesa_model::split::{Outline, Product};
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_model::{Engine, Sampling, Shape, Shard};
use nesa_pipeline::share::Message;
use nesa_privacy::shares::{Checks, Scheme};
use nesa_proof::share::{AnswerStatement, answer_digest};
use nesa_proof::statement::signed_bytes;

use crate::Result;

/// Rows that are judged.
const SAMPLES: usize = 18_000;
/// Stream of shares and a frame's type in a record.
const SHARE: u8 = 4;

/// One model, its client and its two holders.
struct World {
    model: Model,
    client: Arc<ClientModel>,
    shard: Shard,
    private: Private,
    keys: Vec<SigningKey>,
}

/// What the distinguisher makes of recorded sessions of two prompts.
pub(crate) fn told() -> Result<Vec<Told>> {
    let shape = Shape {
        context: 128,
        ..shapes()[0].clone()
    };
    let world = World::new(&shape)?;
    let noise = &mut Noise(17);
    let mut prompt = || -> Vec<u32> { (0..14).map(|_| (noise.bits() % 50) as u32).collect() };
    let prompts = [prompt(), prompt()];
    let (mut one, mut all) = ([Vec::new(), Vec::new()], Vec::new());
    let mut seen = BTreeSet::new();
    for session in 0u64.. {
        let second = session % 2 == 1;
        let records = world.session(&prompts[usize::from(second)], session)?;
        let [a, b] = records.each_ref().map(|r| rows(r, &shape));
        let (a, b) = (a?, b?);
        for (a, b) in a.into_iter().zip(b) {
            if !seen.insert(a.clone()) || !seen.insert(b.clone()) {
                return Err("a row of shares came twice".into());
            }
            all.push((together(&a, &b), second));
            one[0].push((a, second));
            one[1].push((b, second));
        }
        if all.len() >= SAMPLES {
            break;
        }
    }
    let base = Base::from(world.model);
    let mut known = Vec::new();
    for prompt in &prompts {
        let rows = base.rows(Stage::FirstProduct, prompt, 0)?;
        known.extend(rows.chunks_exact(shape.dim).take(2).map(<[i32]>::to_vec));
    }
    let judged = |what: &str, rows: &[(Vec<u32>, bool)], expect| Told {
        tier: Tier::Hss(1, 2),
        payload: format!("recorded sessions, {what}"),
        verdict: judge_words(rows, &known, 3),
        expect,
    };
    Ok(vec![
        judged("the holder that is sent seeds", &one[0], Expect::Chance),
        judged("the holder that is sent values", &one[1], Expect::Chance),
        judged("both holders together", &all, Expect::Broken),
    ])
}

/// The rows of all inputs of queries, keys and values in a record.
fn rows(record: &[u8], shape: &Shape) -> Result<Vec<Vec<u32>>> {
    let cols = |_: usize, product: u8| Product::from_code(product).map(|p| p.dims(shape).1);
    let mut out = Vec::new();
    for seen in read(record, &cols)? {
        if let Seen::Shares {
            product: 0, values, ..
        } = seen
        {
            out.extend(values.chunks_exact(shape.dim).map(<[u32]>::to_vec));
        }
    }
    Ok(out)
}

/// What two shares of the points 1 and 2 hide.
fn together(a: &[u32], b: &[u32]) -> Vec<u32> {
    let c = lagrange(&[1, 2], 0);
    let value = |(a, b): (&u32, &u32)| {
        let sum = u64::from(c[0]) * u64::from(*a) % u64::from(P);
        ((sum + u64::from(c[1]) * u64::from(*b)) % u64::from(P)) as u32
    };
    a.iter().zip(b).map(value).collect()
}

fn bytes(seed: u64) -> [u8; 32] {
    let mut noise = Noise(seed);
    std::array::from_fn(|_| noise.bits() as u8)
}

/// A tokenizer of single letters: texts are given as tokens here.
fn tokenizer() -> Result<Tokenizer> {
    let letters = ('a'..='z').chain('A'..='Z').take(50);
    let entries: Vec<String> = letters
        .zip(0..)
        .map(|(c, i)| format!("\"{c}\":{i}"))
        .collect();
    let json = format!(
        r#"{{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}},"post_processor":null,"decoder":{{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true}},"model":{{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{{{}}},"merges":[]}}}}"#,
        entries.join(",")
    );
    Ok(Tokenizer::from_json(&json, &[])?)
}

impl World {
    fn new(shape: &Shape) -> Result<Self> {
        let model = model(shape, 41);
        let common = Arc::new(model.common.clone());
        let mut shard = Shard::new(shape.clone(), Arc::clone(&common), 0..shape.layers);
        let mut outline = Outline::new(shape.clone(), common);
        let mut checks = Checks::new(bytes(1), model.manifest.root());
        for block in &model.blocks {
            shard.push(block)?;
            outline.push(block)?;
            checks.push(Level::detect(), block);
        }
        let keys: Vec<SigningKey> = (0..2)
            .map(|i| SigningKey::from_bytes(&bytes(50 + i)))
            .collect();
        let nodes = keys
            .iter()
            .zip(["one", "two"])
            .map(|(key, operator)| Candidate {
                peer: key.verifying_key().to_bytes(),
                operator: operator.to_owned(),
                region: None,
            });
        let placement = Placement::new(Scheme::new(1, 2)?, nodes.collect(), shape.layers)?;
        let holder = |i: u64| Holder {
            session: Digest(bytes(60 + i)),
        };
        let client = ClientModel::new(
            model.manifest.clone(),
            model.vocabulary.clone(),
            tokenizer()?,
            ChatTemplate::new("{{ messages[0].content }}", "", "")?,
        );
        Ok(Self {
            client: Arc::new(client?),
            model,
            shard,
            private: Private {
                outline: Arc::new(outline),
                checks: Arc::new(checks),
                placement: Arc::new(placement),
                holders: (0..2).map(holder).collect(),
                level: Level::detect(),
            },
            keys,
        })
    }

    /// Asks `prompt` and gives the records of both holders.
    fn session(&self, prompt: &[u32], seed: u64) -> Result<[Vec<u8>; 2]> {
        let request = PrivateRequest {
            prompt: prompt.to_vec(),
            sampling: Sampling::default(),
            max_tokens: 6,
            width: 2,
            padding: Padding::Standard,
        };
        let client = Arc::clone(&self.client);
        let entropy = bytes(1000 + seed);
        let private = self.private.clone();
        let mut ask = PrivateAsk::new(client, private, request, entropy, || Duration::ZERO)?;
        let engine = &mut Engine::new(Level::detect(), 1);
        let mut records = [Vec::new(), Vec::new()];
        let mut effects = VecDeque::from(ask.start(engine)?);
        let mut answers = VecDeque::new();
        loop {
            match effects.pop_front() {
                Some(Effect::Send { holder, message }) => {
                    answers.push_back(self.answer(
                        engine,
                        holder,
                        &message,
                        &mut records[holder],
                    )?);
                }
                Some(Effect::Quiet) => return Ok(records),
                Some(_) => {}
                None => {
                    let answer = answers.pop_front().ok_or("nobody owes an answer")?;
                    effects.extend(ask.on(engine, answer)?);
                }
            }
        }
    }

    /// Records a flight as a node does and answers it.
    fn answer(
        &self,
        engine: &mut Engine,
        holder: usize,
        message: &Message,
        record: &mut Vec<u8>,
    ) -> Result<Input> {
        let payload = message.payload();
        let length = (payload.len() as u32).to_le_bytes();
        let frame = [&length[..], &[SHARE, message.kind()], &payload].concat();
        record.extend(&frame);
        let Message::Shares { rows, share, .. } = message else {
            return Err("only shares are sent".into());
        };
        let shape = &self.model.manifest.shape;
        let cols = |_: usize, product: u8| Product::from_code(product).map(|p| p.dims(shape).1);
        let Some(Seen::Shares {
            flight,
            layer,
            product: code,
            values,
            ..
        }) = read(&frame, &cols)?.pop()
        else {
            return Err("the record lacks a flight".into());
        };
        let product = Product::from_code(code).ok_or("no such product")?;
        let values = engine.multiply(&self.shard, layer, product, &values)?;
        let statement = AnswerStatement {
            node: self.private.placement.nodes()[holder].peer,
            session: self.private.holders[holder].session,
            model: self.model.manifest.root(),
            layer: layer as u32,
            product: code,
            flight,
            rows: *rows,
            share: share.digest(*rows),
            answer: answer_digest(&values),
        };
        let signature = self.keys[holder].sign(&signed_bytes(&statement.digest()));
        Ok(Input::Answer {
            holder,
            flight,
            values,
            signature: signature.to_bytes(),
        })
    }
}

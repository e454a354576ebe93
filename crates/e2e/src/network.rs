//! Hops and clients in one process; every message between them is encoded and decoded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ed25519_dalek::{Signer, SigningKey};
use nesa_client::{Assurance, ClientError, Evidence, Request};
use nesa_codec::Digest;
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::testing::Noise;
use nesa_pipeline::hop::{Effect, Hop, HopConfig, Input, Kept};
use nesa_pipeline::wire::Next;
use nesa_pipeline::{Fault, Message, Metrics, Open};
use nesa_proof::statement::signed_bytes;
use nesa_proof::verify::Verdict;
use nesa_proof::{Bundle, LayerOpening, SignedHop, challenge};

use crate::served::split;
use crate::{Error, Result, Served, Talk};

/// Who sends or receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Party {
    /// The client.
    Client,
    /// A hop by its place.
    Hop(usize),
}

/// In which order messages arrive and batches run. Within one stream the order is kept, as QUIC does.
#[derive(Debug, Clone)]
pub enum Order {
    /// All messages first, then every hop computes one batch.
    Fair,
    /// Any stream or hop next, as the seed says: every stream has its own arbitrary delay.
    Seeded(Noise),
}

/// How each node runs.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// SIMD level.
    pub level: Level,
    /// Threads.
    pub threads: usize,
    /// Limits.
    pub hop: HopConfig,
    /// The hop that lies, and how.
    pub liar: Option<(usize, Fault)>,
    /// Whether to keep every byte that a hop receives.
    pub record: bool,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            level: Level::detect(),
            threads: 1,
            hop: HopConfig::default(),
            liar: None,
            record: false,
        }
    }
}

struct Node {
    key: SigningKey,
    hop: Hop,
    engine: Engine,
    range: (u32, u32),
    received: Vec<u8>,
}

/// A stream: sender, receiver, session.
type Link = (Party, Party, Digest);

enum Event {
    Frame(u8, Vec<u8>),
    /// The way to the next hop stands.
    Dialled,
}

/// A network of hops, and the way to them.
pub struct Network {
    nodes: Vec<Node>,
    client: SigningKey,
    links: BTreeMap<Link, VecDeque<Event>>,
    order: Order,
    record: bool,
    noise: Noise,
    /// The time that hops see, in ms.
    pub now_ms: u64,
    /// Messages carried.
    pub carried: u64,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network")
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

fn signer(key: SigningKey) -> impl Fn(&[u8]) -> [u8; 64] + Send + 'static {
    move |digest| {
        let mut d = Digest::default();
        d.0.copy_from_slice(digest);
        key.sign(&signed_bytes(&d)).to_bytes()
    }
}

impl Network {
    /// `n` hops that serve `served`. `seed` fixes keys, session names and nonces.
    ///
    /// # Errors
    /// [`Error::Model`].
    pub fn new(served: &Served, n: usize, config: &NodeConfig, seed: u64) -> Result<Self> {
        let mut noise = Noise(seed ^ 0x006e_6574);
        let mut key = || SigningKey::from_bytes(&crate::talk::digest(&mut noise).0);
        let client = key();
        let mut nodes = Vec::new();
        for (i, range) in split(served.shape().layers, n).into_iter().enumerate() {
            let fault = config.liar.filter(|l| l.0 == i).map(|l| l.1);
            let corrupt = |b| match fault {
                Some(f) => f.corrupt(b),
                None => b,
            };
            let key = key();
            let hop = HopConfig {
                fault,
                ..config.hop.clone()
            };
            let mut hop = Hop::new(
                key.verifying_key().to_bytes(),
                Box::new(signer(key.clone())),
                hop,
            );
            hop.serve(
                served.root(),
                Arc::new(served.shard(range.clone(), &corrupt)?),
            );
            let deployed = if config.record {
                served.deployed_bytes(range.clone())
            } else {
                Vec::new()
            };
            nodes.push(Node {
                key,
                hop,
                engine: Engine::new(config.level, config.threads),
                range: (range.start as u32, range.end as u32),
                received: deployed,
            });
        }
        Ok(Self {
            nodes,
            client,
            links: BTreeMap::new(),
            order: Order::Fair,
            record: config.record,
            noise,
            now_ms: 0,
            carried: 0,
        })
    }

    /// Asks as the client of `other` does.
    pub fn share_client(&mut self, other: &Self) {
        self.client = other.client.clone();
    }

    /// The client's signature over the digest of a statement.
    #[must_use]
    pub fn sign_as_client(&self, digest: &[u8]) -> [u8; 64] {
        signer(self.client.clone())(digest)
    }

    /// The signature of hop `i` over the digest of a statement.
    #[must_use]
    pub fn sign_digest_as(&self, i: usize, digest: &[u8]) -> [u8; 64] {
        signer(self.nodes[i].key.clone())(digest)
    }

    /// The finished run of hop `i` with this statement, for a dispute that `from` opens.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn kept(&mut self, i: usize, statement: &Digest, from: &[u8; 32]) -> Result<Arc<Kept>> {
        let kept = self.nodes[i].hop.kept(statement, from);
        kept.map_err(|refusal| Error::Refused { hop: i, refusal })
    }

    /// Number of hops.
    #[must_use]
    pub fn hops(&self) -> usize {
        self.nodes.len()
    }

    /// Sets the order of arrival.
    pub fn order(&mut self, order: Order) {
        self.order = order;
    }

    /// Everything that hop `i` received, shards included, where it is recorded.
    #[must_use]
    pub fn received(&self, i: usize) -> &[u8] {
        &self.nodes[i].received
    }

    /// Counters of hop `i`.
    #[must_use]
    pub fn metrics(&self, i: usize) -> Metrics {
        self.nodes[i].hop.metrics()
    }

    /// The client's public key.
    #[must_use]
    pub fn client_key(&self) -> [u8; 32] {
        self.client.verifying_key().to_bytes()
    }

    /// The public key of hop `i`.
    #[must_use]
    pub fn hop_key(&self, i: usize) -> [u8; 32] {
        self.nodes[i].key.verifying_key().to_bytes()
    }

    /// Signs `statement` again as hop `i` would, for tests of what even its signature cannot buy.
    #[must_use]
    pub fn sign_as(&self, i: usize, statement: &SignedHop) -> SignedHop {
        let sign = signer(self.nodes[i].key.clone());
        statement.statement.clone().signed(&sign)
    }

    /// Signs `bundle` again as the client would.
    #[must_use]
    pub fn sign_bundle(&self, bundle: Bundle) -> Bundle {
        bundle.signed(&signer(self.client.clone()))
    }

    /// Gives hop `i` an input from outside the network and carries out nothing of what it asks for.
    pub fn inject(&mut self, i: usize, input: Input) -> Vec<Effect> {
        self.nodes[i].hop.step(self.now_ms, input)
    }

    /// Has hop `i` run one batch and carries out nothing of what it asks for.
    pub fn compute_now(&mut self, i: usize) -> Vec<Effect> {
        let node = &mut self.nodes[i];
        node.hop.compute(&mut node.engine)
    }

    /// Prepares an answer over all hops.
    ///
    /// # Errors
    /// [`Error::Client`].
    pub fn talk(&mut self, served: &Served, request: Request) -> Result<Talk> {
        let hops = self.nodes.iter().enumerate().map(|(i, n)| {
            let key = n.key.verifying_key().to_bytes();
            (key, format!("operator-{i}"), n.range.0, n.range.1)
        });
        Talk::new(served, request, hops.collect(), &mut self.noise)
    }

    fn send(&mut self, from: Party, to: Party, session: Digest, message: &Message) {
        let frame = Event::Frame(message.kind(), message.payload());
        let link = self.links.entry((from, to, session)).or_default();
        link.push_back(frame);
    }

    fn send_open(&mut self, talk: &Talk, i: usize) {
        let (_, _, first, end) = talk.route.hops[i];
        let open = Open {
            session: talk.route.session,
            model: talk.route.served,
            first,
            end,
            capacity: talk.ask.capacity() as u32,
            nonce_commitment: challenge::commit(&talk.route.nonce),
            previous: i
                .checked_sub(1)
                .map_or(self.client_key(), |p| self.hop_key(p)),
            next: talk.route.hops.get(i + 1).map(|h| Next {
                peer: h.0,
                address: format!("hop:{}", i + 1),
            }),
        };
        let message = Message::Open(Box::new(open));
        self.send(Party::Client, Party::Hop(i), talk.route.session, &message);
    }

    /// Runs `talks` at the same time until every hop has signed every one of them.
    ///
    /// # Errors
    /// The first refusal or violation, [`Error::Stalled`].
    pub fn run(&mut self, talks: &mut [Talk], engine: &mut Engine) -> Result<()> {
        for talk in talks.iter() {
            self.send_open(talk, talk.route.hops.len() - 1);
        }
        self.settle(talks, engine)?;
        if talks.iter().all(Talk::is_signed) {
            Ok(())
        } else {
            Err(Error::Stalled)
        }
    }

    /// Carries messages and computes until nothing moves.
    fn settle(&mut self, talks: &mut [Talk], engine: &mut Engine) -> Result<()> {
        loop {
            let waiting: Vec<Link> = self.links.keys().copied().collect();
            let busy: Vec<usize> = (0..self.nodes.len())
                .filter(|&i| self.nodes[i].hop.has_work())
                .collect();
            let total = waiting.len() + busy.len();
            if total == 0 {
                return Ok(());
            }
            match &mut self.order {
                Order::Fair if waiting.is_empty() => {
                    busy.into_iter().for_each(|i| self.compute(i));
                }
                Order::Fair => {
                    for link in waiting {
                        self.deliver(link, talks, engine)?;
                    }
                }
                Order::Seeded(noise) => {
                    let at = (noise.bits() % total as u64) as usize;
                    match waiting.get(at) {
                        Some(link) => self.deliver(*link, talks, engine)?,
                        None => self.compute(busy[at - waiting.len()]),
                    }
                }
            }
        }
    }

    fn compute(&mut self, i: usize) {
        let effects = self.compute_now(i);
        self.carry_out(i, effects);
    }

    /// Delivers the oldest event of `link`.
    fn deliver(&mut self, link: Link, talks: &mut [Talk], engine: &mut Engine) -> Result<()> {
        let Some(queue) = self.links.get_mut(&link) else {
            return Ok(());
        };
        let event = queue.pop_front();
        if queue.is_empty() {
            self.links.remove(&link);
        }
        let (from, to, session) = link;
        self.carried += 1;
        match (event, to) {
            (Some(Event::Dialled), Party::Hop(i)) => {
                let effects = self.inject(i, Input::Dialled { session });
                self.carry_out(i, effects);
            }
            (Some(Event::Frame(kind, payload)), Party::Hop(i)) => {
                if self.record {
                    self.nodes[i].received.push(kind);
                    self.nodes[i].received.extend_from_slice(&payload);
                }
                let message = Message::decode(kind, &payload)?;
                let from = match from {
                    Party::Client => self.client_key(),
                    Party::Hop(p) => self.hop_key(p),
                };
                let input = Input::Message {
                    from,
                    session,
                    message,
                };
                let effects = self.inject(i, input);
                self.carry_out(i, effects);
            }
            (Some(Event::Frame(kind, payload)), Party::Client) => {
                let Party::Hop(hop) = from else { return Ok(()) };
                let message = Message::decode(kind, &payload)?;
                let Some(talk) = talks.iter_mut().find(|t| t.route.session == session) else {
                    return Ok(());
                };
                let to_send = talk.receive(engine, hop, message)?;
                if let Some(refused) = talk.refused.take() {
                    return Err(refused);
                }
                if let Some(next) = talk.opening.filter(|o| *o + 1 == hop) {
                    let talk = &*talk;
                    self.send_open(talk, next);
                }
                for (hop, message) in to_send {
                    self.send(Party::Client, Party::Hop(hop), session, &message);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Carries out what hop `i` asks for.
    fn carry_out(&mut self, i: usize, effects: Vec<Effect>) {
        let me = Party::Hop(i);
        for effect in effects {
            match effect {
                Effect::Dial { session, next } => {
                    let peer = (0..self.nodes.len()).find(|&p| self.hop_key(p) == next.peer);
                    if let Some(peer) = peer {
                        self.send(me, Party::Hop(peer), session, &Message::Attach { session });
                        let own = self.links.entry((me, me, session)).or_default();
                        own.push_back(Event::Dialled);
                    }
                }
                Effect::Client { session, message } => {
                    self.send(me, Party::Client, session, &message);
                }
                Effect::Forward { session, message } => {
                    self.send(me, Party::Hop(i + 1), session, &message);
                }
                Effect::End { .. } => {}
            }
        }
    }

    /// Has hop `hop` open cells of one layer.
    ///
    /// # Errors
    /// [`Error::Refused`], [`Error::Stalled`].
    pub fn open_cells(
        &mut self,
        talk: &mut Talk,
        engine: &mut Engine,
        (hop, layer, positions): (usize, u32, Vec<u32>),
    ) -> Result<LayerOpening> {
        let message = Message::Challenge { layer, positions };
        self.send(Party::Client, Party::Hop(hop), talk.route.session, &message);
        self.settle(std::slice::from_mut(talk), engine)?;
        talk.opened.pop().ok_or(Error::Stalled)
    }

    /// Collects and checks the evidence of a signed answer.
    ///
    /// # Errors
    /// [`Error::Client`] with the violation.
    pub fn evidence(
        &mut self,
        talk: &mut Talk,
        served: &mut Served,
        assurance: Assurance,
        engine: &mut Engine,
    ) -> Result<(Bundle, Verdict)> {
        let (hops, rows) = (talk.statements(), talk.output_rows.clone());
        let wanted = Evidence::new(
            &talk.ask,
            &talk.route,
            assurance,
            hops.clone(),
            rows.clone(),
        )?
        .challenges();
        let mut openings = Vec::new();
        for challenge in wanted {
            openings.push(self.open_cells(talk, engine, challenge)?);
        }
        let mut evidence = Evidence::new(&talk.ask, &talk.route, assurance, hops, rows)?;
        if let Some(checker) = talk.checker.take() {
            evidence.checked(checker)?;
        }
        openings.into_iter().for_each(|o| evidence.opened(o));
        let verdict = evidence.verify(&mut |i| served.block(i), engine)?;
        let sign = signer(self.client.clone());
        Ok((evidence.bundle(self.client_key(), &sign), verdict))
    }

    /// Ends a session on every hop.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn close(&mut self, talk: &mut Talk, engine: &mut Engine) -> Result<()> {
        for i in 0..self.nodes.len() {
            let session = talk.route.session;
            self.send(Party::Client, Party::Hop(i), session, &Message::Close);
        }
        self.settle(std::slice::from_mut(talk), engine)
    }
}

impl Error {
    /// The violation inside, where the evidence did not hold.
    #[must_use]
    pub fn violation(&self) -> Option<&nesa_proof::Violation> {
        match self {
            Self::Client(ClientError::Violation(v)) => Some(v),
            _ => None,
        }
    }
}

//! A node's own business on the ledger: its account, bond and leases, and the settling of its claims.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use alloy_sol_types::SolCall as _;
use anyhow::{Context as _, Result, anyhow, bail};
use nesa_codec::{Digest, Encode as _, Hasher};
use nesa_ledger::operators::{self, abi::IOperators, capability_message};
use nesa_ledger::sessions::{self, Chain, Claim, Stage, abi::ISessions};
use nesa_ledger::{Address, Amount};
use nesa_nesad::{Node, Paid};
use nesa_net::quic::Quic;
use nesa_net::{Identity, SystemClock};
use nesa_pipeline::paid::{CHUNK_POSITIONS, Till};
use nesa_shards::disk::{self, Access};
use nesa_wallet::Key;
use zeroize::Zeroizing;

use crate::args::NodeArgs;
use crate::chain::Endpoint;

/// Time between looks at the node's business.
const LOOK: Duration = Duration::from_secs(5);
/// Looks between two signs of life: a fifth of what the ledger demands by default.
const LOOKS_PER_HEARTBEAT: u64 = 40;
/// How far ahead leases end, in blocks.
const LEASE_BLOCKS: u64 = 100_000;
/// Looks that a client has to settle its last vouchers itself, all lanes at once.
const OVER_LOOKS: u64 = 6;
/// Looks between two at a lane that is not over.
const LOOKS_PER_LANE: u64 = 12;
/// Most claims of one transaction.
const CLAIMS_MAX: usize = 64;
/// What must stay in the account for fees.
const FEES: Amount = Amount(10_000_000_000_000_000);
/// Bytes of the account's key file.
const SECRET: u64 = 32;

/// The account that the node is paid at.
pub(crate) struct Earner {
    endpoint: Endpoint,
    chain: Chain,
    key: std::sync::Arc<Key>,
    bond: Amount,
    paid: Paid,
}

/// The node's account, made at first use.
fn account(home: &Path) -> Result<Key> {
    let path = home.join("payout.key");
    let secret = match disk::read(&path, SECRET)? {
        Some(secret) => Zeroizing::new(secret),
        None => {
            let mut secret = Zeroizing::new(vec![0; SECRET as usize]);
            getrandom::fill(&mut secret).map_err(|e| anyhow!("no randomness: {e}"))?;
            disk::create_private_folder(home)?;
            disk::write(&path, &secret, Access::Owner)?;
            secret
        }
    };
    let secret: Option<&[u8; 32]> = secret.as_slice().try_into().ok();
    let key = secret.and_then(|s| Key::from_bytes(s).ok());
    key.with_context(|| {
        format!(
            "{} is no key; move it away to make a new one",
            path.display()
        )
    })
}

impl Earner {
    /// Opens the books, where `--ledger` says so.
    pub(crate) async fn open(args: &NodeArgs, home: &Path) -> Result<Option<Self>> {
        let Some(url) = &args.ledger else {
            return Ok(None);
        };
        let endpoint = Endpoint::new(url);
        let chain = endpoint.run(Endpoint::chain).await;
        let chain = chain.map_err(|e| anyhow!("the ledger at {url}: {e}; start it first"))?;
        if args.chunk == 0 {
            bail!("--chunk 0 would serve nobody; give at least 1");
        }
        let key = account(home)?;
        let till = Till::new(chain, key.address().into(), args.chunk);
        let paid = Paid {
            till,
            ledger: std::sync::Arc::new(endpoint.clone()),
            claims: home.join("claims"),
        };
        Ok(Some(Self {
            endpoint,
            chain,
            key: std::sync::Arc::new(key),
            bond: args.bond,
            paid,
        }))
    }

    pub(crate) fn paid(&self) -> Paid {
        self.paid.clone()
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address().into()
    }

    async fn submit(&self, to: Address, value: Amount, input: Vec<u8>) -> Result<String, String> {
        let key = std::sync::Arc::clone(&self.key);
        self.endpoint
            .run(move |e| e.submit(&key, to, value, input))
            .await
    }

    /// Looks after the node's business until it is dropped.
    pub(crate) async fn run(&self, node: &Node<Quic, SystemClock>, identity: &Identity) {
        let mut over = BTreeMap::new();
        let mut leases = BTreeMap::new();
        let mut registered = false;
        for look in 0u64.. {
            let step = async {
                if !registered {
                    registered = self.register(identity).await?;
                }
                if registered {
                    self.lease(node, identity, &mut leases).await?;
                    if look % LOOKS_PER_HEARTBEAT == LOOKS_PER_HEARTBEAT - 1 {
                        let call = IOperators::heartbeatCall {
                            node: identity.peer_id().0.into(),
                        };
                        self.submit(operators::ADDRESS, Amount::ZERO, call.abi_encode())
                            .await?;
                    }
                }
                if look == 0 {
                    self.settle(self.paid.kept()).await?;
                }
                let due = self.due(look, &mut over).await?;
                self.settle(due).await
            };
            if let Err(why) = step.await {
                tracing::warn!(%why, "the ledger");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Registers the node once its account holds the bond; whether it is registered.
    async fn register(&self, identity: &Identity) -> Result<bool, String> {
        let node = identity.peer_id().0;
        let path = format!("/v1/operators/0x{}", Digest(node));
        if self.endpoint.run(move |e| e.get(&path)).await?.is_some() {
            return Ok(true);
        }
        let me = self.address();
        let held = self.endpoint.run(move |e| e.balance(&me)).await?;
        if self.bond.plus(FEES).is_none_or(|sum| held < sum) {
            return Ok(false);
        }
        let capability = Hasher::new("nesa.nesad.capability.v1")
            .bytes(&node)
            .finish();
        let message = capability_message(&self.chain.domain, &me, &capability, 1);
        let signature = identity.sign_digest(&message.0);
        let half = |at: usize| -> [u8; 32] { std::array::from_fn(|i| signature[at + i]) };
        let call = IOperators::registerCall {
            node: node.into(),
            capability: capability.0.into(),
            sequence: 1,
            r: half(0).into(),
            s: half(32).into(),
        };
        let tx = self
            .submit(operators::ADDRESS, self.bond, call.abi_encode())
            .await?;
        tracing::info!(tx, "registered as an operator");
        Ok(true)
    }

    /// Promises to serve what was deployed, for every model that the ledger knows.
    async fn lease(
        &self,
        node: &Node<Quic, SystemClock>,
        identity: &Identity,
        leases: &mut BTreeMap<(Digest, u32, u32), u64>,
    ) -> Result<(), String> {
        for d in node.deployed() {
            let name = (d.root, d.first, d.end);
            let height = self.endpoint.run(Endpoint::height).await?;
            if leases
                .get(&name)
                .is_some_and(|until| *until > height + LEASE_BLOCKS / 2)
            {
                continue;
            }
            let path = format!("/v1/models/0x{}", d.root);
            if self.endpoint.run(move |e| e.get(&path)).await?.is_none() {
                continue;
            }
            let until = height + LEASE_BLOCKS;
            let call = IOperators::leaseCall {
                node: identity.peer_id().0.into(),
                model: d.root.0.into(),
                first: d.first,
                end: d.end,
                until,
            };
            self.submit(operators::ADDRESS, Amount::ZERO, call.abi_encode())
                .await?;
            leases.insert(name, until);
        }
        Ok(())
    }

    /// Claims that wait no longer: of lanes that are over, or whose payment session is ending.
    async fn due(
        &self,
        look: u64,
        over: &mut BTreeMap<(Digest, u8), u64>,
    ) -> Result<Vec<Claim>, String> {
        let mut due = Vec::new();
        for (is_over, claim) in self.paid.till.claims() {
            let v = claim.signed.voucher;
            if is_over {
                let since = *over.entry((v.session, v.lane)).or_insert(look);
                if look < since + OVER_LOOKS {
                    continue;
                }
            } else if !look.is_multiple_of(LOOKS_PER_LANE) {
                continue;
            } else {
                let found = self.endpoint.run(move |e| e.find(&v.session)).await?;
                if found.is_some_and(|f| {
                    f.session.stage == Stage::Open && f.session.ends > f.height + 1_000
                }) {
                    continue;
                }
            }
            over.remove(&(v.session, v.lane));
            due.push(claim);
        }
        Ok(due)
    }

    /// Settles claims that the ledger has not paid yet, all in one transaction.
    pub(crate) async fn settle(&self, claims: Vec<Claim>) -> Result<(), String> {
        let mut open = Vec::new();
        for claim in claims {
            let v = claim.signed.voucher;
            let found = self.endpoint.run(move |e| e.find(&v.session)).await?;
            let lane = found
                .as_ref()
                .and_then(|f| f.lanes.get(usize::from(v.lane)));
            let closed = found
                .as_ref()
                .is_none_or(|f| f.session.stage == Stage::Closed);
            if closed || lane.is_none_or(|l| l.sequence >= v.sequence) {
                self.paid.settled(&claim);
            } else {
                open.push(claim);
            }
        }
        for some in open.chunks(CLAIMS_MAX) {
            let claims = some.iter().map(|c| c.to_bytes().into()).collect();
            let call = ISessions::settleManyCall { claims };
            let tx = self
                .submit(sessions::ADDRESS, Amount::ZERO, call.abi_encode())
                .await?;
            tracing::info!(tx, claims = some.len(), "settled");
            some.iter().for_each(|c| self.paid.settled(c));
        }
        Ok(())
    }

    /// Settles everything that is owed, as the node ends.
    pub(crate) async fn end(&self) {
        let claims = self
            .paid
            .till
            .claims()
            .into_iter()
            .map(|(_, c)| c)
            .collect();
        if let Err(why) = self.settle(claims).await {
            tracing::warn!(%why, "claims are kept for the next start");
        }
    }
}

/// The default of `--chunk`.
pub(crate) const CHUNK: u32 = CHUNK_POSITIONS;

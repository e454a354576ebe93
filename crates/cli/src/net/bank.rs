//! Payment sessions of this process: opened at need, shared by its answers, settled when it ends.
//!
//! One transaction opens a session with a lane per node, one settles the last vouchers of all lanes,
//! which closes it and refunds the rest. Between them everything is vouchers on the streams of the
//! answers. A process that dies settles nothing: the nodes do, and the ledger refunds at the expiry.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_sol_types::SolCall;
use ed25519_dalek::SigningKey;
use nesa_client::pay::{PayError, Payer, shares};
use nesa_codec::{Decode, Digest, Encode as _};
use nesa_finality::Domain;
use nesa_ledger::sessions::{self, Chain, Claim, Session, SignedVoucher, abi::ISessions};
use nesa_ledger::{Address, Amount};
use nesa_pipeline::paid::{LaneName, Pay, QUARTERS, Terms};
use nesa_wallet::Key;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::NetworkError;
use super::answer::random;
use crate::Failure;
use crate::ledger::{Act, Done, Endpoint};

/// Positions that a deposit is good for.
const DEPOSIT_POSITIONS: u128 = 65_536;
/// Most NES that one session locks without being asked: prices are publishers' words.
const DEPOSIT_MAX: Amount = Amount::nes(100);
/// How far ahead a session expires, in blocks.
const EXPIRY_BLOCKS: u64 = 100_000;
/// Blocks before its expiry in which a session takes no new answer.
const LATE_BLOCKS: u64 = 5_000;
/// The most positions that a node may want to work ahead of its pay: flights are smaller.
pub const CHUNK_MIN: u32 = 128;

/// One node that serves, as it named itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Server {
    /// Its key.
    pub peer: [u8; 32],
    /// Layers that it serves.
    pub layers: u32,
    /// Its terms.
    pub terms: Terms,
}

/// An open payment session.
#[derive(Debug)]
pub struct Purse {
    /// Its name on the ledger.
    pub id: Digest,
    /// The transaction that opened it.
    pub opened: String,
    /// Units of money per unit of work.
    pub price: Amount,
    model: Digest,
    ends: u64,
    servers: Vec<Server>,
    salts: Vec<Digest>,
    payers: Mutex<Vec<Payer>>,
    broken: Mutex<bool>,
}

/// What a settlement did.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The payment session.
    pub session: Digest,
    /// The transaction that opened it.
    pub opened: String,
    /// The transaction that settled it.
    pub tx: String,
    /// What was paid, before the split.
    pub amount: Amount,
}

/// The payment sessions of one key on one ledger.
pub struct Bank {
    endpoint: Endpoint,
    key: Arc<Key>,
    purses: tokio::sync::Mutex<Vec<Arc<Purse>>>,
}

impl std::fmt::Debug for Bank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bank").finish_non_exhaustive()
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the error ends here")]
fn failed(f: Failure) -> NetworkError {
    NetworkError::Process(f.error.to_string())
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raw<T: Decode>(v: &Value) -> Result<T, NetworkError> {
    let bytes = alloy_primitives::hex::decode(v.as_str().unwrap_or_default());
    let row = bytes.ok().and_then(|b| T::from_bytes(&b).ok());
    row.ok_or_else(|| {
        NetworkError::Process(
            "the ledger's answer is no row of it; use another node's endpoint".into(),
        )
    })
}

impl Purse {
    /// The lane of node `i`.
    #[must_use]
    pub fn lane(&self, i: usize) -> Pay {
        Pay::Lane(LaneName {
            payment: self.id,
            lane: u8::try_from(i).unwrap_or(u8::MAX),
            salt: self.salts.get(i).copied().unwrap_or_default(),
        })
    }

    fn with<T>(&self, i: usize, f: impl FnOnce(&mut Payer) -> T) -> Option<T> {
        lock(&self.payers).get_mut(i).map(f)
    }

    /// What node `i` must be paid before so many more quarters of work.
    ///
    /// # Errors
    /// [`PayError`].
    pub fn before(&self, i: usize, quarters: u64) -> Result<Option<Pay>, PayError> {
        let voucher = self.with(i, |p| p.before(quarters)).transpose()?;
        Ok(voucher.flatten().map(Pay::Voucher))
    }

    /// Whether node `i` can be asked for so many more quarters now.
    #[must_use]
    pub fn may(&self, i: usize, quarters: u64) -> bool {
        self.with(i, |p| p.may(quarters)).unwrap_or(false)
    }

    /// Node `i` delivered so many quarters.
    pub fn delivered(&self, i: usize, quarters: u64) {
        let _ = self.with(i, |p| p.delivered(quarters));
    }

    /// Pays node `i` for all that it delivered.
    ///
    /// # Errors
    /// [`PayError`].
    pub fn pay(&self, i: usize, statement: &Digest) -> Result<Option<Pay>, PayError> {
        let voucher = self.with(i, |p| p.pay(Some(statement))).transpose()?;
        Ok(voucher.flatten().map(Pay::Voucher))
    }

    /// Takes no further answer; what was not proven is not paid.
    pub fn give_up(&self) {
        *lock(&self.broken) = true;
        lock(&self.payers).iter_mut().for_each(Payer::withhold);
    }

    /// Layers of node `i`.
    #[must_use]
    pub fn layers(&self, i: usize) -> u64 {
        self.servers.get(i).map_or(0, |s| u64::from(s.layers))
    }

    /// Promised so far per node: key, work, amount.
    #[must_use]
    pub fn promised(&self) -> Vec<([u8; 32], u64, Amount)> {
        let payers = lock(&self.payers);
        let each = self.servers.iter().zip(payers.iter());
        each.map(|(s, p)| (s.peer, p.state().0.work, p.paid()))
            .collect()
    }

    fn fits(&self, model: &Digest, servers: &[Server], units: u64, height: u64) -> bool {
        let payers = lock(&self.payers);
        let room = payers.iter().zip(&self.servers);
        self.model == *model
            && self.servers == servers
            && self.ends > height.saturating_add(LATE_BLOCKS)
            && !*lock(&self.broken)
            && room
                .clone()
                .all(|(p, s)| p.holds(units.saturating_mul(u64::from(s.layers))))
    }
}

impl Bank {
    /// Pays with `key` on the ledger at `endpoint`.
    pub(crate) fn new(endpoint: Endpoint, key: Key) -> Self {
        Self {
            endpoint,
            key: Arc::new(key),
            purses: tokio::sync::Mutex::default(),
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Endpoint, &Key) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let (endpoint, key) = (self.endpoint.clone(), Arc::clone(&self.key));
        let done = tokio::task::spawn_blocking(move || call(&endpoint, &key)).await;
        done.map_err(|e| NetworkError::Process(e.to_string()))?
            .map_err(failed)
    }

    /// A payment session for these nodes with room for so many positions on each: an open one, or
    /// a new one.
    ///
    /// # Errors
    /// [`NetworkError::Process`] where the ledger refuses or does not answer.
    pub async fn purse(
        &self,
        model: Digest,
        servers: Vec<Server>,
        positions: u64,
    ) -> Result<Arc<Purse>, NetworkError> {
        let mut purses = self.purses.lock().await;
        let (chain, height) = self.run(|e, _| chain(e)).await?;
        for s in &servers {
            let there =
                (s.terms.chain_id, s.terms.domain) == (chain.id, Digest(*chain.domain.as_bytes()));
            let why = match there {
                false => "is paid on another ledger; name that with --ledger",
                true if s.terms.chunk < CHUNK_MIN => {
                    "works less than a flight ahead of its pay; ask another"
                }
                true => continue,
            };
            let node = Digest(s.peer).to_string();
            return Err(NetworkError::Process(format!("node {} {why}", &node[..8])));
        }
        if let Some(open) = purses
            .iter()
            .find(|p| p.fits(&model, &servers, positions, height))
        {
            return Ok(Arc::clone(open));
        }
        let purse = Arc::new(self.open(model, servers, positions, chain, height).await?);
        purses.push(Arc::clone(&purse));
        Ok(purse)
    }

    async fn open(
        &self,
        model: Digest,
        servers: Vec<Server>,
        positions: u64,
        chain: Chain,
        height: u64,
    ) -> Result<Purse, NetworkError> {
        let layers: Vec<u32> = servers.iter().map(|s| s.layers).collect();
        let shares = shares(&layers).ok_or_else(|| {
            NetworkError::Process("a payment session has 1 to 64 lanes; use fewer nodes".into())
        })?;
        let seed = Zeroizing::new(random()?.0);
        let key = SigningKey::from_bytes(&seed);
        let salts: Vec<Digest> = servers.iter().map(|_| random()).collect::<Result<_, _>>()?;
        let payees = servers.iter().zip(&salts);
        let payees = payees.map(|(s, salt)| sessions::commit_payee(&s.terms.payee, salt).0.into());
        let price = self.run(move |e, _| price(e, &model)).await?;
        let least = self.run(|e, _| deposit_min(e)).await?;
        let deposit = deposit(&layers, positions, price, least)?;
        let ends = height + EXPIRY_BLOCKS;
        let call = ISessions::openCall {
            key: key.verifying_key().to_bytes().into(),
            model: model.0.into(),
            price: price.to_u256(),
            expiry: ends,
            payees: payees.collect(),
            shares,
        };
        let done = self.run(move |e, k| act(e, k, deposit, &call)).await?;
        let id = opened(&done.receipt).ok_or_else(|| {
            NetworkError::Process(format!(
                "transaction {} opened nothing; look at its receipt",
                done.hash
            ))
        })?;
        let row = self
            .run(move |e, _| e.get(&format!("/v1/sessions/{id}")))
            .await?;
        let row: Session = raw(&row["raw"])?;
        let shares_of = call_shares(&layers);
        let payer = |(i, s): (usize, &Server)| {
            let lane = u8::try_from(i).unwrap_or(u8::MAX);
            let terms = row.terms(&id, lane, shares_of.get(i).copied().unwrap_or(0));
            let chunk = u64::from(s.terms.chunk) * u64::from(s.layers);
            Payer::new(chain, terms, key.clone(), chunk, (None, 0))
        };
        Ok(Purse {
            id,
            opened: done.hash,
            price: row.price,
            model,
            ends: row.ends,
            payers: Mutex::new(servers.iter().enumerate().map(payer).collect()),
            servers,
            salts,
            broken: Mutex::new(false),
        })
    }

    /// Settles and closes every payment session: one transaction for all lanes of each.
    ///
    /// # Errors
    /// The first that fails; the nodes settle what they hold then.
    pub async fn close(&self) -> Result<Vec<Settled>, NetworkError> {
        let purses = std::mem::take(&mut *self.purses.lock().await);
        let mut all = Vec::new();
        for purse in purses {
            let claims = purse.claims()?;
            let call = ISessions::settleManyCall {
                claims: claims.iter().map(|c| c.to_bytes().into()).collect(),
            };
            let done = self.run(move |e, k| act(e, k, Amount::ZERO, &call)).await?;
            let sum = claims
                .iter()
                .fold(0u128, |n, c| n + c.signed.voucher.amount.0);
            all.push(Settled {
                session: purse.id,
                opened: purse.opened.clone(),
                tx: done.hash,
                amount: Amount(sum),
            });
        }
        Ok(all)
    }
}

fn call_shares(layers: &[u32]) -> Vec<u32> {
    shares(layers).unwrap_or_default()
}

impl Purse {
    /// The last voucher of every lane, with what opens its commitment.
    fn claims(&self) -> Result<Vec<Claim>, NetworkError> {
        let mut payers = lock(&self.payers);
        let mut out = Vec::new();
        for ((payer, server), salt) in payers.iter_mut().zip(&self.servers).zip(&self.salts) {
            let signed: SignedVoucher = payer
                .last()
                .map_err(|e| NetworkError::Process(e.to_string()))?;
            out.push(Claim {
                signed,
                payee: server.terms.payee,
                salt: *salt,
            });
        }
        Ok(out)
    }
}

impl From<PayError> for NetworkError {
    fn from(e: PayError) -> Self {
        Self::Process(e.to_string())
    }
}

fn chain(e: &Endpoint) -> Result<(Chain, u64), Failure> {
    let first = e.call("eth_getBlockByNumber", &json!(["0x0", false]))?;
    let hash = alloy_primitives::hex::decode_to_array(first["hash"].as_str().unwrap_or_default());
    let hash: [u8; 32] = hash.map_err(|e| {
        Failure::failed(format!(
            "the ledger's first block: {e}; use another endpoint"
        ))
    })?;
    let number = |method| {
        let v = e.quantity(method, &json!([]))?;
        u64::try_from(v).map_err(|_| {
            Failure::failed(format!("{method} is beyond 64 bits; use another endpoint"))
        })
    };
    let chain = Chain {
        id: number("eth_chainId")?,
        domain: Domain::of_genesis(&Digest(hash)),
    };
    Ok((chain, number("eth_blockNumber")?))
}

fn units(v: &Value, what: &str) -> Result<Amount, Failure> {
    let units = v.as_str().and_then(|s| s.parse().ok());
    units
        .map(Amount)
        .ok_or_else(|| Failure::failed(format!("the ledger gave no {what}; use another endpoint")))
}

fn param(e: &Endpoint, name: &str) -> Result<Amount, Failure> {
    let all = e.get("/v1/params")?;
    let found = all
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["name"] == name);
    units(&found.map_or(Value::Null, |p| p["value"].clone()), name)
}

fn deposit_min(e: &Endpoint) -> Result<Amount, Failure> {
    param(e, "session_deposit_min")
}

fn price(e: &Endpoint, model: &Digest) -> Result<Amount, Failure> {
    let row = e.get(&format!("/v1/models/{model}")).map_err(|why| {
        Failure::failed(format!(
            "the model is not on the ledger ({}); register it with `nesa model push`",
            why.error
        ))
    })?;
    Ok(units(&row["price_units"], "price")?.max(param(e, "session_price_min")?))
}

fn act(e: &Endpoint, key: &Key, value: Amount, call: &impl SolCall) -> Result<Done, Failure> {
    let input = call.abi_encode();
    let act = Act {
        to: sessions::ADDRESS,
        value,
        gas: crate::signer::gas(sessions::ADDRESS, input.clone())?,
        input,
    };
    e.submit(key, act)?.taken()
}

/// The session that a receipt says was opened.
fn opened(receipt: &Value) -> Option<Digest> {
    let here = Address::to_string(&sessions::ADDRESS).to_lowercase();
    let logs = receipt["logs"].as_array()?;
    let log = logs.iter().find(|l| {
        l["address"]
            .as_str()
            .is_some_and(|a| a.to_lowercase() == here)
    })?;
    let topic = log["topics"][1].as_str()?;
    alloy_primitives::hex::decode_to_array(topic)
        .ok()
        .map(Digest)
}

/// What secures twice the positions of an answer, and some at least, in all lanes.
fn deposit(
    layers: &[u32],
    positions: u64,
    price: Amount,
    least: Amount,
) -> Result<Amount, NetworkError> {
    let total: u128 = layers.iter().map(|l| u128::from(*l)).sum();
    let room = DEPOSIT_POSITIONS.max(u128::from(positions).saturating_mul(2));
    let units = total.checked_mul(room);
    let sum = units.and_then(|n| price.times(n)).map(|s| s.max(least));
    sum.filter(|s| *s <= DEPOSIT_MAX).ok_or_else(|| {
        NetworkError::Process(format!(
            "the model's price of {} NES per unit of work would lock more than {} NES; ask another model",
            price.decimal(),
            DEPOSIT_MAX.decimal()
        ))
    })
}

/// Quarters of work of so many positions through so many layers.
#[must_use]
pub fn quarters(positions: u64, layers: u64) -> u64 {
    positions.saturating_mul(layers).saturating_mul(QUARTERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_would_lock_a_fortune_is_refused() {
        let least = Amount(1_000_000_000_000_000);
        let cheap = deposit(&[15, 15], 128, Amount(1_000_000_000), least).unwrap();
        assert_eq!(cheap, Amount(30 * 65_536 * 1_000_000_000));
        assert_eq!(deposit(&[1], 1, Amount(1), least).unwrap(), least);
        let long = deposit(&[1], 100_000, Amount(1_000_000_000), least).unwrap();
        assert_eq!(long, Amount(200_000 * 1_000_000_000).max(least));
        for price in [Amount::nes(1), Amount(u128::MAX)] {
            let refused = deposit(&[15, 15], 128, price, least).unwrap_err();
            assert!(refused.to_string().contains("would lock"), "{refused}");
        }
    }
}

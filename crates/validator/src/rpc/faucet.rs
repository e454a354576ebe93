//! A faucet for local networks: some NES for whoever asks, within limits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use nesa_ledger::tx::{AccessList, Pricing, Tx, Unsigned};
use nesa_ledger::{Address, Amount, query};
use nesa_wallet::{Key, Keystore, Passphrase, WalletError};
use serde_json::{Value, json};
use tokio::sync::{Mutex, Semaphore};

use super::plain::{Answer, internal, ok, refused};
use super::{Chain, eth, show};
use crate::genesis::LOCAL_CHAIN_ID;

/// What one request gets.
pub const SUM: Amount = Amount::nes(100);
/// How long an address waits for its next sum.
pub const ADDRESS_WAIT: Duration = Duration::from_secs(60);
/// The most sums in [`ADDRESS_WAIT`], whoever asks; so many addresses are remembered.
pub const SUMS_MAX: usize = 30;
/// The most requests that wait for their turn; more are refused.
const WAITING_MAX: usize = 8;
/// How long a transfer may take to stand in a block.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a request.
const BODY_MAX: usize = 1 << 10;

/// Why there is no faucet.
#[derive(Debug, thiserror::Error)]
pub enum FaucetError {
    /// NES of a public network is nobody's to give away.
    #[error("a faucet serves chain {LOCAL_CHAIN_ID} only, not {0}; leave --faucet out")]
    Public(u64),
    /// Not a keystore file.
    #[error("{0} is no keystore file; name one that `nesa key new --unattended` made")]
    File(String),
    /// The key does not open.
    #[error(transparent)]
    Key(#[from] WalletError),
}

/// A key that gives, and whom it gave to lately.
#[derive(Debug)]
pub struct Faucet {
    key: Key,
    turn: Mutex<BTreeMap<Address, Instant>>,
    waiting: Semaphore,
}

impl Faucet {
    /// The faucet of a local chain that pays with `key`.
    ///
    /// # Errors
    /// [`FaucetError::Public`].
    pub fn new(key: Key, chain_id: u64) -> Result<Self, FaucetError> {
        if chain_id != LOCAL_CHAIN_ID {
            return Err(FaucetError::Public(chain_id));
        }
        Ok(Self {
            key,
            turn: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
        })
    }

    /// With the key of a keystore file `NAME.json`, whose passphrase lies beside it in `NAME.passphrase`.
    ///
    /// # Errors
    /// [`FaucetError`].
    pub fn open(file: &Path, chain_id: u64) -> Result<Self, FaucetError> {
        let shown = || FaucetError::File(file.display().to_string());
        let name = file.file_stem().and_then(|n| n.to_str());
        let (name, folder) = name.zip(file.parent()).ok_or_else(shown)?;
        let passphrase = Passphrase::of_file(&file.with_extension("passphrase"))?;
        let key = Keystore::new(folder.to_owned()).open(name, &passphrase)?;
        Self::new(key, chain_id)
    }

    fn transfer(&self, chain: &Chain, to: Address, nonce: u64, price: u64) -> Option<Tx> {
        let unsigned = Unsigned {
            chain_id: chain.machine.ledger().chain_id(),
            nonce,
            // Twice the price of now: blocks may fill up before this one stands in one.
            pricing: Pricing::Dynamic {
                max_fee: u128::from(price).saturating_mul(2),
                max_tip: 0,
            },
            gas_limit: 21_000,
            to: Some(to),
            value: SUM,
            input: Vec::new(),
            access_list: AccessList::default(),
        };
        let (rs, odd) = self.key.sign(&unsigned.signing_hash());
        let half = |at: usize| std::array::from_fn(|i| rs[at + i]);
        unsigned.signed(half(0), half(32), odd).ok()
    }

    /// Sends one sum and waits until it arrived: the hash and the height.
    async fn give(&self, chain: &Chain, to: Address) -> Result<(Tx, u64), String> {
        let mut heights = chain.node.heights();
        let (envelope, state) = chain.node.last();
        let me = Address::from(self.key.address());
        let nonce = |state: &_| query::account(state, &me).map(|a| a.nonce);
        let next = nonce(&state).map_err(|e| e.to_string())?;
        let price = eth::next_base_fee(&envelope, &state)?;
        let tx = self.transfer(chain, to, next, price);
        let tx = tx.ok_or("the transfer cannot be signed")?;
        let sent = chain.node.submit(tx.bytes().to_vec());
        sent.map_err(|e| e.to_string())?;
        let arrived = async {
            loop {
                heights.changed().await.map_err(|_| "the node ends")?;
                let (envelope, state) = chain.node.last();
                if nonce(&state).map_err(|e| e.to_string())? > next {
                    return Ok::<_, String>(envelope.height);
                }
            }
        };
        let height = tokio::time::timeout(PATIENCE, arrived).await;
        let height = height.map_err(|_| "no block holds the transfer yet")??;
        Ok((tx, height))
    }
}

/// The route of a faucet.
pub fn faucet(chain: Chain, faucet: Faucet) -> Router {
    Router::new()
        .route("/v1/faucet", post(ask))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(Arc::new((chain, faucet)))
}

async fn ask(State(all): State<Arc<(Chain, Faucet)>>, body: axum::body::Bytes) -> Answer {
    let (chain, faucet) = &*all;
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let Ok(to) = eth::address(&asked["address"]) else {
        let text = "send {\"address\": \"0x…\"} with 40 digits";
        return refused(StatusCode::BAD_REQUEST, text);
    };
    let Ok(_place) = faucet.waiting.try_acquire() else {
        let text = "too many ask at once; ask again in a minute";
        return refused(StatusCode::TOO_MANY_REQUESTS, text);
    };
    // One at a time: the transfers are numbered.
    let mut given = faucet.turn.lock().await;
    let now = Instant::now();
    given.retain(|_, at| now.duration_since(*at) < ADDRESS_WAIT);
    if given.contains_key(&to) || given.len() >= SUMS_MAX {
        let text = format!(
            "an address gets {SUM} and all together {SUMS_MAX} times that in {} seconds; ask again later",
            ADDRESS_WAIT.as_secs()
        );
        return refused(StatusCode::TOO_MANY_REQUESTS, text);
    }
    match faucet.give(chain, to).await {
        Ok((tx, height)) => {
            given.insert(to, now);
            ok(json!({
                "tx": show::digest(&tx.hash()),
                "to": to.to_string(),
                "amount": SUM.decimal(),
                "height": height,
            }))
        }
        Err(why) => internal(why),
    }
}

//! What is sent: every transaction signed beforehand.

use std::str::FromStr;

use alloy_primitives::{B256, U256};
use alloy_sol_types::SolCall as _;
use anyhow::{Result, bail};
use ed25519_dalek::Signer as _;
use nesa_codec::{Digest, Encode as _};
use nesa_finality::Domain;
use nesa_ledger::models::abi::IModels::registerCall;
use nesa_ledger::sessions::abi::ISessions::{openCall, settleCall, settleManyCall};
use nesa_ledger::sessions::{Chain, Claim, SignedVoucher, Voucher, commit_payee, session_id};
use nesa_ledger::tx::{Pricing, Tx, Unsigned};
use nesa_ledger::{Address, Amount, models, sessions};

use crate::keys;

/// Accounts that send.
pub(crate) const SENDERS: u32 = 64;
/// Sessions that are settled, again and again, by growing vouchers.
const SESSIONS: u32 = 512;
/// Claims of one `settleMany`.
const CLAIMS: u64 = 32;
/// Work of one voucher.
const WORK: u64 = 1_024;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Plain transfers.
    Transfers,
    /// One claim per transaction.
    Settle,
    /// Many claims per transaction.
    SettleMany,
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "transfers" => Self::Transfers,
            "settle" => Self::Settle,
            "settle-many" => Self::SettleMany,
            _ => bail!("kinds are transfers, settle and settle-many"),
        })
    }
}

impl Kind {
    /// The first of the [`SENDERS`] that send this kind: each has accounts of its own.
    pub(crate) fn first_sender(self) -> u32 {
        SENDERS * self as u32
    }

    /// Units of work in a transaction.
    pub(crate) fn units(self) -> u64 {
        match self {
            Self::SettleMany => CLAIMS,
            _ => 1,
        }
    }
}

/// Where the transactions of a kind go.
pub(crate) struct Target {
    kind: Kind,
    chain: Chain,
    height: u64,
    nonces: Vec<u64>,
}

impl Target {
    /// A chain, its height and the next nonce of each sender.
    pub(crate) fn new(
        kind: Kind,
        id: u64,
        genesis: &Digest,
        height: u64,
        nonces: Vec<u64>,
    ) -> Self {
        let domain = Domain::of_genesis(genesis);
        Self {
            kind,
            chain: Chain { id, domain },
            height,
            nonces,
        }
    }

    fn address(&self, sender: u32) -> Address {
        keys::address(self.kind.first_sender() + sender)
    }

    fn model(&self) -> [u8; 32] {
        [5 + self.kind as u8; 32]
    }

    fn sign(&mut self, sender: u32, to: Address, value: Amount, gas: u64, input: Vec<u8>) -> Tx {
        let key = keys::key(self.kind.first_sender() + sender);
        let nonce = &mut self.nonces[sender as usize];
        let body = Unsigned {
            chain_id: self.chain.id,
            nonce: *nonce,
            pricing: Pricing::Dynamic {
                max_fee: 1_000_000_000,
                max_tip: 1_000_000,
            },
            gas_limit: gas,
            to: Some(to),
            value,
            input,
            access_list: Vec::new(),
        };
        *nonce += 1;
        keys::sign(&key, body)
    }

    /// What must be final before the clock starts: a model, then open sessions, of which each sender pays every
    /// `SENDERS`-th.
    pub(crate) fn prepare(&mut self) -> Vec<Tx> {
        if self.kind == Kind::Transfers {
            return Vec::new();
        }
        let call = registerCall {
            model: self.model().into(),
            previous: [0; 32].into(),
            manifest: [6; 32].into(),
            shards: vec![[1; 32].into()],
            price: U256::from(1),
            royalty: 0,
            modes: 1,
            allowed: vec![],
        };
        let input = call.abi_encode();
        let mut out = vec![self.sign(0, models::ADDRESS, Amount::ZERO, 2_000_000, input)];
        for s in 0..SESSIONS {
            let key = keys::ed25519("session", s).verifying_key().to_bytes();
            let payee = commit_payee(&self.address(s % SENDERS), &keys::salt(s));
            let call = openCall {
                key: key.into(),
                model: self.model().into(),
                price: U256::from(1_000u64),
                expiry: self.height + 1_000_000,
                payees: vec![B256::from(payee.0)],
                shares: vec![1_000_000],
            };
            let (input, deposit) = (call.abi_encode(), Amount::nes(1));
            out.push(self.sign(s % SENDERS, sessions::ADDRESS, deposit, 1_000_000, input));
        }
        out
    }

    fn claim(&self, s: u32, sequence: u64) -> Claim {
        let payer = self.address(s % SENDERS);
        let n = u64::from(s / SENDERS);
        let work = WORK * sequence;
        let voucher = Voucher {
            session: session_id(&self.chain.domain, &payer, n),
            lane: 0,
            sequence,
            work,
            amount: Amount(u128::from(work) * 1_000),
            transcript: Digest([7; 32]),
            last: false,
        };
        let signature = keys::ed25519("session", s).sign(&voucher.digest(&self.chain).0);
        Claim {
            signed: SignedVoucher {
                voucher,
                signature: signature.to_bytes(),
            },
            payee: payer,
            salt: keys::salt(s),
        }
    }

    /// `count` units of work, transfers or claims, in transactions.
    pub(crate) fn work(&mut self, count: u64) -> Vec<Tx> {
        let txs = count.div_ceil(self.kind.units());
        (0..txs).map(|i| self.one(i)).collect()
    }

    fn one(&mut self, i: u64) -> Tx {
        // The sessions of one sender come in turn, so its nonces keep the order of their vouchers.
        let per_sender = u64::from(SESSIONS / SENDERS);
        let sender = (i % u64::from(SENDERS)) as u32;
        let turn = i / u64::from(SENDERS);
        let at = |k: u64| {
            let s = sender + SENDERS * (k % per_sender) as u32;
            self.claim(s, 1 + k / per_sender).to_bytes().into()
        };
        match self.kind {
            Kind::Transfers => {
                let to = self.address((sender + 1) % SENDERS);
                self.sign(sender, to, Amount(1), 21_000, Vec::new())
            }
            Kind::Settle => {
                let claim = at(turn);
                let input = settleCall { claim }.abi_encode();
                self.sign(sender, sessions::ADDRESS, Amount::ZERO, 200_000, input)
            }
            Kind::SettleMany => {
                let claims = (turn * CLAIMS..(turn + 1) * CLAIMS).map(at).collect();
                let input = settleManyCall { claims }.abi_encode();
                let gas = CLAIMS * 60_000 + 200_000;
                self.sign(sender, sessions::ADDRESS, Amount::ZERO, gas, input)
            }
        }
    }
}

//! A chain with contracts, people with keys, and blocks on demand.

use k256::ecdsa::SigningKey;
use nesa_codec::Digest;
use nesa_ledger::tx::{Pricing, Tx, Unsigned};
use nesa_ledger::{
    Address, Amount, Committed, Executed, Genesis, GenesisValidator, Ledger, Params, Place,
    Receipt, query, supply,
};

use crate::Evm;

pub(super) const CHAIN: u64 = 41_443;
pub(super) const RICH: Amount = Amount::nes(1_000_000);
pub(super) const PEOPLE: u8 = 4;
/// The key of the only validator: RFC 8032's first.
pub(super) const VALIDATOR: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a,
    0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

fn key(who: u8) -> SigningKey {
    SigningKey::from_slice(&[who + 1; 32]).unwrap()
}

pub(super) fn address(who: u8) -> Address {
    alloy_primitives::Address::from_public_key(key(who).verifying_key()).into()
}

pub(super) fn sign(who: u8, body: Unsigned) -> Tx {
    let hash = body.signing_hash();
    let (s, id) = key(who).sign_prehash_recoverable(&hash).unwrap();
    let (r, s) = (s.r().to_bytes().into(), s.s().to_bytes().into());
    body.signed(r, s, id.is_y_odd()).unwrap()
}

/// A chain and its last block.
pub(super) struct World {
    pub(super) ledger: Ledger<Evm>,
    pub(super) tip: Committed,
}

impl World {
    pub(super) fn new(params: Params) -> Self {
        let mut allocations: Vec<_> = (0..PEOPLE).map(|i| (address(i), RICH)).collect();
        allocations.sort();
        let genesis = Genesis {
            chain_id: CHAIN,
            time_ms: 1_000,
            params,
            allocations,
            treasury: Amount::nes(5),
            validators: vec![GenesisValidator {
                key: VALIDATOR,
                owner: address(0),
                bond: Amount::nes(10_000),
                commission_ppm: 100_000,
            }],
        };
        let ledger = Ledger::new(&genesis, Evm).unwrap();
        let tip = ledger.genesis().clone();
        Self { ledger, tip }
    }

    pub(super) fn place(&self) -> Place {
        Place {
            height: self.tip.header.height + 1,
            timestamp_ms: self.tip.header.timestamp_ms + 1_000,
            proposer: VALIDATOR,
            parent: self.tip.header.digest(),
        }
    }

    pub(super) fn balance(&self, of: &Address) -> Amount {
        query::account(&self.tip.state, of).unwrap().balance
    }

    pub(super) fn body(&self, who: u8) -> Unsigned {
        Unsigned {
            chain_id: CHAIN,
            nonce: query::account(&self.tip.state, &address(who))
                .unwrap()
                .nonce,
            pricing: Pricing::Dynamic {
                max_fee: 10_000_000_000,
                max_tip: 0,
            },
            gas_limit: 5_000_000,
            to: None,
            value: Amount::ZERO,
            input: Vec::new(),
            access_list: Vec::new(),
        }
    }

    /// Makes a block, checks that executing it gives the same, and stands on it.
    pub(super) fn block(&mut self, txs: &[Tx]) -> Executed {
        self.block_of(txs, 1 << 20)
    }

    pub(super) fn block_of(&mut self, txs: &[Tx], bytes: usize) -> Executed {
        let place = self.place();
        let made = self.ledger.propose(&self.tip, &place, txs, &[], bytes);
        let made = made.unwrap();
        let done = self.ledger.execute(&self.tip, &place, &made.block).unwrap();
        assert_eq!(done.block, made.block);
        assert_eq!(done.receipts, made.receipts);
        assert_eq!(done.state.root(), made.state.root());
        supply::recount(&made.state).unwrap();
        self.tip = Committed {
            header: made.block.header.clone(),
            state: made.state.clone(),
        };
        made
    }

    pub(super) fn wait(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.block(&[]);
        }
    }

    /// A transaction in a block of its own.
    pub(super) fn send(&mut self, who: u8, body: Unsigned) -> Receipt {
        let mut done = self.block(&[sign(who, body)]);
        assert_ne!(done.receipts.first().map(|r| r.tx), None, "it was left out");
        assert_ne!(done.receipts[0].tx, Digest::default(), "it was left out");
        done.receipts.remove(0)
    }

    pub(super) fn deploy(&mut self, who: u8, code: &[u8], value: Amount) -> Address {
        let input = super::puppet::init(code);
        let body = self.body(who);
        let receipt = self.send(
            who,
            Unsigned {
                input,
                value,
                ..body
            },
        );
        assert!(receipt.succeeded, "{}", receipt.reason);
        receipt.created.unwrap()
    }

    pub(super) fn run(&mut self, who: u8, to: Address, value: Amount, input: Vec<u8>) -> Receipt {
        let body = self.body(who);
        let to = Some(to);
        self.send(
            who,
            Unsigned {
                to,
                value,
                input,
                ..body
            },
        )
    }

    pub(super) fn word(&self, of: &Address, slot: u8) -> u128 {
        let mut key = [0; 32];
        key[31] = slot;
        let word = crate::state::storage(&self.tip.state, of, &Digest(key)).unwrap();
        u128::from_be_bytes(word.0[16..].try_into().unwrap())
    }
}

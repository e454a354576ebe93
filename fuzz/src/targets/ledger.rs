//! Transactions, blocks, genesis and proofs of a ledger, and a chain that is handed them.

use std::cell::OnceCell;

use nesa_codec::{Decode, Encode};
use nesa_ledger::dispatch::Action;
use nesa_ledger::query::ReceiptProof;
use nesa_ledger::state::Proof;
use nesa_ledger::tx::{Pricing, Tx, Unsigned};
use nesa_ledger::vm::NoContracts;
use nesa_ledger::{Address, Amount, Block, Genesis, GenesisValidator, Ledger, Params, Place};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "ledger",
    run,
    // A transaction is kept as bytes and decoded; a block runs on a small state.
    bound: |len| 60 * len + (4 << 20),
    seeds,
    dictionary: &[
        b"\x02\xf8",
        b"\xf8\x6c",
        b"\x80",
        b"\xc0",
        b"NES\x01",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
    ],
};

thread_local! {
    static CHAIN: OnceCell<Ledger<NoContracts>> = const { OnceCell::new() };
}

fn genesis() -> Genesis {
    let owner = Address([1; 20]);
    Genesis {
        chain_id: 1,
        time_ms: 0,
        params: Params::default(),
        allocations: vec![(owner, Amount::nes(5_000))],
        treasury: Amount::ZERO,
        validators: vec![GenesisValidator {
            key: [2; 32],
            owner,
            bond: Amount::nes(2_000),
            commission_ppm: 0,
        }],
    }
}

fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Result<T, nesa_codec::DecodeError> {
    let value = T::from_bytes(bytes)?;
    assert_eq!(value.to_bytes(), bytes);
    Ok(value)
}

/// What decodes must encode to the same bytes; a chain refuses blocks that it did not make.
fn run(bytes: &[u8]) -> String {
    let Some((kind, rest)) = bytes.split_first() else {
        return "no kind".to_owned();
    };
    match kind % 6 {
        0 => {
            let tx = Tx::decode(rest);
            if let Ok(tx) = &tx {
                assert_eq!(tx.bytes(), rest);
            }
            outcome(tx)
        }
        1 => {
            let address = Address::module(rest.first().copied().unwrap_or(0));
            match Action::decode(&address, rest.get(1..).unwrap_or(&[])) {
                Some(action) => outcome(action),
                None => "no module".to_owned(),
            }
        }
        2 => outcome(canonical::<Proof>(rest)),
        3 => outcome(canonical::<ReceiptProof>(rest)),
        4 => {
            let genesis = canonical::<Genesis>(rest);
            match genesis {
                Ok(genesis) => outcome(genesis.build()),
                Err(e) => e.to_string(),
            }
        }
        _ => match canonical::<Block>(rest) {
            Ok(block) => CHAIN.with(|chain| execute(chain, &block)),
            Err(e) => e.to_string(),
        },
    }
}

fn execute(chain: &OnceCell<Ledger<NoContracts>>, block: &Block) -> String {
    let chain = chain.get_or_init(|| Ledger::new(&genesis(), NoContracts).expect("it is valid"));
    let place = Place {
        height: 1,
        timestamp_ms: block.header.timestamp_ms.max(1),
        proposer: block.header.proposer,
        parent: block.header.parent,
    };
    outcome(chain.execute(chain.genesis(), &place, block))
}

fn seeds() -> Vec<Vec<u8>> {
    let chain = Ledger::new(&genesis(), NoContracts).expect("it is valid");
    let place = Place {
        height: 1,
        timestamp_ms: 5,
        proposer: [2; 32],
        parent: chain.genesis().header.digest(),
    };
    let made = chain.propose(chain.genesis(), &place, &[], &[], 1 << 16);
    let made = made.expect("an empty block");
    let mut full = made.block.clone();
    full.body.txs = vec![tx(), vec![2, 0xc0]];
    full.body.evidence = vec![vec![0; 300]];
    let staking = Address::module(1).0[16..].to_vec();
    let mut call = vec![1, staking[3]];
    call.extend_from_slice(&[0; 36]);
    vec![
        [vec![0], tx()].concat(),
        call,
        [vec![2], chain.genesis().state.prove(b"key").to_bytes()].concat(),
        [vec![4], genesis().to_bytes()].concat(),
        [vec![5], made.block.to_bytes()].concat(),
        [vec![5], full.to_bytes()].concat(),
    ]
}

/// A signed envelope: any r below the order that is a curve's x recovers to some sender.
fn tx() -> Vec<u8> {
    let body = Unsigned {
        chain_id: 1,
        nonce: 0,
        pricing: Pricing::Dynamic {
            max_fee: 9_000_000,
            max_tip: 1,
        },
        gas_limit: 100_000,
        to: Some(Address::module(1)),
        value: Amount(7),
        input: vec![1, 2, 3, 4],
        access_list: Vec::new(),
    };
    let signed = (1u8..).map_while(|r| {
        let mut x = [0; 32];
        x[31] = r;
        Some(body.clone().signed(x, [1; 32], false))
    });
    let first = signed.flatten().next();
    first
        .expect("half of all x are on the curve")
        .bytes()
        .to_vec()
}

//! Transactions from elsewhere, and bytes that are none.

use proptest::prelude::*;

use crate::testing::{World, address, key, sign};
use crate::tx::{Access, Pricing, Tx, TxError, Unsigned};
use crate::{Address, Amount, Params};

fn hex(s: &str) -> Vec<u8> {
    let digits = s.as_bytes().chunks_exact(2);
    digits
        .map(|p| u8::from_str_radix(std::str::from_utf8(p).unwrap(), 16).unwrap())
        .collect()
}

/// The example of EIP-155 itself.
const EIP155: &str = "f86c098504a817c800825208943535353535353535353535353535353535353535880de0b6b3a76400008025a028ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276a067cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83";

#[test]
fn the_example_of_eip_155_is_read_as_it_says() {
    let tx = Tx::decode(&hex(EIP155)).unwrap();
    let body = tx.body();
    assert_eq!((body.chain_id, body.nonce, body.gas_limit), (1, 9, 21_000));
    assert_eq!(body.value, Amount::nes(1));
    assert_eq!(body.to, Some(Address([0x35; 20])));
    let hash = "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53";
    assert_eq!(body.signing_hash().to_vec(), hex(hash));
    let sender = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";
    assert_eq!(tx.sender().to_string(), sender);
}

fn dynamic() -> Tx {
    let world = World::new(Params::default());
    sign(
        3,
        Unsigned {
            access_list: vec![Access {
                address: Address([5; 20]),
                slots: vec![[1; 32], [2; 32]],
            }],
            input: vec![1, 2, 3],
            ..world.body(3)
        },
    )
}

#[test]
fn envelopes_carry_what_was_signed_and_who_signed() {
    let tx = dynamic();
    assert_eq!(tx.sender(), address(3));
    assert_eq!(Tx::decode(tx.bytes()), Ok(tx.clone()));
    assert_eq!(tx.body().intrinsic_gas(), 21_000 + 48 + 2_400 + 3_800);
}

#[test]
fn no_other_bytes_are_this_senders_transaction() {
    for original in [Tx::decode(&hex(EIP155)).unwrap(), dynamic()] {
        let bytes = original.bytes();
        for at in 0..bytes.len() {
            assert!(Tx::decode(&bytes[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut lie = bytes.to_vec();
                lie[at] ^= 1 << bit;
                if let Ok(tx) = Tx::decode(&lie) {
                    assert_ne!(tx.sender(), original.sender(), "byte {at}");
                    assert_ne!(tx.hash(), original.hash(), "byte {at}");
                }
            }
        }
        let longer = [bytes, &[0]].concat();
        assert!(Tx::decode(&longer).is_err());
    }
}

#[test]
fn malleable_signatures_and_unbound_ones_are_refused() {
    let body = World::new(Params::default()).body(3);
    let hash = body.signing_hash();
    let (signature, id) = key(3).sign_prehash_recoverable(&hash).unwrap();
    let r: [u8; 32] = signature.r().to_bytes().into();
    let high: [u8; 32] = (-*signature.s()).to_bytes().into();
    let twin = body.clone().signed(r, high, !id.is_y_odd());
    assert_eq!(twin, Err(TxError::Signature));
    assert_eq!(
        body.clone().signed([0; 32], high, false),
        Err(TxError::Signature)
    );
    assert_eq!(
        body.clone().signed(r, [0; 32], false),
        Err(TxError::Signature)
    );
    assert_eq!(
        body.signed([255; 32], [1; 32], false),
        Err(TxError::Signature)
    );
    let mut old = hex(EIP155);
    let v = old.iter().position(|b| *b == 37).unwrap();
    old[v] = 27;
    assert_eq!(Tx::decode(&old), Err(TxError::NoChain));
    assert_eq!(Tx::decode(&[1, 0xc0]), Err(TxError::Type(1)));
    assert_eq!(Tx::decode(&[3, 0xc0]), Err(TxError::Type(3)));
    assert!(Tx::decode(&[]).is_err());
}

#[test]
fn numbers_out_of_range_are_refused() {
    let body = World::new(Params::default()).body(3);
    let wrong = Unsigned {
        pricing: Pricing::Dynamic {
            max_fee: 1,
            max_tip: 2,
        },
        ..body
    };
    let refused = wrong.signed([1; 32], [1; 32], false);
    assert_eq!(refused, Err(TxError::Range("a tip above the fee")));
}

proptest! {
    #[test]
    fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), kind in 0u8..3) {
        match (kind, bytes.first_mut()) {
            (1, Some(first)) => *first = 2,
            (2, Some(first)) => *first |= 0xc0,
            _ => {}
        }
        prop_assert!(Tx::decode(&bytes).is_err());
    }
}

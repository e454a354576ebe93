//! A hop and a holder that work for pay; the payer's side is tested beside `nesa-client`.

use ed25519_dalek::{Signer as _, SigningKey};
use nesa_codec::Digest;
use nesa_finality::Domain;
use nesa_ledger::sessions::{
    Chain, Lane, Rates, Session, SignedVoucher, Stage, Voucher, commit_payee,
};
use nesa_ledger::{Address, Amount, Params};

use super::*;
use crate::wire::RefusalCode;

const ME: Address = Address([7; 20]);
const CLIENT: [u8; 32] = [4; 32];

fn chain() -> Chain {
    Chain {
        id: 1,
        domain: Domain::of_genesis(&Digest([1; 32])),
    }
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[5; 32])
}

fn found(payee: &Address, salt: Digest) -> Found {
    Found {
        height: 10,
        session: Session {
            payer: Address([1; 20]),
            key: key().verifying_key().to_bytes(),
            model: Digest([2; 32]),
            price: Amount(3),
            bucket: 4,
            rates: Rates::of(&Params::default()),
            publisher: Address([2; 20]),
            royalty_ppm: 0,
            deposit: Amount(3_000_000),
            paid: Amount::ZERO,
            stage: Stage::Open,
            ends: 100_000,
            lanes: 1,
            lanes_open: 1,
        },
        lanes: vec![Lane {
            payee: commit_payee(payee, &salt),
            paid_to: None,
            share_ppm: 1_000_000,
            sequence: 0,
            work: 0,
            amount: Amount::ZERO,
            transcript: Digest::default(),
            closed: false,
        }],
    }
}

fn offer(n: u8) -> Offer {
    Offer {
        from: CLIENT,
        session: Digest([n; 32]),
        model: Digest([2; 32]),
        layers: 2,
        lane: LaneName {
            payment: Digest([9; 32]),
            lane: 0,
            salt: Digest([8; 32]),
        },
    }
}

fn voucher(sequence: u64, work: u64, last: bool) -> SignedVoucher {
    let voucher = Voucher {
        session: Digest([9; 32]),
        lane: 0,
        sequence,
        work,
        amount: Amount(3 * u128::from(work)),
        transcript: Digest::default(),
        last,
    };
    let signature = key().sign(&voucher.digest(&chain()).0).to_bytes();
    SignedVoucher { voucher, signature }
}

fn bound() -> Till {
    let till = Till::new(chain(), ME, 8);
    till.bind(&offer(1), &found(&ME, Digest([8; 32]))).unwrap();
    till
}

#[test]
fn work_stops_at_one_unpaid_chunk_and_goes_on_when_paid() {
    let (till, s) = (bound(), Digest([1; 32]));
    // A chunk is 8 positions by 2 layers.
    assert_eq!(till.charge(&s, 16 * QUARTERS), Charge::Covered);
    assert_eq!(till.charge(&s, 1), Charge::Unpaid);
    assert!(till.take(&s, &voucher(1, 16, false)).unwrap().is_some());
    assert_eq!(till.charge(&s, 16 * QUARTERS), Charge::Covered);
    assert_eq!(till.charge(&s, 1), Charge::Unpaid);
    // What was taken already, or says less, gives no credit; what is forged is refused.
    assert_eq!(till.take(&s, &voucher(1, 16, false)).unwrap(), None);
    assert_eq!(till.take(&s, &voucher(2, 8, false)).unwrap(), None);
    let mut forged = voucher(3, 400, false);
    forged.signature[3] ^= 1;
    assert_eq!(
        till.take(&s, &forged).unwrap_err().code,
        RefusalCode::Unpaid
    );
    assert_eq!(till.charge(&s, 1), Charge::Unpaid);
    assert_eq!(till.totals(), (32, 16));
    // A second session of the client shares the lane and its credit.
    till.bind(&offer(2), &found(&ME, Digest([8; 32]))).unwrap();
    assert_eq!(till.charge(&Digest([2; 32]), 1), Charge::Unpaid);
    // Nothing follows the last voucher, which is what is claimed.
    let claim = till.take(&s, &voucher(4, 32, true)).unwrap().unwrap();
    assert_eq!(till.charge(&s, 1), Charge::Unpaid);
    assert_eq!(till.claims(), vec![(true, claim)]);
    till.settled(&claim.signed.voucher);
    assert_eq!(till.claims(), vec![]);
    assert_eq!(till.charge(&s, 1), Charge::Unbound);
}

#[test]
fn lanes_that_do_not_pay_this_node_for_this_model_are_refused() {
    let till = Till::new(chain(), ME, 8);
    let refused = |offer: &Offer, found: &Found| till.bind(offer, found).unwrap_err().code;
    let good = found(&ME, Digest([8; 32]));
    let unpaid = RefusalCode::Unpaid;
    assert_eq!(
        refused(&offer(1), &found(&Address([6; 20]), Digest([8; 32]))),
        unpaid
    );
    assert_eq!(refused(&offer(1), &found(&ME, Digest([3; 32]))), unpaid);
    let change = |f: fn(&mut Found)| {
        let mut other = good.clone();
        f(&mut other);
        refused(&offer(1), &other)
    };
    assert_eq!(change(|f| f.session.model = Digest([6; 32])), unpaid);
    assert_eq!(change(|f| f.session.stage = Stage::Closing), unpaid);
    assert_eq!(change(|f| f.session.ends = f.height + 1), unpaid);
    assert_eq!(change(|f| f.lanes[0].closed = true), unpaid);
    assert_eq!(change(|f| f.lanes.clear()), unpaid);
    assert_eq!(change(|f| f.session.deposit = Amount(47)), unpaid);
    till.bind(&offer(1), &good).unwrap();
    // One binding per session; a lane belongs to the client that came first.
    assert_eq!(refused(&offer(1), &good), RefusalCode::Protocol);
    let stranger = Offer {
        from: [3; 32],
        ..offer(2)
    };
    assert_eq!(refused(&stranger, &good), unpaid);
}

#[test]
fn a_node_that_comes_back_starts_where_the_ledger_stands() {
    let till = Till::new(chain(), ME, 8);
    let mut settled = found(&ME, Digest([8; 32]));
    (settled.lanes[0].sequence, settled.lanes[0].work) = (5, 16);
    settled.lanes[0].amount = Amount(48);
    till.bind(&offer(1), &settled).unwrap();
    let s = Digest([1; 32]);
    assert_eq!(till.take(&s, &voucher(5, 16, false)).unwrap(), None);
    assert_eq!(till.charge(&s, 16 * QUARTERS), Charge::Covered);
    assert_eq!(till.charge(&s, 1), Charge::Unpaid);
    assert!(till.take(&s, &voucher(6, 20, false)).unwrap().is_some());
    till.release(&s);
    assert_eq!(till.charge(&s, 1), Charge::Unbound);
}

//! What disputes on a ledger are fed and keep: evidence, links, and the rows of disputes and audits.

use nesa_codec::{Decode, Digest, Encode, merkle};
use nesa_ledger::disputes::audits::{Audit, Seat, Stage as Step};
use nesa_ledger::disputes::{Dispute, Evidence, Link, Paid, Stage};
use nesa_ledger::{Address, Amount};
use nesa_proof::contradiction::About;
use nesa_proof::share::AnswerStatement;
use nesa_proof::{Contradiction, HopStatement, SignedHop};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "evidence",
    run,
    bound: |len| 40 * len + (1 << 20),
    seeds,
    dictionary: &[b"nesawrg1", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01"],
};

fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Result<T, nesa_codec::DecodeError> {
    let value = T::from_bytes(bytes)?;
    assert_eq!(value.to_bytes(), bytes, "one encoding");
    Ok(value)
}

fn run(bytes: &[u8]) -> String {
    let Some((kind, rest)) = bytes.split_first() else {
        return "no kind".to_owned();
    };
    match kind % 4 {
        0 => match canonical::<Evidence>(rest) {
            Ok(Evidence::Contradiction(c)) => outcome(c.verify()),
            Ok(Evidence::Wrong { answer, .. }) => outcome(answer.judge()),
            Ok(Evidence::Known(_)) => "known".to_owned(),
            Err(e) => e.to_string(),
        },
        1 => outcome(canonical::<Link>(rest)),
        2 => outcome(canonical::<Dispute>(rest)),
        _ => outcome(canonical::<Audit>(rest)),
    }
}

fn tagged(kind: u8, value: &impl Encode) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend(value.to_bytes());
    out
}

fn hop(output: u8) -> SignedHop {
    SignedHop {
        statement: HopStatement {
            node: [1; 32],
            session: Digest([2; 32]),
            model: Digest([3; 32]),
            first: 0,
            end: 2,
            positions: 3,
            input: Digest([4; 32]),
            output: Digest([output; 32]),
            trace: Digest([output; 32]),
            transcript: Digest([6; 32]),
            nonce_commitment: Digest([7; 32]),
            price: 0,
        },
        signature: [0; 64],
    }
}

fn evidence() -> Vec<Evidence> {
    let answer = |answer| AnswerStatement {
        node: [1; 32],
        session: Digest([2; 32]),
        model: Digest([3; 32]),
        layer: 1,
        product: 2,
        flight: 3,
        rows: 4,
        share: Digest([5; 32]),
        answer: Digest([answer; 32]),
    };
    let all = [
        Contradiction::Hops(Box::new([hop(5), hop(6)])),
        Contradiction::Torn {
            hop: Box::new(hop(5)),
            at_end: true,
            leaf: Digest([9; 32]),
            path: merkle::Path(vec![Digest([1; 32]); 3]),
        },
        Contradiction::Answers(Box::new([(answer(1), [0; 64]), (answer(2), [0; 64])])),
    ];
    all.map(Evidence::Contradiction).to_vec()
}

fn seeds() -> Vec<Vec<u8>> {
    let paid = Paid {
        session: Digest([1; 32]),
        lane: 3,
        work: Digest([2; 32]),
        payer: Address([3; 20]),
        fee: Amount::nes(4),
    };
    let dispute = Dispute {
        challenger: Address([1; 20]),
        keys: [[2; 32], [3; 32]],
        statements: [Digest([4; 32]), Digest([5; 32])],
        about: [5, 6].map(|n| About::hop(&hop(n).statement)),
        paid: Some(paid),
        stage: Stage::Over([true, false]),
        ends: 9,
        moves: 8,
        bytes: 7,
    };
    let seat = Seat {
        node: [6; 32],
        owner: Address([7; 20]),
        commitment: Some(Digest([8; 32])),
        result: None,
    };
    let audit = Audit {
        node: [1; 32],
        payer: Address([2; 20]),
        work: Digest([3; 32]),
        claim: Digest([4; 32]),
        funds: Amount::nes(1),
        chance: 50_000,
        stage: Step::Reveal,
        ends: 5,
        claimed: Some(Digest([6; 32])),
        planted: true,
        convicted: false,
        disputes: 1,
        seats: vec![seat; 3],
    };
    let link = Link {
        session: Digest([1; 32]),
        lane: 0,
        salt: Digest([2; 32]),
        index: 1,
        of: 3,
        path: merkle::Path(vec![Digest([4; 32]); 2]),
    };
    let known = Evidence::Known(Digest([1; 32]));
    let mut all: Vec<Vec<u8>> = evidence().iter().map(|e| tagged(0, e)).collect();
    all.push(tagged(0, &known));
    all.push(tagged(1, &link));
    all.push(tagged(2, &dispute));
    all.push(tagged(3, &audit));
    all
}

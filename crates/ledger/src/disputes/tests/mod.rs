//! Disputes and audits on a chain of their own: every way in, every way out, exact to the unit.

mod audits;
mod bisection;
mod evidence;
mod publicity;
mod random;
mod transcripts;

use std::sync::Arc;

use alloy_primitives::U256;
use alloy_sol_types::SolCall;
use ed25519_dalek::{Signer as _, SigningKey};
use nesa_codec::{Digest, Encode as _, merkle};
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_proof::dispute::referee::Effect;
use nesa_proof::dispute::{
    Claim, Court, Defence, Matter, Parts, Record, Side, SignedMove, Tier, Timing, Transcript,
};
use nesa_proof::statement::signed_bytes;
use nesa_proof::{HopStatement, SignedHop};

use super::abi::IDisputes::{answerCall, openCall, settleCall, submitEvidenceCall};
use super::*;
use crate::models::abi::IModels::registerCall as registerModel;
use crate::operators::abi::IOperators::registerCall as registerNode;
use crate::sessions::abi::ISessions::{openCall as openSession, settleCall as settleLane};
use crate::sessions::{Chain, Claim as Voucherclaim, SignedVoucher, Voucher, commit_payee};
use crate::supply;
use crate::testing::{CHAIN, World, address, sign as sign_tx};
use crate::tx::Unsigned;
use crate::{Amount, Params, Receipt};

/// Bonds for node 0, which lies.
const OWNER: u8 = 2;
/// Paid for the session.
const CLIENT: u8 = 3;
/// Has seen the lie.
const CHALLENGER: u8 = 4;
/// Bonds for node 1.
const SECOND: u8 = 5;
const BOND: Amount = Amount::nes(1_000);
/// What the lane was paid: a price of 5 NES per unit, four units.
const FEE: Amount = Amount::nes(20);
const POSITIONS: usize = 4;
const ANSWER_BLOCKS: u64 = 12;

fn params() -> Params {
    Params {
        operator_bond_min: Amount::nes(100),
        unbonding_blocks: 50,
        heartbeat_blocks: 10_000,
        session_deposit_min: Amount(1_000),
        session_grace_blocks: 3,
        session_keep_blocks: 400,
        work_bucket: 4,
        dispute_answer_blocks: ANSWER_BLOCKS,
        audit_commit_blocks: 8,
        audit_reveal_blocks: 9,
        audit_dispute_blocks: 12,
        audit_ppm_max: 1_000_000,
        ..Params::default()
    }
}

fn node_key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[150 + n; 32])
}

fn node(n: u8) -> [u8; 32] {
    node_key(n).verifying_key().to_bytes()
}

/// Signs as node `n` does, or the client where `n` is [`OWN`].
fn signer(n: u8) -> impl Fn(&[u8]) -> [u8; 64] {
    move |digest| {
        let digest = Digest(digest.try_into().unwrap());
        node_key(n).sign(&signed_bytes(&digest)).to_bytes()
    }
}

/// The key of a claim that no node stands for.
const OWN: u8 = 50;

fn statement(claim: &Claim, n: u8) -> SignedHop {
    let s = HopStatement {
        node: node(n),
        session: Digest([n; 32]),
        model: claim.model,
        first: claim.first,
        end: claim.end,
        positions: claim.positions,
        input: claim.input,
        output: claim.output,
        trace: claim.trace,
        transcript: Digest([5; 32]),
        nonce_commitment: Digest([6; 32]),
        price: 0,
    };
    s.signed(&signer(n))
}

fn parts(m: &Model) -> Parts<'_> {
    Parts {
        manifest: &m.manifest,
        common: &m.common,
        first: 0,
        blocks: &m.blocks,
    }
}

/// A run as its liar states it.
fn stated(r: &Record, layers: usize) -> Record {
    let rows = (0..=layers).map(|i| r.rows(i).to_vec()).collect();
    let cached = (0..layers).map(|i| r.cached(i).to_vec()).collect();
    Record::stated(0, rows, cached)
}

/// A chain with a model, nodes 0 and 1, and an honest run.
struct Scene {
    w: World,
    model: Model,
    rows: Vec<Vec<i32>>,
    truth: Record,
}

impl Scene {
    fn new() -> Self {
        Self::with(params(), false)
    }

    fn with(params: Params, sealed: bool) -> Self {
        let mut model = model(&shapes()[0], 7);
        if sealed {
            model.manifest.sealed_under = Some(Digest([3; 32]));
        }
        let rows = rows(&model, 1);
        let truth = Record::run(&parts(&model), rows.clone(), None).unwrap();
        let mut w = World::new(params);
        let call = registerModel {
            model: model.manifest.root().0.into(),
            previous: [0; 32].into(),
            manifest: [6; 32].into(),
            shards: vec![[1; 32].into()],
            price: U256::ZERO,
            royalty: 0,
            modes: 1 + 8,
            allowed: vec![],
        };
        let receipt = w.call(6, crate::models::ADDRESS, Amount::ZERO, &call);
        assert!(receipt.succeeded, "{}", receipt.reason);
        let mut scene = Self {
            w,
            model,
            rows,
            truth,
        };
        scene.join(0, OWNER);
        scene.join(1, SECOND);
        scene
    }

    fn join(&mut self, n: u8, owner: u8) {
        let capability = Digest([n + 1; 32]);
        let domain = self.w.ledger.domain();
        let owner_address = address(owner);
        let message = operators::capability_message(domain, &owner_address, &capability, 1);
        let signature = node_key(n).sign(&message.0);
        let call = registerNode {
            node: node(n).into(),
            capability: capability.0.into(),
            sequence: 1,
            r: (*signature.r_bytes()).into(),
            s: (*signature.s_bytes()).into(),
        };
        let receipt = self.w.call(owner, operators::ADDRESS, BOND, &call);
        assert!(receipt.succeeded, "{}", receipt.reason);
    }

    /// Sends a call with as much gas as it may need.
    fn send(&mut self, who: u8, value: Amount, call: &impl SolCall) -> Receipt {
        let body = Unsigned {
            to: Some(ADDRESS),
            value,
            input: call.abi_encode(),
            gas_limit: 20_000_000,
            ..self.w.body(who)
        };
        let mut done = self.w.block(&[sign_tx(who, body)], &[]);
        assert_ne!(done.receipts[0].tx, Digest::default(), "left out");
        done.receipts.remove(0)
    }

    fn good(&mut self, who: u8, value: Amount, call: &impl SolCall) -> Receipt {
        let receipt = self.send(who, value, call);
        assert!(receipt.succeeded, "{}", receipt.reason);
        receipt
    }

    fn refused(&mut self, who: u8, value: Amount, call: &impl SolCall, why: &str) {
        let receipt = self.send(who, value, call);
        assert!(!receipt.succeeded, "{why}");
        assert!(receipt.reason.contains(why), "{why}: {}", receipt.reason);
    }

    /// Pays `owner` [`FEE`] for the statements with these digests; returns the session.
    fn pay(&mut self, owner: u8, statements: &[Digest]) -> Digest {
        self.pay_units(owner, statements, 4)
    }

    fn pay_units(&mut self, owner: u8, statements: &[Digest], units: u64) -> Digest {
        let key = SigningKey::from_bytes(&[77; 32]);
        let price = Amount::nes(5);
        let who = address(CLIENT);
        let id = crate::sessions::next_session_id(&self.w.tip.state, self.w.ledger.domain(), &who);
        let id = id.unwrap();
        let salt = Digest([8; 32]);
        let open = openSession {
            key: key.verifying_key().to_bytes().into(),
            model: self.model.manifest.root().0.into(),
            price: price.to_u256(),
            expiry: self.w.tip.header.height + 300,
            payees: vec![commit_payee(&address(owner), &salt).0.into()],
            shares: vec![1_000_000],
        };
        let to = crate::sessions::ADDRESS;
        let receipt = self.w.call(CLIENT, to, Amount::nes(500), &open);
        assert!(receipt.succeeded, "{}", receipt.reason);
        let voucher = Voucher {
            session: id,
            lane: 0,
            sequence: 1,
            work: units,
            amount: price.times(units.into()).unwrap(),
            transcript: merkle::root(&leaves(statements)),
            last: false,
        };
        let chain = Chain {
            id: CHAIN,
            domain: *self.w.ledger.domain(),
        };
        let signature = key.sign(&voucher.digest(&chain).0).to_bytes();
        let claim = Voucherclaim {
            signed: SignedVoucher { voucher, signature },
            payee: address(owner),
            salt,
        };
        let claim = claim.to_bytes().into();
        let receipt = self.w.call(owner, to, Amount::ZERO, &settleLane { claim });
        assert!(receipt.succeeded, "{}", receipt.reason);
        id
    }

    /// A dispute of node 0's `lie` against `other` run by `by`.
    fn matter(&self, lie: &Record, other: &Record, by: u8, salt: u8) -> Matter {
        let claim = |r: &Record| r.claim_about(self.model.manifest.root());
        let sides = [statement(&claim(lie), 0), statement(&claim(other), by)];
        let manifest = self.model.manifest.clone();
        let salt = Digest([salt; 32]);
        Matter::opened(manifest, sides, salt, node(OWN), &signer(OWN))
    }

    fn defence(&self, matter: &Matter, side: Side, record: &Record) -> Defence {
        let common = Arc::new(self.model.common.clone());
        Defence::new(matter, side, record.clone(), common)
    }

    fn answer(&self, defence: &mut Defence, ask: &[u8], n: u8) -> SignedMove {
        let mut blocks = |i: u32| self.model.blocks.get(i as usize).cloned();
        defence.answer(ask, &mut blocks, &signer(n)).unwrap()
    }

    /// Plays a dispute off the chain.
    fn play(&self, matter: &Matter, records: [&Record; 2], signers: [u8; 2]) -> Transcript {
        let timing = Timing { answer: 10 };
        let mut court = Court::new(matter.clone(), Tier::Open, timing).unwrap();
        let mut sides = [Side::A, Side::B].map(|s| {
            let i = usize::from(s == Side::B);
            self.defence(matter, s, records[i])
        });
        let mut effect = court.start(0);
        while let Some(Effect::Ask(ask)) = effect.take() {
            for i in [0, 1] {
                let said = self.answer(&mut sides[i], &ask, signers[i]);
                let next = court.answer(0, said);
                effect = effect.or(next);
            }
        }
        court.transcript()
    }

    /// Every lie of `nesa_pipeline::fault::Fault::ALL`, as its node states it.
    fn lies(&self) -> Vec<(&'static str, Record)> {
        let layers = self.model.blocks.len();
        let run = |m: &Model| Record::run(&parts(m), self.rows.clone(), None).unwrap();
        let mut all = Vec::new();
        let with_output = |change: &dyn Fn(&mut Vec<Vec<i32>>)| {
            let mut rows: Vec<_> = (0..=layers).map(|i| self.truth.rows(i).to_vec()).collect();
            change(&mut rows[layers]);
            let cached = (0..layers).map(|i| self.truth.cached(i).to_vec()).collect();
            Record::stated(0, rows, cached)
        };
        all.push(("flip-bit", with_output(&|rows| rows[1][3] ^= 1 << 4)));
        let other = rows(&self.model, 9);
        let other = Record::run(&parts(&self.model), other, None).unwrap();
        let replayed = other.output().to_vec();
        all.push(("replay", with_output(&|rows| rows.clone_from(&replayed))));
        all.push((
            "splice",
            with_output(&|rows| rows[2].clone_from(&replayed[2])),
        ));
        let weights = |change: fn(usize, i8) -> i8| {
            let mut m = model(&shapes()[0], 7);
            for b in &mut m.blocks {
                for l in [&mut b.q, &mut b.k, &mut b.v, &mut b.o] {
                    let each = l.weight.iter_mut().enumerate();
                    each.for_each(|(i, w)| *w = change(i, *w));
                }
            }
            stated(&run(&m), layers)
        };
        let off = |i, w| match (i % 97, w < 127) {
            (0, true) => w + 1,
            (0, false) => w - 1,
            _ => w,
        };
        all.push(("other-weights", weights(off)));
        all.push(("int4", weights(|_, w| (w / 16) * 16)));
        // The first layer passes its rows on.
        let mut rest = model(&shapes()[0], 7);
        rest.blocks.remove(0);
        let after = run(&rest);
        let mut rows = vec![self.rows.clone()];
        rows.extend((0..layers).map(|i| after.rows(i).to_vec()));
        let mut cached = vec![self.truth.cached(0).to_vec()];
        cached.extend((1..layers).map(|i| after.cached(i - 1).to_vec()));
        all.push(("skip-layer", Record::stated(0, rows, cached)));
        // Every position turns as the one after it.
        let mut turned = model(&shapes()[0], 7);
        let rope = turned.common.rope.as_mut().unwrap();
        rope.cos.rotate_left(rope.half);
        rope.sin.rotate_left(rope.half);
        all.push(("wrong-positions", stated(&run(&turned), layers)));
        all
    }

    /// A lie that comes out at a matrix: its openings are the widest.
    fn lie(&self) -> Record {
        self.lies().swap_remove(4).1
    }

    fn bond(&self, n: u8) -> Amount {
        operators::bond(&self.w.tip.state, &node(n)).unwrap()
    }

    fn score(&self, n: u8) -> u32 {
        let row = operators::find(&self.w.tip.state, &node(n)).unwrap();
        row.unwrap().reputation.score
    }

    fn held(&self, pot: &Pot) -> Amount {
        supply::held(&self.w.tip.state, pot).unwrap()
    }

    fn burned(&self) -> Amount {
        self.held(&Pot::BURNED)
    }
}

/// Hidden rows of a session.
fn rows(model: &Model, seed: u64) -> Vec<Vec<i32>> {
    let noise = &mut Noise(seed);
    let dim = model.manifest.shape.dim;
    let mut row = |_| (0..dim).map(|_| noise.within(2_000_000)).collect();
    (0..POSITIONS).map(&mut row).collect()
}

const SALT: Digest = Digest([44; 32]);

fn leaves(statements: &[Digest]) -> Vec<Digest> {
    statements.iter().map(|s| work(&SALT, s)).collect()
}

/// The link of the statement at `index` of those that `session` paid for.
fn link(session: Digest, statements: &[Digest], index: usize) -> Vec<u8> {
    let link = Link {
        session,
        lane: 0,
        salt: SALT,
        index: index as u32,
        of: statements.len() as u32,
        path: merkle::Tree::new(leaves(statements)).path(index).unwrap(),
    };
    link.to_bytes()
}

/// What a transaction cost its sender.
fn fee(r: &Receipt) -> Amount {
    Amount(r.gas_price * u128::from(r.gas_used))
}

fn settle(t: &Transcript, link: &[u8]) -> settleCall {
    settleCall {
        transcript: t.to_bytes().into(),
        link: link.to_vec().into(),
    }
}

fn open(matter: &Matter, link: &[u8]) -> openCall {
    openCall {
        matter: matter.to_bytes().into(),
        link: link.to_vec().into(),
    }
}

fn answer_call(id: &Digest, said: &SignedMove) -> answerCall {
    answerCall {
        dispute: id.0.into(),
        signedMove: said.to_bytes().into(),
    }
}

fn submit(evidence: &Evidence, link: &[u8]) -> submitEvidenceCall {
    submitEvidenceCall {
        evidence: evidence.to_bytes().into(),
        link: link.to_vec().into(),
    }
}

/// The default penalty for [`FEE`], computed by hand: 20·1/(0.05·0.953) − 20.
const DUE: Amount = Amount(399_727_177_334_732_423_924);

#[test]
fn a_penalty_is_the_formulas_and_its_parts_sum_to_it() {
    let p = params();
    assert_eq!(penalty::due(&p, FEE), DUE);
    assert_eq!(penalty::due(&p, Amount::ZERO), p.dispute_slash_min);
    assert_eq!(penalty::due(&p, Amount(u128::MAX)), Amount(u128::MAX));
    // Twice the gain, or half the checks, is twice what is at stake.
    let greedy = Params {
        dispute_gain_ppm: 2_000_000,
        ..p
    };
    let rare = Params {
        audit_ppm: 25_000,
        ..p
    };
    let twice = Amount(2 * (DUE.0 + FEE.0) - FEE.0);
    assert!(penalty::due(&greedy, FEE).0.abs_diff(twice.0) <= 1);
    assert!(penalty::due(&rare, FEE).0.abs_diff(twice.0) <= 1);
    for kept in [0, 1, 7, FEE.0 - 1, FEE.0, FEE.0 + 1, DUE.0 / 2] {
        let x = penalty::parts(&p, Amount(kept), FEE);
        let sum = x.refunded.0 + x.compensation.0 + x.reward.0 + x.pot.0;
        assert_eq!(sum, kept);
        assert!(x.refunded <= FEE);
    }
}

//! Random sequences of disputes and audits: every block conserves the supply, no bond and no deposit
//! is overdrawn, and everything ends by itself.

use nesa_codec::Encode as _;
use proptest::prelude::*;

use super::super::abi::IDisputes::{commitCall, enlistCall, recordCall, revealCall};
use super::super::audits::{self, AUDITS};
use super::*;

/// What may happen; `u8`s choose among what there is.
#[derive(Debug, Clone)]
enum Step {
    /// A dispute of node 0 or 1 is opened, truly or falsely.
    Open { who: u8, salt: u8, falsely: bool },
    /// One side of a running dispute answers, or says nonsense.
    Answer {
        which: u8,
        side: bool,
        garbled: bool,
    },
    /// A whole transcript.
    Settle { who: u8, salt: u8 },
    /// Two statements.
    Evidence { who: u8, lie: u8 },
    /// Paid work is handed to auditors.
    Record { salt: u8 },
    /// A drawn auditor commits or reveals.
    Audit { which: u8, reveals: bool },
    /// Blocks pass.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let who = CLIENT..8u8;
    prop_oneof![
        2 => (who.clone(), 0..6u8, any::<bool>())
            .prop_map(|(who, salt, falsely)| Step::Open { who, salt, falsely }),
        6 => (any::<u8>(), any::<bool>(), prop::bool::weighted(0.1))
            .prop_map(|(which, side, garbled)| Step::Answer { which, side, garbled }),
        1 => (who.clone(), 0..6u8).prop_map(|(who, salt)| Step::Settle { who, salt }),
        1 => (who, 0..7u8).prop_map(|(who, lie)| Step::Evidence { who, lie }),
        1 => (0..4u8).prop_map(|salt| Step::Record { salt }),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, reveals)| Step::Audit { which, reveals }),
        2 => (1..4u8).prop_map(Step::Wait),
    ]
}

struct Play {
    s: Scene,
    lies: Vec<Record>,
    /// Everything that was ever opened, with what its first side ran.
    opened: Vec<(Matter, bool)>,
    recorded: Vec<Digest>,
}

impl Play {
    fn new() -> Self {
        let mut s = Scene::with(
            Params {
                audit_ppm: 700_000,
                ..params()
            },
            false,
        );
        for (n, owner) in [(2, 6), (3, 7)] {
            s.join(n, owner);
            let node = node(n).into();
            s.good(owner, Amount::ZERO, &enlistCall { node });
        }
        let lies = s.lies().into_iter().map(|l| l.1).collect();
        Self {
            s,
            lies,
            opened: Vec::new(),
            recorded: Vec::new(),
        }
    }

    fn matter(&self, salt: u8, falsely: bool) -> Matter {
        let lie = &self.lies[usize::from(salt) % self.lies.len()];
        let (a, b) = if falsely {
            (&self.s.truth, lie)
        } else {
            (lie, &self.s.truth)
        };
        self.s
            .matter(a, b, if salt.is_multiple_of(3) { 1 } else { OWN }, salt)
    }

    fn records(&self, matter: &Matter, falsely: bool) -> [Record; 2] {
        let salt = matter.salt.0[0];
        let lie = self.lies[usize::from(salt) % self.lies.len()].clone();
        let truth = self.s.truth.clone();
        if falsely { [truth, lie] } else { [lie, truth] }
    }

    fn signer_of(matter: &Matter, i: usize) -> u8 {
        match (i, matter.sides[1].statement.node == node(1)) {
            (0, _) => 0,
            (_, true) => 1,
            (_, false) => OWN,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Open { who, salt, falsely } => {
                let matter = self.matter(salt, falsely);
                let deposit = params().dispute_deposit;
                if self.s.send(who, deposit, &open(&matter, &[])).succeeded {
                    self.opened.push((matter, falsely));
                }
            }
            Step::Answer {
                which,
                side,
                garbled,
            } => self.answer(which, usize::from(side), garbled),
            Step::Settle { who, salt } => {
                let matter = self.matter(salt, false);
                let [a, b] = self.records(&matter, false);
                let signers = [0, 1].map(|i| Self::signer_of(&matter, i));
                let t = self.s.play(&matter, [&a, &b], signers);
                self.s.send(who, Amount::ZERO, &settle(&t, &[]));
            }
            Step::Evidence { who, lie } => {
                let root = self.s.model.manifest.root();
                let hop = |r: &Record| statement(&r.claim_about(root), 0);
                let two = [hop(&self.s.truth), hop(&self.lies[usize::from(lie)])];
                let two = nesa_proof::Contradiction::Hops(Box::new(two));
                let evidence = Evidence::Contradiction(two);
                self.s.send(who, Amount::ZERO, &submit(&evidence, &[]));
            }
            Step::Record { salt } => self.record(salt),
            Step::Audit { which, reveals } => self.audit(which, reveals),
            Step::Wait(blocks) => self.s.w.wait(blocks.into()),
        }
    }

    fn answer(&mut self, which: u8, i: usize, garbled: bool) {
        let Some(at) = usize::from(which).checked_rem(self.opened.len()) else {
            return;
        };
        let (matter, falsely) = self.opened[at].clone();
        let id = matter.name();
        let Some(running) = question(&self.s.w.tip.state, &id).unwrap() else {
            return;
        };
        let side = [Side::A, Side::B][i];
        let record = self.records(&matter, falsely)[i].clone();
        let mut defence = self.s.defence(&matter, side, &record);
        let n = Self::signer_of(&matter, i);
        let ask = running.question.to_bytes();
        let mut said = self.s.answer(&mut defence, &ask, n);
        if garbled {
            said.bytes.push(0);
            said.signature = signer(n)(&SignedMove::digest(&id, &ask, &said.bytes).0);
        }
        self.s.send(7, Amount::ZERO, &answer_call(&id, &said));
    }

    fn record(&mut self, salt: u8) {
        let digest = Digest([salt; 32]);
        let session = self.s.pay(OWNER, &[digest]);
        let leaf = super::super::work(&SALT, &digest);
        let call = recordCall {
            session: session.0.into(),
            lane: 0,
            node: node(0).into(),
            work: leaf.0.into(),
            index: 0,
            of: 1,
            path: vec![],
            claim: [salt; 32].into(),
        };
        if self.s.send(CLIENT, Amount::ZERO, &call).succeeded {
            self.recorded.push(audits::job_id(&session, 0, &leaf));
        }
    }

    fn audit(&mut self, which: u8, reveals: bool) {
        let Some(at) = usize::from(which).checked_rem(self.recorded.len()) else {
            return;
        };
        let (n, owner) = [(2, 6), (3, 7)][usize::from(which) % 2];
        let (job, result, salt) = (self.recorded[at], Digest([1; 32]), Digest([n; 32]));
        let to = audits::commitment(&job, &address(owner), &salt, &result);
        if reveals {
            let call = revealCall {
                job: job.0.into(),
                node: node(n).into(),
                result: result.0.into(),
                salt: salt.0.into(),
            };
            self.s.send(owner, Amount::ZERO, &call);
        } else {
            let call = commitCall {
                job: job.0.into(),
                node: node(n).into(),
                commitment: to.0.into(),
            };
            self.s.send(owner, Amount::ZERO, &call);
        }
    }

    /// Bonds only fall, and by what was slashed; deposits are those of running disputes.
    fn holds(&self) {
        let state = &self.s.w.tip.state;
        assert!([0, 1, 2, 3].iter().all(|n| self.s.bond(*n) <= BOND));
        let running = (self.opened.iter())
            .filter(|(m, _)| question(state, &m.name()).unwrap().is_some())
            .count();
        let deposits = supply::total(state, Kind::Dispute).unwrap();
        assert_eq!(deposits.0, params().dispute_deposit.0 * running as u128);
    }

    /// Everything ends by its deadline.
    fn ends(&mut self) {
        self.s.w.wait(64);
        let state = &self.s.w.tip.state;
        assert_eq!(supply::total(state, Kind::Dispute), Ok(Amount::ZERO));
        assert_eq!(MATTERS.rows(state, None).count(), 0);
        assert_eq!(MOVES.rows(state, None).count(), 0);
        assert_eq!(BY_NODE.rows(state, None).count(), 0);
        assert_eq!(AUDITS.rows(state, None).count(), 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_happens_ends_and_conserves_money(steps in prop::collection::vec(step(), 1..30)) {
        let mut play = Play::new();
        for step in &steps {
            play.step(step);
            play.holds();
        }
        play.ends();
    }
}

//! Disputes played on the chain: every move a transaction, every deadline a block.

use nesa_codec::Decode as _;
use nesa_proof::dispute::{Ask, Body, Move};

use super::*;

fn deposit() -> Amount {
    params().dispute_deposit
}

impl Scene {
    fn asked(&self, id: &Digest) -> (Vec<u8>, Ask, [bool; 2]) {
        let running = question(&self.w.tip.state, id).unwrap().unwrap();
        (
            running.question.to_bytes(),
            running.question,
            running.unanswered,
        )
    }

    /// Plays a dispute on the chain until it ends or `until` says so; the sides answer in turn.
    fn play_here(
        &mut self,
        matter: &Matter,
        records: [&Record; 2],
        signers: [u8; 2],
        until: &dyn Fn(&Ask, usize) -> bool,
    ) -> u64 {
        let id = matter.name();
        let mut sides = [Side::A, Side::B].map(|side| {
            let i = usize::from(side == Side::B);
            self.defence(matter, side, records[i])
        });
        let mut moves = 0;
        loop {
            let (bytes, ask, _) = match find(&self.w.tip.state, &id).unwrap().unwrap().stage {
                Stage::Running => self.asked(&id),
                Stage::Over(_) => return moves,
            };
            for i in [0, 1] {
                if until(&ask, i) {
                    return moves;
                }
                let said = self.answer(&mut sides[i], &bytes, signers[i]);
                // Anybody carries them.
                self.good(7, Amount::ZERO, &answer_call(&id, &said));
                moves += 1;
                if question(&self.w.tip.state, &id).unwrap().is_none() {
                    return moves;
                }
            }
        }
    }

    fn over(&self, id: &Digest) -> [bool; 2] {
        match find(&self.w.tip.state, id).unwrap().unwrap().stage {
            Stage::Over(lost) => lost,
            Stage::Running => panic!("it runs"),
        }
    }
}

#[test]
fn a_lie_is_found_by_moves_on_the_chain_and_the_deposit_returns() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    let matter = s.matter(&lie, &truth, OWN, 1);
    let (id, digest) = (matter.name(), matter.sides[0].statement.digest());
    let session = s.pay(OWNER, &[digest]);
    let link = link(session, &[digest], 0);
    s.refused(
        CHALLENGER,
        Amount(deposit().0 - 1),
        &open(&matter, &link),
        "at least",
    );
    let before = (s.w.balance(CHALLENGER), s.w.balance(CLIENT));
    let opened = s.good(CHALLENGER, deposit(), &open(&matter, &link));
    assert_eq!(s.held(&deposit_pot(&id)), deposit());
    assert_eq!(running(&s.w.tip.state, &node(0)), Ok(vec![id]));
    s.refused(7, deposit(), &open(&matter, &link), "open or was settled");
    let moves = s.play_here(&matter, [&lie, &truth], [0, OWN], &|_, _| false);
    assert!((6..64).contains(&moves), "{moves}");
    assert_eq!(s.over(&id), [true, false]);
    assert_eq!(s.bond(0).0, BOND.0 - DUE.0);
    let left = DUE.0 / 2 - FEE.0 - FEE.0 / 2;
    assert_eq!(
        s.w.balance(CHALLENGER).0 + fee(&opened).0,
        before.0.0 + left / 2
    );
    assert_eq!(s.w.balance(CLIENT).0, before.1.0 + FEE.0 + FEE.0 / 2);
    assert_eq!(s.held(&deposit_pot(&id)), Amount::ZERO);
    assert_eq!(
        supply::total(&s.w.tip.state, Kind::Dispute),
        Ok(Amount::ZERO)
    );
    // Nothing of it is left but the outcome, and that goes too.
    assert_eq!(MOVES.rows(&s.w.tip.state, None).count(), 0);
    assert_eq!(MATTERS.rows(&s.w.tip.state, None).count(), 0);
    assert_eq!(running(&s.w.tip.state, &node(0)), Ok(vec![]));
    s.w.wait(params().session_keep_blocks + 1);
    assert_eq!(find(&s.w.tip.state, &id), Ok(None));
}

#[test]
fn a_false_accusation_costs_the_accuser() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    let matter = s.matter(&truth, &lie, OWN, 1);
    let before = (s.w.balance(CHALLENGER), s.w.balance(OWNER), s.score(0));
    let opened = s.good(CHALLENGER, deposit(), &open(&matter, &[]));
    s.play_here(&matter, [&truth, &lie], [0, OWN], &|_, _| false);
    assert_eq!(s.over(&matter.name()), [false, true]);
    assert_eq!(s.bond(0), BOND);
    assert_eq!(
        s.w.balance(CHALLENGER).0,
        before.0.0 - fee(&opened).0 - deposit().0
    );
    assert_eq!(s.w.balance(OWNER).0, before.1.0 + deposit().0 / 2);
    assert_eq!(s.score(0), before.2 + params().reputation_gain);
}

#[test]
fn silence_loses_by_deadline_whoever_is_silent() {
    // The accused, the challenger, or both; at the first question or later.
    for (silent, at, lost) in [
        ([true, false], 1, [true, false]),
        ([false, true], 1, [false, true]),
        ([true, true], 1, [true, true]),
        ([true, false], 3, [true, false]),
        ([false, true], 2, [false, true]),
    ] {
        let mut s = Scene::new();
        let (truth, lie) = (s.truth.clone(), s.lie());
        // Who is silent loses even where it is right.
        let matter = s.matter(&truth, &lie, OWN, 1);
        let id = matter.name();
        let owner = s.w.balance(OWNER);
        let challenger = s.w.balance(CHALLENGER);
        let opened = s.good(CHALLENGER, deposit(), &open(&matter, &[]));
        let first = if silent[0] { 0 } else { 1 };
        s.play_here(&matter, [&truth, &lie], [0, OWN], &|ask, side| {
            ask.round == at && side == first
        });
        if first == 0 && !silent[1] {
            // The other side answers all the same.
            let (bytes, ask, _) = s.asked(&id);
            assert_eq!(ask.round, at);
            let mut other = s.defence(&matter, Side::B, &lie);
            let said = s.answer(&mut other, &bytes, OWN);
            s.good(7, Amount::ZERO, &answer_call(&id, &said));
        }
        let (.., owing) = s.asked(&id);
        assert_eq!(owing, silent);
        s.w.wait(ANSWER_BLOCKS - 2);
        assert!(question(&s.w.tip.state, &id).unwrap().is_some());
        s.w.wait(3);
        assert_eq!(s.over(&id), lost);
        let least = params().dispute_slash_min;
        let taken = if lost[0] { least.0 } else { 0 };
        assert_eq!(s.bond(0).0, BOND.0 - taken, "{silent:?}");
        let spent =
            (challenger.0 - fee(&opened).0).cast_signed() - s.w.balance(CHALLENGER).0.cast_signed();
        let to_owner = s.w.balance(OWNER).0 - owner.0;
        let reward = taken / 2 / 2;
        let (cost, gift) = match lost {
            [true, false] => (0, 0),
            [false, true] => (deposit().0, deposit().0 / 2),
            _ => (deposit().0, 0),
        };
        assert_eq!(
            spent,
            cost.cast_signed() - reward.cast_signed(),
            "{silent:?}"
        );
        assert_eq!(to_owner, gift, "{silent:?}");
        // Late is silent.
        let mut late = s.defence(&matter, Side::A, &truth);
        let ask = Ask {
            dispute: id,
            round: 1,
            question: nesa_proof::dispute::Question::Ends,
        };
        let said = s.answer(&mut late, &ask.to_bytes(), 0);
        s.refused(
            7,
            Amount::ZERO,
            &answer_call(&id, &said),
            "no dispute with this name",
        );
    }
}

#[test]
fn what_a_side_did_not_sign_for_the_question_changes_nothing() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    let matter = s.matter(&truth, &lie, OWN, 1);
    let id = matter.name();
    s.good(CHALLENGER, deposit(), &open(&matter, &[]));
    let (ask, ..) = s.asked(&id);
    let mut side = s.defence(&matter, Side::A, &truth);
    let said = s.answer(&mut side, &ask, 0);
    let mut by_another = said.clone();
    by_another.signature = signer(1)(&SignedMove::digest(&id, &ask, &said.bytes).0);
    s.refused(
        7,
        Amount::ZERO,
        &answer_call(&id, &by_another),
        "not signed",
    );
    let mut other_side = said.clone();
    other_side.side = Side::B;
    s.refused(
        7,
        Amount::ZERO,
        &answer_call(&id, &other_side),
        "not signed",
    );
    let mut early = said.clone();
    early.round = 2;
    s.refused(7, Amount::ZERO, &answer_call(&id, &early), "not asked");
    let elsewhere = answer_call(&Digest([1; 32]), &said);
    s.refused(7, Amount::ZERO, &elsewhere, "no dispute with this name");
    let mut garbage = answer_call(&id, &said);
    garbage.signedMove = vec![9; 50].into();
    s.refused(7, Amount::ZERO, &garbage, "does not decode");
    garbage.signedMove = vec![9; ANSWER_BYTES_MAX + 1].into();
    s.refused(7, Amount::ZERO, &garbage, "longer than");
    s.refused(7, Amount(1), &answer_call(&id, &said), "takes no value");
    s.good(7, Amount::ZERO, &answer_call(&id, &said));
    s.refused(7, Amount::ZERO, &answer_call(&id, &said), "there already");
    assert_eq!(s.bond(0), BOND);
}

#[test]
fn what_a_side_signed_and_no_honest_side_signs_loses() {
    type Twist = fn(&mut Move);
    let twists: [(Twist, &str); 4] = [
        (|m| m.round = 7, "no message of the protocol"),
        (
            |m| m.dispute = Digest([1; 32]),
            "no message of the protocol",
        ),
        (
            |m| m.body = Body::Nodes(vec![Digest([1; 32])]),
            "contradicts",
        ),
        (
            |m| {
                if let Body::Ends(_, _, nodes) = &mut m.body {
                    nodes[0].0[0] ^= 1;
                }
            },
            "contradicts",
        ),
    ];
    for (twist, why) in twists {
        let mut s = Scene::new();
        let (truth, lie) = (s.truth.clone(), s.lie());
        let matter = s.matter(&lie, &truth, OWN, 1);
        let id = matter.name();
        s.good(CHALLENGER, deposit(), &open(&matter, &[]));
        let (ask, ..) = s.asked(&id);
        let mut side = s.defence(&matter, Side::A, &lie);
        let mut said = s.answer(&mut side, &ask, 0);
        let mut spoken = Move::from_bytes(&said.bytes).unwrap();
        twist(&mut spoken);
        said.bytes = spoken.to_bytes();
        said.signature = signer(0)(&SignedMove::digest(&id, &ask, &said.bytes).0);
        let r = s.good(7, Amount::ZERO, &answer_call(&id, &said));
        assert_eq!(s.over(&id), [true, false]);
        assert_eq!(s.bond(0).0, BOND.0 - params().dispute_slash_min.0);
        let told = r.logs.iter().any(|l| contains(&l.data, why));
        assert!(told, "{why}");
    }
}

fn contains(data: &[u8], text: &str) -> bool {
    data.windows(text.len()).any(|w| w == text.as_bytes())
}

#[test]
fn two_answers_to_one_question_lose() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    let matter = s.matter(&lie, &truth, OWN, 1);
    let id = matter.name();
    s.good(CHALLENGER, deposit(), &open(&matter, &[]));
    let (ask, ..) = s.asked(&id);
    let mut side = s.defence(&matter, Side::A, &lie);
    let said = s.answer(&mut side, &ask, 0);
    s.good(7, Amount::ZERO, &answer_call(&id, &said));
    let mut second = said.clone();
    let mut spoken = Move::from_bytes(&said.bytes).unwrap();
    spoken.body = Body::Nodes(vec![]);
    second.bytes = spoken.to_bytes();
    second.signature = signer(0)(&SignedMove::digest(&id, &ask, &second.bytes).0);
    s.good(7, Amount::ZERO, &answer_call(&id, &second));
    assert_eq!(s.over(&id), [true, false]);
}

#[test]
fn a_dispute_must_be_about_a_bonded_node_and_a_model_that_offers_it() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    let claim = |r: &Record| r.claim_about(s.model.manifest.root());
    let manifest = s.model.manifest.clone();
    let matter = |a: (&Record, u8), b: (&Record, u8)| {
        let sides = [statement(&claim(a.0), a.1), statement(&claim(b.0), b.1)];
        let salt = Digest([1; 32]);
        Matter::opened(manifest.clone(), sides, salt, node(OWN), &signer(OWN))
    };
    let cases = [
        (matter((&lie, 9), (&truth, OWN)), "no bond"),
        (matter((&lie, 0), (&truth, 8)), "second side"),
        (matter((&lie, 0), (&truth, 0)), "second side"),
        (matter((&truth, 0), (&truth, OWN)), "same"),
    ];
    let mut of_other = claim(&lie);
    of_other.model = Digest([9; 32]);
    let mut unsigned = s.matter(&lie, &truth, OWN, 1);
    let mut foreign = unsigned.clone();
    unsigned.signature[5] ^= 1;
    foreign.sides[0] = statement(&of_other, 0);
    for (matter, why) in cases {
        s.refused(CHALLENGER, deposit(), &open(&matter, &[]), why);
    }
    s.refused(
        CHALLENGER,
        deposit(),
        &open(&unsigned, &[]),
        "challenger did not sign",
    );
    s.refused(CHALLENGER, deposit(), &open(&foreign, &[]), "mode 8");
    let mut forged = s.matter(&lie, &truth, OWN, 1);
    forged.sides[0].signature[0] ^= 1;
    s.refused(
        CHALLENGER,
        deposit(),
        &open(&forged, &[]),
        "not signed by its node",
    );
    let mut garbage = open(&forged, &[]);
    garbage.matter = vec![3; 99].into();
    s.refused(CHALLENGER, deposit(), &garbage, "does not decode");
    garbage.matter = vec![3; MATTER_BYTES_MAX + 1].into();
    s.refused(CHALLENGER, deposit(), &garbage, "longer than");
    // At most 16 at once.
    let txs: Vec<_> = (0..16u8)
        .map(|salt| {
            let body = Unsigned {
                to: Some(ADDRESS),
                value: deposit(),
                input: open(&s.matter(&lie, &truth, OWN, salt), &[]).abi_encode(),
                gas_limit: 2_000_000,
                nonce: s.w.nonce(CHALLENGER) + u64::from(salt),
                ..s.w.body(CHALLENGER)
            };
            sign_tx(CHALLENGER, body)
        })
        .collect();
    let made = s.w.block(&txs, &[]);
    assert!(made.receipts.iter().all(|r| r.succeeded));
    assert_eq!(running(&s.w.tip.state, &node(0)).unwrap().len(), 16);
    let matter = s.matter(&lie, &truth, OWN, 16);
    s.refused(
        CHALLENGER,
        deposit(),
        &open(&matter, &[]),
        "wait until one ends",
    );
    // All end by silence of both: the node is punished once.
    s.w.wait(ANSWER_BLOCKS + 1);
    assert_eq!(running(&s.w.tip.state, &node(0)), Ok(vec![]));
    assert_eq!(s.bond(0).0, BOND.0 - params().dispute_slash_min.0);
    assert_eq!(
        supply::total(&s.w.tip.state, Kind::Dispute),
        Ok(Amount::ZERO)
    );
}

#[test]
fn a_transcript_ends_a_dispute_that_runs() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    let matter = s.matter(&lie, &truth, OWN, 1);
    let opened = s.good(CHALLENGER, deposit(), &open(&matter, &[]));
    let before = s.w.balance(CHALLENGER);
    let t = s.play(&matter, [&lie, &truth], [0, OWN]);
    s.good(7, Amount::ZERO, &settle(&t, &[]));
    assert_eq!(s.over(&matter.name()), [true, false]);
    let least = params().dispute_slash_min.0;
    assert_eq!(s.bond(0).0, BOND.0 - least);
    // Who opened it is its challenger, whoever carried the transcript.
    assert_eq!(
        s.w.balance(CHALLENGER).0,
        before.0 + deposit().0 + least / 4
    );
    assert!(opened.succeeded);
    s.w.wait(ANSWER_BLOCKS + 2);
    assert_eq!(s.bond(0).0, BOND.0 - least);
}

#[test]
fn both_sides_that_are_silent_lose_and_nobody_gains() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    // Two nodes stand here.
    let matter = s.matter(&lie, &truth, 1, 1);
    s.good(CHALLENGER, deposit(), &open(&matter, &[]));
    s.w.wait(ANSWER_BLOCKS + 1);
    assert_eq!(s.over(&matter.name()), [true, true]);
    let least = params().dispute_slash_min.0;
    assert_eq!((s.bond(0).0, s.bond(1).0), (BOND.0 - least, BOND.0 - least));
}

#[test]
fn a_bond_does_not_leave_while_a_dispute_about_it_runs() {
    let mut s = Scene::with(
        Params {
            unbonding_blocks: 3,
            ..params()
        },
        false,
    );
    let (truth, lie) = (s.truth.clone(), s.lie());
    let matter = s.matter(&lie, &truth, OWN, 1);
    let leave = crate::operators::abi::IOperators::leaveCall {
        node: node(0).into(),
    };
    let left = s.w.call(OWNER, operators::ADDRESS, Amount::ZERO, &leave);
    assert!(left.succeeded, "{}", left.reason);
    s.good(CHALLENGER, deposit(), &open(&matter, &[]));
    s.w.wait(5);
    assert_eq!(s.bond(0), BOND, "it is within reach");
    s.play_here(&matter, [&lie, &truth], [0, OWN], &|_, _| false);
    let least = params().dispute_slash_min.0;
    assert_eq!(s.bond(0).0, BOND.0 - least);
    s.w.wait(2 * ANSWER_BLOCKS);
    assert_eq!(s.bond(0), Amount::ZERO, "and leaves after it");
}

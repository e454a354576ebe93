//! Evidence that settles at once: two signatures, a torn statement, one wrong answer of a holder.

use nesa_codec::Decode as _;
use nesa_field::P;
use nesa_model::split::{Product, multiply_reference};
use nesa_proof::share::{AnswerStatement, HolderStatement, Share, WrongAnswer, answer_digest};
use nesa_proof::{Contradiction, SignedHolder};

use super::*;

fn contradiction(a: &SignedHop, b: &SignedHop) -> Evidence {
    let two = Box::new([a.clone(), b.clone()]);
    Evidence::Contradiction(Contradiction::Hops(two))
}

impl Scene {
    fn signed(&self, record: &Record, n: u8) -> SignedHop {
        statement(&record.claim_about(self.model.manifest.root()), n)
    }
}

#[test]
fn two_results_for_one_input_settle_by_signatures_alone() {
    // A node that replays or splices puts out what came before: asked the same twice, it says two
    // things about one input. So do the others, whenever they once computed honestly.
    for (name, lie) in Scene::new().lies() {
        let mut s = Scene::new();
        let (a, b) = (s.signed(&s.truth, 0), s.signed(&lie, 0));
        let paid = [b.statement.digest()];
        let session = s.pay(OWNER, &paid);
        let evidence = contradiction(&b, &a);
        let before = s.w.balance(CLIENT);
        let r = s.good(
            CHALLENGER,
            Amount::ZERO,
            &submit(&evidence, &link(session, &paid, 0)),
        );
        assert_eq!(s.bond(0).0, BOND.0 - DUE.0, "{name}");
        assert_eq!(s.w.balance(CLIENT).0, before.0 + FEE.0 + FEE.0 / 2);
        assert!(r.succeeded);
        // The same lie in other words, or by a dispute, costs nothing more.
        let swapped = contradiction(&a, &b);
        s.refused(
            CHALLENGER,
            Amount::ZERO,
            &submit(&swapped, &[]),
            "punished already",
        );
        let matter = s.matter(&lie, &s.truth, OWN, 1);
        let deposit = params().dispute_deposit;
        s.refused(CHALLENGER, deposit, &open(&matter, &[]), "punished already");
    }
}

#[test]
fn a_friend_that_accuses_without_a_link_saves_the_liar_nothing() {
    let mut s = Scene::new();
    let lie = s.lie();
    let matter = s.matter(&lie, &s.truth, OWN, 1);
    let digest = matter.sides[0].statement.digest();
    let other = Digest([7; 32]);
    let paid = [digest, other];
    let session = s.pay(OWNER, &paid);
    let t = s.play(&matter, [&lie, &s.truth], [0, OWN]);
    s.good(7, Amount::ZERO, &settle(&t, &[]));
    let least = params().dispute_slash_min.0;
    assert_eq!(s.bond(0).0, BOND.0 - least);
    // The client shows what it paid for the same lie: the rest is taken, and it is refunded.
    let (before, score) = (s.w.balance(CLIENT), s.score(0));
    let known = Evidence::Known(digest);
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &submit(&known, &[]),
        "punished already",
    );
    let unknown = Evidence::Known(other);
    let linked = link(session, &paid, 1);
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &submit(&unknown, &linked),
        "convicts no node",
    );
    let linked = link(session, &paid, 0);
    s.good(CHALLENGER, Amount::ZERO, &submit(&known, &linked));
    assert_eq!(s.bond(0).0, BOND.0 - DUE.0);
    assert_eq!(s.w.balance(CLIENT).0, before.0 + FEE.0 + FEE.0 / 2);
    assert_eq!(s.score(0), score, "the same lie costs its score once");
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &submit(&known, &linked),
        "punished already",
    );
    // The truth beside it shows the same lie once more, and no other.
    let contradicts = contradiction(&s.signed(&s.truth, 0), &s.signed(&lie, 0));
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &submit(&contradicts, &[]),
        "punished already",
    );
    assert_eq!(s.bond(0).0, BOND.0 - DUE.0);
}

#[test]
fn of_a_pair_either_statement_may_be_linked_later() {
    let mut s = Scene::new();
    let (truth, lie) = (s.signed(&s.truth, 0), s.signed(&s.lie(), 0));
    let paid = [lie.statement.digest()];
    let session = s.pay(OWNER, &paid);
    // The friend names the truth first, so that the lie does not stand for the offence.
    s.good(7, Amount::ZERO, &submit(&contradiction(&truth, &lie), &[]));
    assert_eq!(s.bond(0).0, BOND.0 - params().dispute_slash_min.0);
    let known = submit(&Evidence::Known(paid[0]), &link(session, &paid, 0));
    s.good(CLIENT, Amount::ZERO, &known);
    assert_eq!(s.bond(0).0, BOND.0 - DUE.0);
    s.refused(CLIENT, Amount::ZERO, &known, "punished already");
}

#[test]
fn as_many_lies_are_punished_as_results_show() {
    let mut s = Scene::new();
    let lies: Vec<_> = s.lies().into_iter().take(2).map(|l| l.1).collect();
    let stated = |r: &Record, session: u8| {
        let mut hop = s.signed(r, 0).statement;
        hop.session = Digest([session; 32]);
        hop.signed(&signer(0))
    };
    let truths = [stated(&s.truth, 1), stated(&s.truth, 2)];
    let (a, b) = (stated(&lies[0], 3), stated(&lies[1], 4));
    let least = params().dispute_slash_min.0;
    s.good(
        7,
        Amount::ZERO,
        &submit(&contradiction(&truths[0], &a), &[]),
    );
    // The truth, told in another session, is no other result.
    let again = submit(&contradiction(&truths[1], &a), &[]);
    s.refused(7, Amount::ZERO, &again, "punished already");
    s.good(
        7,
        Amount::ZERO,
        &submit(&contradiction(&truths[0], &b), &[]),
    );
    let third = submit(&contradiction(&a, &b), &[]);
    s.refused(7, Amount::ZERO, &third, "punished already");
    assert_eq!(s.bond(0).0, BOND.0 - 2 * least);
}

#[test]
fn two_lies_on_one_lane_refund_it_once() {
    let mut s = Scene::new();
    let (truth, lies) = (s.signed(&s.truth, 0), s.lies());
    let hops: Vec<_> = lies.iter().take(2).map(|l| s.signed(&l.1, 0)).collect();
    let paid: Vec<_> = hops.iter().map(|h| h.statement.digest()).collect();
    let session = s.pay(OWNER, &paid);
    let before = s.w.balance(CLIENT);
    for (i, hop) in hops.iter().enumerate() {
        let evidence = contradiction(hop, &truth);
        s.good(
            CHALLENGER,
            Amount::ZERO,
            &submit(&evidence, &link(session, &paid, i)),
        );
        assert_eq!(s.bond(0).0, BOND.0 - (i as u128 + 1) * DUE.0);
        assert_eq!(s.w.balance(CLIENT).0, before.0 + FEE.0 + FEE.0 / 2);
    }
}

#[test]
fn each_further_lie_costs_again() {
    let mut s = Scene::new();
    let lies = s.lies();
    let truth = s.signed(&s.truth, 0);
    let least = params().dispute_slash_min.0;
    for (i, (_, lie)) in lies.iter().take(3).enumerate() {
        let lie = s.signed(lie, 0);
        s.good(
            CHALLENGER,
            Amount::ZERO,
            &submit(&contradiction(&truth, &lie), &[]),
        );
        assert_eq!(s.bond(0).0, BOND.0 - (i as u128 + 1) * least);
    }
    // Two that were punished already are no third.
    let known = contradiction(&s.signed(&lies[0].1, 0), &s.signed(&lies[1].1, 0));
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &submit(&known, &[]),
        "punished already",
    );
}

#[test]
fn statements_that_may_both_be_true_convict_nobody() {
    let mut s = Scene::new();
    let (truth, lie) = (s.signed(&s.truth, 0), s.signed(&s.lie(), 0));
    let mut again = truth.statement.clone();
    again.session = Digest([77; 32]);
    let again = again.signed(&signer(0));
    let mut other_input = lie.statement.clone();
    other_input.input = Digest([1; 32]);
    let other_input = other_input.signed(&signer(0));
    // The output of another session is no evidence by itself: two inputs may have one output.
    let mut same_output = truth.statement.clone();
    (same_output.input, same_output.trace) = (Digest([2; 32]), Digest([3; 32]));
    let same_output = same_output.signed(&signer(0));
    let mut longer = lie.statement.clone();
    longer.positions += 1;
    let longer = longer.signed(&signer(0));
    let mut forged = lie.clone();
    forged.signature[9] ^= 1;
    let of_other = s.signed(&s.lie(), 1);
    let unknown = (s.signed(&s.truth, 30), s.signed(&s.lie(), 30));
    for (a, b, why) in [
        (&truth, &again, "agree"),
        (&truth, &truth, "agree"),
        (&truth, &other_input, "different things"),
        (&truth, &same_output, "different things"),
        (&truth, &longer, "different things"),
        (&truth, &of_other, "different things"),
        (&truth, &forged, "not signed"),
        (&unknown.0, &unknown.1, "no bond"),
    ] {
        s.refused(
            CHALLENGER,
            Amount::ZERO,
            &submit(&contradiction(a, b), &[]),
            why,
        );
    }
    let mut garbage = submit(&contradiction(&truth, &lie), &[]);
    garbage.evidence = vec![5; 64].into();
    s.refused(CHALLENGER, Amount::ZERO, &garbage, "does not decode");
    garbage.evidence = vec![0; EVIDENCE_BYTES_MAX + 1].into();
    s.refused(CHALLENGER, Amount::ZERO, &garbage, "longer than");
    assert_eq!((s.bond(0), s.bond(1)), (BOND, BOND));
}

#[test]
fn a_boundary_that_does_not_chain_to_its_own_trace_convicts() {
    for at_end in [false, true] {
        let mut s = Scene::new();
        let roots = s.truth.roots();
        let at = if at_end { roots.len() - 1 } else { 0 };
        let path = merkle::Tree::new(roots.clone()).path(at).unwrap();
        let mut torn = s.signed(&s.truth, 0).statement;
        let honest = torn.clone().signed(&signer(0));
        // It states rows of another session, and commits to those that it ran.
        if at_end {
            torn.output = Digest([4; 32]);
        } else {
            torn.input = Digest([4; 32]);
        }
        let evidence = |hop: SignedHop, leaf, path| {
            Evidence::Contradiction(Contradiction::Torn {
                hop: Box::new(hop),
                at_end,
                leaf,
                path,
            })
        };
        let whole = evidence(honest, roots[at], path.clone());
        s.refused(CHALLENGER, Amount::ZERO, &submit(&whole, &[]), "agree");
        let torn = torn.signed(&signer(0));
        let lost = evidence(torn.clone(), roots[1], path.clone());
        s.refused(
            CHALLENGER,
            Amount::ZERO,
            &submit(&lost, &[]),
            "does not lead",
        );
        let evidence = evidence(torn, roots[at], path);
        s.good(CHALLENGER, Amount::ZERO, &submit(&evidence, &[]));
        assert_eq!(s.bond(0).0, BOND.0 - params().dispute_slash_min.0);
    }
}

/// A share of one row for the output product of block 1, its right answer, and the statement of any.
fn exchange(s: &Scene, seed: u8) -> (Share, Vec<u32>) {
    let block = &s.model.blocks[1];
    let cols = Product::Output.matrices(block)[0].cols;
    let share = Share::Values(
        (0..cols as u32)
            .map(|i| P - 1 - i * u32::from(seed))
            .collect(),
    );
    let values = share.clone().expand(1, cols).unwrap();
    (share, multiply_reference(block, Product::Output, &values))
}

fn answered(s: &Scene, n: u8, flight: u64, share: &Share, answer: &[u32]) -> AnswerStatement {
    AnswerStatement {
        node: node(n),
        session: Digest([60 + n; 32]),
        model: s.model.manifest.root(),
        layer: 1,
        product: Product::Output.code(),
        flight,
        rows: 1,
        share: share.digest(1),
        answer: answer_digest(answer),
    }
}

fn wrong(s: &Scene, n: u8, flight: u64, seed: u8, holder: Option<Box<SignedHolder>>) -> Evidence {
    let (share, mut answer) = exchange(s, seed);
    answer[0] ^= 1;
    let statement = answered(s, n, flight, &share, &answer);
    let signature = statement.sign(&signer(n));
    let block = &s.model.blocks[1];
    let manifest = &s.model.manifest;
    let found = WrongAnswer::find(statement, signature, share, answer, manifest, block);
    Evidence::Wrong {
        answer: Box::new(found.unwrap()),
        holder,
    }
}

fn holder(s: &Scene, n: u8) -> Box<SignedHolder> {
    let statement = HolderStatement {
        node: node(n),
        session: Digest([60 + n; 32]),
        model: s.model.manifest.root(),
        ranges: vec![(0, 3)],
        point: n + 1,
        flights: 4,
        rows: 4,
        transcript: Digest([1; 32]),
        price: 0,
    };
    Box::new(statement.signed(&signer(n)))
}

#[test]
fn one_wrong_answer_of_a_share_is_the_whole_dispute() {
    let mut s = Scene::new();
    let held = holder(&s, 0);
    let paid = [held.statement.digest()];
    let session = s.pay(OWNER, &paid);
    let evidence = wrong(&s, 0, 3, 2, Some(held));
    let size = evidence.to_bytes().len() as u64;
    let r = s.good(
        CLIENT,
        Amount::ZERO,
        &submit(&evidence, &link(session, &paid, 0)),
    );
    assert_eq!(s.bond(0).0, BOND.0 - DUE.0);
    // The event says how much became public: one share, one answer, one tile.
    let told = r
        .logs
        .iter()
        .any(|l| l.data.ends_with(&U256::from(size).to_be_bytes::<32>()));
    assert!(told, "{size}");
    s.refused(
        CLIENT,
        Amount::ZERO,
        &submit(&evidence, &[]),
        "punished already",
    );
    // Holders of other sessions hold other flights.
    let other = wrong(&s, 1, 3, 5, Some(holder(&s, 1)));
    let paid = [holder(&s, 1).statement.digest()];
    let elsewhere = s.pay(SECOND, &paid);
    let linked = submit(&other, &link(elsewhere, &paid, 0));
    s.good(CLIENT, Amount::ZERO, &linked);
    assert_eq!(s.bond(1).0, BOND.0 - DUE.0);
}

#[test]
fn never_a_second_share_of_a_flight() {
    let mut s = Scene::new();
    let first = wrong(&s, 0, 3, 2, None);
    s.good(CLIENT, Amount::ZERO, &submit(&first, &[]));
    let second = wrong(&s, 0, 3, 5, None);
    s.refused(
        CLIENT,
        Amount::ZERO,
        &submit(&second, &[]),
        "a share of this flight",
    );
    let elsewhere = wrong(&s, 0, 4, 5, None);
    s.good(CLIENT, Amount::ZERO, &submit(&elsewhere, &[]));
}

#[test]
fn a_right_answer_convicts_nobody_and_two_answers_do() {
    let mut s = Scene::new();
    let Evidence::Wrong { mut answer, .. } = wrong(&s, 0, 3, 2, None) else {
        panic!("evidence");
    };
    let (share, right) = exchange(&s, 2);
    let statement = answered(&s, 0, 3, &share, &right);
    let lie = (answer.statement, answer.signature);
    answer.statement = statement;
    answer.signature = statement.sign(&signer(0));
    answer.answer.clone_from(&right);
    let framed = Evidence::Wrong {
        answer,
        holder: None,
    };
    s.refused(
        CLIENT,
        Amount::ZERO,
        &submit(&framed, &[]),
        "nothing is wrong",
    );
    let honest = (statement, statement.sign(&signer(0)));
    let two = |a, b| Evidence::Contradiction(Contradiction::Answers(Box::new([a, b])));
    s.refused(
        CLIENT,
        Amount::ZERO,
        &submit(&two(honest, honest), &[]),
        "agree",
    );
    let stolen = (lie.0, honest.1);
    s.refused(
        CLIENT,
        Amount::ZERO,
        &submit(&two(honest, stolen), &[]),
        "not signed",
    );
    let evidence = two(honest, lie);
    assert_eq!(
        Evidence::from_bytes(&evidence.to_bytes()),
        Ok(evidence.clone())
    );
    s.good(CLIENT, Amount::ZERO, &submit(&evidence, &[]));
    assert_eq!(s.bond(0).0, BOND.0 - params().dispute_slash_min.0);
}

#[test]
fn a_flight_that_expands_to_too_much_is_refused_before_it_is_computed() {
    let mut s = Scene::new();
    let Evidence::Wrong { mut answer, .. } = wrong(&s, 0, 3, 2, None) else {
        panic!("evidence");
    };
    answer.statement.rows = 1 << 20;
    answer.share = Share::Seed([1; 32]);
    answer.statement.share = answer.share.digest(1 << 20);
    answer.signature = answer.statement.sign(&signer(0));
    let wide = Evidence::Wrong {
        answer,
        holder: None,
    };
    s.refused(CLIENT, Amount::ZERO, &submit(&wide, &[]), "");
    assert_eq!(s.bond(0), BOND);
}

//! Whole transcripts: a dispute that was played off the chain, settled by one transaction.

use super::*;

#[test]
fn every_lie_is_slashed_by_the_exact_sum_and_the_client_refunded() {
    let lies = Scene::new().lies();
    for (name, lie) in lies {
        let mut s = Scene::new();
        let matter = s.matter(&lie, &s.truth, OWN, 1);
        let digest = matter.sides[0].statement.digest();
        let session = s.pay(OWNER, &[Digest([1; 32]), digest]);
        let link = link(session, &[Digest([1; 32]), digest], 1);
        let t = s.play(&matter, [&lie, &s.truth], [0, OWN]);
        assert!(t.to_bytes().len() <= EVIDENCE_BYTES_MAX);
        let before = (
            s.w.balance(CHALLENGER),
            s.w.balance(CLIENT),
            s.w.balance(OWNER),
        );
        let (burned, pot) = (s.burned(), s.held(&crate::sessions::AUDITORS));
        let score = s.score(0);
        let r = s.good(CHALLENGER, Amount::ZERO, &settle(&t, &link));
        // 20 F of the bond; half is burned, the client gets its fee and half as much again, the
        // challenger half of the rest.
        assert_eq!(BOND.0 - s.bond(0).0, DUE.0, "{name}");
        let kept = DUE.0 / 2;
        let fees = base_fees(&s, &r);
        assert_eq!(s.burned().0 - burned.0, DUE.0 - kept + fees, "{name}");
        assert_eq!(s.w.balance(CLIENT).0 - before.1.0, FEE.0 + FEE.0 / 2);
        let left = kept - FEE.0 - FEE.0 / 2;
        let earned = s.w.balance(CHALLENGER).0 + fee(&r).0 - before.0.0;
        assert_eq!(earned, left / 2, "{name}");
        let to_auditors = s.held(&crate::sessions::AUDITORS).0 - pot.0;
        assert_eq!(to_auditors, left - left / 2);
        assert_eq!(s.w.balance(OWNER), before.2);
        assert_eq!(score - s.score(0), params().reputation_fault_loss);
        // One offence is punished once, whatever shows it again.
        s.refused(
            CHALLENGER,
            Amount::ZERO,
            &settle(&t, &link),
            "punished already",
        );
        let again = s.matter(&lie, &s.truth, OWN, 2);
        let deposit = params().dispute_deposit;
        s.refused(CHALLENGER, deposit, &open(&again, &[]), "punished already");
        assert_eq!(BOND.0 - s.bond(0).0, DUE.0);
    }
}

/// What of a transaction's fee is burned.
fn base_fees(s: &Scene, r: &Receipt) -> u128 {
    u128::from(s.w.tip.header.base_fee) * u128::from(r.gas_used)
}

#[test]
fn nothing_convicts_an_honest_node() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    // The challenger claims the lie; its own transcript convicts itself, who has no bond.
    let matter = s.matter(&truth, &lie, OWN, 1);
    let t = s.play(&matter, [&truth, &lie], [0, OWN]);
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &settle(&t, &[]),
        "convicts no node",
    );
    // Cut, changed, for another model, or with the sides' roles exchanged.
    let mut cut = t.clone();
    cut.moves.pop();
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &settle(&cut, &[]),
        "without a verdict",
    );
    let mut forged = t.clone();
    forged.moves[0].signature[3] ^= 1;
    s.refused(
        CHALLENGER,
        Amount::ZERO,
        &settle(&forged, &[]),
        "not signed",
    );
    let mut other = t.clone();
    other.matter.manifest.name.push('x');
    s.refused(CHALLENGER, Amount::ZERO, &settle(&other, &[]), "");
    let mut garbage = settle(&t, &[]);
    garbage.transcript = vec![7; 300].into();
    s.refused(CHALLENGER, Amount::ZERO, &garbage, "does not decode");
    garbage.transcript = vec![0; EVIDENCE_BYTES_MAX + 1].into();
    s.refused(CHALLENGER, Amount::ZERO, &garbage, "longer than");
    s.refused(CHALLENGER, Amount(5), &settle(&t, &[]), "takes no value");
    assert_eq!(s.bond(0), BOND);
}

#[test]
fn two_nodes_stand_for_their_claims_and_the_liar_alone_pays() {
    let mut s = Scene::new();
    let (truth, lie) = (s.truth.clone(), s.lie());
    // Node 0 is honest here, node 1 lies.
    let matter = s.matter(&truth, &lie, 1, 1);
    let t = s.play(&matter, [&truth, &lie], [0, 1]);
    let scores = (s.score(0), s.score(1));
    s.good(CHALLENGER, Amount::ZERO, &settle(&t, &[]));
    let least = params().dispute_slash_min;
    assert_eq!(s.bond(0), BOND);
    assert_eq!(s.bond(1).0, BOND.0 - least.0);
    assert_eq!(s.score(0) - scores.0, params().reputation_gain);
    assert_eq!(scores.1 - s.score(1), params().reputation_fault_loss);
}

#[test]
fn what_was_paid_must_lead_to_the_node_and_its_statement() {
    let mut s = Scene::new();
    let lie = s.lie();
    let matter = s.matter(&lie, &s.truth, OWN, 1);
    let t = s.play(&matter, [&lie, &s.truth], [0, OWN]);
    let digest = matter.sides[0].statement.digest();
    let other = s.pay(OWNER, &[Digest([1; 32])]);
    let elsewhere = s.pay(SECOND, &[digest]);
    for (session, index, why) in [
        (other, 0, "not in the settled transcript"),
        (elsewhere, 0, "did not pay the node's owner"),
        (Digest([9; 32]), 0, "not known"),
    ] {
        let link = link(session, &[digest], index);
        s.refused(CHALLENGER, Amount::ZERO, &settle(&t, &link), why);
    }
    let mut bad = settle(&t, &[1, 2, 3]);
    s.refused(CHALLENGER, Amount::ZERO, &bad, "does not decode");
    bad.link = vec![0; LINK_BYTES_MAX + 1].into();
    s.refused(CHALLENGER, Amount::ZERO, &bad, "longer than");
    // A bond that is smaller than what is due is taken whole.
    let session = s.pay_units(OWNER, &[digest], 100);
    s.good(
        CHALLENGER,
        Amount::ZERO,
        &settle(&t, &link(session, &[digest], 0)),
    );
    assert_eq!(s.bond(0), Amount::ZERO);
}

#[test]
fn only_its_client_disputes_a_sealed_session() {
    let mut s = Scene::with(params(), true);
    let lie = s.lie();
    let matter = s.matter(&lie, &s.truth, OWN, 1);
    let digest = matter.sides[0].statement.digest();
    let t = s.play(&matter, [&lie, &s.truth], [0, OWN]);
    let session = s.pay(OWNER, &[digest]);
    let link = link(session, &[digest], 0);
    let only = "only who paid";
    let deposit = params().dispute_deposit;
    s.refused(CHALLENGER, Amount::ZERO, &settle(&t, &[]), only);
    s.refused(CHALLENGER, Amount::ZERO, &settle(&t, &link), only);
    s.refused(CHALLENGER, deposit, &open(&matter, &link), only);
    s.refused(CLIENT, deposit, &open(&matter, &[]), only);
    s.good(CLIENT, Amount::ZERO, &settle(&t, &link));
    assert_eq!(s.bond(0).0, BOND.0 - DUE.0);
}

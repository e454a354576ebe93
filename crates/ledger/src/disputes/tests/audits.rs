//! Audits: drawn, committed, revealed; honest, lazy, colluding and silent auditors; canaries.

use super::super::abi::IDisputes::{
    commitCall, enlistCall, recordCall, retireCall, revealCall, revealClaimCall, revealPlantCall,
};
use super::super::audits::{self, AUDITS, Audit, Stage as At, chance, commitment, plant, result};
use super::*;
use crate::sessions::AUDITORS;

/// Who audits: nodes 2, 3 and 4 of these people.
const AUDITORS_OF: [(u8, u8); 3] = [(2, 6), (3, 7), (4, CHALLENGER)];
/// The salt that the payer gives to auditors with the rows.
const JOB_SALT: Digest = Digest([21; 32]);
const OWN_SALT: Digest = Digest([22; 32]);

/// Every record is drawn.
fn always() -> Params {
    Params {
        audit_ppm: 1_000_000,
        ..params()
    }
}

struct Job {
    s: Scene,
    id: Digest,
    matter: Matter,
    link: Vec<u8>,
}

impl Job {
    /// Work of node 0 that it states to be `work`, recorded with the claim `claimed` and drawn.
    fn new(params: Params, lies: bool, planted: bool) -> Self {
        let mut s = Scene::with(params, false);
        for (n, owner) in AUDITORS_OF {
            s.join(n, owner);
            let node = node(n).into();
            s.good(owner, Amount::ZERO, &enlistCall { node });
        }
        let work = if lies { s.lie() } else { s.truth.clone() };
        let other = if lies { s.truth.clone() } else { s.lie() };
        let matter = s.matter(&work, &other, OWN, 1);
        let digest = matter.sides[0].statement.digest();
        let paid = [digest, Digest([9; 32])];
        let session = s.pay(OWNER, &paid);
        let claimed = if planted {
            plant(&OWN_SALT)
        } else {
            result(&JOB_SALT, &matter.sides[0].statement.trace)
        };
        let leaf = super::super::work(&SALT, &digest);
        let call = recordCall {
            session: session.0.into(),
            lane: 0,
            node: node(0).into(),
            work: leaf.0.into(),
            index: 0,
            of: 2,
            path: merkle::Tree::new(leaves(&paid))
                .path(0)
                .unwrap()
                .0
                .iter()
                .map(|d| d.0.into())
                .collect(),
            claim: commitment(&leaf, &address(CLIENT), &OWN_SALT, &claimed)
                .0
                .into(),
        };
        s.refused(CHALLENGER, Amount::ZERO, &call, "only who paid");
        let mut elsewhere = call.clone();
        elsewhere.node = node(1).into();
        s.refused(
            CLIENT,
            Amount::ZERO,
            &elsewhere,
            "did not pay the node's owner",
        );
        let mut lost = call.clone();
        lost.index = 1;
        s.refused(CLIENT, Amount::ZERO, &lost, "not in the settled transcript");
        s.good(CLIENT, Amount::ZERO, &call);
        s.refused(CLIENT, Amount::ZERO, &call, "nothing was paid");
        let id = audits::job_id(&session, 0, &leaf);
        let link = link(session, &paid, 0);
        Self {
            s,
            id,
            matter,
            link,
        }
    }

    fn audit(&self) -> Option<Audit> {
        AUDITS.get(&self.s.w.tip.state, &self.id).unwrap()
    }

    fn until(&mut self, stage: At) {
        for _ in 0..60 {
            if self.audit().is_some_and(|a| a.stage == stage) {
                return;
            }
            self.s.w.wait(1);
        }
        panic!("{stage:?} does not come: {:?}", self.audit());
    }

    fn ended(&mut self) {
        for _ in 0..60 {
            if self.audit().is_none() {
                return;
            }
            self.s.w.wait(1);
        }
        panic!("it does not end");
    }

    fn truth(&self) -> Digest {
        let claim = self.s.truth.claim_about(self.s.model.manifest.root());
        result(&JOB_SALT, &claim.trace)
    }

    fn stated(&self) -> Digest {
        result(&JOB_SALT, &self.matter.sides[0].statement.trace)
    }

    fn commit(&mut self, n: u8, owner: u8, result: &Digest) {
        let salt = Digest([n; 32]);
        let commitment = commitment(&self.id, &address(owner), &salt, result);
        let call = commitCall {
            job: self.id.0.into(),
            node: node(n).into(),
            commitment: commitment.0.into(),
        };
        self.s.good(owner, Amount::ZERO, &call);
    }

    fn opening(&self, n: u8, result: &Digest) -> revealCall {
        revealCall {
            job: self.id.0.into(),
            node: node(n).into(),
            result: result.0.into(),
            salt: [n; 32].into(),
        }
    }

    fn claim(&self, claimed: &Digest) -> revealClaimCall {
        revealClaimCall {
            job: self.id.0.into(),
            result: claimed.0.into(),
            salt: OWN_SALT.0.into(),
        }
    }

    /// All auditors commit and reveal what `says` gives; `None` stays silent after its commitment.
    fn said(&mut self, says: [(Digest, bool); 3], claimed: Option<Digest>) {
        self.until(At::Commit);
        for ((n, owner), (what, _)) in AUDITORS_OF.into_iter().zip(says) {
            self.commit(n, owner, &what);
        }
        self.until(At::Reveal);
        for ((n, owner), (what, speaks)) in AUDITORS_OF.into_iter().zip(says) {
            if speaks {
                let call = self.opening(n, &what);
                self.s.good(owner, Amount::ZERO, &call);
            }
        }
        if let Some(claimed) = claimed {
            let call = self.claim(&claimed);
            self.s.good(CLIENT, Amount::ZERO, &call);
        }
        self.until(At::Judging);
    }
}

/// What each of three auditors earns where every record is drawn: a third of 5 % of the fee.
fn wage() -> u128 {
    FEE.0 / 20 / 3
}

#[test]
fn honest_work_passes_and_auditors_are_paid_what_the_lane_put_in() {
    let mut j = Job::new(always(), false, false);
    let truth = j.truth();
    j.said([(truth, true); 3], Some(truth));
    let pot = j.s.held(&AUDITORS);
    let (score, balance) = (j.s.score(0), j.s.w.balance(7));
    j.ended();
    assert_eq!(pot.0 - j.s.held(&AUDITORS).0, 3 * wage());
    assert_eq!(j.s.w.balance(7).0, balance.0 + wage());
    assert_eq!(j.s.score(0), score + params().reputation_gain);
    assert_eq!((j.s.bond(2), j.s.bond(3), j.s.bond(4)), (BOND, BOND, BOND));
}

#[test]
fn one_honest_auditor_is_enough_against_colluding_ones() {
    let mut j = Job::new(always(), true, false);
    let (truth, stated) = (j.truth(), j.stated());
    assert_ne!(truth, stated);
    // Nodes 2 and 3 say what the liar told them; node 4 computed.
    j.said(
        [(stated, true), (stated, true), (truth, true)],
        Some(stated),
    );
    let (lie, honest) = (j.s.lie(), j.s.truth.clone());
    let t = j.s.play(&j.matter, [&lie, &honest], [0, OWN]);
    let link = j.link.clone();
    j.s.good(CHALLENGER, Amount::ZERO, &settle(&t, &link));
    let due = penalty::due(&always(), FEE);
    assert_eq!(j.s.bond(0).0, BOND.0 - due.0);
    let balance = j.s.w.balance(CHALLENGER);
    let scores = [2, 3, 4].map(|n| j.s.score(n));
    j.ended();
    let lost = params().audit_slash.0;
    let bonds = [2, 3, 4].map(|n| BOND.0 - j.s.bond(n).0);
    assert_eq!(bonds, [lost, lost, 0]);
    assert_eq!(j.s.w.balance(CHALLENGER).0, balance.0 + wage());
    let fell = [0, 1, 2].map(|i| scores[i] - j.s.score(i as u8 + 2));
    let loss = params().reputation_fault_loss;
    assert_eq!(fell, [loss, loss, 0]);
}

#[test]
fn a_difference_that_nobody_disputes_slashes_nobody() {
    // Two of three say something else about honest work: no majority decides anything.
    let mut j = Job::new(always(), false, false);
    let (truth, other) = (j.truth(), Digest([5; 32]));
    j.said([(other, true), (other, true), (truth, true)], Some(truth));
    let balances = [6, 7, CHALLENGER].map(|who| j.s.w.balance(who));
    j.ended();
    let earned = [6, 7, CHALLENGER].map(|who| j.s.w.balance(who));
    assert_eq!(earned[0], balances[0]);
    assert_eq!(earned[1], balances[1]);
    assert_eq!(earned[2].0, balances[2].0 + wage());
    assert_eq!([0, 2, 3, 4].map(|n| j.s.bond(n)), [BOND; 4]);
}

#[test]
fn an_audit_waits_for_a_dispute_about_its_work() {
    let mut j = Job::new(always(), true, false);
    let (truth, stated) = (j.truth(), j.stated());
    j.said(
        [(stated, true), (stated, true), (truth, true)],
        Some(stated),
    );
    let (matter, link) = (j.matter.clone(), j.link.clone());
    let deposit = params().dispute_deposit;
    // Opened in the window, and nobody answers but the challenger: it ends after the window.
    j.s.w.wait(10);
    j.s.good(CHALLENGER, deposit, &open(&matter, &link));
    let id = matter.name();
    let honest = j.s.truth.clone();
    let running = question(&j.s.w.tip.state, &id).unwrap().unwrap();
    let mut side = j.s.defence(&matter, Side::B, &honest);
    let said = j.s.answer(&mut side, &running.question.to_bytes(), OWN);
    j.s.good(CHALLENGER, Amount::ZERO, &answer_call(&id, &said));
    j.ended();
    assert_eq!(BOND.0 - j.s.bond(2).0, params().audit_slash.0);
    assert_eq!(j.s.bond(4), BOND);
}

#[test]
fn a_canary_catches_who_did_not_compute_and_nobody_else() {
    let mut j = Job::new(always(), false, true);
    let (truth, planted) = (j.truth(), plant(&OWN_SALT));
    // Node 2 took what it was handed for a result; the others computed.
    j.said(
        [(planted, true), (truth, true), (truth, true)],
        Some(planted),
    );
    let reveal = |salt: Digest, id: Digest| revealPlantCall {
        job: id.0.into(),
        salt: salt.0.into(),
    };
    let wrong = reveal(JOB_SALT, j.id);
    j.s.refused(CLIENT, Amount::ZERO, &wrong, "no plant");
    let right = reveal(OWN_SALT, j.id);
    j.s.refused(CHALLENGER, Amount::ZERO, &right, "only who paid");
    j.s.good(CLIENT, Amount::ZERO, &right);
    let (balance, score) = (j.s.w.balance(7), j.s.score(0));
    j.ended();
    let lost = params().audit_slash.0;
    assert_eq!([2, 3, 4].map(|n| BOND.0 - j.s.bond(n).0), [lost, 0, 0]);
    assert_eq!(j.s.w.balance(7).0, balance.0 + wage());
    assert_eq!(j.s.score(0), score, "the worker is not judged by a canary");
}

#[test]
fn no_true_result_is_a_canary() {
    let mut j = Job::new(always(), false, false);
    let truth = j.truth();
    j.said([(truth, true); 3], Some(truth));
    for salt in [OWN_SALT, JOB_SALT] {
        let call = revealPlantCall {
            job: j.id.0.into(),
            salt: salt.0.into(),
        };
        j.s.refused(CLIENT, Amount::ZERO, &call, "no plant");
    }
}

#[test]
fn who_is_drawn_and_does_not_reveal_pays_a_little() {
    let mut j = Job::new(always(), false, false);
    let truth = j.truth();
    j.said([(truth, false), (truth, true), (truth, true)], Some(truth));
    let score = j.s.score(2);
    j.ended();
    let late = params().audit_timeout_slash.0;
    assert_eq!([2, 3, 4].map(|n| BOND.0 - j.s.bond(n).0), [late, 0, 0]);
    assert_eq!(score - j.s.score(2), params().reputation_timeout_loss);
}

#[test]
fn a_payer_that_does_not_say_what_it_got_changes_no_score() {
    let mut j = Job::new(always(), true, false);
    let truth = j.truth();
    j.said([(truth, true); 3], None);
    let (score, balance) = (j.s.score(0), j.s.w.balance(6));
    j.ended();
    assert_eq!(j.s.score(0), score);
    assert_eq!(j.s.w.balance(6).0, balance.0 + wage());
}

#[test]
fn nothing_is_done_twice_early_late_or_for_another() {
    let mut j = Job::new(always(), false, false);
    let truth = j.truth();
    j.until(At::Commit);
    let (n, owner) = AUDITORS_OF[0];
    let early = j.opening(n, &truth);
    j.s.refused(owner, Amount::ZERO, &early, "not the time");
    let claim = j.claim(&truth);
    j.s.refused(CLIENT, Amount::ZERO, &claim, "not the time");
    let job = j.id.0.into();
    let foreign = |node, commitment: [u8; 32]| commitCall {
        job,
        node,
        commitment: commitment.into(),
    };
    j.s.refused(
        SECOND,
        Amount::ZERO,
        &foreign(node(1).into(), [1; 32]),
        "not drawn",
    );
    j.s.refused(
        SECOND,
        Amount::ZERO,
        &foreign(node(n).into(), [1; 32]),
        "not drawn",
    );
    j.commit(n, owner, &truth);
    j.s.refused(
        owner,
        Amount::ZERO,
        &foreign(node(n).into(), [1; 32]),
        "done already",
    );
    // The commitment of another, copied, opens nothing.
    let copied = commitment(&j.id, &address(owner), &Digest([n; 32]), &truth);
    let (m, thief) = AUDITORS_OF[1];
    j.s.good(thief, Amount::ZERO, &foreign(node(m).into(), copied.0));
    j.until(At::Reveal);
    let mut stolen = j.opening(m, &truth);
    stolen.salt = [n; 32].into();
    j.s.refused(thief, Amount::ZERO, &stolen, "does not open");
    let other = j.opening(n, &Digest([1; 32]));
    j.s.refused(owner, Amount::ZERO, &other, "does not open");
    let right = j.opening(n, &truth);
    j.s.good(owner, Amount::ZERO, &right);
    j.s.refused(owner, Amount::ZERO, &right, "done already");
    let lied = j.claim(&Digest([1; 32]));
    j.s.refused(CLIENT, Amount::ZERO, &lied, "does not open");
    j.s.refused(CHALLENGER, Amount::ZERO, &claim, "only who paid");
    j.s.good(CLIENT, Amount::ZERO, &claim);
    j.s.refused(CLIENT, Amount::ZERO, &claim, "done already");
    j.ended();
    j.s.refused(owner, Amount::ZERO, &right, "no audit");
}

#[test]
fn auditors_are_others_and_all_ends_without_them() {
    let mut j = Job::new(always(), false, false);
    j.until(At::Commit);
    let seats = j.audit().unwrap().seats;
    let owners: std::collections::BTreeSet<_> = seats.iter().map(|s| s.owner).collect();
    assert_eq!(owners.len(), 3);
    assert!(!owners.contains(&address(OWNER)) && !owners.contains(&address(CLIENT)));
    let stranger = enlistCall {
        node: node(0).into(),
    };
    j.s.refused(CLIENT, Amount::ZERO, &stranger, "only the node's owner");
    j.ended();

    // Nobody audits: the job ends at its draw.
    let mut s = Scene::with(always(), false);
    let digest = s.matter(&s.truth, &s.lie(), OWN, 1).sides[0]
        .statement
        .digest();
    let session = s.pay(OWNER, &[digest]);
    let leaf = super::super::work(&SALT, &digest);
    s.join(2, 6);
    let node2 = node(2).into();
    s.good(6, Amount::ZERO, &enlistCall { node: node2 });
    s.good(6, Amount::ZERO, &retireCall { node: node2 });
    let call = recordCall {
        session: session.0.into(),
        lane: 0,
        node: node(0).into(),
        work: leaf.0.into(),
        index: 0,
        of: 1,
        path: vec![],
        claim: [1; 32].into(),
    };
    s.good(CLIENT, Amount::ZERO, &call);
    s.w.wait(3);
    assert_eq!(AUDITS.rows(&s.w.tip.state, None).count(), 0);
}

#[test]
fn a_lower_score_is_audited_more_often() {
    let p = Params::default();
    let start = p.reputation_start;
    assert_eq!(chance(&p, start), 50_000);
    assert_eq!(chance(&p, start + 5_000), 50_000);
    assert_eq!(chance(&p, start - 1_023), 50_000);
    assert_eq!(chance(&p, start - 1_024), 100_000);
    assert_eq!(chance(&p, start - 3 * 1_024), 400_000);
    assert_eq!(chance(&p, start - 4 * 1_024), p.audit_ppm_max);
    assert_eq!(chance(&p, 0), p.audit_ppm_max);
}

#[test]
fn what_is_paid_for_audits_is_on_average_what_the_lanes_put_in() {
    // One twentieth is drawn, and pays twenty times as much: enough for the work, and no way to
    // earn by auditing oneself.
    let rare = Params {
        audit_ppm: 500_000,
        ..params()
    };
    let (mut drawn, mut paid) = (0u128, 0u128);
    for salt in 0..24 {
        let mut s = Scene::with(rare.clone(), false);
        for (n, owner) in AUDITORS_OF {
            s.join(n, owner);
            let node = node(n).into();
            s.good(owner, Amount::ZERO, &enlistCall { node });
        }
        let digest = Digest([salt; 32]);
        let session = s.pay(OWNER, &[digest]);
        let leaf = super::super::work(&SALT, &digest);
        let call = recordCall {
            session: session.0.into(),
            lane: 0,
            node: node(0).into(),
            work: leaf.0.into(),
            index: 0,
            of: 1,
            path: vec![],
            claim: [1; 32].into(),
        };
        s.good(CLIENT, Amount::ZERO, &call);
        s.w.wait(2);
        let job = audits::job_id(&session, 0, &leaf);
        if let Some(audit) = AUDITS.get(&s.w.tip.state, &job).unwrap() {
            drawn += 1;
            paid += audit.funds.0 * 1_000_000 / u128::from(audit.chance);
        }
    }
    assert!(
        (6..=18).contains(&drawn),
        "{drawn} of 24 were drawn at one half"
    );
    assert_eq!(paid, drawn * 2 * FEE.0 / 20);
}

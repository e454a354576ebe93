//! Two routes over the same layers, one node of which lies: what both signed leads to the liar, whatever its lie.

use std::sync::Arc;

use nesa_client::{Assurance, ClientError, Compared, Evidence, Request, compare};
use nesa_codec::{Decode, Digest, Encode};
use nesa_e2e::liars::shape;
use nesa_e2e::{Error, Model, Network, NodeConfig, Served, Talk};
use nesa_model::{Block, Sampling};
use nesa_pipeline::dispute::{Message, admit};
use nesa_pipeline::{Fault, RefusalCode};
use nesa_proof::dispute::referee::Effect;
use nesa_proof::dispute::{
    Court, Defence, Matter, Reason, Side, SignedMove, Tier, Timing, Transcript, Verdict,
    verify_transcript,
};
use nesa_proof::verify::{self, Level};
use nesa_proof::{Bundle, Second, SignedHop, Violation};

use crate::common::{engine, key};

const HOPS: usize = 3;
const ANSWER: u64 = 10;

/// Two routes that one client uses, the first with a liar.
struct Routes {
    served: Served,
    networks: [Network; 2],
    talks: [Talk; 2],
    liar: Option<(usize, Fault)>,
}

impl Routes {
    /// The same prompt over both; before it another one, for those who lie with old rows.
    fn new(served: Served, liar: Option<(usize, Fault)>, seed: u64) -> Self {
        let config = |liar| NodeConfig {
            liar,
            ..NodeConfig::default()
        };
        let mut a = Network::new(&served, HOPS, &config(liar), seed).unwrap();
        let mut b = Network::new(&served, HOPS, &config(None), seed ^ 0xb).unwrap();
        b.share_client(&a);
        let ask = |network: &mut Network, first: u32| {
            let request = Request {
                prompt: (first..first + 11).collect(),
                sampling: Sampling::default(),
                max_tokens: 1,
                chunk: 4,
            };
            let mut talk = network.talk(&served, request).unwrap();
            network
                .run(std::slice::from_mut(&mut talk), &mut engine())
                .unwrap();
            talk
        };
        let talks = [&mut a, &mut b].map(|network| {
            let mut old = ask(network, 40);
            network.close(&mut old, &mut engine()).unwrap();
            let mut talk = ask(network, 7);
            // Runs are kept beyond their session.
            network.close(&mut talk, &mut engine()).unwrap();
            talk
        });
        Self {
            served,
            networks: [a, b],
            talks,
            liar,
        }
    }

    fn compared(&self) -> Compared {
        let signed = [0, 1].map(|i| self.talks[i].statements());
        let [a, b] = [0, 1].map(|i| (&self.talks[i].route, &signed[i][..]));
        let ask = &self.talks[0].ask;
        compare(ask.input_root(), ask.positions() as u32, [a, b])
    }

    fn matter(&self, hop: usize) -> Matter {
        let pair = [0, 1].map(|i| self.talks[i].statements()[hop].clone());
        let (manifest, salt) = (self.served.manifest.clone(), Digest([3; 32]));
        let sign = |digest: &[u8]| self.networks[0].sign_as_client(digest);
        Matter::opened(manifest, pair, salt, self.networks[0].client_key(), &sign)
    }

    /// A node's side as the node plays it.
    fn defence(&mut self, matter: &Matter, hop: usize, i: usize) -> (Defence, Option<Fault>) {
        let client = self.networks[0].client_key();
        let statement = matter.sides[i].statement.digest();
        let run = self.networks[i].kept(hop, &statement, &client).unwrap();
        let side = admit(matter, &run, &client).unwrap();
        assert_eq!(side, Side::ALL[i]);
        let fault = self.liar.filter(|l| l.0 == hop && i == 0).map(|l| l.1);
        let mut blocks = |l| block(&self.served, fault, l);
        let model = (self.served.shape(), self.served.common());
        let record = run.record(model, &mut blocks, &mut engine()).unwrap();
        let claim = record.claim_about(self.served.root());
        assert_eq!(claim, matter.claims()[i], "a node has what it signed");
        let common = Arc::clone(self.served.common());
        (Defence::new(matter, side, record, common), fault)
    }

    /// Plays the dispute, every message as the bytes that travel.
    fn play(&mut self, hop: usize) -> (Verdict, Transcript) {
        let matter = self.matter(hop);
        let tier = match self.served.manifest.sealed_under {
            Some(_) => Tier::Ee {
                client: self.networks[0].client_key(),
            },
            None => Tier::Open,
        };
        let mut sides = [0, 1].map(|i| self.defence(&matter, hop, i));
        let timing = Timing { answer: ANSWER };
        let mut court = Court::new(matter, tier, timing).unwrap();
        let (mut now, mut effect) = (0, court.start(0));
        while court.verdict().is_none() {
            let Some(Effect::Ask(ask)) = effect.take() else {
                now += ANSWER + 1;
                effect = court.tick(now);
                continue;
            };
            for (i, (defence, fault)) in sides.iter_mut().enumerate() {
                let message = Message::Ask(ask.clone());
                let Ok(Message::Ask(ask)) = Message::decode(message.kind(), &message.payload())
                else {
                    panic!("questions survive");
                };
                let mut blocks = |l| block(&self.served, *fault, l);
                let sign = |digest: &[u8]| self.networks[i].sign_digest_as(hop, digest);
                if let Some(answer) = defence.answer(&ask, &mut blocks, &sign) {
                    let next = court.answer(now, carried(answer));
                    effect = effect.or(next);
                }
            }
        }
        (*court.verdict().unwrap(), court.transcript())
    }
}

fn carried(answer: SignedMove) -> SignedMove {
    let message = Message::Answer(Box::new(answer));
    match Message::decode(message.kind(), &message.payload()) {
        Ok(Message::Answer(answer)) => *answer,
        other => panic!("{other:?}"),
    }
}

fn block(served: &Served, fault: Option<Fault>, i: u32) -> Option<Block> {
    let block = served.raw_block(i)?;
    Some(fault.map_or(block.clone(), |f| f.corrupt(block)))
}

fn model(sealed: bool, seed: u64) -> Served {
    let model = Model::random(&shape(), seed).unwrap();
    if sealed {
        model.served_ee(&key()).unwrap()
    } else {
        model.served_open()
    }
}

#[test]
fn every_lie_of_one_of_two_replicas_is_bisected_and_named() {
    let mut settled = Vec::new();
    for (n, fault) in Fault::ALL.into_iter().enumerate() {
        for hop in 0..HOPS {
            let served = model((n + hop).is_multiple_of(2), n as u64);
            let mut routes = Routes::new(served, Some((hop, fault)), 5 + hop as u64);
            assert_eq!(routes.compared(), Compared::Differ { hop }, "{fault:?}");
            let (verdict, transcript) = routes.play(hop);
            assert_eq!(
                verdict.winner(),
                Some(Side::B),
                "{fault:?} at {hop}: {verdict:?}"
            );
            // Whoever reads the file convicts the same node, and only it.
            let read = Transcript::from_bytes(&transcript.to_bytes()).unwrap();
            assert_eq!(verify_transcript(&read), Ok(verdict), "{fault:?}");
            assert_eq!(read.matter.key(Side::A), routes.networks[0].hop_key(hop));
            settled.push(verdict.reason);
        }
    }
    let executed = settled
        .iter()
        .filter(|r| matches!(r, Reason::Executed { .. }));
    assert!(executed.count() > HOPS, "{settled:?}");
}

#[test]
fn honest_replicas_sign_the_same_and_have_nothing_to_dispute() {
    for sealed in [false, true] {
        let mut routes = Routes::new(model(sealed, 3), None, 9);
        assert_eq!(routes.compared(), Compared::Same);
        let matter = routes.matter(1);
        let client = routes.networks[0].client_key();
        let statement = matter.sides[0].statement.digest();
        let run = routes.networks[0].kept(1, &statement, &client).unwrap();
        let refused = admit(&matter, &run, &client).unwrap_err();
        assert!(refused.text.contains("nothing to dispute"), "{refused}");
    }
}

#[test]
fn a_sealed_session_is_disputed_by_its_client_alone() {
    for sealed in [false, true] {
        let liar = Some((1, Fault::FlipBit));
        let mut routes = Routes::new(model(sealed, 4), liar, 2);
        let own = routes.matter(1);
        let client = routes.networks[0].client_key();
        let stranger = routes.networks[1].hop_key(2);
        let mut theirs = own.clone();
        theirs.challenger = stranger;
        let digest = theirs.challenge().digest();
        theirs.signature = routes.networks[1].sign_digest_as(2, &digest.0);
        let statement = own.sides[1].statement.digest();
        let run = routes.networks[1].kept(1, &statement, &client).unwrap();
        assert!(admit(&own, &run, &client).is_ok());
        assert_eq!(admit(&theirs, &run, &stranger).is_ok(), !sealed);
        // A matter that the client signed, carried by another.
        assert_eq!(admit(&own, &run, &stranger).is_ok(), !sealed);
        // An unsigned wish, another session's statement, an unknown run.
        let mut forged = own.clone();
        forged.signature[0] ^= 1;
        assert!(admit(&forged, &run, &client).is_err());
        let other = routes.networks[1].kept(0, &statement, &client);
        assert!(
            matches!(other, Err(Error::Refused { refusal, .. }) if refusal.code == RefusalCode::Unknown)
        );
    }
}

#[test]
fn statements_that_do_not_belong_together_need_no_dispute() {
    let routes = Routes::new(model(true, 6), None, 4);
    let signed = [0, 1].map(|i| routes.talks[i].statements());
    let with = |change: &dyn Fn(&mut SignedHop)| {
        let mut second = signed[1].clone();
        change(&mut second[1]);
        second[1] = routes.networks[1].sign_as(1, &second[1]);
        let [a, b] = [&routes.talks[0].route, &routes.talks[1].route];
        let ask = &routes.talks[0].ask;
        compare(
            ask.input_root(),
            ask.positions() as u32,
            [(a, &signed[0]), (b, &second)],
        )
    };
    assert_eq!(with(&|_| ()), Compared::Same);
    let astray = |c: Compared| {
        matches!(
            c,
            Compared::Astray {
                side: Side::B,
                hop: 1,
                ..
            }
        )
    };
    assert!(astray(with(&|h| h.statement.input.0[0] ^= 1)));
    assert!(astray(with(&|h| h.statement.session.0[0] ^= 1)));
    assert!(astray(with(&|h| h.statement.positions += 1)));
    assert_eq!(
        with(&|h| h.statement.trace.0[0] ^= 1),
        Compared::Differ { hop: 1 }
    );
}

/// The receipt of the first route with second sides, changed by `change` before the client signs.
fn receipt(routes: &Routes, change: &dyn Fn(&mut Vec<Second>)) -> Result<Bundle, ClientError> {
    let (talk, other) = (&routes.talks[0], &routes.talks[1]);
    let (hops, rows) = (talk.statements(), talk.output_rows.clone());
    let level = Assurance::Receipt;
    let mut evidence = Evidence::new(&talk.ask, &talk.route, level, hops, rows)?;
    let second = |hop| Second {
        hop,
        operator: "another".into(),
    };
    let mut seconds: Vec<Second> = other.statements().into_iter().map(second).collect();
    change(&mut seconds);
    evidence.refereed(seconds)?;
    let verdict = evidence.verify(&mut |_| None, &mut engine())?;
    assert_eq!(verdict.level, Level::Refereed);
    let sign = |digest: &[u8]| routes.networks[0].sign_as_client(digest);
    Ok(evidence.bundle(routes.networks[0].client_key(), &sign))
}

#[test]
fn a_receipt_with_both_signatures_is_refereed_for_whoever_reads_it() {
    let routes = Routes::new(model(true, 7), None, 4);
    let level = |b: &Bundle| {
        let read = Bundle::from_bytes(&b.to_bytes()).unwrap();
        assert_eq!(&read, b);
        verify::bundle(&read, None, &mut |_| None, &mut engine()).map(|v| v.level)
    };
    let whole = receipt(&routes, &|_| ()).unwrap();
    assert_eq!(level(&whole), Ok(Level::Refereed));
    // The hop's own operator, or the client itself, is no second side to others.
    let own = receipt(&routes, &|s| s[1].operator = "operator-1".into()).unwrap();
    assert_eq!(level(&own), Ok(Level::Receipt));
    let by_client = |s: &mut Vec<Second>| {
        let statement = &mut s[2].hop.statement;
        statement.node = routes.networks[0].client_key();
        s[2].hop.signature = routes.networks[0].sign_as_client(&statement.digest().0);
    };
    assert_eq!(
        level(&receipt(&routes, &by_client).unwrap()),
        Ok(Level::Receipt)
    );
    // Other traces, broken signatures, the hop itself, or a missing one: refused.
    let other_trace = |s: &mut Vec<Second>| {
        s[0].hop.statement.trace.0[0] ^= 1;
        s[0].hop = routes.networks[1].sign_as(0, &s[0].hop);
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<Second>);
    let changes: [Change<'_>; 4] = [
        &other_trace,
        &|s| s[1].hop.signature[0] ^= 1,
        &|s| s[1].hop = routes.talks[0].statements()[1].clone(),
        &|s| drop(s.pop()),
    ];
    for (change, hop) in changes.into_iter().zip([0, 1, 1, 2]) {
        let refused = receipt(&routes, change);
        let is_named = matches!(
            refused,
            Err(ClientError::Violation(Violation::Second { hop: at, .. })) if at == hop
        );
        assert!(is_named, "{refused:?}");
        let mut forged = whole.clone();
        change(&mut forged.seconds);
        let forged = routes.networks[0].sign_bundle(forged);
        let refused = verify::bundle(&forged, None, &mut |_| None, &mut engine());
        assert!(matches!(refused, Err(Violation::Second { hop: at, .. }) if at == hop));
    }
}

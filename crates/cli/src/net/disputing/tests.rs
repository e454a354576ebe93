//! Nodes over QUIC that answer a dispute in every wrong way: the other side always wins.

mod ledger;

use std::sync::Arc;

use nesa_codec::{Decode, Digest};
use nesa_kernels::Level;
use nesa_model::Engine;
use nesa_model::testing::{Model, Noise, model, shapes};
use nesa_net::quic::Quic;
use nesa_net::{Address, Identity, Namespace, Transport};
use nesa_proof::HopStatement;
use nesa_proof::dispute::{Body, Move, Parts, Reason, Record, SignedMove};
use nesa_proof::statement::SIGN_NAMESPACE;

use super::*;
use crate::net::fleet::{Node, net_config};

/// What the node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Accepts the dispute and says nothing, not even that it is ready.
    Silent,
    /// Is ready and stalls at this round.
    Stalls(u32),
    /// Ends the stream at once.
    Hangs,
    /// Refuses.
    Refuses,
    /// Frames that are no messages.
    Garbage,
    /// The same answer over and over.
    Floods,
    /// Answers that it did not sign.
    Forges,
    /// Two answers to the first question.
    Equivocates,
    /// Defends its lie by the rules.
    Defends,
}

struct World {
    model: Model,
    truth: Record,
    lie: Record,
}

fn sign(who: &Identity) -> impl Fn(&[u8]) -> [u8; 64] {
    |digest| who.sign(Namespace::new(SIGN_NAMESPACE), digest)
}

fn world() -> World {
    let model = model(&shapes()[0], 3);
    let (shape, common) = (&model.manifest.shape, Arc::new(model.common.clone()));
    let noise = &mut Noise(5);
    let rows: Vec<i32> = (0..4 * shape.dim)
        .map(|_| noise.within(2_000_000))
        .collect();
    let run = |change: &dyn Fn(&mut Block)| {
        let mut blocks = |i: u32| {
            let mut block = model.blocks.get(i as usize).cloned()?;
            if i == 1 {
                change(&mut block);
            }
            Some(block)
        };
        let engine = &mut Engine::new(Level::Scalar, 1);
        let layers = 0..model.blocks.len() as u32;
        Record::compute((shape, &common), layers, &rows, &mut blocks, engine).unwrap()
    };
    let truth = run(&|_| ());
    let lie = run(&|b| {
        b.down_weights()
            .iter_mut()
            .for_each(|w| *w = w.wrapping_div(2));
    });
    assert_ne!(truth.roots(), lie.roots());
    World { model, truth, lie }
}

/// The weights of the last product.
trait Weights {
    fn down_weights(&mut self) -> &mut [i8];
}

impl Weights for Block {
    fn down_weights(&mut self) -> &mut [i8] {
        match &mut self.ffn {
            nesa_model::Ffn::Gated { down, .. } | nesa_model::Ffn::Plain { down, .. } => {
                &mut down.weight
            }
        }
    }
}

fn statement(world: &World, record: &Record, who: &Identity) -> SignedHop {
    let claim = record.claim_about(world.model.manifest.root());
    let s = HopStatement {
        node: who.peer_id().0,
        session: Digest([1; 32]),
        model: claim.model,
        first: claim.first,
        end: claim.end,
        positions: claim.positions,
        input: claim.input,
        output: claim.output,
        trace: claim.trace,
        transcript: Digest([2; 32]),
        nonce_commitment: Digest([3; 32]),
        price: 0,
    };
    s.signed(&sign(who))
}

/// A node that takes one dispute.
async fn liar(quic: Quic, who: Identity, world: Arc<World>, manner: Manner) {
    let connection = quic.accept().await.unwrap();
    let stream = connection.accept_stream().await.unwrap();
    let (mut sender, mut receiver) = stream.split();
    let frame = |m: &Message| Frame::new(m.kind(), m.payload());
    let first = receiver.recv().await.unwrap().unwrap();
    let Message::Open(matter) = Message::decode(first.kind, &first.payload).unwrap() else {
        panic!("a dispute begins with Open");
    };
    match manner {
        Manner::Silent => return std::future::pending().await,
        Manner::Hangs => return drop(sender.finish().await),
        Manner::Refuses => {
            let code = nesa_pipeline::RefusalCode::Unknown;
            let refusal = nesa_pipeline::Refusal::new(code, "not kept");
            sender
                .send(frame(&Message::Refused(refusal)))
                .await
                .unwrap();
            return std::future::pending().await;
        }
        _ => sender.send(frame(&Message::Ready)).await.unwrap(),
    }
    let common = Arc::new(world.model.common.clone());
    let mut defence = Defence::new(&matter, Side::A, world.lie.clone(), common);
    let mut round = 0;
    while let Ok(Some(f)) = receiver.recv().await {
        round += 1;
        let Ok(Message::Ask(ask)) = Message::decode(f.kind, &f.payload) else {
            return;
        };
        let mut blocks = |i: u32| world.model.blocks.get(i as usize).cloned();
        let Some(mut answer) = defence.answer(&ask, &mut blocks, &sign(&who)) else {
            return;
        };
        let mut say = vec![];
        match manner {
            Manner::Stalls(at) if at == round => return std::future::pending().await,
            Manner::Garbage => {
                let _ = sender.send(Frame::new(4, vec![9; 5000])).await;
                continue;
            }
            Manner::Floods => say.extend(vec![answer; 200]),
            Manner::Forges => {
                answer.signature[0] ^= 1;
                say.push(answer);
            }
            Manner::Equivocates => {
                let mut other = answer.clone();
                let mut said = Move::from_bytes(&other.bytes).unwrap();
                said.body = Body::Nodes(vec![Digest([8; 32])]);
                other.bytes = said.to_bytes();
                let digest = SignedMove::digest(&matter.name(), &ask, &other.bytes);
                other.signature = sign(&who)(&digest.0);
                say.extend([answer, other]);
            }
            _ => say.push(answer),
        }
        for answer in say {
            let answer = Message::Answer(Box::new(answer));
            if sender.send(frame(&answer)).await.is_err() {
                return;
            }
        }
    }
}

/// A dispute of this client against a node of that manner.
async fn against(world: &Arc<World>, manner: Manner) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let who = Identity::from_seed([7; 32]);
    let any: Address = "127.0.0.1:0".parse().unwrap();
    let quic = Quic::bind(who.clone(), &any, net_config(false)).unwrap();
    let node = Node {
        peer: who.peer_id().to_string(),
        address: quic.listen_address().to_string(),
        operator: "liar".into(),
        region: None,
    };
    let fleet = Fleet::new(vec![node], &folder.path().join("client.pem"), false).unwrap();
    let sides = [
        statement(world, &world.lie, &who),
        statement(world, &world.truth, fleet.identity()),
    ];
    let manifest = world.model.manifest.clone();
    let by = |digest: &[u8]| fleet.sign(digest);
    let matter = Matter::opened(manifest, sides, Digest([4; 32]), fleet.client(), &by);
    let serving = tokio::spawn(liar(quic, who, Arc::clone(world), manner));
    let mut blocks = |i: u32| world.model.blocks.get(i as usize).cloned();
    let common = Arc::new(world.model.common.clone());
    let own = Box::new(Defence::new(&matter, Side::B, world.truth.clone(), common));
    let players = [Player::Node(0), Player::Own(own, &mut blocks)];
    let waits = Waits {
        ready_ms: 1_500,
        answer_ms: 1_500,
    };
    let played = play(&fleet, matter, &Rows::Open, players, waits)
        .await
        .unwrap();
    serving.abort();
    fleet.close().await;
    played
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_node_does_in_a_dispute_the_honest_side_wins() {
    let world = Arc::new(world());
    let parts = Parts {
        manifest: &world.model.manifest,
        common: &world.model.common,
        first: 0,
        blocks: &world.model.blocks,
    };
    assert_eq!(
        world.truth.claim(&parts),
        world.truth.claim_about(world.model.manifest.root())
    );
    for (manner, reason, convicts) in [
        (Manner::Silent, Some(Reason::Silent), false),
        (Manner::Stalls(1), Some(Reason::Silent), false),
        (Manner::Stalls(3), Some(Reason::Silent), false),
        (Manner::Hangs, Some(Reason::Silent), false),
        (Manner::Refuses, Some(Reason::Silent), false),
        (Manner::Garbage, Some(Reason::Unsigned), false),
        (Manner::Forges, Some(Reason::Unsigned), false),
        (Manner::Equivocates, Some(Reason::Equivocated), true),
        (Manner::Defends, None, true),
    ] {
        let played = against(&world, manner).await;
        let v = played.verdict;
        assert_eq!(v.winner(), Some(Side::B), "{manner:?}: {v:?}");
        if let Some(reason) = reason {
            assert_eq!(v.reason, reason, "{manner:?}");
        } else {
            assert!(
                matches!(v.reason, Reason::Executed { .. }),
                "{manner:?}: {v:?}"
            );
        }
        assert_eq!(played.is_transferable, convicts, "{manner:?}");
    }
    // A flood ends as such, or the repetitions come too late to matter; it never wins.
    let played = against(&world, Manner::Floods).await;
    assert_eq!(
        played.verdict.winner(),
        Some(Side::B),
        "{:?}",
        played.verdict
    );
}

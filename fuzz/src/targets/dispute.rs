//! Messages of disputes, and a referee that is handed them: first answer, and openings of a step.

use std::cell::RefCell;

use nesa_codec::{Decode, Digest, Encode, merkle};
use nesa_model::ops::attention;
use nesa_model::testing::{self, Model, Noise};
use nesa_proof::dispute::{Agreed, Ask, Body, Cell, Half, Move, Parts, Program, Question, Record};

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "dispute",
    run,
    bound: |len| 40 * len + (1 << 20),
    seeds,
    dictionary: &[
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\x01\0\0\0",
        b"\x10\0\0\0",
        b"\0\x04\0\0",
    ],
};

struct Known {
    model: Model,
    agreed: Vec<Agreed>,
    exp: Vec<u16>,
    moves: Vec<Vec<u8>>,
}

const HALVES: [Half; 2] = [Half::Cached, Half::Row];

fn cell(half: Half) -> Cell {
    Cell {
        layer: 1,
        position: 2,
        half,
    }
}

impl Known {
    fn new() -> Self {
        let model = testing::model(&testing::shapes()[0], 1);
        let parts = Parts {
            manifest: &model.manifest,
            common: &model.common,
            first: 0,
            blocks: &model.blocks,
        };
        let noise = &mut Noise(4);
        let mut row = |_| (0..24).map(|_| noise.within(1 << 20)).collect();
        let record = Record::run(&parts, (0..3).map(&mut row).collect(), None).expect("it fits");
        let (mut agreed, mut moves) = (Vec::new(), Vec::new());
        for half in HALVES {
            let (outs, p) = record.expand(&parts, cell(half)).expect("it fits");
            let leaves: Vec<Digest> = outs.iter().map(|o| o.leaf()).collect();
            agreed.push(Agreed {
                trace: record.claim(&parts).trace,
                first: 0,
                end: 3,
                positions: 3,
                cell: merkle::root(&leaves),
            });
            for &(op, _) in p.sections() {
                let step = p.steps(op).start;
                let openings = record
                    .open(&parts, cell(half), step, &outs)
                    .expect("it opens");
                let opening = Move {
                    dispute: Digest([0; 32]),
                    round: step as u32,
                    body: Body::Openings(Box::new(openings)),
                };
                moves.push(opening.to_bytes());
            }
        }
        Self {
            agreed,
            exp: attention::exp_table(),
            moves,
            model,
        }
    }
}

thread_local! {
    static KNOWN: RefCell<Option<Known>> = const { RefCell::new(None) };
}

fn run(bytes: &[u8]) -> String {
    if let Ok(ask) = Ask::from_bytes(bytes) {
        assert_eq!(ask.to_bytes(), bytes, "one encoding");
    }
    let decoded = Move::from_bytes(bytes);
    let mut executed = String::new();
    if let Ok(m) = &decoded {
        assert_eq!(m.to_bytes(), bytes, "one encoding");
        if let Body::Openings(o) = &m.body {
            KNOWN.with_borrow_mut(|known| {
                let known = known.get_or_insert_with(Known::new);
                let manifest = &known.model.manifest;
                for (half, agreed) in HALVES.into_iter().zip(&known.agreed) {
                    let p = Program::new(&manifest.shape, cell(half), 3);
                    let out = o.execute(manifest, agreed, &p, m.round as usize, &known.exp);
                    executed += &outcome(out);
                }
            });
        }
    }
    outcome(decoded).replace(|c: char| c.is_ascii_digit(), "") + &executed
}

fn seeds() -> Vec<Vec<u8>> {
    let nodes = vec![Digest([7; 32]); 3];
    let ask = Ask {
        dispute: Digest([1; 32]),
        round: 2,
        question: Question::Settle(cell(Half::Row), 9),
    };
    let path = merkle::Path(nodes.clone());
    let bodies = [
        Body::Ends(path.clone(), path.clone(), nodes.clone()),
        Body::Nodes(nodes.clone()),
        Body::Expanded(Digest([2; 32]), path, nodes),
    ];
    let moves = bodies.map(|body| Move {
        dispute: Digest([1; 32]),
        round: 1,
        body,
    });
    let mut all: Vec<Vec<u8>> = moves.iter().map(Encode::to_bytes).collect();
    all.push(ask.to_bytes());
    all.extend(KNOWN.with_borrow_mut(|k| k.get_or_insert_with(Known::new).moves.clone()));
    all
}

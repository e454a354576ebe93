//! Random sequences against a reference model that knows only sums, stages and heights.

use proptest::prelude::*;

use super::*;
use crate::sessions::abi::ISessions::{requestCloseCall, settleManyCall, topUpCall};
use crate::sessions::{Rates, Stage};
use crate::testing::{RICH, hundred_thousand};

const SHARES: [u32; 3] = [333_333, 166_667, 500_000];
const SESSIONS_MAX: usize = 3;

#[derive(Debug, Clone)]
enum Op {
    Open {
        who: u8,
        sum: u128,
        life: u64,
        lanes: u8,
    },
    TopUp {
        at: usize,
        who: u8,
        sum: u128,
        later: u64,
    },
    Settle(Vec<Wish>),
    Close {
        at: usize,
        who: u8,
    },
    Wait(u64),
}

/// A voucher that may be a good one.
#[derive(Debug, Clone, Copy)]
struct Wish {
    at: usize,
    lane: u8,
    sequence: u64,
    buckets: u64,
    last: bool,
    forged: bool,
}

#[derive(Debug, Clone)]
struct Reference {
    id: Digest,
    who: u8,
    deposit: u128,
    stage: Option<Stage>,
    ends: u64,
    lanes: Vec<(u128, u64, u128, bool)>,
}

struct Model {
    params: Params,
    sessions: Vec<Reference>,
    balances: [u128; 8],
}

impl Reference {
    fn paid(&self) -> u128 {
        self.lanes.iter().map(|l| l.2).sum()
    }

    fn close(&mut self, balances: &mut [u128; 8], height: u64, keep: u64) {
        balances[usize::from(self.who)] += self.deposit - self.paid();
        (self.stage, self.ends) = (Some(Stage::Closed), height + keep);
    }
}

impl Model {
    fn begin(&mut self, height: u64) {
        let keep = self.params.session_keep_blocks;
        for s in &mut self.sessions {
            match s.stage {
                Some(Stage::Closed) if s.ends <= height => s.stage = None,
                Some(Stage::Open | Stage::Closing) if s.ends <= height => {
                    s.close(&mut self.balances, height, keep);
                }
                _ => {}
            }
        }
    }

    fn open(&mut self, id: Digest, op: (u8, u128, u64, u8), height: u64) -> bool {
        let (who, sum, life, lanes) = op;
        let good = sum >= 1_000 && (3..=40).contains(&life);
        if good {
            let shares = if lanes == 1 {
                &[1_000_000][..]
            } else {
                &SHARES
            };
            self.balances[usize::from(who)] -= sum;
            let lane = |s: &u32| (u128::from(*s), 0, 0, false);
            self.sessions.push(Reference {
                id,
                who,
                deposit: sum,
                stage: Some(Stage::Open),
                ends: height + life,
                lanes: shares.iter().map(lane).collect(),
            });
        }
        good
    }

    fn settle(&mut self, wish: &Wish, height: u64) -> bool {
        let keep = self.params.session_keep_blocks;
        let Some(s) = self.sessions.get_mut(wish.at) else {
            return false;
        };
        let live = matches!(s.stage, Some(Stage::Open | Stage::Closing));
        let deposit = s.deposit;
        let Some(lane) = s.lanes.get_mut(usize::from(wish.lane)) else {
            return false;
        };
        let amount = u128::from(wish.buckets * 4) * PRICE;
        let cap = deposit * lane.0 / 1_000_000;
        let grows = wish.sequence > lane.1 && amount >= lane.2;
        if !live || lane.3 || wish.forged || !grows || amount > cap {
            return false;
        }
        (lane.1, lane.2, lane.3) = (wish.sequence, amount, wish.last);
        if s.lanes.iter().all(|l| l.3) {
            s.close(&mut self.balances, height, keep);
        }
        true
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    let parts = (0..SESSIONS_MAX + 1, 0..4u8, 0..6u64, 0..400u64, any::<u8>());
    parts.prop_map(|(at, lane, sequence, buckets, luck)| Wish {
        at,
        lane,
        sequence,
        buckets,
        last: luck < 90,
        forged: luck > 240,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let (at, who) = (0..SESSIONS_MAX, 2..4u8);
    prop_oneof![
        2 => (who.clone(), 900..20_000u128, 1..44u64, 1..3u8)
            .prop_map(|(who, sum, life, lanes)| Op::Open { who, sum, life, lanes }),
        1 => (at.clone(), who.clone(), 0..9_000u128, 0..30u64)
            .prop_map(|(at, who, sum, later)| Op::TopUp { at, who, sum, later }),
        8 => prop::collection::vec(wish(), 1..5).prop_map(Op::Settle),
        1 => (at, who).prop_map(|(at, who)| Op::Close { at, who }),
        2 => (1..9u64).prop_map(Op::Wait),
    ]
}

/// Runs one step on the chain and in the model, which must agree on whether it succeeds.
#[allow(clippy::too_many_lines, reason = "one arm per kind of step")]
fn step(w: &mut World, m: &mut Model, op: &Op) -> Result<(), TestCaseError> {
    let height = w.tip.header.height + 1;
    let target = |m: &Model, at: usize| m.sessions.get(at).map_or(Digest::default(), |s| s.id);
    let (who, receipt, good) = match op {
        Op::Wait(n) => {
            for h in 0..*n {
                m.begin(height + h);
                w.wait(1);
            }
            return Ok(());
        }
        Op::Open { .. } if m.sessions.len() == SESSIONS_MAX => return Ok(()),
        Op::Open {
            who,
            sum,
            life,
            lanes,
        } => {
            m.begin(height);
            let payer = address(*who);
            let id = crate::sessions::next_session_id(&w.tip.state, w.ledger.domain(), &payer);
            let shares = if *lanes == 1 {
                &[1_000_000][..]
            } else {
                &SHARES
            };
            let call = open(m.sessions.len() as u8, height + life, shares);
            let good = m.open(id.unwrap(), (*who, *sum, *life, *lanes), height);
            (*who, w.call(*who, ADDRESS, Amount(*sum), &call), good)
        }
        Op::TopUp {
            at,
            who,
            sum,
            later,
        } => {
            m.begin(height);
            let id = target(m, *at);
            let mut expiry = 0;
            let mut good = false;
            if let Some(s) = m.sessions.get_mut(*at) {
                expiry = if *later == 0 { 0 } else { s.ends + later };
                let fits = expiry == 0 || (height + 3..=height + 40).contains(&expiry);
                good = s.who == *who && s.stage == Some(Stage::Open) && fits;
                if good {
                    s.deposit += sum;
                    s.ends = s.ends.max(expiry);
                    m.balances[usize::from(*who)] -= sum;
                }
            }
            let session = id.0.into();
            let call = topUpCall { session, expiry };
            (*who, w.call(*who, ADDRESS, Amount(*sum), &call), good)
        }
        Op::Settle(wishes) => {
            m.begin(height);
            let here = chain(w);
            let mut claims = Vec::new();
            let mut good = false;
            for wish in wishes {
                let v = voucher(
                    target(m, wish.at),
                    wish.lane,
                    wish.sequence,
                    wish.buckets * 4,
                );
                let v = Voucher {
                    last: wish.last,
                    ..v
                };
                let key = if wish.forged { 40 } else { wish.at as u8 };
                let mut c = claim(&here, key, v);
                (c.payee, c.salt) = (payee(wish.at as u8, v.lane), salt(wish.at as u8, v.lane));
                claims.push(c.to_bytes().into());
                good |= m.settle(wish, height);
            }
            let call = settleManyCall { claims };
            (4, w.call(4, ADDRESS, Amount::ZERO, &call), good)
        }
        Op::Close { at, who } => {
            m.begin(height);
            let id = target(m, *at);
            let mut good = false;
            if let Some(s) = m.sessions.get_mut(*at) {
                good = s.who == *who && s.stage == Some(Stage::Open);
                if good {
                    (s.stage, s.ends) = (Some(Stage::Closing), s.ends.min(height + 3));
                }
            }
            let session = id.0.into();
            let call = requestCloseCall { session };
            (*who, w.call(*who, ADDRESS, Amount::ZERO, &call), good)
        }
    };
    m.balances[usize::from(who)] -= u128::from(receipt.gas_used) * receipt.gas_price;
    prop_assert_eq!(receipt.succeeded, good, "{:?}: {}", op, receipt.reason);
    Ok(())
}

/// Whether chain and model say the same about every sum.
fn same(w: &World, m: &Model) -> Result<(), TestCaseError> {
    for who in 2..5 {
        prop_assert_eq!(w.balance(who), Amount(m.balances[usize::from(who)]));
    }
    let mut escrows = 0;
    for (n, s) in m.sessions.iter().enumerate() {
        let left = match s.stage {
            Some(Stage::Open | Stage::Closing) => s.deposit - s.paid(),
            _ => 0,
        };
        escrows += left;
        prop_assert_eq!(held(w, &s.id), Amount(left));
        prop_assert_eq!(stage(w, &s.id), s.stage);
        let worker = u128::from(Rates::of(&m.params).worker());
        for (lane, l) in s.lanes.iter().enumerate() {
            let got = balance(w, payee(n as u8, lane as u8)).0;
            // Rounded down once per settlement, of which there are at most five.
            let wanted = l.2 * worker / 1_000_000;
            prop_assert!(got <= wanted && got + 5 >= wanted);
        }
    }
    let kind = supply::Kind::Escrow;
    prop_assert_eq!(supply::total(&w.tip.state, kind), Ok(Amount(escrows)));
    Ok(())
}

/// Runs a sequence on the chain and in the model, which must agree on every sum after every step: no voucher is paid
/// twice, no lane beyond its part of the escrow, and whatever happened, every session ends and leaves nothing behind.
fn the_reference_agrees(ops: &[Op]) -> Result<(), TestCaseError> {
    let mut w = world();
    let balances = [RICH.0; 8];
    let params = params();
    let mut m = Model {
        params,
        sessions: Vec::new(),
        balances,
    };
    for op in ops {
        step(&mut w, &mut m, op)?;
        same(&w, &m)?;
    }
    for _ in 0..60 {
        m.begin(w.tip.header.height + 1);
        w.wait(1);
    }
    same(&w, &m)?;
    prop_assert!(m.sessions.iter().all(|s| s.stage.is_none()));
    let rows = crate::sessions::LANES.rows(&w.tip.state, None).count();
    prop_assert_eq!(rows, 0);
    Ok(())
}

fn sequences() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(op(), 1..40)
}

#[test]
#[ignore = "a hundred thousand sequences take half an hour of a release build"]
fn the_reference_agrees_in_a_hundred_thousand_sequences() {
    hundred_thousand(&sequences(), |ops| the_reference_agrees(&ops).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_does_what_the_reference_does(ops in sequences()) {
        the_reference_agrees(&ops)?;
    }
}

//! A small real state machine: accounts, transfers, and a list of punished validators.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nesa_chain::{Block, Changes, Committed, Machine, Offer, Peek, Place, Proposed};
use nesa_codec::{Decode as _, Hasher, Reader, Writer};
use nesa_finality::{Domain, Evidence};

/// Accounts at genesis, each with [`MONEY`].
pub(crate) const ACCOUNTS: u8 = 8;
/// What an account starts with.
pub(crate) const MONEY: u64 = 1_000_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Bank {
    /// Makes chains differ.
    pub(crate) name: u8,
    /// More entries, so that a state takes several chunks.
    pub(crate) ballast: u32,
    /// Transfers per final block, for a test to read.
    pub(crate) heard: Arc<Mutex<BTreeMap<u64, usize>>>,
}

pub(crate) type Ledger = Arc<BTreeMap<Vec<u8>, Vec<u8>>>;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(&'static str);

/// Account `from` pays `to`; whoever holds the bytes may send them, signatures are not the point.
pub(crate) fn transfer(from: u8, nonce: u64, to: u8, amount: u64) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(from);
    w.u64(nonce);
    w.u8(to);
    w.u64(amount);
    w.into_bytes()
}

fn parse(bytes: &[u8]) -> Option<(u8, u64, u8, u64)> {
    let mut r = Reader::new(bytes);
    let parsed = (r.u8().ok()?, r.u64().ok()?, r.u8().ok()?, r.u64().ok()?);
    r.finish().ok()?;
    Some(parsed)
}

/// Balance and nonce of an account.
pub(crate) fn account(state: &Ledger, who: u8) -> (u64, u64) {
    let bytes = state.get(&vec![b'a', who]).map_or(&[][..], Vec::as_slice);
    let mut r = Reader::new(bytes);
    (r.u64().unwrap_or(0), r.u64().unwrap_or(0))
}

/// Whether a validator was punished.
pub(crate) fn punished(state: &Ledger, key: &[u8; 32]) -> bool {
    state.contains_key(&[b"p".as_slice(), key].concat())
}

pub(crate) fn total(state: &Ledger) -> u64 {
    (0..=u8::MAX).map(|who| account(state, who).0).sum()
}

fn root(state: &Ledger) -> [u8; 32] {
    let mut h = Hasher::new("test.bank.root.v1");
    for (k, v) in state.iter() {
        h = h.bytes(k).bytes(v);
    }
    h.finish().0
}

fn header(name: u8, height: u64, state: &Ledger) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(name);
    w.u64(height);
    w.raw(&root(state));
    w.into_bytes()
}

fn set(
    state: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    changes: &mut Changes,
    key: Vec<u8>,
    value: Vec<u8>,
) {
    changes.push((key.clone(), Some(value.clone())));
    state.insert(key, value);
}

/// Applies a transfer or says why not, and whether it may apply later.
fn apply(
    state: &mut BTreeMap<Vec<u8>, Vec<u8>>,
    changes: &mut Changes,
    bytes: &[u8],
) -> Result<(), bool> {
    let (from, nonce, to, amount) = parse(bytes).ok_or(false)?;
    let view = Arc::new(std::mem::take(state));
    let ((have, next), (theirs, their_next)) = (account(&view, from), account(&view, to));
    *state = Arc::into_inner(view).unwrap();
    if nonce != next {
        return Err(nonce > next);
    }
    if have < amount || from == to {
        return Err(false);
    }
    for (who, money, nonce) in [
        (from, have - amount, next + 1),
        (to, theirs + amount, their_next),
    ] {
        let mut w = Writer::default();
        w.u64(money);
        w.u64(nonce);
        set(state, changes, vec![b'a', who], w.into_bytes());
    }
    Ok(())
}

impl Bank {
    fn domain(&self) -> Domain {
        let genesis = self.genesis();
        Domain::of_genesis(&nesa_chain::Block::genesis(&genesis).envelope.digest())
    }

    fn punish(
        &self,
        state: &mut BTreeMap<Vec<u8>, Vec<u8>>,
        changes: &mut Changes,
        bytes: &[u8],
    ) -> bool {
        let Ok(evidence) = Evidence::from_bytes(bytes) else {
            return false;
        };
        let key = [b"p".as_slice(), &evidence.validator].concat();
        if state.contains_key(&key) || evidence.check(&self.domain()).is_err() {
            return false;
        }
        set(state, changes, key, vec![1]);
        true
    }
}

impl Machine for Bank {
    type State = Ledger;
    type Refusal = Refused;

    fn genesis(&self) -> Committed<Ledger> {
        let mut state = BTreeMap::new();
        for who in 0..ACCOUNTS {
            let mut w = Writer::default();
            w.u64(MONEY);
            w.u64(0);
            state.insert(vec![b'a', who], w.into_bytes());
        }
        for i in 0..self.ballast {
            state.insert([b"b".as_slice(), &i.to_be_bytes()].concat(), vec![7; 1000]);
        }
        let state = Arc::new(state);
        Committed {
            header: header(self.name, 0, &state),
            state,
        }
    }

    fn propose(
        &self,
        parent: &Committed<Ledger>,
        place: &Place,
        offer: &Offer,
    ) -> Result<Proposed<Ledger>, Refused> {
        let (mut state, mut changes) = ((*parent.state).clone(), Vec::new());
        let (mut body, mut hopeless) = (Writer::default(), Vec::new());
        let punished: Vec<_> = offer.evidence.iter().take(1).collect();
        let punished: Vec<_> = punished
            .into_iter()
            .filter(|e| self.punish(&mut state, &mut changes, e))
            .collect();
        body.len(punished.len());
        for evidence in punished {
            body.bytes(evidence);
        }
        let mut kept = Vec::new();
        for (at, bytes) in offer.transactions.iter().enumerate() {
            match apply(&mut state, &mut changes, bytes) {
                Ok(()) => kept.push(bytes),
                Err(later) if !later => hopeless.push(at),
                Err(_) => {}
            }
        }
        body.len(kept.len());
        for bytes in kept {
            body.bytes(bytes);
        }
        let state = Arc::new(state);
        let after = Committed {
            header: header(self.name, place.height, &state),
            state,
        };
        Ok(Proposed {
            after,
            body: body.into_bytes(),
            changes,
            hopeless,
        })
    }

    fn execute(
        &self,
        parent: &Committed<Ledger>,
        place: &Place,
        given: &[u8],
        body: &[u8],
    ) -> Result<(Ledger, Changes), Refused> {
        let bad = |_| Refused("the body does not decode");
        let (mut state, mut changes) = ((*parent.state).clone(), Vec::new());
        let mut r = Reader::new(body);
        for _ in 0..r.len(1).map_err(bad)? {
            let evidence = r.bytes(4096).map_err(bad)?;
            if !self.punish(&mut state, &mut changes, evidence) {
                return Err(Refused("the evidence proves nothing"));
            }
        }
        for _ in 0..r.len(100_000).map_err(bad)? {
            let bytes = r.bytes(64).map_err(bad)?;
            let applied = apply(&mut state, &mut changes, bytes);
            applied.map_err(|_| Refused("a transfer does not apply"))?;
        }
        r.finish().map_err(bad)?;
        let state = Arc::new(state);
        if header(self.name, place.height, &state) != given {
            return Err(Refused("the header is another state's"));
        }
        Ok((state, changes))
    }

    fn finalized(&self, _: &Committed<Ledger>, block: &Block) {
        let mut r = Reader::new(&block.body);
        for _ in 0..r.len(1).unwrap() {
            r.bytes(4096).unwrap();
        }
        let mut heard = self.heard.lock().unwrap();
        heard.insert(block.envelope.height, r.len(100_000).unwrap());
    }

    fn admit(&self, state: &Ledger, transaction: &[u8]) -> Result<Peek, Refused> {
        let (from, nonce, _, amount) = parse(transaction).ok_or(Refused("no transfer"))?;
        let (funds, next) = account(state, from);
        if nonce < next {
            return Err(Refused("stale"));
        }
        Ok(Peek {
            sender: vec![from],
            next,
            nonce,
            tip: u128::from(amount),
            cost: u128::from(amount),
            funds: u128::from(funds),
        })
    }

    fn next_nonce(&self, state: &Ledger, sender: &[u8]) -> u64 {
        account(state, sender[0]).1
    }

    fn entries<'a>(
        &self,
        state: &'a Ledger,
        after: Option<&[u8]>,
    ) -> Box<dyn Iterator<Item = (Vec<u8>, Vec<u8>)> + 'a> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |k| Excluded(k.to_vec()));
        let range = state.range::<Vec<u8>, _>((from, Unbounded));
        Box::new(range.map(|(k, v)| (k.clone(), v.clone())))
    }

    fn restore(&self, header: &[u8], entries: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Ledger, Refused> {
        let state: Ledger = Arc::new(entries.into_iter().collect());
        if header.get(9..) == Some(root(&state).as_slice()) {
            Ok(state)
        } else {
            Err(Refused("the entries are another state's"))
        }
    }
}

//! The verifiers of the five levels, each fed with what a malicious party says.

use std::time::{Duration, Instant};

use nesa_client::{Assurance, Cells, ClientError, Evidence, reproduce};
use nesa_codec::{Decode, DecodeError, Digest, Encode};
use nesa_model::Engine;
use nesa_proof::checked::{Checker, Sums, Wrong};
use nesa_proof::verify::{self, Violation};
use nesa_proof::{Bundle, LayerOpening, SignedHop};

use super::session::Session;
use super::world::{CLIENT, HOPS, World, engine, key, signer};
use super::{Judged, Level};
use crate::Result;

/// What is changed between the session and who verifies it. Nothing, unless it is set.
#[derive(Clone, Copy, Default)]
pub(super) struct Changes<'a> {
    /// What the hops say that they did, and the list of output rows.
    pub statements: Option<Statements<'a>>,
    /// What they open.
    pub openings: Option<Openings<'a>>,
    /// The sums of each flight, by hop.
    pub sums: Option<FlightSums<'a>>,
    /// What the client signs as a receipt.
    pub bundle: Option<Receipt<'a>>,
    /// The receipt's bytes, after the client signed them.
    pub bytes: Option<Bytes<'a>>,
}

/// A change of statements and of the digests of the rows that went out.
type Statements<'a> = &'a dyn Fn(&World, &mut Vec<SignedHop>, &mut Vec<Digest>);

/// A change of opened cells.
type Openings<'a> = &'a dyn Fn(&World, &mut Vec<LayerOpening>);

/// A change of the sums of a flight, by hop.
type FlightSums<'a> = &'a dyn Fn(&World, usize, &mut Vec<Vec<Sums>>);

/// A change of a receipt.
type Receipt<'a> = &'a dyn Fn(&World, &mut Bundle);

/// A change of a receipt's bytes.
type Bytes<'a> = &'a dyn Fn(&mut Vec<u8>);

/// A refusal by its variant, who is at fault, and what differs; places are left out.
pub(super) fn name(v: &Violation) -> String {
    match v {
        Violation::HopSignature { hop } => format!("HopSignature(hop {hop})"),
        Violation::Chain { hop, what } => format!("Chain(hop {hop}, {what})"),
        Violation::Coverage { covered, layers } => format!("Coverage({covered} of {layers})"),
        Violation::Cells { hop } => format!("Cells(hop {hop})"),
        Violation::Opening { hop, .. } => format!("Opening(hop {hop})"),
        Violation::Cell { hop, what, .. } => format!("Cell(hop {hop}, {what})"),
        Violation::Checked(w) => wrong(w),
        Violation::Ends(what) => format!("Ends({what})"),
        other => format!("{other:?}"),
    }
}

/// Why bytes did not decode, without the sizes.
pub(super) fn bytes_name(e: &DecodeError) -> String {
    match e {
        DecodeError::Short { .. } => "Short".to_owned(),
        DecodeError::TooLong { .. } => "TooLong".to_owned(),
        DecodeError::Trailing(_) => "Trailing".to_owned(),
        other => format!("{other:?}"),
    }
}

fn wrong(w: &Wrong) -> String {
    match w {
        Wrong::Sums { hop, product, .. } => format!("Sums(hop {hop}, {product:?})"),
        Wrong::Order { hop, .. } => format!("Order(hop {hop})"),
        Wrong::Malformed { hop, .. } => format!("Malformed(hop {hop})"),
        Wrong::Missing { hop, .. } => format!("Missing(hop {hop})"),
        Wrong::Row { hop, .. } => format!("Row(hop {hop})"),
        Wrong::Statement { hop, what } => format!("Statement(hop {hop}, {what})"),
    }
}

/// Time spent in verifiers.
#[derive(Default)]
struct Clock(Duration);

impl Clock {
    fn time<T>(&mut self, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let out = f();
        self.0 += start.elapsed();
        out
    }
}

/// A refusal or the error of something that must not fail.
fn refusal<T>(r: std::result::Result<T, ClientError>) -> Result<std::result::Result<T, String>> {
    match r {
        Ok(v) => Ok(Ok(v)),
        Err(ClientError::Violation(v)) => Ok(Err(name(&v))),
        Err(e) => Err(e.into()),
    }
}

/// Tells `s`, changed by `c`, to the verifiers of `receipt`, `spot` or `checked`: the client first, and then whoever is
/// shown the client's receipt.
pub(super) fn receipts(w: &World, level: Level, s: &Session, c: Changes<'_>) -> Result<Judged> {
    let mut clock = Clock::default();
    let mut bytes = 0;
    let end = told(w, level, s, c, (&mut clock, &mut bytes))?;
    Ok(Judged {
        refusal: end.err(),
        bytes,
        time: clock.0,
    })
}

fn told(
    w: &World,
    level: Level,
    s: &Session,
    c: Changes<'_>,
    (clock, bytes): (&mut Clock, &mut u64),
) -> Result<std::result::Result<(), String>> {
    let mut engine = engine();
    let assurance = match level {
        Level::Spot => Assurance::Spot(Cells::Count(u64::MAX)),
        Level::Checked => Assurance::Checked,
        _ => Assurance::Receipt,
    };
    let (mut hops, mut rows) = (s.signed.clone(), s.output_rows.clone());
    if let Some(change) = c.statements {
        change(w, &mut hops, &mut rows);
    }
    *bytes += hops.iter().map(|h| h.to_bytes().len() as u64).sum::<u64>();
    let checker = match level {
        Level::Checked => Some(check(w, s, c, &mut engine, (clock, bytes))?),
        _ => None,
    };
    let new = || Evidence::new(&s.ask, &s.route, assurance, hops.clone(), rows.clone());
    let mut evidence = match refusal(clock.time(new))? {
        Ok(evidence) => evidence,
        Err(why) => return Ok(Err(why)),
    };
    if let Some(checker) = checker
        && let Err(why) = refusal(clock.time(|| evidence.checked(checker)))?
    {
        return Ok(Err(why));
    }
    let mut openings = Vec::new();
    for (hop, layer, positions) in evidence.challenges() {
        openings.extend(open(s, hop, layer, &positions));
    }
    if let Some(change) = c.openings {
        change(w, &mut openings);
    }
    openings.into_iter().for_each(|o| evidence.opened(o));
    let verdict = clock.time(|| evidence.verify(&mut |i| w.block(i), &mut engine));
    if let Err(why) = refusal(verdict)? {
        return Ok(Err(why));
    }
    let sign = signer(CLIENT);
    let mut bundle = evidence.bundle(key(CLIENT), &sign);
    if let Some(change) = c.bundle {
        change(w, &mut bundle);
        bundle = bundle.signed(&sign);
    }
    shown(w, &bundle, c, (clock, bytes), &mut engine)
}

/// What `hop` opens of its trace.
pub(super) fn open(s: &Session, hop: usize, layer: u32, at: &[u32]) -> Option<LayerOpening> {
    let h = s.hops.get(hop)?;
    let committed = h.trace.commit(&h.cache);
    h.trace.open(&committed, &h.cache, layer, at)
}

/// Plays the session's rows and sums to the client's checker.
fn check(
    w: &World,
    s: &Session,
    c: Changes<'_>,
    engine: &mut Engine,
    (clock, bytes): (&mut Clock, &mut u64),
) -> Result<Checker> {
    let ranges = HOPS.map(|r| r.start as u32..r.end as u32);
    let mut checker = Checker::new(w.subject.clone(), &ranges, s.ask.capacity())?;
    for (i, flight) in s.flights.iter().enumerate() {
        let mut sums = flight.sums.clone();
        if let Some(change) = c.sums {
            change(w, i, &mut sums);
        }
        clock.time(|| -> Result<()> {
            checker.sent(flight.start, flight.sent.clone())?;
            checker.returned(flight.returned.clone());
            for (hop, frames) in sums.into_iter().enumerate() {
                frames.into_iter().for_each(|f| checker.sums(hop, f));
                checker.advance(engine)?;
            }
            Ok(())
        })?;
    }
    *bytes += checker.bytes();
    Ok(checker)
}

/// The receipt as a stranger verifies it, with the model at hand.
fn shown(
    w: &World,
    bundle: &Bundle,
    c: Changes<'_>,
    (clock, bytes): (&mut Clock, &mut u64),
    engine: &mut Engine,
) -> Result<std::result::Result<(), String>> {
    let mut encoded = bundle.to_bytes();
    if let Some(change) = c.bytes {
        change(&mut encoded);
    }
    *bytes = (*bytes).max(encoded.len() as u64);
    let decoded = match clock.time(|| Bundle::from_bytes(&encoded)) {
        Ok(bundle) => bundle,
        Err(e) => return Ok(Err(bytes_name(&e))),
    };
    let shape = &w.model.manifest.shape;
    let verdict = clock.time(|| {
        verify::bundle(&decoded, Some(shape), &mut |i| w.block(i), engine).map_err(|v| name(&v))
    });
    if let Err(why) = verdict {
        return Ok(Err(why));
    }
    let tier = nesa_client::Tier::Open;
    let ends = clock.time(|| reproduce(&decoded, &w.client, &tier, engine));
    match ends {
        Err(ClientError::Model(e)) => Ok(Err(format!("Model({e:?})"))),
        other => Ok(refusal(other)?.map(|_| ())),
    }
}

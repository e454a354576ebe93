//! The state machine of a checked answer: rows sent, sums and rows received, and the first violation.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use nesa_model::split::{Product, Walk};
use nesa_model::{Engine, KvCache, ModelError};

use super::subject::Subject;
use super::sums::{Sums, unit_bytes_max, unpack};
use super::wrong::Wrong;
use crate::statement::SignedHop;
use crate::trace::Trace;

/// Rows that were sent.
#[derive(Debug)]
struct Flight {
    start: usize,
    n: usize,
    rows: Vec<i32>,             // (n, dim), until the walk takes them
    returned: Option<Vec<i32>>, // the last row
}

/// What one hop streams.
#[derive(Debug)]
struct Line {
    layers: Range<usize>,
    /// Frames not consumed yet, and how many bytes and units of the first are.
    frames: VecDeque<Sums>,
    read: (usize, u32),
    /// The flight, counted from the first, and its unit that are next.
    flight: usize,
    unit: u32,
    /// The rows at its boundaries, to be held against its statement.
    trace: Trace,
}

/// Checks one session while it runs.
#[derive(Debug)]
pub struct Checker {
    subject: Arc<Subject>,
    lines: Vec<Line>,
    cache: KvCache,
    flights: Vec<Flight>,
    walk: Option<Walk>,
    /// Sums of the product that the walk wants, as far as they came.
    sums: Vec<i64>,
    /// Flights done: verified, or led to `limit`.
    done: usize,
    returned: usize,
    verified: usize,
    /// Layers from here on are not led through any more: their hop, or one after it, lied.
    limit: usize,
    wrong: Option<Wrong>,
    bytes: u64,
}

impl Checker {
    /// A session of up to `capacity` positions over hops with these blocks.
    ///
    /// # Errors
    /// [`ModelError::Range`] when the model lacks blocks, or `hops` do not cover them in order.
    pub fn new(
        subject: Arc<Subject>,
        hops: &[Range<u32>],
        capacity: usize,
    ) -> Result<Self, ModelError> {
        let shape = subject.outline.shape();
        let mut lines = Vec::new();
        let mut covered = 0;
        for layers in hops {
            if layers.start != covered || layers.end <= layers.start {
                return Err(ModelError::Range("the hops' blocks"));
            }
            covered = layers.end;
            lines.push(Line {
                layers: layers.start as usize..layers.end as usize,
                frames: VecDeque::new(),
                read: (0, 0),
                flight: 0,
                unit: 0,
                trace: Trace::new(layers.clone(), shape.dim),
            });
        }
        let whole = subject.outline.is_complete() && subject.keys.is_complete();
        if !whole || covered as usize != shape.layers {
            return Err(ModelError::Range("the hops' blocks"));
        }
        Ok(Self {
            lines,
            cache: subject.outline.cache(capacity),
            flights: Vec::new(),
            walk: None,
            sums: Vec::new(),
            done: 0,
            returned: 0,
            verified: 0,
            limit: covered as usize,
            wrong: None,
            bytes: 0,
            subject,
        })
    }

    /// Notes rows (n, dim) that were sent to the first hop, from position `start` on.
    ///
    /// # Errors
    /// [`ModelError::Shape`] for another size or position than the next, [`ModelError::Context`] beyond the
    /// capacity.
    pub fn sent(&mut self, start: u32, rows: Vec<i32>) -> Result<(), ModelError> {
        let dim = self.subject.shape().dim;
        let (start, n) = (start as usize, rows.len() / dim);
        let expected = self.flights.last().map_or(0, |f| f.start + f.n);
        if n == 0 || rows.len() != n * dim || start != expected {
            return Err(ModelError::Shape {
                what: "rows of the next position",
                expected,
                actual: start,
            });
        }
        let (asked, context) = (start + n, self.cache.capacity());
        if asked > context {
            return Err(ModelError::Context { asked, context });
        }
        self.flights.push(Flight {
            start,
            n,
            rows,
            returned: None,
        });
        Ok(())
    }

    /// Notes the last row of a flight, as the last hop returned it. Rows of flights come in order.
    pub fn returned(&mut self, row: Vec<i32>) {
        if let Some(flight) = self.flights.get_mut(self.returned) {
            flight.returned = Some(row);
            self.returned += 1;
        }
    }

    /// Takes sums that `hop` streamed, which are looked at in [`Checker::advance`].
    pub fn sums(&mut self, hop: usize, sums: Sums) {
        self.bytes += sums.bytes.len() as u64;
        let Some(line) = self.lines.get_mut(hop) else {
            return;
        };
        if line.layers.start >= self.limit {
            return;
        }
        let (start, unit) = (sums.start, sums.unit);
        let end = unit.checked_add(sums.units);
        let fits = self.flights.get(line.flight).zip(end).and_then(|(f, end)| {
            let total = (f.n * Product::ALL.len() * line.layers.len()) as u64;
            let next = start as usize == f.start && unit == line.unit && sums.units > 0;
            (next && u64::from(end) <= total).then_some((end, u64::from(end) == total))
        });
        let most = (Product::ALL.iter()).map(|p| p.dims(self.subject.outline.shape()).0);
        let most = unit_bytes_max(most.max().unwrap_or(0)).saturating_mul(sums.units as usize);
        match fits.filter(|_| sums.bytes.len() <= most) {
            Some((end, last)) => {
                line.unit = if last { 0 } else { end };
                line.flight += usize::from(last);
                line.frames.push_back(sums);
            }
            None => self.violated(Wrong::Order { hop, start, unit }),
        }
    }

    /// Flights whose sums have not all arrived.
    #[must_use]
    pub fn awaited(&self) -> usize {
        let arrived = self.lines.iter().filter(|l| l.layers.start < self.limit);
        let arrived = arrived.map(|l| l.flight).min();
        self.flights.len() - arrived.unwrap_or(self.flights.len())
    }

    /// Flights that wait to be checked.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.flights.len() - self.done
    }

    /// Positions, from the first on, that are verified: the sums are the model's, and so are the returned rows.
    #[must_use]
    pub fn verified(&self) -> usize {
        self.verified
    }

    /// The first violation, as far as it is known: a hop before the named one may turn out to have passed on
    /// other rows than it computed, which [`Checker::finish`] tells.
    #[must_use]
    pub fn violation(&self) -> Option<&Wrong> {
        self.wrong.as_ref()
    }

    /// Bytes of sums taken.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn violated(&mut self, wrong: Wrong) {
        let first = self.lines.get(wrong.hop()).map_or(0, |l| l.layers.start);
        // Of two wrongs the earlier hop's counts: what follows it proves nothing about the others.
        if self.wrong.as_ref().is_none_or(|w| wrong.hop() < w.hop()) {
            self.wrong = Some(wrong);
        }
        self.limit = self.limit.min(first);
    }

    /// Checks as much as arrived.
    ///
    /// # Errors
    /// [`ModelError`] never follows from what hops sent: the machine itself is then at fault.
    pub fn advance(&mut self, engine: &mut Engine) -> Result<(), ModelError> {
        while self.step(engine)? {}
        Ok(())
    }

    /// Checks one product, or closes one flight; returns whether there was something to do.
    ///
    /// # Errors
    /// As [`Checker::advance`].
    pub fn step(&mut self, engine: &mut Engine) -> Result<bool, ModelError> {
        let Some(mut walk) = self.walk.take() else {
            let Some(flight) = self.flights.get_mut(self.done) else {
                return Ok(false);
            };
            let mut walk = Walk::new(std::mem::take(&mut flight.rows), flight.start);
            engine.walk_start(&self.subject.outline, &mut walk)?;
            self.note(&walk, 0);
            self.walk = Some(walk);
            return Ok(true);
        };
        let wants = walk.wants().filter(|(layer, _)| *layer < self.limit);
        let Some((layer, product)) = wants else {
            return Ok(self.close(walk));
        };
        let moved = match self.take(layer, product) {
            Taken::Nothing => false,
            Taken::Wrong(wrong) => {
                self.violated(wrong);
                true
            }
            Taken::Sums => {
                self.on_sums(engine, &mut walk, layer, product)?;
                self.sums.clear();
                true
            }
        };
        self.walk = Some(walk);
        Ok(moved)
    }

    /// Holds the sums against the walk's inputs, and goes on with them.
    fn on_sums(
        &mut self,
        engine: &mut Engine,
        walk: &mut Walk,
        layer: usize,
        product: Product,
    ) -> Result<(), ModelError> {
        let subject = Arc::clone(&self.subject);
        let (rows, cols) = product.dims(subject.shape());
        let mut pairs = walk.inputs().chunks(cols).zip(self.sums.chunks(rows));
        if let Some(row) = pairs.position(|(x, y)| !subject.keys.holds(layer, product, x, y)) {
            self.violated(Wrong::Sums {
                hop: self.hop(layer),
                layer: layer as u32,
                product,
                position: (walk.start() + row) as u32,
            });
            return Ok(());
        }
        engine.walk_whole(&subject.outline, walk, &mut self.cache, &self.sums)?;
        if product == Product::Down {
            self.note(walk, layer + 1);
        }
        Ok(())
    }

    fn hop(&self, layer: usize) -> usize {
        let at = self.lines.iter().position(|l| l.layers.contains(&layer));
        at.unwrap_or(self.lines.len().saturating_sub(1))
    }

    /// Notes the rows before `layer`, or after the last one.
    fn note(&mut self, walk: &Walk, layer: usize) {
        for line in &mut self.lines {
            if line.layers.contains(&layer) {
                line.trace.push(layer - line.layers.start, walk.rows());
            } else if line.layers.end == layer {
                line.trace.push(line.layers.len(), walk.rows());
                line.trace.close_flight(walk.start());
            }
        }
    }

    /// Decodes the sums of a product of the current flight from what its hop sent, as far as it did.
    fn take(&mut self, layer: usize, product: Product) -> Taken {
        let hop = self.hop(layer);
        let (rows, _) = product.dims(self.subject.outline.shape());
        let (Some(line), Some(flight)) = (self.lines.get_mut(hop), self.flights.get(self.done))
        else {
            return Taken::Nothing;
        };
        while self.sums.len() < flight.n * rows {
            let Some(frame) = line.frames.front() else {
                return Taken::Nothing;
            };
            let malformed = Taken::Wrong(Wrong::Malformed {
                hop,
                layer: layer as u32,
                position: flight.start as u32,
            });
            let mut left = frame.bytes.get(line.read.0..).unwrap_or_default();
            if unpack(&mut left, rows, &mut self.sums).is_err() {
                return malformed;
            }
            line.read = (frame.bytes.len() - left.len(), line.read.1 + 1);
            if line.read.1 == frame.units {
                if !left.is_empty() {
                    return malformed;
                }
                line.frames.pop_front();
                line.read = (0, 0);
            }
        }
        Taken::Sums
    }

    /// Ends the current flight, whose walk passed all layers below the limit. Returns whether it did: the
    /// returned row may be on its way.
    fn close(&mut self, walk: Walk) -> bool {
        let Some(flight) = self.flights.get_mut(self.done) else {
            return false;
        };
        if walk.is_done() && self.wrong.is_none() {
            let Some(row) = flight.returned.take() else {
                self.walk = Some(walk);
                return false;
            };
            let last = flight.start + flight.n - 1;
            let dim = self.subject.shape().dim;
            if walk.rows().get((flight.n - 1) * dim..) == Some(&row[..]) {
                self.verified = last + 1;
            } else {
                self.wrong = Some(Wrong::Row {
                    hop: self.lines.len() - 1,
                    position: last as u32,
                });
            }
        }
        self.sums.clear();
        self.done += 1;
        true
    }

    /// Judges the session once all that hops sent was taken: `signed` are their statements, whose signatures
    /// were checked. Returns the positions verified: all that were sent.
    ///
    /// # Errors
    /// The [`Wrong`] of the first hop that did any.
    pub fn finish(mut self, signed: &[SignedHop]) -> Result<usize, Wrong> {
        if let Some(walk) = &self.walk {
            // What is wanted now did not come; a row that was not returned is the last hop's.
            let layer = walk.wants().map_or(self.limit, |w| w.0);
            let hop = self.hop(layer.min(self.subject.shape().layers - 1));
            self.violated(Wrong::Missing {
                hop,
                layer: layer as u32,
                position: walk.start() as u32,
            });
        }
        for (hop, line) in self.lines.iter().enumerate() {
            let blamed = self.wrong.as_ref().is_some_and(|w| w.hop() <= hop);
            if blamed || line.layers.end > self.limit {
                break;
            }
            let signed = signed.get(hop).map(|s| &s.statement);
            let cache = self.cached(line);
            let committed = line.trace.commit(&cache);
            let fits = signed.map(|s| {
                [
                    (s.input == committed.input(), "input rows"),
                    (s.output == committed.output(), "output rows"),
                    (s.trace == committed.root(), "a trace"),
                    (s.transcript == line.trace.transcript(), "a transcript"),
                ]
            });
            let what = match fits {
                None => Some("nothing, or rows"),
                Some(fits) => fits.into_iter().find(|f| !f.0).map(|f| f.1),
            };
            if let Some(what) = what {
                return Err(Wrong::Statement { hop, what });
            }
        }
        self.wrong.map_or(Ok(self.verified), Err)
    }

    /// The keys and values that the hop of `line` must have.
    fn cached(&self, line: &Line) -> KvCache {
        let n = line.trace.positions();
        let mut cache = KvCache::new(self.subject.shape(), &line.layers, n);
        for (i, layer) in line.layers.clone().enumerate() {
            for p in 0..n {
                let (k, v) = self.cache.row(layer, p);
                cache.store(i, p, &k, &v);
            }
        }
        cache
    }
}

/// What [`Checker::take`] found.
enum Taken {
    Sums,
    Nothing,
    Wrong(Wrong),
}

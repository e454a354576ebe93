//! One session: a client that asks, hops that compute, and everything that they say about it.

use std::sync::Arc;

use nesa_client::{Ask, ClientModel, Effect, Request, Route};
use nesa_codec::Digest;
use nesa_model::testing::{self, Noise};
use nesa_proof::checked::Sums;
use nesa_proof::{SignedHop, challenge, trace};

use super::hop::{Hand, Hop, lies};
use super::world::{HOPS, engine, key, signer};
use crate::Result;

/// First position, rows sent, row returned, and sums by hop.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub start: u32,
    pub sent: Vec<i32>,
    pub returned: Vec<i32>,
    pub sums: Vec<Vec<Sums>>,
}

/// A finished session.
#[derive(Debug)]
pub(super) struct Session {
    pub ask: Ask,
    pub route: Route,
    pub hops: Vec<Hop>,
    pub flights: Vec<Flight>,
    pub signed: Vec<SignedHop>,
    /// Digests of the rows that the last hop put out.
    pub output_rows: Vec<Digest>,
}

/// Names, nonces and hops of a session.
pub(super) fn route(m: &testing::Model, noise: &mut Noise) -> Route {
    Route {
        session: crate::talk::digest(noise),
        served: m.manifest.root(),
        nonce: crate::talk::digest(noise),
        salt: crate::talk::digest(noise),
        hops: (1..)
            .zip(HOPS)
            .map(|(n, r)| {
                let name = format!("operator-{n}");
                (key(n), name, r.start as u32, r.end as u32)
            })
            .collect(),
    }
}

impl Session {
    /// Asks `request` of an honest hop and one in the `hand` of a liar, who may know an `old` session.
    pub(super) fn run(
        client: &Arc<ClientModel>,
        m: &testing::Model,
        hand: &Hand,
        request: Request,
        noise: &mut Noise,
        old: Option<&Self>,
    ) -> Result<Self> {
        let route = route(m, noise);
        let honest = Hand::honest(m);
        let of = |i| if lies(i) { hand } else { &honest };
        let mut hops = Vec::new();
        for (i, range) in HOPS.into_iter().enumerate() {
            hops.push(Hop::new(of(i), range)?);
        }
        let mut ask = Ask::new(Arc::clone(client), nesa_client::Tier::Open, request)?;
        let mut engine = engine();
        let mut todo = ask.start()?;
        let mut flights = Vec::new();
        let dim = m.manifest.shape.dim;
        while !todo.is_empty() {
            let Effect::Send { start, rows } = todo.remove(0) else {
                continue;
            };
            let (sent, mut rows, mut sums) = (rows.clone(), rows, Vec::new());
            for (i, hop) in hops.iter_mut().enumerate() {
                let kept = old.and_then(|o| o.hops[i].bounds.last());
                let old = kept.map_or(&[][..], |r| r);
                sums.push(hop.run(&mut engine, of(i), start as usize, &mut rows, old)?);
            }
            let returned = rows[rows.len() - dim..].to_vec();
            let last = start + (sent.len() / dim) as u32 - 1;
            todo.extend(ask.on_rows(&mut engine, last, returned.clone())?);
            flights.push(Flight {
                start,
                sent,
                returned,
                sums,
            });
        }
        let signed = (1..).zip(&hops).map(|(n, h)| sign(&route, n, h)).collect();
        let rows = hops.last().map_or(&[][..], |h| h.trace.output());
        Ok(Self {
            output_rows: rows.chunks_exact(dim).map(trace::row).collect(),
            ask,
            route,
            hops,
            flights,
            signed,
        })
    }
}

fn sign(route: &Route, n: u8, hop: &Hop) -> SignedHop {
    let mut s = hop.statement(key(n));
    s.session = route.session;
    s.model = route.served;
    s.nonce_commitment = challenge::commit(&route.nonce);
    s.signed(&signer(n))
}

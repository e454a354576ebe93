//! The state machine of verification: collect signatures, draw cells, recompute, bundle.

use std::collections::BTreeMap;

use nesa_codec::{Digest, merkle};
use nesa_model::spec::{RESIDUAL_MAX, Shape, spec_digest};
use nesa_model::{Engine, Sampler};
use nesa_proof::checked::Checker;
use nesa_proof::verify::{self, Blocks, Expected, Level, Verdict, Violation};
use nesa_proof::{Bundle, Inference, LayerOpening, Second, SignedHop, challenge, trace};

use crate::ClientError;
use crate::ask::Ask;
use crate::assurance::Assurance;
use crate::model::ClientModel;
use crate::tier::Tier;

/// The hops of a session as the client chose them.
#[derive(Debug, Clone)]
pub struct Route {
    /// Random name of the session.
    pub session: Digest,
    /// Root of the model that the nodes run.
    pub served: Digest,
    /// Random challenge nonce; secret until all hops have signed.
    pub nonce: Digest,
    /// Random salt of the commitments to tokens.
    pub salt: Digest,
    /// Per hop: public key, operator's name, first block, one past the last.
    pub hops: Vec<([u8; 32], String, u32, u32)>,
}

/// Whose fault it is that `checker` found a violation, given what the hops signed after they had sent all their
/// sums: that of the first hop whose statement does not lead where its sums do.
#[must_use]
pub fn blame(hops: &[SignedHop], checker: Checker) -> ClientError {
    let wrong = match checker.finish(hops) {
        Err(wrong) => wrong,
        Ok(_) => return Violation::Ends("what was checked").into(),
    };
    for (hop, h) in hops.iter().enumerate().take(wrong.hop() + 1) {
        if !h.is_signed() {
            return Violation::HopSignature { hop }.into();
        }
        let before = hop.checked_sub(1).and_then(|p| hops.get(p));
        if before.is_some_and(|p| p.statement.output != h.statement.input) {
            let what = "the input (not what the hop before put out)";
            return Violation::Chain { hop, what }.into();
        }
    }
    Violation::from(wrong).into()
}

/// Verification of one finished answer.
#[derive(Debug)]
pub struct Evidence<'a> {
    ask: &'a Ask,
    route: &'a Route,
    cells: u64,
    hops: Vec<SignedHop>,
    output_rows: Vec<Digest>,
    openings: Vec<LayerOpening>,
    is_checked: bool,
    seconds: Vec<Second>,
}

impl<'a> Evidence<'a> {
    /// Starts with the hops' signed statements, in order, and the last hop's row digests.
    ///
    /// # Errors
    /// [`ClientError::Violation`] naming the hop whose statement does not fit.
    pub fn new(
        ask: &'a Ask,
        route: &'a Route,
        assurance: Assurance,
        hops: Vec<SignedHop>,
        output_rows: Vec<Digest>,
    ) -> Result<Self, ClientError> {
        let shape = &ask.model().manifest.shape;
        let total = shape.layers as u64 * ask.positions() as u64;
        let e = Self {
            ask,
            route,
            cells: assurance.cells(total),
            hops,
            output_rows,
            openings: Vec::new(),
            is_checked: false,
            seconds: Vec::new(),
        };
        verify::chain(&e.hops, &e.expected())?;
        for (hop, (h, r)) in e.hops.iter().zip(&route.hops).enumerate() {
            let s = &h.statement;
            if s.node != r.0 || (s.first, s.end) != (r.2, r.3) {
                return Err(Violation::Chain {
                    hop,
                    what: "the node or its range",
                }
                .into());
            }
        }
        if e.hops.first().map(|h| h.statement.input) != Some(merkle::root(ask.input_rows())) {
            return Err(Violation::Chain {
                hop: 0,
                what: "the input (not what was sent)",
            }
            .into());
        }
        let last = e.hops.len().saturating_sub(1);
        if e.hops.last().map(|h| h.statement.output) != Some(merkle::root(&e.output_rows)) {
            let what = "the output (not the listed rows)";
            return Err(Violation::Chain { hop: last, what }.into());
        }
        let at = e.output_rows.len().checked_sub(ask.rows().len());
        let received = at
            .and_then(|at| e.output_rows.get(at..))
            .unwrap_or_default();
        if !ask
            .rows()
            .iter()
            .map(|r| trace::row(r))
            .eq(received.iter().copied())
        {
            let what = "the output (not the rows that were sent to the client)";
            return Err(Violation::Chain { hop: last, what }.into());
        }
        Ok(e)
    }

    fn expected(&self) -> Expected {
        Expected {
            session: self.route.session,
            model: self.route.served,
            positions: self.ask.positions() as u32,
            layers: self.ask.model().manifest.shape.layers as u32,
            nonce_commitment: challenge::commit(&self.route.nonce),
        }
    }

    /// The cells to open: (hop, layer, positions), by layer.
    #[must_use]
    pub fn challenges(&self) -> Vec<(usize, u32, Vec<u32>)> {
        let e = self.expected();
        let mut by_layer: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (l, p) in challenge::draw(
            &self.route.nonce,
            &self.hops,
            e.layers,
            e.positions,
            self.cells,
        ) {
            by_layer.entry(l).or_default().push(p);
        }
        let hop = |l: u32| {
            self.route
                .hops
                .iter()
                .position(|h| (h.2..h.3).contains(&l))
                .unwrap_or(0)
        };
        by_layer
            .into_iter()
            .map(|(l, ps)| (hop(l), l, ps))
            .collect()
    }

    /// Takes one opening.
    pub fn opened(&mut self, o: LayerOpening) {
        self.openings.push(o);
    }

    /// Holds the hops' statements against a session that was checked while it ran, and whose sums were all
    /// taken; the verdict of [`Evidence::verify`] is [`Level::Checked`] then.
    ///
    /// # Errors
    /// [`ClientError::Violation`] naming the first hop that lied.
    pub fn checked(&mut self, checker: Checker) -> Result<(), ClientError> {
        let verified = checker.finish(&self.hops).map_err(Violation::from)?;
        self.is_checked = verified == self.ask.positions();
        Ok(())
    }

    /// Adds what a second side signed about each hop's range: the same, which [`crate::compare`] found. The
    /// verdict of [`Evidence::verify`] is [`Level::Refereed`] then.
    ///
    /// # Errors
    /// [`ClientError::Violation`] where they do not state the same.
    pub fn refereed(&mut self, seconds: Vec<Second>) -> Result<(), ClientError> {
        verify::seconds(&self.hops, &seconds)?;
        self.seconds = seconds;
        Ok(())
    }

    /// Recomputes what was opened.
    ///
    /// # Errors
    /// [`ClientError::Violation`] naming the hop that lied.
    pub fn verify(
        &mut self,
        blocks: &mut Blocks<'_>,
        engine: &mut Engine,
    ) -> Result<Verdict, ClientError> {
        let e = self.expected();
        self.openings.sort_by_key(|o| o.layer);
        let shape = &self.ask.model().manifest.shape;
        let (nonce, k) = (&self.route.nonce, self.cells);
        let cells = verify::spot(
            &self.hops,
            &e,
            nonce,
            k,
            &self.openings,
            shape,
            blocks,
            engine,
        )?;
        let level = if !self.seconds.is_empty() {
            Level::Refereed
        } else if self.is_checked {
            Level::Checked
        } else if self.cells > 0 && cells == self.cells {
            Level::Spot
        } else {
            Level::Receipt
        };
        let cells_total = u64::from(e.layers) * u64::from(e.positions);
        Ok(Verdict {
            level,
            cells,
            cells_total,
        })
    }

    /// The receipt, signed by `sign`, which holds the key `client`.
    #[must_use]
    pub fn bundle(self, client: [u8; 32], sign: &dyn Fn(&[u8]) -> [u8; 64]) -> Bundle {
        let privacy = self.ask.tier().privacy();
        let inference = Inference {
            model: self.ask.model().manifest.root(),
            spec: spec_digest(),
            privacy: privacy.name().to_owned(),
            leakage: privacy.leakage(self.ask.positions()),
            salt: self.route.salt,
            prompt: self.ask.request().prompt.clone(),
            answer: self.ask.answer().to_vec(),
            sampling: self.ask.request().sampling,
            rows: self.ask.rows().to_vec(),
            output_rows: self.output_rows,
            operators: self.route.hops.iter().map(|h| h.1.clone()).collect(),
        };
        Bundle {
            inference,
            hops: self.hops,
            seconds: self.seconds,
            holders: nesa_proof::Holding::default(),
            nonce: self.route.nonce,
            cells: self.cells,
            openings: self.openings,
            client,
            signature: [0; 64],
        }
        .signed(sign)
    }
}

/// Recomputes the client's own part of a bundle: that the hidden input is the prompt's, and that
/// the answer is what the sampler draws from the last hop's rows.
///
/// # Errors
/// [`ClientError::Violation`] where either differs.
pub fn reproduce(
    b: &Bundle,
    model: &ClientModel,
    tier: &Tier,
    engine: &mut Engine,
) -> Result<(), ClientError> {
    let shape: &Shape = &model.manifest.shape;
    let i = &b.inference;
    let ends = |what| Err(ClientError::Violation(Violation::Ends(what)));
    if i.model != model.manifest.root() || i.spec != spec_digest() {
        return ends("the model");
    }
    if i.privacy != tier.privacy().name() {
        return ends("the privacy tier");
    }
    let mut fed = i.prompt.clone();
    fed.extend(&i.answer[..i.answer.len().saturating_sub(1)]);
    let mut rows = model.vocabulary.embed(shape, &fed, 0)?;
    tier.hide(&mut rows)?;
    let digests: Vec<Digest> = rows.chunks_exact(shape.dim).map(trace::row).collect();
    if b.hops.first().map(|h| h.statement.input) != Some(merkle::root(&digests)) {
        return ends("the prompt");
    }
    let mut sampler = Sampler::new(i.sampling);
    for (row, token) in i.rows.iter().zip(&i.answer) {
        if row.len() != shape.dim || !verify::within(row, RESIDUAL_MAX) {
            return ends("a row that a token was sampled from");
        }
        let mut row = row.clone();
        tier.reveal(&mut row)?;
        if sampler.next(&engine.logits(&model.head, &row)) != *token {
            return ends("the answer");
        }
    }
    Ok(())
}

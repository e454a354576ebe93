//! One answer as the client sees it, from the first `Open` to the last signature.

use std::sync::Arc;

use nesa_client::{Ask, Effect, Finish, Request, Route};
use nesa_codec::Digest;
use nesa_model::Engine;
use nesa_model::testing::Noise;
use nesa_pipeline::Message;
use nesa_proof::checked::{Checker, Subject};
use nesa_proof::{LayerOpening, SignedHop};

use crate::{Error, Result, Served};

/// One answer and what its hops said about it.
#[derive(Debug)]
pub struct Talk {
    /// The state machine of the answer.
    pub ask: Ask,
    /// Its hops.
    pub route: Route,
    /// Text shown so far.
    pub text: String,
    /// Statements, by hop.
    pub signed: Vec<Option<SignedHop>>,
    /// Digests of the rows that the last hop put out.
    pub output_rows: Vec<Digest>,
    /// Checks every product while the answer runs, where that was asked for.
    pub checker: Option<Checker>,
    /// Hops that were asked for their sums and have not said so.
    asked: Option<usize>,
    /// Cells opened and not yet taken.
    pub opened: Vec<LayerOpening>,
    /// The hop that is being opened; all are when this is `None`.
    pub(crate) opening: Option<usize>,
    /// The hop that refused.
    pub(crate) refused: Option<Error>,
}

/// A random digest.
pub(crate) fn digest(noise: &mut Noise) -> Digest {
    let mut bytes = [0; 32];
    for chunk in bytes.chunks_exact_mut(8) {
        chunk.copy_from_slice(&noise.bits().to_le_bytes());
    }
    Digest(bytes)
}

impl Talk {
    pub(crate) fn new(
        served: &Served,
        request: Request,
        hops: Vec<([u8; 32], String, u32, u32)>,
        noise: &mut Noise,
    ) -> Result<Self> {
        let ask = Ask::new(Arc::clone(&served.client), served.tier.clone(), request)?;
        let last = hops.len() - 1;
        Ok(Self {
            ask,
            signed: vec![None; hops.len()],
            route: Route {
                session: digest(noise),
                served: served.root(),
                nonce: digest(noise),
                salt: digest(noise),
                hops,
            },
            text: String::new(),
            output_rows: Vec::new(),
            checker: None,
            asked: None,
            opened: Vec::new(),
            opening: Some(last),
            refused: None,
        })
    }

    /// Whether every hop has signed.
    #[must_use]
    pub fn is_signed(&self) -> bool {
        self.signed.iter().all(Option::is_some)
    }

    /// Why the answer ended, once it did.
    #[must_use]
    pub fn finish(&self) -> Option<Finish> {
        self.ask.finish()
    }

    /// The statements, in order.
    #[must_use]
    pub fn statements(&self) -> Vec<SignedHop> {
        self.signed.iter().flatten().cloned().collect()
    }

    /// Takes a message of hop `hop` and says what to send to which hop.
    pub(crate) fn receive(
        &mut self,
        engine: &mut Engine,
        hop: usize,
        message: Message,
    ) -> Result<Vec<(usize, Message)>> {
        let last = self.route.hops.len() - 1;
        match message {
            Message::Ready
                if self.opening == Some(hop)
                    && self.checker.is_some()
                    && self.asked != Some(hop) =>
            {
                self.asked = Some(hop);
                Ok(vec![(hop, Message::Check)])
            }
            Message::Sums(sums) => {
                let checker = self.checker.as_mut().ok_or(Error::OutOfTurn(hop))?;
                checker.sums(hop, sums);
                checker.advance(engine)?;
                Ok(Vec::new())
            }
            Message::Ready if self.opening == Some(hop) => {
                self.opening = hop.checked_sub(1);
                if hop == 0 {
                    let effects = self.ask.start()?;
                    return self.act(effects);
                }
                Ok(Vec::new())
            }
            Message::Rows { start, rows } if hop == last => {
                if let Some(checker) = &mut self.checker {
                    checker.returned(rows.clone());
                }
                let effects = self.ask.on_rows(engine, start, rows)?;
                self.act(effects)
            }
            Message::Signed {
                hop: statement,
                output_rows,
            } => {
                self.signed[hop] = Some(*statement);
                if hop == last {
                    self.output_rows = output_rows;
                }
                Ok(Vec::new())
            }
            Message::Opened(opening) => {
                self.opened.push(*opening);
                Ok(Vec::new())
            }
            Message::Refused(refusal) => {
                self.refused = Some(Error::Refused { hop, refusal });
                Ok(Vec::new())
            }
            _ => Err(Error::OutOfTurn(hop)),
        }
    }

    fn act(&mut self, effects: Vec<Effect>) -> Result<Vec<(usize, Message)>> {
        let mut out = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { start, rows } => {
                    if let Some(checker) = &mut self.checker {
                        checker.sent(start, rows.clone())?;
                    }
                    out.push((0, Message::Rows { start, rows }));
                }
                Effect::Text(text) => self.text.push_str(&text),
                Effect::Done(_) => {
                    out.extend((0..self.route.hops.len()).map(|i| (i, Message::Finish)));
                }
            }
        }
        Ok(out)
    }

    /// Has every product of this answer checked with the keys `subject`.
    ///
    /// # Errors
    /// [`Error::Model`] when the keys are another model's.
    pub fn check(&mut self, subject: Arc<Subject>) -> Result<()> {
        let hops: Vec<_> = self.route.hops.iter().map(|h| h.2..h.3).collect();
        self.checker = Some(Checker::new(subject, &hops, self.ask.capacity())?);
        Ok(())
    }
}

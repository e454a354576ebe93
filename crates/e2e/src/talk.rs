//! One answer as the client sees it, from the first `Open` to the last signature.

use nesa_client::{Ask, Effect, Finish, Request, Route};
use nesa_codec::Digest;
use nesa_model::Engine;
use nesa_model::testing::Noise;
use nesa_pipeline::Message;
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
        let ask = Ask::new(
            std::sync::Arc::clone(&served.client),
            served.tier.clone(),
            request,
        )?;
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
            Message::Ready if self.opening == Some(hop) => {
                self.opening = hop.checked_sub(1);
                if hop == 0 {
                    let effects = self.ask.start()?;
                    return Ok(self.act(effects));
                }
                Ok(Vec::new())
            }
            Message::Rows { start, rows } if hop == last => {
                let effects = self.ask.on_rows(engine, start, rows)?;
                Ok(self.act(effects))
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

    fn act(&mut self, effects: Vec<Effect>) -> Vec<(usize, Message)> {
        let mut out = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { start, rows } => out.push((0, Message::Rows { start, rows })),
                Effect::Text(text) => self.text.push_str(&text),
                Effect::Done(_) => {
                    out.extend((0..self.route.hops.len()).map(|i| (i, Message::Finish)));
                }
            }
        }
        out
    }
}

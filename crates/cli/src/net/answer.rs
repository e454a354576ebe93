//! One answer over the network: open the hops, stream rows, collect the evidence.

use std::sync::Arc;
use std::time::Instant;

use nesa_client::{Ask, Assurance, Effect, Finish, Step};
use nesa_codec::Digest;
use nesa_model::{Engine, Shard};
use nesa_pipeline::Message;
use nesa_proof::Bundle;
use nesa_proof::checked::Subject;
use nesa_proof::verify::Verdict;

use super::NetworkError;
use super::bank::Purse;
use super::checking::CheckCost;
use super::closing::collect;
use super::fleet::{Fleet, split};
use super::heads::Heads;
use super::private::PrivateCost;
use super::refereed::Refereed;
use super::session::Session;

/// A finished, verified answer.
#[derive(Debug)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// The receipt.
    pub bundle: Bundle,
    /// What verification re-established.
    pub verdict: Verdict,
    /// Seconds until the first token.
    pub first_token_s: f64,
    /// Tokens per second after the first token; of all tokens where there is one only.
    pub tokens_per_second: f64,
    /// At level `checked`: what checking cost.
    pub checked: Option<CheckCost>,
    /// Under `hss`: what it cost, and who was left out.
    pub private: Option<PrivateCost>,
    /// At level `refereed`: who the second sides were, and who lost a dispute.
    pub refereed: Option<Refereed>,
    /// The payment session that it was paid from; none where nodes are not paid.
    pub purse: Option<Arc<Purse>>,
}

/// Packed blocks of the served model for recomputation, by layer.
pub type BlockSource<'a> = dyn FnMut(u32) -> Option<Arc<Shard>> + Send + 'a;

/// What the client computes with.
pub struct Compute<'a> {
    /// For recomputation, and for logits unless `heads` has them.
    pub engine: &'a mut Engine,
    /// Computes the logits of several answers at once.
    pub heads: Option<&'a Heads>,
    /// For recomputation.
    pub blocks: &'a mut BlockSource<'a>,
    /// To check every product while it runs, the keys of the served model.
    pub subject: Option<Arc<Subject>>,
}

impl std::fmt::Debug for Compute<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compute").finish_non_exhaustive()
    }
}

/// A fresh random digest.
///
/// # Errors
/// [`NetworkError::Process`] when the system has no randomness.
pub fn random() -> Result<Digest, NetworkError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|e| NetworkError::Process(format!("no randomness: {e}")))?;
    Ok(Digest(bytes))
}

/// Asks, streams text through `show`, verifies at `assurance`, and returns the signed receipt.
///
/// `show` returns whether to go on; when it says no, the answer ends there, with its receipt.
///
/// # Errors
/// [`NetworkError`]; evidence that does not hold is [`nesa_client::ClientError::Violation`].
pub async fn answer(
    fleet: &Fleet,
    mut ask: Ask,
    served: Digest,
    assurance: Assurance,
    compute: Compute<'_>,
    show: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<Answer, NetworkError> {
    let started = Instant::now();
    let ranges = split(ask.model().manifest.shape.layers, fleet.nodes.len());
    let way: Vec<_> = ranges.into_iter().enumerate().collect();
    let mut session = Session::open(fleet, &way, &ask, served).await?;
    let Compute {
        engine,
        heads,
        blocks,
        subject,
    } = compute;
    if let Some(subject) = subject
        && let Err(e) = session.check(&ask, subject, engine).await
    {
        session.close().await;
        return Err(e);
    }
    let generated = generate(&mut session, &mut ask, (&mut *engine, heads), show).await;
    let (finish, first_token_s) = match generated {
        Ok(done) => done,
        Err(e) => {
            session.pay.iter().for_each(|pay| pay.purse.give_up());
            session.close().await;
            return Err(e);
        }
    };
    let total_s = started.elapsed().as_secs_f64();
    let tokens_per_second = rate(ask.answer().len(), total_s, first_token_s);
    let checked = collect(&mut session, &ask, assurance, engine, blocks).await;
    let purse = session.pay.as_ref().map(|p| Arc::clone(&p.purse));
    let paid = match &checked {
        Ok((bundle, ..)) => session.pay_up(&statements(bundle)).await,
        Err(_) => {
            purse.iter().for_each(|p| p.give_up());
            Ok(())
        }
    };
    session.close().await;
    let (bundle, verdict, cost) = checked?;
    paid?;
    Ok(Answer {
        text: ask.text_so_far().map_err(NetworkError::Client)?,
        finish,
        bundle,
        verdict,
        first_token_s,
        tokens_per_second,
        checked: cost,
        private: None,
        refereed: None,
        purse,
    })
}

/// Digests of what the hops stated: the transcript that is paid for.
fn statements(bundle: &Bundle) -> Vec<Digest> {
    let hops = bundle.hops.iter();
    hops.map(|h| h.statement.digest()).collect()
}

/// Tokens per second after the first token; of all tokens where there is one only.
pub(super) fn rate(tokens: usize, total_s: f64, first_token_s: f64) -> f64 {
    let tokens = tokens as f64;
    if tokens > 1.0 {
        (tokens - 1.0) / (total_s - first_token_s).max(1e-9)
    } else {
        tokens / total_s.max(1e-9)
    }
}

/// Runs the state machine until the answer is complete.
async fn generate(
    session: &mut Session<'_>,
    ask: &mut Ask,
    (engine, heads): (&mut Engine, Option<&Heads>),
    show: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<(Finish, f64), NetworkError> {
    let started = Instant::now();
    let mut first_token_s = None;
    let last = session.route.hops.len() - 1;
    let mut name = [0; 8];
    name.copy_from_slice(&session.route.session.0[..8]);
    let name = u64::from_le_bytes(name);
    let mut effects = ask.start()?;
    loop {
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { start, rows } => {
                    session.send_rows(start, rows).await?;
                }
                Effect::Text(text) => {
                    if !show(&text) {
                        ask.cut();
                        let first =
                            first_token_s.unwrap_or_else(|| started.elapsed().as_secs_f64());
                        return Ok((Finish::Stop, first));
                    }
                }
                Effect::Done(finish) => {
                    let first = first_token_s.unwrap_or_else(|| started.elapsed().as_secs_f64());
                    return Ok((finish, first));
                }
            }
        }
        match session.receive(last).await? {
            Message::Rows { start, rows } => {
                if session.is_caught(&rows).await? {
                    // Which hop it was is settled by what they sign; no further token is shown.
                    let first = first_token_s.unwrap_or_else(|| started.elapsed().as_secs_f64());
                    return Ok((Finish::Stop, first));
                }
                effects = match ask.on_row(start, rows)? {
                    Step::Go(effects) => effects,
                    Step::Sample(row) => {
                        let logits = match heads {
                            Some(heads) => heads.logits(name, row).await?,
                            None => engine.logits(&ask.model().head, &row),
                        };
                        ask.on_logits(&logits)?
                    }
                };
                if first_token_s.is_none() && !ask.answer().is_empty() {
                    first_token_s = Some(started.elapsed().as_secs_f64());
                }
            }
            _ => return Err(session.lost(last, "it answered out of turn")),
        }
    }
}

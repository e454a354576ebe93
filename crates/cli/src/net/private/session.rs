//! Private answers and vectors over the network: carry flights and answers until they are there.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use nesa_client::hss::{Effect, Input, Machine, PrivateEmbed, PrivateRequest};
use nesa_client::{ClientError, Finish, PrivateAsk, Request};
use nesa_model::Engine;
use nesa_proof::verify::{Level, Verdict};

use super::streams::Session;
use super::{PrivateModel, cost, receipt};
use crate::net::answer::{Answer, random, rate};
use crate::net::fleet::Fleet;
use crate::net::setup::Prepared;
use crate::net::{NetworkError, cpu};

/// Rows of a step where exchanges are slow: guesses then save more time than their rows take.
const WIDTH_FAR: usize = 4;
/// Holders are far if opening a session takes longer.
const NEAR_MAX: Duration = Duration::from_millis(4);

/// Positions that the vector of one text may take.
const ROWS_OF_A_TEXT: u64 = 512;

/// Time since some fixed instant, to measure with.
fn clock() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// How far an answer came.
#[derive(Default)]
struct Shown {
    finish: Option<Finish>,
    first_s: Option<f64>,
    done_s: f64,
}

/// Asks over `fleet` under `hss` and returns the answer with its receipt.
///
/// # Errors
/// [`NetworkError`]; a layer with too few honest holders is [`ClientError::Holder`].
pub(in crate::net) async fn answer(
    fleet: &Fleet,
    prepared: &Prepared,
    private: &PrivateModel,
    request: Request,
    engine: &mut Engine,
    show: &mut (dyn FnMut(&str) -> bool + Send),
) -> Result<Answer, NetworkError> {
    let (started, cpu_before) = (Instant::now(), cpu::seconds());
    let parts = private.private(fleet, engine.level())?;
    let mut session = Session::open(fleet, &parts, prepared.root()).await?;
    let positions = (request.prompt.len() + request.max_tokens) as u64;
    session
        .begin_pay(&parts, prepared.root(), positions)
        .await?;
    let far = session.opened_in > NEAR_MAX;
    let request = PrivateRequest {
        prompt: request.prompt,
        sampling: request.sampling,
        max_tokens: request.max_tokens,
        // Chosen before anything of the question is known, and constant for the whole session.
        width: private
            .sharing
            .width
            .unwrap_or(if far { WIDTH_FAR } else { 1 }),
        padding: private.sharing.padding,
    };
    let client = Arc::clone(&prepared.client);
    let mut ask = PrivateAsk::new(client, parts, request, random()?.0, clock)?;
    let mut shown = Shown::default();
    let mut tell = |ask: &mut PrivateAsk, effect| {
        shown.done_s = match shown.finish {
            None => started.elapsed().as_secs_f64(),
            Some(_) => shown.done_s,
        };
        shown.first_s.get_or_insert(shown.done_s);
        match effect {
            Effect::Text(text) if shown.finish.is_none() && !show(&text) => {
                ask.cut();
                shown.finish = Some(Finish::Stop);
            }
            Effect::Done(finish) => _ = shown.finish.get_or_insert(finish),
            _ => {}
        }
    };
    let ran = carry(&mut session, &mut ask, engine, &mut tell).await;
    if let Err(e) = ran {
        session.give_up();
        session.close_all().await;
        return Err(receipt::blame(e, fleet, private, ask.liars())?);
    }
    let cpu_s = cpu_before.zip(cpu::seconds()).map(|(a, b)| b - a);
    let signed = session.sign(&ask).await;
    session.pay_up(&signed).await?;
    let purse = session.purse();
    session.close_all().await;
    let convicted = receipt::convict(private, ask.liars())?;
    let bundle = receipt::bundle(fleet, &ask, private, signed)?;
    let first_token_s = shown.first_s.unwrap_or(shown.done_s);
    Ok(Answer {
        text: ask.text_so_far().map_err(NetworkError::Client)?,
        finish: shown.finish.unwrap_or(Finish::Stop),
        bundle,
        verdict: Verdict {
            level: Level::Checked,
            cells: 0,
            cells_total: 0,
        },
        first_token_s,
        tokens_per_second: rate(ask.answer().len(), shown.done_s, first_token_s),
        checked: None,
        private: Some(cost::of(&ask, private, cpu_s, fleet, convicted)),
        refereed: None,
        purse,
    })
}

/// Carries effects and answers until all is quiet; `tell` is told what is for people.
async fn carry<M: Machine>(
    session: &mut Session<'_>,
    machine: &mut M,
    engine: &mut Engine,
    tell: &mut (dyn FnMut(&mut M, Effect) + Send),
) -> Result<(), NetworkError> {
    let mut effects = machine.start(engine)?;
    loop {
        for effect in effects.drain(..) {
            match effect {
                // The machine hears of one that takes nothing at the next input.
                Effect::Send { holder, message } => drop(session.send(holder, &message).await),
                Effect::Excluded { holder } => session.close(holder).await,
                Effect::Text(_) | Effect::Done(_) => tell(machine, effect),
                Effect::Quiet => return Ok(()),
            }
        }
        let input = match session.input().await {
            Some(input) => input,
            // A long silence: whoever holds a flight up is lost.
            None => match machine.owed().first() {
                Some(&holder) => Input::Lost { holder },
                None => {
                    let text = "the session came to a halt; ask again";
                    return Err(NetworkError::Process(text.into()));
                }
            },
        };
        effects = machine.on(engine, input)?;
    }
}

/// The rows (tokens, dim) that the encoder makes of `embedded`, and what that cost.
///
/// # Errors
/// As [`answer`].
pub async fn embed(
    fleet: &Fleet,
    private: &PrivateModel,
    embedded: Vec<i32>,
    engine: &mut Engine,
) -> Result<(Vec<i32>, nesa_client::hss::Traffic), NetworkError> {
    let model = private.model.root();
    let parts = private.private(fleet, engine.level())?;
    let mut session = Session::open(fleet, &parts, model).await?;
    session.begin_pay(&parts, model, ROWS_OF_A_TEXT).await?;
    let padding = private.sharing.padding;
    let mut ask = PrivateEmbed::new(model, parts, embedded, padding, random()?.0, clock)?;
    let ran = carry(&mut session, &mut ask, engine, &mut |_, _| ()).await;
    session.close_all().await;
    if let Err(e) = ran {
        return Err(receipt::blame(e, fleet, private, ask.liars())?);
    }
    receipt::convict(private, ask.liars())?;
    let traffic = ask.traffic().clone();
    let rows = ask.into_rows();
    let missing = ClientError::OutOfTurn("the rows are not there");
    Ok((rows.ok_or(NetworkError::Client(missing))?, traffic))
}

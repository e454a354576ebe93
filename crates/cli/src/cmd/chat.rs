//! `nesa chat`: a conversation, line by line.

use std::io::{BufRead, IsTerminal, Write};

use nesa_checkpoint::Message;

use super::ask;
use super::network::{self, Asking};
use super::paying;
use crate::net::setup::{self, Question};
use crate::{Context, Failure};

/// Talk with a model.
#[derive(Debug, clap::Args)]
#[command(after_help = "One line is one message; an empty line or end of input ends the chat.")]
pub(crate) struct Chat {
    #[command(flatten)]
    asking: Asking,
}

/// Runs `nesa chat`.
pub(crate) fn run(what: &Chat, context: &Context) -> Result<(), Failure> {
    let a = &what.asking;
    let assurance = a.assurance()?;
    let model = network::model(context, a.model.as_deref())?;
    let prepared = network::prepare(context, &model, &a.tier)?;
    let mut messages: Vec<Message> = a.system.iter().map(|s| Message::new("system", s)).collect();
    network::runtime_for(&prepared)?.block_on(async {
        let network = network::network(context, &a.nodes).await?;
        let mut talk = async || -> Result<(), Failure> {
            network::deploy(context, &network, &prepared).await?;
            while let Some(line) = next_line()? {
                messages.push(Message::new("user", line));
                let sampling = a.sampling()?;
                let q = Question {
                    messages: messages.clone(),
                    sampling,
                    max_tokens: a.max_tokens,
                    assurance,
                };
                let answer = ask::one(context, &network.fleet, &prepared, &q).await?;
                let path = setup::write_receipt(&context.home, &answer, None)?;
                let path = path.display().to_string();
                let mut value = ask::report(&answer, &prepared, &network.fleet.nodes, &path);
                value["paid"] = paying::report(&[], &answer);
                if context.out.is_json() {
                    context.out.result(&value, String::new);
                } else {
                    context.out.note(&ask::summary(&value));
                }
                messages.push(Message::new("assistant", answer.text));
            }
            Ok(())
        };
        let done = talk().await;
        for s in paying::settle(context, &network).await {
            let tx = &s.tx;
            context
                .out
                .step(&format!("paid {} NES: {tx}", s.amount.decimal()));
        }
        network.stop().await;
        done
    })
}

/// The next message, or `None` at the end.
fn next_line() -> Result<Option<String>, Failure> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let _ = write!(std::io::stderr(), "> ").and_then(|()| std::io::stderr().flush());
    }
    let mut line = String::new();
    let n = stdin
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure::failed(format!("standard input: {e}; start the chat again")))?;
    let line = line.trim().to_owned();
    Ok((n > 0 && !line.is_empty()).then_some(line))
}

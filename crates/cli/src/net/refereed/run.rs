//! The same rows along one route or two, and no token from a row on which they differ.

use std::time::Instant;

use nesa_client::{Ask, Effect, Finish, Plan, Step};
use nesa_model::Engine;
use nesa_pipeline::Message;

use super::Table;
use crate::net::NetworkError;
use crate::net::session::Session;

/// A finished run over one or two routes.
pub(super) struct Run<'a> {
    pub(super) sessions: Vec<Session<'a>>,
    /// All hidden rows that were sent.
    pub(super) rows: Vec<i32>,
    /// The rows that the routes returned where they first differed, with their position.
    pub(super) parted: Vec<(u32, Vec<i32>)>,
    pub(super) finish: Finish,
    pub(super) first_token_s: f64,
    pub(super) seconds: f64,
}

impl Table<'_> {
    /// Opens the session along every route.
    pub(super) async fn start(&self, plan: &Plan, ask: &Ask) -> Result<Run<'_>, NetworkError> {
        let mut sessions = Vec::new();
        for nodes in [&plan.first, &plan.second] {
            let way: Vec<_> = nodes.iter().copied().zip(plan.ranges.clone()).collect();
            if !way.is_empty() {
                sessions.push(Session::open(self.fleet, &way, ask, self.prepared.root()).await?);
            }
        }
        Ok(Run {
            sessions,
            rows: Vec::new(),
            parted: Vec::new(),
            finish: Finish::Stop,
            first_token_s: 0.0,
            seconds: 0.0,
        })
    }

    /// Sends the same rows along every route until the answer is complete, or the routes differ: no token is
    /// sampled from a row that they do not agree on.
    pub(super) async fn generate(
        &self,
        run: &mut Run<'_>,
        ask: &mut Ask,
        engine: &mut Engine,
    ) -> Result<(), NetworkError> {
        let started = Instant::now();
        let mut under_way = 0usize;
        let mut effects = ask.start()?;
        loop {
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send { start, rows } => {
                        for session in &mut run.sessions {
                            session.send_rows(start, rows.clone()).await?;
                        }
                        run.rows.extend(rows);
                        under_way += 1;
                    }
                    Effect::Text(_) => {}
                    Effect::Done(finish) => {
                        run.finish = finish;
                        run.seconds = started.elapsed().as_secs_f64();
                        return Ok(());
                    }
                }
            }
            let mut all = Vec::new();
            for session in &mut run.sessions {
                all.push(returned(session).await?);
            }
            under_way = under_way.saturating_sub(1);
            let Some((start, row)) = all.first().cloned().filter(|a| all.iter().all(|b| a == b))
            else {
                while under_way > 0 {
                    for session in &mut run.sessions {
                        returned(session).await?;
                    }
                    under_way -= 1;
                }
                run.parted = all;
                return Ok(());
            };
            effects = match ask.on_row(start, row)? {
                Step::Go(effects) => effects,
                Step::Sample(row) => ask.on_logits(&engine.logits(&ask.model().head, &row))?,
            };
            if run.first_token_s == 0.0 && !ask.answer().is_empty() {
                run.first_token_s = started.elapsed().as_secs_f64();
            }
        }
    }
}

/// The next row that the last hop of a route returns.
async fn returned(session: &mut Session<'_>) -> Result<(u32, Vec<i32>), NetworkError> {
    let last = session.route.hops.len() - 1;
    match session.receive(last).await? {
        Message::Rows { start, rows } => Ok((start, rows)),
        _ => Err(session.lost(last, "it answered out of turn")),
    }
}

//! Paying the hops of a session: vouchers before flights, and for what was delivered.

use std::collections::VecDeque;
use std::sync::Arc;

use nesa_codec::Digest;
use nesa_pipeline::Message;
use nesa_pipeline::paid::Pay;

use super::NetworkError;
use super::bank::{Bank, Purse, Server, quarters};
use super::session::Session;

/// The pay of one session over hops.
pub(super) struct Paying {
    pub(super) purse: Arc<Purse>,
    dim: usize,
    /// Flights that wait until enough was delivered.
    held: VecDeque<(u32, Vec<i32>)>,
    /// Positions asked for, and those that came back.
    sent: u64,
    back: u64,
}

impl Paying {
    /// Notes that all positions before `end` came back.
    pub(super) fn returned(&mut self, end: u64) {
        let n = end.min(self.sent).saturating_sub(self.back);
        self.back += n;
        for i in 0.. {
            let layers = self.purse.layers(i);
            if layers == 0 {
                return;
            }
            self.purse.delivered(i, quarters(n, layers));
        }
    }

    pub(super) fn hold(&mut self, start: u32, rows: Vec<i32>) {
        self.held.push_back((start, rows));
    }
}

impl Session<'_> {
    /// Asks every hop for its terms, finds a payment session, and names each hop its lane.
    pub(super) async fn begin_pay(
        &mut self,
        bank: &Bank,
        (dim, capacity): (usize, usize),
    ) -> Result<(), NetworkError> {
        let mut servers = Vec::new();
        for i in 0..self.route.hops.len() {
            self.send(i, &Message::Pay(Pay::Quote)).await?;
            let Message::Pay(Pay::Terms(terms)) = self.receive(i).await? else {
                return Err(self.lost(i, "it answered out of turn"));
            };
            let (peer, _, first, end) = self.route.hops[i];
            servers.push(Server {
                peer,
                layers: end - first,
                terms,
            });
        }
        let purse = bank
            .purse(self.route.served, servers, capacity as u64)
            .await?;
        for i in 0..self.route.hops.len() {
            self.send(i, &Message::Pay(purse.lane(i))).await?;
            if !matches!(self.receive(i).await?, Message::Ready) {
                return Err(self.lost(i, "it answered out of turn"));
            }
        }
        self.pay = Some(Paying {
            purse,
            dim,
            held: VecDeque::new(),
            sent: 0,
            back: 0,
        });
        Ok(())
    }

    /// Sends the flights that may go, each behind the vouchers that it needs.
    pub(super) async fn send_paid(&mut self) -> Result<(), NetworkError> {
        loop {
            let Some(pay) = &mut self.pay else {
                return Ok(());
            };
            let Some((start, rows)) = pay.held.pop_front() else {
                return Ok(());
            };
            let n = (rows.len() / pay.dim.max(1)) as u64;
            let purse = Arc::clone(&pay.purse);
            let hops = self.route.hops.len();
            let all = (0..hops).all(|i| purse.may(i, quarters(n, purse.layers(i))));
            if !all && pay.sent > pay.back {
                pay.held.push_front((start, rows));
                return Ok(());
            }
            pay.sent += n;
            for i in 0..hops {
                if let Some(voucher) = purse.before(i, quarters(n, purse.layers(i)))? {
                    self.send(i, &Message::Pay(voucher)).await?;
                }
            }
            self.send(0, &Message::Rows { start, rows }).await?;
        }
    }

    /// Pays every hop for what it delivered, once the evidence holds.
    pub(super) async fn pay_up(&mut self, statements: &[Digest]) -> Result<(), NetworkError> {
        let Some(pay) = &mut self.pay else {
            return Ok(());
        };
        pay.returned(u64::MAX);
        let purse = Arc::clone(&pay.purse);
        for (i, statement) in statements.iter().enumerate() {
            if let Some(voucher) = purse.pay(i, statement)? {
                self.send(i, &Message::Pay(voucher)).await?;
            }
        }
        Ok(())
    }
}

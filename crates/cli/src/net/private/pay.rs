//! Paying the holders of a private session: a lane each, vouchers before flights.

use std::collections::VecDeque;
use std::sync::Arc;

use nesa_client::hss::Private;
use nesa_client::pay::PayError;
use nesa_codec::Digest;
use nesa_pipeline::paid::Pay as Word;
use nesa_pipeline::share::{Message, SignedHolder};

use super::streams::{ANSWER_MAX, Session};
use crate::net::NetworkError;
use crate::net::bank::{Purse, Server};

/// Rows of shares per position of a text: limbs, and rows that were guessed ahead.
const ROWS_PER_POSITION: u64 = 16;

/// The pay of one private session.
pub(super) struct Pay {
    purse: Arc<Purse>,
    /// The lane of each holder.
    lanes: Vec<Option<usize>>,
    /// Quarters of work of flights that are under way, by holder.
    under_way: Vec<VecDeque<u64>>,
}

impl Pay {
    /// The voucher that must come before a flight of so many rows of one product.
    pub(super) fn before(&mut self, holder: usize, rows: u32) -> Result<Option<Word>, PayError> {
        let Some(lane) = self.lanes.get(holder).copied().flatten() else {
            return Ok(None);
        };
        let quarters = u64::from(rows);
        let voucher = self.purse.before(lane, quarters)?;
        if let Some(flights) = self.under_way.get_mut(holder) {
            flights.push_back(quarters);
        }
        Ok(voucher)
    }

    /// A holder answered its oldest flight.
    pub(super) fn answered(&mut self, holder: usize) {
        let lane = self.lanes.get(holder).copied().flatten();
        let oldest = self.under_way.get_mut(holder).and_then(VecDeque::pop_front);
        if let (Some(lane), Some(quarters)) = (lane, oldest) {
            self.purse.delivered(lane, quarters);
        }
    }
}

impl Session<'_> {
    /// Asks every holder for its terms, finds a payment session, and names each holder its lane.
    /// Does nothing where nobody is paid.
    pub(super) async fn begin_pay(
        &mut self,
        private: &Private,
        model: Digest,
        positions: u64,
    ) -> Result<(), NetworkError> {
        let Some(bank) = &self.fleet.bank else {
            return Ok(());
        };
        let (mut servers, mut lanes) = (Vec::new(), Vec::new());
        for (i, node) in private.placement.nodes().iter().enumerate() {
            let layers = private.placement.layers(i);
            let layers: usize = layers.iter().map(std::iter::ExactSizeIterator::len).sum();
            if layers == 0 {
                lanes.push(None);
                continue;
            }
            self.send(i, &Message::Pay(Word::Quote)).await;
            let Some((from, Some(Message::Pay(Word::Terms(terms))))) = self.next(ANSWER_MAX).await
            else {
                return Err(self.fleet.unreachable(i, "it names no terms of pay"));
            };
            if from != i {
                return Err(self.fleet.unreachable(from, "it answered out of turn"));
            }
            lanes.push(Some(servers.len()));
            servers.push(Server {
                peer: node.peer,
                layers: layers as u32,
                terms,
            });
        }
        let rows = positions.saturating_mul(ROWS_PER_POSITION);
        let purse = bank.purse(model, servers, rows).await?;
        for (i, lane) in lanes.iter().enumerate() {
            let Some(lane) = lane else { continue };
            self.send(i, &Message::Pay(purse.lane(*lane))).await;
            match self.next(ANSWER_MAX).await {
                Some((from, Some(Message::Ready))) if from == i => {}
                Some((from, Some(Message::Refused(refusal)))) => {
                    let (node, operator) = self.fleet.names(from);
                    return Err(NetworkError::Refused {
                        node,
                        operator,
                        refusal,
                    });
                }
                _ => return Err(self.fleet.unreachable(i, "it takes no lane")),
            }
        }
        let under_way = lanes.iter().map(|_| VecDeque::new()).collect();
        self.pay = Some(Pay {
            purse,
            lanes,
            under_way,
        });
        Ok(())
    }

    /// Pays every holder that signed for what it delivered.
    pub(super) async fn pay_up(
        &mut self,
        signed: &[(usize, SignedHolder)],
    ) -> Result<(), NetworkError> {
        for (i, statement) in signed {
            let Some(pay) = &mut self.pay else {
                return Ok(());
            };
            while pay.under_way.get(*i).is_some_and(|u| !u.is_empty()) {
                pay.answered(*i);
            }
            let Some(lane) = pay.lanes.get(*i).copied().flatten() else {
                continue;
            };
            if let Some(voucher) = pay.purse.pay(lane, &statement.statement.digest())? {
                self.send(*i, &Message::Pay(voucher)).await;
            }
        }
        Ok(())
    }

    /// What was not proven is not paid.
    pub(super) fn give_up(&self) {
        if let Some(pay) = &self.pay {
            pay.purse.give_up();
        }
    }

    /// The payment session.
    pub(super) fn purse(&self) -> Option<Arc<Purse>> {
        self.pay.as_ref().map(|p| Arc::clone(&p.purse))
    }
}

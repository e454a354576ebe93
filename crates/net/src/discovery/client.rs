//! Asks a bootstrap node.

use super::{Announced, Message, Page, Query, SignedRecord};
use crate::{Clock, Connection, NetError, Stream, stream_kind};

/// Longest wait for an answer, in ms: an announcement waits for up to four dials back.
pub const REPLY_MS_MAX: u64 = 30_000;

/// A discovery stream to a bootstrap node, one request at a time.
#[derive(Debug)]
pub struct Client<N: Connection, C> {
    stream: Stream<N::Sender, N::Receiver>,
    clock: C,
}

impl<N: Connection, C: Clock> Client<N, C> {
    /// Opens a discovery stream. A peer that keeps the connection is forgotten soon after it
    /// crashes; one that closes it, only when its record expires.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub async fn open(connection: &N, clock: C) -> Result<Self, NetError> {
        let stream = connection.open(stream_kind::DISCOVERY).await?;
        Ok(Self { stream, clock })
    }

    /// Announces the caller's record and learns which of its addresses answer. The caller must be
    /// accepting connections meanwhile: the bootstrap node dials back.
    ///
    /// # Errors
    /// [`NetError::Discovery`] with the refusal, or those of the stream.
    pub async fn announce(&mut self, record: SignedRecord) -> Result<Announced, NetError> {
        match self.ask(Message::Announce(record)).await? {
            Message::Announced(a) => Ok(a),
            other => Err(unexpected(&other)),
        }
    }

    /// One page of records; every record is checked to be signed by its peer, and those that are
    /// over by the caller's clock are left out.
    ///
    /// # Errors
    /// [`NetError::Discovery`], also for records that do not verify, or those of the stream.
    pub async fn list(&mut self, query: Query) -> Result<Page, NetError> {
        let mut page = self.page(query).await?;
        let now_ms = self.clock.now_ms();
        page.records.retain(|s| s.record.expires_ms > now_ms);
        Ok(page)
    }

    /// All records that match, at most `records_max`.
    ///
    /// # Errors
    /// As [`Client::list`].
    pub async fn list_all(
        &mut self,
        mut query: Query,
        records_max: usize,
    ) -> Result<Vec<SignedRecord>, NetError> {
        let mut all: Vec<SignedRecord> = Vec::new();
        loop {
            let page = self.page(query).await?;
            let last = page.records.last().map(|s| s.record.peer);
            all.extend(page.records);
            // A page that does not advance would never end.
            if !page.more || all.len() >= records_max || last <= query.after {
                let now_ms = self.clock.now_ms();
                all.truncate(records_max);
                all.retain(|s| s.record.expires_ms > now_ms);
                return Ok(all);
            }
            query.after = last;
        }
    }

    async fn page(&mut self, query: Query) -> Result<Page, NetError> {
        let page = match self.ask(Message::List(query)).await? {
            Message::Page(page) => page,
            other => return Err(unexpected(&other)),
        };
        // Signatures only: which records are over is decided by the caller's clock later.
        let verified = page.records.iter().try_for_each(|s| s.verify(0));
        verified.map_err(NetError::Discovery)?;
        Ok(page)
    }

    /// Takes the caller's record of `epoch` or earlier off the list.
    ///
    /// # Errors
    /// [`NetError::Discovery`] if a later one is listed, or those of the stream.
    pub async fn leave(&mut self, epoch: u64) -> Result<(), NetError> {
        match self.ask(Message::Leave { epoch }).await? {
            Message::Left => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&mut self, request: Message) -> Result<Message, NetError> {
        self.stream.send(request.to_frame()).await?;
        let clock = self.clock.clone();
        let answer = tokio::select! {
            biased;
            answer = self.stream.recv() => answer?,
            () = clock.sleep(REPLY_MS_MAX) => {
                return Err(NetError::Unexpected { what: "no answer to a discovery request" });
            }
        };
        let frame = answer.ok_or(NetError::Unexpected {
            what: "the bootstrap node ended the stream",
        })?;
        Message::from_frame(&frame).map_err(|source| NetError::Malformed {
            what: "discovery answer",
            source,
        })
    }
}

fn unexpected(message: &Message) -> NetError {
    match message {
        Message::Refused(refusal) => NetError::Discovery(*refusal),
        _ => NetError::Unexpected {
            what: "an answer to another discovery request",
        },
    }
}

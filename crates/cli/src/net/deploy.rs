//! Give each node its range of blocks: offer, answer what it still needs, wait until it serves.

use nesa_client::{Placement, Plan};
use nesa_codec::Encode;
use nesa_net::{Connection, Frame, stream_kind};
use nesa_pipeline::deploy::{CHUNK_BYTES_MAX, Message};
use nesa_storage::ModelDir;

use super::NetworkError;
use super::fleet::{Fleet, split};

/// Offers every node its part of `model` and sends what it lacks. `sent` is told of bytes sent.
///
/// # Errors
/// [`NetworkError::Unreachable`], [`NetworkError::Refused`] (for example: a shard that does not
/// fit the node's memory).
pub async fn deploy(
    fleet: &Fleet,
    model: &ModelDir,
    sent: &dyn Fn(u64),
) -> Result<(), NetworkError> {
    let ranges = split(model.manifest().shape.layers, fleet.nodes.len());
    for (i, range) in ranges.iter().enumerate() {
        one(fleet, i, model, range.start as u32, range.end as u32, sent).await?;
    }
    Ok(())
}

/// Offers every node the layers of which it holds shares.
///
/// # Errors
/// As [`deploy`].
pub async fn shares(
    fleet: &Fleet,
    model: &ModelDir,
    placement: &Placement,
    sent: &dyn Fn(u64),
) -> Result<(), NetworkError> {
    for i in 0..fleet.nodes.len() {
        for range in placement.layers(i) {
            one(fleet, i, model, range.start as u32, range.end as u32, sent).await?;
        }
    }
    Ok(())
}

/// Offers every node of `plan` the layers that it runs, first or second.
///
/// # Errors
/// As [`deploy`].
pub async fn replicas(fleet: &Fleet, model: &ModelDir, plan: &Plan) -> Result<(), NetworkError> {
    for nodes in [&plan.first, &plan.second] {
        for (i, range) in nodes.iter().zip(&plan.ranges) {
            let (first, end) = (range.start as u32, range.end as u32);
            one(fleet, *i, model, first, end, &|_| ()).await?;
        }
    }
    Ok(())
}

async fn one(
    fleet: &Fleet,
    i: usize,
    model: &ModelDir,
    first: u32,
    end: u32,
    sent: &dyn Fn(u64),
) -> Result<(), NetworkError> {
    let lost = |e: &dyn std::fmt::Display| fleet.unreachable(i, e.to_string());
    let connection = fleet.connection(i).await?;
    let mut stream = connection
        .open(stream_kind::SHARD)
        .await
        .map_err(|e| lost(&e))?;
    let offer = Message::Offer {
        manifest: model.manifest().to_bytes(),
        first,
        end,
    };
    let frame = |m: &Message| Frame::new(m.kind(), m.payload());
    stream.send(frame(&offer)).await.map_err(|e| lost(&e))?;
    loop {
        let answer = stream.recv().await.map_err(|e| lost(&e))?;
        let answer = answer.ok_or_else(|| lost(&"it closed the transfer"))?;
        match Message::decode(answer.kind, &answer.payload).map_err(|e| lost(&e))? {
            Message::Need { part, offset } => {
                let bytes = model.part_bytes(part)?;
                let total = bytes.len() as u64;
                let rest = bytes
                    .get(offset as usize..)
                    .ok_or_else(|| lost(&"it asks beyond a part"))?;
                for chunk in rest.chunks(CHUNK_BYTES_MAX) {
                    let m = Message::Chunk {
                        total,
                        bytes: chunk.to_vec(),
                    };
                    stream.send(frame(&m)).await.map_err(|e| lost(&e))?;
                    sent(chunk.len() as u64);
                }
            }
            Message::Serving => return Ok(()),
            Message::Refused(refusal) => {
                let (node, operator) = fleet.names(i);
                return Err(NetworkError::Refused {
                    node,
                    operator,
                    refusal,
                });
            }
            Message::Offer { .. } | Message::Chunk { .. } => {
                return Err(lost(&"it answers an offer with another message"));
            }
        }
    }
}

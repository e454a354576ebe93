//! The end of an answer: signatures, opened cells, the verdict.

use nesa_client::{Ask, Assurance, Evidence, blame};
use nesa_codec::Digest;
use nesa_model::Engine;
use nesa_pipeline::Message;
use nesa_proof::verify::{Level, Verdict};
use nesa_proof::{Bundle, SignedHop};

use super::NetworkError;
use super::answer::BlockSource;
use super::checking::CheckCost;
use super::session::Session;

/// Collects signatures, opens the drawn cells and recomputes them.
pub(super) async fn collect(
    session: &mut Session<'_>,
    ask: &Ask,
    assurance: Assurance,
    engine: &mut Engine,
    blocks: &mut BlockSource<'_>,
) -> Result<(Bundle, Verdict, Option<CheckCost>), NetworkError> {
    let (hops, rows) = signatures(session).await?;
    let route = session.route.clone();
    // Every hop has signed, after all its sums.
    let checked = match session.checking.take() {
        Some(checking) => Some(checking.end().await?),
        None => None,
    };
    let mut evidence = match checked {
        Some((checker, _)) if checker.violation().is_some() => {
            return Err(blame(&hops, checker).into());
        }
        _ => Evidence::new(ask, &route, assurance, hops, rows)?,
    };
    let mut cost = None;
    if let Some((checker, spent)) = checked {
        evidence.checked(checker)?;
        cost = Some(spent);
    }
    let (bundle, verdict) = conclude(session, evidence, assurance, engine, blocks).await?;
    Ok((bundle, verdict, cost))
}

/// Opens the drawn cells, recomputes them, and writes the receipt.
pub(super) async fn conclude(
    session: &mut Session<'_>,
    mut evidence: Evidence<'_>,
    assurance: Assurance,
    engine: &mut Engine,
    blocks: &mut BlockSource<'_>,
) -> Result<(Bundle, Verdict), NetworkError> {
    for (hop, layer, positions) in evidence.challenges() {
        session
            .send(hop, &Message::Challenge { layer, positions })
            .await?;
        match session.receive(hop).await? {
            Message::Opened(opening) => evidence.opened(*opening),
            _ => return Err(session.lost(hop, "it answered out of turn")),
        }
    }
    let verdict = evidence.verify(blocks, engine)?;
    let least = match assurance {
        Assurance::Receipt => Level::Receipt,
        Assurance::Spot(_) => Level::Spot,
        Assurance::Checked => Level::Checked,
        Assurance::Refereed => Level::Refereed,
    };
    if verdict.level < least {
        return Err(NetworkError::Assurance {
            asked: assurance.name(),
            obtained: verdict.level,
        });
    }
    let sign = |digest: &[u8]| session.fleet.sign(digest);
    Ok((evidence.bundle(session.fleet.client(), &sign), verdict))
}

/// Ends the session: every hop's signature, and the digests of the last one's rows.
pub(super) async fn signatures(
    session: &mut Session<'_>,
) -> Result<(Vec<SignedHop>, Vec<Digest>), NetworkError> {
    let n = session.route.hops.len();
    for i in 0..n {
        session.send(i, &Message::Finish).await?;
    }
    let mut signed: Vec<Option<SignedHop>> = vec![None; n];
    let mut rows = Vec::new();
    while signed.iter().any(Option::is_none) {
        match session.any().await? {
            (i, Message::Signed { hop, output_rows }) => {
                signed[i] = Some(*hop);
                if i == n - 1 {
                    rows = output_rows;
                }
            }
            (i, _) => return Err(session.lost(i, "it answered out of turn")),
        }
    }
    Ok((signed.into_iter().flatten().collect(), rows))
}

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
    enough(assurance, verdict.level)?;
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

/// Whether the level that was re-established is the one that was asked for, or a higher one.
fn enough(asked: Assurance, obtained: Level) -> Result<(), NetworkError> {
    let least = match asked {
        Assurance::Receipt => Level::Receipt,
        Assurance::Spot(_) => Level::Spot,
        Assurance::Checked => Level::Checked,
        Assurance::Refereed => Level::Refereed,
    };
    if obtained < least {
        let asked = asked.name();
        return Err(NetworkError::Assurance { asked, obtained });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nesa_client::Cells;

    use super::*;
    use crate::Failure;

    #[test]
    fn less_evidence_than_asked_ends_with_code_4_and_says_what_there_is() {
        let spot = Assurance::Spot(Cells::Count(1));
        let asked = [
            Assurance::Receipt,
            spot,
            Assurance::Checked,
            Assurance::Refereed,
        ];
        let obtained = [Level::Receipt, Level::Spot, Level::Checked, Level::Refereed];
        for (i, asked) in asked.into_iter().enumerate() {
            for (j, level) in obtained.into_iter().enumerate() {
                let answer = enough(asked, level);
                assert_eq!(answer.is_ok(), j >= i, "{asked:?} {level:?}");
                if let Err(e) = answer {
                    let failure = Failure::from(e);
                    assert_eq!(failure.code, 4);
                    let text = failure.error.to_string();
                    assert!(text.contains(asked.name()), "{text}");
                }
            }
        }
    }
}

//! The engine's votes and certificates in words that need no engine.

use commonware_codec::{Encode as _, ReadExt as _};
use commonware_consensus::simplex::scheme::ed25519::Scheme;
use commonware_consensus::simplex::types as engine;
use commonware_cryptography::certificate::Attestation;
use commonware_cryptography::sha256::Digest as EngineDigest;
use nesa_finality::{Certificate, Domain, Evidence, Proposal, Statement, ValidatorSet, Vote};

use crate::block::read_digest;

/// A finalization of the engine.
pub(crate) type Finalization = engine::Finalization<Scheme, EngineDigest>;
/// What the engine reports.
pub(crate) type Activity = engine::Activity<Scheme, EngineDigest>;

fn proposal(p: &engine::Proposal<EngineDigest>) -> Proposal {
    Proposal {
        epoch: p.round.epoch().get(),
        view: p.round.view().get(),
        parent_view: p.parent.get(),
        block: read_digest(&p.payload),
    }
}

fn signature(bytes: &[u8]) -> Option<[u8; 64]> {
    bytes.try_into().ok()
}

/// The certificate of a finalization.
pub(crate) fn certificate(f: &Finalization) -> Option<Certificate> {
    let votes = f.certificate.signers.iter().zip(&f.certificate.signatures);
    let votes = votes.map(|(signer, bytes)| {
        let index = u8::try_from(signer.get()).ok()?;
        Some((index, signature(bytes.get()?.as_ref())?))
    });
    Some(Certificate {
        proposal: proposal(&f.proposal),
        signatures: votes.collect::<Option<_>>()?,
    })
}

fn vote(statement: Statement, attestation: &Attestation<Scheme>) -> Option<Vote> {
    let signature = signature(attestation.signature.get()?.as_ref())?;
    Some(Vote {
        statement,
        signature,
    })
}

fn notarize(v: &engine::Notarize<Scheme, EngineDigest>) -> Option<Vote> {
    vote(Statement::Notarize(proposal(&v.proposal)), &v.attestation)
}

fn finalize(v: &engine::Finalize<Scheme, EngineDigest>) -> Option<Vote> {
    vote(Statement::Finalize(proposal(&v.proposal)), &v.attestation)
}

fn nullify(v: &engine::Nullify<Scheme>) -> Option<Vote> {
    let statement = Statement::Nullify {
        epoch: v.round.epoch().get(),
        view: v.round.view().get(),
    };
    vote(statement, &v.attestation)
}

/// The evidence in a report, if it is one of a contradiction and its signatures hold.
pub(crate) fn evidence(
    activity: &Activity,
    domain: &Domain,
    validators: &ValidatorSet,
) -> Option<Evidence> {
    let (signer, first, second) = match activity {
        Activity::ConflictingNotarize(conflict) => {
            let mut bytes = conflict.encode();
            let first = engine::Notarize::<Scheme, EngineDigest>::read(&mut bytes).ok()?;
            let second = engine::Notarize::<Scheme, EngineDigest>::read(&mut bytes).ok()?;
            (
                first.attestation.signer,
                notarize(&first)?,
                notarize(&second)?,
            )
        }
        Activity::ConflictingFinalize(conflict) => {
            let mut bytes = conflict.encode();
            let first = engine::Finalize::<Scheme, EngineDigest>::read(&mut bytes).ok()?;
            let second = engine::Finalize::<Scheme, EngineDigest>::read(&mut bytes).ok()?;
            (
                first.attestation.signer,
                finalize(&first)?,
                finalize(&second)?,
            )
        }
        Activity::NullifyFinalize(conflict) => {
            let mut bytes = conflict.encode();
            let first = engine::Nullify::<Scheme>::read(&mut bytes).ok()?;
            let second = engine::Finalize::<Scheme, EngineDigest>::read(&mut bytes).ok()?;
            (
                first.attestation.signer,
                nullify(&first)?,
                finalize(&second)?,
            )
        }
        _ => return None,
    };
    let validator = *validators.keys().get(signer.get() as usize)?;
    let evidence = Evidence {
        validator,
        first,
        second,
    };
    evidence.check(domain).ok()?;
    Some(evidence)
}

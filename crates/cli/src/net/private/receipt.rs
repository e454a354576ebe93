//! What stays of a private answer: the receipt, and evidence against holders that lied.

use nesa_client::hss::{Liar, Machine};
use nesa_client::{Privacy, PrivateAsk};
use nesa_codec::Encode;
use nesa_model::spec::spec_digest;
use nesa_proof::share::{SignedHolder, WrongAnswer};
use nesa_proof::{Bundle, Holding, Inference};
use nesa_storage::disk::{self, Access};

use super::PrivateModel;
use super::model::renew;
use crate::net::NetworkError;
use crate::net::answer::random;
use crate::net::fleet::Fleet;

/// The signed receipt of a finished answer.
pub(super) fn bundle(
    fleet: &Fleet,
    ask: &PrivateAsk,
    private: &PrivateModel,
    signed: Vec<(usize, SignedHolder)>,
) -> Result<Bundle, NetworkError> {
    let parts = ask.private();
    let (placement, scheme) = (&parts.placement, parts.placement.scheme());
    let operators = signed
        .iter()
        .map(|(i, _)| placement.nodes()[*i].operator.clone());
    let inference = Inference {
        model: ask.model().manifest.root(),
        spec: spec_digest(),
        privacy: Privacy::Hss.name().to_owned(),
        leakage: ask.traffic().leakage(placement, private.sharing.padding),
        salt: random()?,
        prompt: ask.request().prompt.clone(),
        answer: ask.answer().to_vec(),
        sampling: ask.request().sampling,
        rows: ask.rows().to_vec(),
        output_rows: Vec::new(),
        operators: operators.collect(),
    };
    let identity = fleet.identity();
    let namespace = nesa_net::Namespace::new(nesa_proof::statement::SIGN_NAMESPACE);
    let sign = |digest: &[u8]| identity.sign(namespace, digest);
    let bundle = Bundle {
        inference,
        hops: Vec::new(),
        seconds: Vec::new(),
        holders: Holding {
            threshold: scheme.t() as u8,
            points: scheme.n() as u8,
            signed: signed.into_iter().map(|(_, s)| s).collect(),
        },
        nonce: random()?,
        cells: 0,
        openings: Vec::new(),
        client: fleet.client(),
        signature: [0; 64],
    };
    let bundle = bundle.signed(&sign);
    let layers = ask.model().manifest.shape.layers as u32;
    nesa_proof::holding::check(&bundle, Some(layers)).map_err(nesa_client::ClientError::from)?;
    Ok(bundle)
}

/// What ended a session: a holder that signed a wrong answer, with its evidence, or else `e`.
pub(super) fn blame(
    e: NetworkError,
    fleet: &Fleet,
    private: &PrivateModel,
    liars: &[Liar],
) -> Result<NetworkError, NetworkError> {
    let convicted = convict(private, liars)?;
    let Some(i) = liars.iter().rposition(|l| l.signed.is_some()) else {
        return Ok(e);
    };
    let (node, operator) = fleet.names(liars[i].holder);
    let path = convicted.get(i).and_then(|(_, path)| path.as_deref());
    Ok(NetworkError::Lied {
        node,
        operator,
        evidence: path.map_or_else(String::new, |p| format!(" (evidence: {p})")),
    })
}

/// Writes the evidence against every holder that signed a wrong answer; paths by holder. Whoever lied
/// may have hoped to learn of the check keys, so that they are made anew for the next call.
pub(super) fn convict(
    private: &PrivateModel,
    liars: &[Liar],
) -> Result<Vec<(usize, Option<String>)>, NetworkError> {
    let mut all = Vec::new();
    for liar in liars {
        let mut path = None;
        if let Some((statement, signature, share, answer)) = liar.signed.clone() {
            let common = private.model.open_common()?;
            let block = private.model.open_layer(statement.layer, &common)?;
            let manifest = private.model.manifest();
            let wrong = WrongAnswer::find(statement, signature, share, answer, manifest, &block);
            if let Some(wrong) = wrong {
                let name = random()?.to_string();
                let at = private
                    .home
                    .receipts()?
                    .join(format!("{}.nesawrong", &name[..16]));
                disk::write(&at, &wrong.to_bytes(), Access::Owner)
                    .map_err(nesa_storage::Error::from)?;
                path = Some(at.display().to_string());
            }
        }
        all.push((liar.holder, path));
    }
    if liars.iter().any(|l| l.signed.is_some()) {
        renew(&private.home, &private.model.root())?;
    }
    Ok(all)
}

//! A statement with its proof, as one file.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Reader, Writer};
use nesa_decision::{Decision, Model, limits, mlp::narrow};

use super::mlp::{self, MlpProof};
use super::trees::{self, TreesProof};
use super::{DECISIONS_MAX, Refusal, Rejection};
use crate::packing;

/// What a file begins with.
const MARK: &[u8; 8] = b"nesadec1";
/// Most values of all rows together.
pub const VALUES_MAX: usize = 1 << 22;
/// Most scores of all decisions together.
const SCORES_MAX: usize = 1 << 20;
/// Kind of boosted trees; that of [`nesa_decision::Model`]'s encoding.
const TREES: u8 = 0;
/// Kind of a perceptron; that of [`nesa_decision::Model`]'s encoding.
const MLP: u8 = 1;

/// That a model decided rows as stated.
#[derive(Debug, Clone)]
pub struct DecisionProof {
    /// Root of the model.
    pub model: Digest,
    /// Values of a row.
    pub width: usize,
    /// (decisions, width): quantised rows.
    pub rows: Vec<i32>,
    /// (decisions, scores).
    pub scores: Vec<i64>,
    /// The proof.
    pub body: Body,
}

/// The proof of each kind of model.
#[derive(Debug, Clone)]
pub enum Body {
    /// Boosted trees.
    Trees(TreesProof),
    /// A perceptron.
    Mlp(MlpProof),
}

impl DecisionProof {
    /// Decides `rows` (decisions, width) by `model` and proves it.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn prove(model: &Model, rows: &[i32]) -> Result<Self, Refusal> {
        let width = model.width();
        let n = rows.len() / width.max(1);
        if rows.len() != n * width || rows.len() > VALUES_MAX {
            return Err(Refusal::Size("number of values"));
        }
        if n == 0 || n > DECISIONS_MAX || n * model.schema().scores() > SCORES_MAX {
            return Err(Refusal::Size("number of decisions"));
        }
        let mut scores = Vec::new();
        for row in rows.chunks_exact(width) {
            let decision = model.decide(row);
            scores.extend(
                decision
                    .map_err(|_| Refusal::Size("value of a row"))?
                    .scores,
            );
        }
        let root = model.root();
        let body = match model {
            Model::Mlp(m) => {
                let rows = narrow(rows).map_err(|_| Refusal::Size("value of a row"))?;
                Body::Mlp(mlp::prove(&mlp::Statement {
                    model: &root,
                    mlp: m,
                    rows: &rows,
                    scores: &scores,
                })?)
            }
            Model::Trees(m) => Body::Trees(trees::prove(&trees::Statement {
                model: &root,
                trees: m,
                rows,
                scores: &scores,
            })?),
        };
        Ok(Self {
            model: root,
            width,
            rows: rows.to_vec(),
            scores,
            body,
        })
    }

    /// Accepts exactly if `model` has the stated root and decides the rows as stated, but for an error of at
    /// most `2^-100`.
    ///
    /// # Errors
    /// [`Rejection`].
    pub fn verify(&self, model: &Model) -> Result<(), Rejection> {
        if model.root() != self.model {
            return Err(Rejection::Model);
        }
        if self.width != model.width() {
            return Err(Rejection::Statement("rows"));
        }
        match (&self.body, model) {
            (Body::Mlp(proof), Model::Mlp(m)) => {
                let rows = narrow(&self.rows).map_err(|_| Rejection::Statement("rows"))?;
                let s = mlp::Statement {
                    model: &self.model,
                    mlp: m,
                    rows: &rows,
                    scores: &self.scores,
                };
                mlp::verify(&s, proof)
            }
            (Body::Trees(proof), Model::Trees(m)) => {
                let s = trees::Statement {
                    model: &self.model,
                    trees: m,
                    rows: &self.rows,
                    scores: &self.scores,
                };
                trees::verify(&s, proof)
            }
            _ => Err(Rejection::Statement("kind of model")),
        }
    }

    /// Rows that are decided.
    #[must_use]
    pub fn decisions(&self) -> usize {
        self.rows.len() / self.width.max(1)
    }

    /// The decisions that the scores mean under `model`.
    #[must_use]
    pub fn decided(&self, model: &Model) -> Vec<Decision> {
        let schema = model.schema();
        let each = self.scores.chunks_exact(schema.scores().max(1));
        each.map(|s| schema.decision(s.to_vec())).collect()
    }

    /// Everything that the proof shows to whoever holds it.
    #[must_use]
    pub fn disclosed(&self) -> Vec<String> {
        let n = self.decisions();
        let mut all = vec![
            format!("the root of the model, {}", self.model),
            format!("{n} quantised rows of {} values", self.width),
            format!("{n} decisions with their scores"),
        ];
        match &self.body {
            Body::Mlp(proof) => all.extend(proof.stated.disclosed()),
            Body::Trees(_) => {}
        }
        all.push("some random combinations of all values between rows and scores".into());
        all
    }
}

impl Encode for DecisionProof {
    fn encode(&self, w: &mut Writer) {
        w.raw(MARK);
        w.u8(match &self.body {
            Body::Trees(_) => TREES,
            Body::Mlp(_) => MLP,
        });
        w.digest(&self.model);
        w.len(self.decisions());
        w.len(self.width);
        packing::write(w, &self.rows, self.width);
        w.len(self.scores.len());
        for s in &self.scores {
            w.i64(*s);
        }
        match &self.body {
            Body::Trees(proof) => proof.encode(w),
            Body::Mlp(proof) => proof.encode(w),
        }
    }
}

impl Decode for DecisionProof {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.raw(MARK.len())? != MARK {
            return Err(DecodeError::Invalid("mark of a decision proof"));
        }
        let kind = r.u8()?;
        let model = r.digest()?;
        let (n, width) = (r.len(DECISIONS_MAX)?, r.len(limits::COLUMNS)?);
        // Channels without bits have no bytes: the product is bounded before anything is unpacked.
        if n == 0 || n.saturating_mul(width) > VALUES_MAX {
            return Err(DecodeError::Invalid("number of values"));
        }
        let (rows, dim) = packing::read(r, n, width)?;
        if dim != width || rows.len() != n * width {
            return Err(DecodeError::Invalid("packed rows"));
        }
        let mut scores = Vec::new();
        for _ in 0..r.len(SCORES_MAX)? {
            scores.push(r.i64()?);
        }
        let body = match kind {
            TREES => Body::Trees(TreesProof::decode(r)?),
            MLP => Body::Mlp(MlpProof::decode(r)?),
            _ => return Err(DecodeError::Invalid("kind of decision proof")),
        };
        Ok(Self {
            model,
            width,
            rows,
            scores,
            body,
        })
    }
}

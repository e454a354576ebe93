//! A multi-layer perceptron of the integer model's own operators: linear layers, then tables.
//!
//! `x[0]` is the quantised row; `x[k+1] = table(linear(x[k]))`, without a table where the layer has
//! none; what the last layer gives are the scores. Between layers values have 16 bits.

use nesa_codec::{Decode, DecodeError, Digest, Encode, Hasher, Reader, Writer, merkle};
use nesa_model::spec::{ACT_MAX, LOGIT_MAX};
use nesa_model::{Linear, Table};

use crate::trees::width;
use crate::{Decision, DecisionError, Schema, limits, refused};

/// Bits that a sum may have: what the rounding rule takes.
const SUM_MAX: i64 = 1 << 62;

/// How a feature becomes an activation at the client's edge: `round((x − offset) / step)`, clamped to
/// 16 bits; both constants as the bits of finite doubles, the step above zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Affine {
    /// Bits of the double that becomes 0.
    pub offset: u64,
    /// Bits of the double that is one step.
    pub step: u64,
}

/// A linear layer and the table behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// The linear layer, without lift; its clamp is [`ACT_MAX`], that of the last layer [`LOGIT_MAX`].
    pub linear: Linear,
    /// Index of the table, if there is one; the last layer has none.
    pub table: Option<u8>,
}

/// What a layer did to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerTrace {
    /// (rows): exact sums with bias.
    pub sums: Vec<i64>,
    /// (rows): rounded and clamped.
    pub rounded: Vec<i32>,
    /// (rows): behind the table; as `rounded` where there is none, empty for the last layer.
    pub activations: Vec<i16>,
}

/// A perceptron.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mlp {
    schema: Schema,
    inputs: Vec<Affine>,
    tables: Vec<Table>,
    layers: Vec<Layer>,
}

impl Mlp {
    /// A perceptron; widths must follow from one another and every table must be used.
    ///
    /// # Errors
    /// [`DecisionError::Invalid`].
    pub fn new(
        schema: Schema,
        inputs: Vec<Affine>,
        tables: Vec<Table>,
        layers: Vec<Layer>,
    ) -> Result<Self, DecisionError> {
        let bad = |what| Err(DecisionError::Invalid(what));
        if inputs.len() != schema.features().len() || !inputs.iter().all(Affine::is_valid) {
            return bad("input scale");
        }
        if layers.is_empty() || layers.len() > limits::LAYERS || tables.len() > limits::TABLES {
            return bad("number of layers or tables");
        }
        if tables.iter().any(|t| t.values().contains(&i16::MIN)) {
            return bad("value of a table");
        }
        let mut used = vec![false; tables.len()];
        let (mut cols, last) = (inputs.len(), layers.len() - 1);
        for (i, layer) in layers.iter().enumerate() {
            let l = &layer.linear;
            let clamp = if i == last { LOGIT_MAX } else { ACT_MAX };
            if l.cols != cols || l.rows > limits::WIDTH || l.clamp != clamp || l.lift != 0 {
                return bad("shape of a layer");
            }
            if (0..l.rows).any(|r| l.row_bound(r, ACT_MAX) >= SUM_MAX) {
                return bad("a sum beyond 62 bits");
            }
            match layer.table {
                Some(t) if i < last && usize::from(t) < tables.len() => used[usize::from(t)] = true,
                None => {}
                Some(_) => return bad("table of a layer"),
            }
            cols = l.rows;
        }
        if cols != schema.scores() || used.contains(&false) {
            return bad("number of scores or an unused table");
        }
        Ok(Self {
            schema,
            inputs,
            tables,
            layers,
        })
    }

    /// Names of features and classes.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// (features): how each one is quantised.
    #[must_use]
    pub fn inputs(&self) -> &[Affine] {
        &self.inputs
    }

    /// The layers, in order.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The tables that layers name by index.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// The table behind layer `index`.
    #[must_use]
    pub fn table(&self, index: usize) -> Option<&Table> {
        let t = self.layers.get(index)?.table?;
        self.tables.get(usize::from(t))
    }

    /// What every layer does to `row` (features).
    ///
    /// # Errors
    /// [`DecisionError::Width`].
    pub fn trace(&self, row: &[i16]) -> Result<Vec<LayerTrace>, DecisionError> {
        width(self.inputs.len(), row.len())?;
        let mut x = row.to_vec();
        let mut out = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let l = &layer.linear;
            let sums = (0..l.rows).map(|r| l.sum(r, &x)).collect();
            let rounded = l.apply(&x);
            let activations = if i + 1 == self.layers.len() {
                Vec::new()
            } else {
                let table = self.table(i);
                let value = |v: &i32| {
                    let v = *v as i16;
                    table.map_or(v, |t| t.get(v))
                };
                rounded.iter().map(value).collect()
            };
            x.clone_from(&activations);
            out.push(LayerTrace {
                sums,
                rounded,
                activations,
            });
        }
        Ok(out)
    }

    /// The decision on `row` (features).
    ///
    /// # Errors
    /// [`DecisionError::Width`].
    pub fn decide(&self, row: &[i16]) -> Result<Decision, DecisionError> {
        let trace = self.trace(row)?;
        let last = trace.last().map(|t| t.rounded.as_slice());
        let scores = last.unwrap_or_default().iter().map(|v| i64::from(*v));
        Ok(self.schema.decision(scores.collect()))
    }

    /// The root: schema, input scales, then tables and layers as Merkle leaves.
    #[must_use]
    pub fn root(&self) -> Digest {
        let mut w = Writer::default();
        w.seq(&self.inputs);
        let tables: Vec<Digest> = self.tables.iter().map(Table::root).collect();
        let layer = |l: &Layer| {
            Hasher::new("nesa.decision.layer.v1")
                .digest(&l.linear.root())
                .u64(u64::from(!l.linear.bias.is_empty()))
                .u64(l.table.map_or(0, |t| u64::from(t) + 1))
                .finish()
        };
        let layers: Vec<Digest> = self.layers.iter().map(layer).collect();
        (self.schema.hash(Hasher::new("nesa.decision.mlp.v1")))
            .bytes(w.as_slice())
            .digest(&merkle::root(&tables))
            .digest(&merkle::root(&layers))
            .finish()
    }
}

impl Affine {
    fn is_valid(&self) -> bool {
        let finite =
            |bits| crate::key::order(bits).is_some_and(|k| k.abs() < crate::key::ORDER_MAX);
        let above = crate::key::order(self.step).is_some_and(|k| k > 0);
        // One zero has one form.
        finite(self.offset) && finite(self.step) && above && self.offset != 1 << 63
    }
}

/// `row` as activations.
///
/// # Errors
/// [`DecisionError::Invalid`] for a value beyond [`ACT_MAX`].
pub fn narrow(row: &[i32]) -> Result<Vec<i16>, DecisionError> {
    let fits = |v: &i32| v.unsigned_abs() <= ACT_MAX.unsigned_abs();
    if row.iter().all(fits) {
        Ok(row.iter().map(|v| *v as i16).collect())
    } else {
        Err(DecisionError::Invalid("an activation beyond 16 bits"))
    }
}

impl Encode for Affine {
    fn encode(&self, w: &mut Writer) {
        w.u64(self.offset);
        w.u64(self.step);
    }
}

impl Decode for Affine {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            offset: r.u64()?,
            step: r.u64()?,
        })
    }
}

impl Encode for Layer {
    fn encode(&self, w: &mut Writer) {
        self.linear.encode(w);
        w.u8(self.table.map_or(0, |t| t + 1));
    }
}

impl Decode for Layer {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let linear = Linear::decode(r)?;
        Ok(Self {
            linear,
            table: r.u8()?.checked_sub(1),
        })
    }
}

impl Encode for Mlp {
    fn encode(&self, w: &mut Writer) {
        self.schema.encode(w);
        w.seq(&self.inputs);
        w.seq(&self.tables);
        w.seq(&self.layers);
    }
}

impl Decode for Mlp {
    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let schema = Schema::decode(r)?;
        let inputs = r.seq(limits::FEATURES)?;
        let tables = r.seq(limits::TABLES)?;
        Self::new(schema, inputs, tables, r.seq(limits::LAYERS)?).map_err(refused)
    }
}

#[cfg(test)]
mod tests;

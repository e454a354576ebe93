//! The configuration beside a model: names, input scales, and the layers of safetensors.
//!
//! ```json
//! {"task": "binary", "features": ["age", "amount"], "classes": ["bad", "good"],
//!  "mean": [35.5, 3271.2], "scale": [11.4, 2822.7],
//!  "layers": [{"weight": "0.weight", "bias": "0.bias", "activation": "relu"}, {"weight": "2.weight"}]}
//! ```

use nesa_decision::{Schema, Task};
use serde_json::Value;

use super::{ImportError, Result};

/// What the configuration says; everything may be absent.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) task: Option<Task>,
    pub(super) features: Option<Vec<String>>,
    pub(super) classes: Option<Vec<String>>,
    /// Subtracted from each feature.
    pub(super) mean: Option<Vec<f64>>,
    /// Divides each feature then.
    pub(super) scale: Option<Vec<f64>>,
    pub(super) layers: Vec<LayerNames>,
}

/// Tensors of one layer by name.
#[derive(Debug)]
pub(super) struct LayerNames {
    /// (outputs, inputs).
    pub(super) weight: String,
    /// (outputs).
    pub(super) bias: Option<String>,
    /// `relu`, `sigmoid`, `tanh`, `gelu`, `gelu_tanh` or `identity`.
    pub(super) activation: Option<String>,
}

fn bad(what: &str) -> ImportError {
    ImportError::Config(what.to_owned())
}

impl Config {
    /// A configuration that names classes alone.
    pub(super) fn named(classes: Option<Vec<String>>) -> Self {
        Self {
            classes,
            ..Self::default()
        }
    }

    pub(super) fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        let v: Value =
            serde_json::from_str(text).map_err(|e| ImportError::Config(e.to_string()))?;
        let v = v.as_object().ok_or_else(|| bad("it is no JSON object"))?;
        let mut out = Self::default();
        for (key, value) in v {
            match key.as_str() {
                "task" => out.task = Some(task(value)?),
                "features" => out.features = Some(strings(value)?),
                "classes" => out.classes = Some(strings(value)?),
                "mean" => out.mean = Some(numbers(value)?),
                "scale" => out.scale = Some(numbers(value)?),
                "layers" => out.layers = layers(value)?,
                other => {
                    return Err(ImportError::Config(format!(
                        "unknown key {other:?}; known are task, features, classes, mean, scale, layers"
                    )));
                }
            }
        }
        Ok(out)
    }

    /// A schema, where `features` and `classes` are what the file itself says.
    pub(super) fn schema(
        &self,
        task: Task,
        features: Vec<String>,
        classes: usize,
        places: u8,
    ) -> Result<Schema> {
        let (count, named) = (features.len(), self.features.clone());
        let features = named.unwrap_or(features);
        if features.len() != count {
            return Err(bad("the number of features is not the model's"));
        }
        let plain = || (0..classes).map(|c| c.to_string()).collect();
        let classes_named = self.classes.clone().filter(|_| classes > 0);
        let names: Vec<String> = classes_named.unwrap_or_else(plain);
        if names.len() != classes {
            return Err(bad("the number of classes is not the model's"));
        }
        Ok(Schema::new(features, names, task, places)?)
    }
}

fn task(v: &Value) -> Result<Task> {
    match v.as_str() {
        Some("binary") => Ok(Task::Binary),
        Some("classes") => Ok(Task::Classes),
        Some("regression") => Ok(Task::Regression),
        _ => Err(bad("task is binary, classes or regression")),
    }
}

fn strings(v: &Value) -> Result<Vec<String>> {
    let all = v.as_array().ok_or_else(|| bad("names are no list"))?;
    let one = |v: &Value| {
        v.as_str()
            .map(str::to_owned)
            .ok_or_else(|| bad("a name is no text"))
    };
    all.iter().map(one).collect()
}

fn numbers(v: &Value) -> Result<Vec<f64>> {
    let all = v
        .as_array()
        .ok_or_else(|| bad("mean and scale are lists"))?;
    let one = |v: &Value| {
        let number = v.as_f64().filter(|x| x.is_finite());
        number.ok_or_else(|| bad("mean or scale holds no number"))
    };
    all.iter().map(one).collect()
}

fn layers(v: &Value) -> Result<Vec<LayerNames>> {
    let all = v.as_array().ok_or_else(|| bad("layers are a list"))?;
    let one = |v: &Value| {
        let text = |key: &str| v.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(LayerNames {
            weight: text("weight").ok_or_else(|| bad("a layer names its weight"))?,
            bias: text("bias"),
            activation: text("activation"),
        })
    };
    all.iter().map(one).collect()
}

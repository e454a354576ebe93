//! Perceptrons from safetensors: the configuration names the tensors of every layer.

use nesa_checkpoint::safetensors::Header;
use nesa_decision::{Task, limits};

use super::config::Config;
use super::perceptron::{Float, FloatLayer, Function};
use super::{Format, ImportError, Result};
use crate::float::Mat;

const FORMAT: Format = Format::Safetensors;
const NAME: &str = "the safetensors file";

/// Reads the layers that the configuration names; weights are (outputs, inputs).
pub(super) fn read(bytes: &[u8], config: &Config) -> Result<Float> {
    if config.layers.is_empty() || config.layers.len() > limits::LAYERS {
        let what =
            "safetensors need a configuration with 1 to 32 layers; give it with --config FILE.json";
        return Err(ImportError::Config(what.into()));
    }
    let header = Header::parse(bytes, NAME, bytes.len() as u64);
    let header = header.map_err(|e| FORMAT.malformed(e.to_string()))?;
    let tensor = |name: &str| {
        let t = header.tensors.get(name);
        let t =
            t.ok_or_else(|| FORMAT.malformed(format!("tensor {name:?} is missing or no float")))?;
        let data = usize::try_from(t.offset)
            .ok()
            .zip(usize::try_from(t.len).ok());
        let data = data.and_then(|(o, n)| bytes.get(o..o.checked_add(n)?));
        let data = data.ok_or_else(|| FORMAT.malformed("a tensor is cut off"))?;
        let mut out = Vec::new();
        t.dtype.decode(data, &mut out);
        Ok::<_, ImportError>((t.shape.clone(), out))
    };
    let mut layers = Vec::with_capacity(config.layers.len());
    for l in &config.layers {
        let (shape, data) = tensor(&l.weight)?;
        let max = 1..=limits::WIDTH as u64;
        let [rows, cols] = shape[..] else {
            return Err(FORMAT.malformed("a weight has not two dimensions"));
        };
        if !max.contains(&rows) || !max.contains(&cols) {
            return Err(FORMAT.malformed("size of a weight"));
        }
        let rows = rows as usize;
        let bias = match &l.bias {
            Some(name) => tensor(name)?.1,
            None => vec![0.0; rows],
        };
        if bias.len() != rows {
            return Err(FORMAT.malformed("size of a bias"));
        }
        let function = l.activation.as_deref().map(Function::named).transpose()?;
        layers.push(FloatLayer {
            mat: Mat {
                rows,
                cols: cols as usize,
                data,
                bias,
            },
            function: function.flatten(),
        });
    }
    let rows = layers.last().map_or(0, |l| l.mat.rows);
    let guess = if rows == 1 {
        Task::Binary
    } else {
        Task::Classes
    };
    Float::new(layers, config, guess, None)
}

//! Load a Hugging Face folder with candle and run it on the CPU in F32.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, llama, qwen2};
use serde_json::Value;

use crate::gpt2;

/// One row per position: logits, or hidden states of an encoder.
pub(crate) fn rows(folder: &Path, ids: &[u32]) -> Result<Tensor> {
    let config = config(folder)?;
    if config["model_type"] == "bert" {
        return encode(folder, config, ids);
    }
    let mut model = Model::load(folder, config)?;
    let rows: Result<Vec<Tensor>> = ids
        .iter()
        .enumerate()
        .map(|(position, &id)| model.step(id, position))
        .collect();
    Ok(Tensor::stack(&rows?, 0)?)
}

/// `ids` and the `count` likeliest tokens after them, one by one.
pub(crate) fn greedy(folder: &Path, mut ids: Vec<u32>, count: usize) -> Result<Vec<u32>> {
    let mut model = Model::load(folder, config(folder)?)?;
    let mut position = 0;
    let end = ids.len() + count;
    while let Some(&id) = ids.get(position) {
        let logits = model.step(id, position)?;
        position += 1;
        if position == ids.len() && ids.len() < end {
            ids.push(logits.argmax(D::Minus1)?.to_scalar()?);
        }
    }
    Ok(ids)
}

fn config(folder: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(folder.join("config.json")).context("config.json")?;
    Ok(serde_json::from_str(&text)?)
}

fn weights(folder: &Path) -> Result<VarBuilder<'static>> {
    let bytes = std::fs::read(folder.join("model.safetensors")).context("model.safetensors")?;
    Ok(VarBuilder::from_buffered_safetensors(
        bytes,
        DType::F32,
        &Device::Cpu,
    )?)
}

/// A causal language model with its cache.
enum Model {
    Llama(Box<llama::Llama>, llama::Cache),
    Qwen2(Box<qwen2::ModelForCausalLM>),
    Gpt2(gpt2::Gpt2, Vec<u32>),
}

impl Model {
    fn load(folder: &Path, config: Value) -> Result<Self> {
        let weights = weights(folder)?;
        Ok(match config["model_type"].as_str() {
            Some("llama") => {
                let config: llama::LlamaConfig = serde_json::from_value(config)?;
                let config = config.into_config(false);
                let cache = llama::Cache::new(true, DType::F32, &config, &Device::Cpu)?;
                Self::Llama(Box::new(llama::Llama::load(weights, &config)?), cache)
            }
            Some("qwen2") => {
                let config: qwen2::Config = serde_json::from_value(config)?;
                Self::Qwen2(Box::new(qwen2::ModelForCausalLM::new(&config, weights)?))
            }
            Some("gpt2") => Self::Gpt2(gpt2::Gpt2::load(&config, &weights)?, Vec::new()),
            other => bail!("model type {other:?} is not a causal model of this oracle"),
        })
    }

    /// Logits after `id` at `position`; positions come in order.
    fn step(&mut self, id: u32, position: usize) -> Result<Tensor> {
        let input = Tensor::new(&[[id]], &Device::Cpu)?;
        Ok(match self {
            Self::Llama(model, cache) => model.forward(&input, position, cache)?.flatten_all()?,
            Self::Qwen2(model) => model.forward(&input, position)?.flatten_all()?,
            Self::Gpt2(model, ids) => {
                ids.push(id);
                model.last_logits(ids)?
            }
        })
    }
}

fn encode(folder: &Path, config: Value, ids: &[u32]) -> Result<Tensor> {
    let config: bert::Config = serde_json::from_value(config)?;
    let model = bert::BertModel::load(weights(folder)?, &config)?;
    let ids = Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?;
    Ok(model.forward(&ids, &ids.zeros_like()?, None)?.squeeze(0)?)
}

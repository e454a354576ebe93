//! Read float checkpoints, tokenizers and templates from untrusted files.
//!
//! A [`Checkpoint`] opens a Hugging Face folder (`config.json`, `*.safetensors`,
//! `tokenizer.json`), a `.gguf` file or a glassllm `.npz`, checks every size against the file
//! before anything is allocated, and hands out one tensor at a time under a canonical name and
//! layout, whatever the file called it:
//!
//! ```no_run
//! use nesa_checkpoint::{Checkpoint, LayerTensor, Tensor};
//! # fn main() -> Result<(), nesa_checkpoint::Error> {
//! let checkpoint = Checkpoint::open("SmolLM2-135M-Instruct.Q4_1.gguf".as_ref())?;
//! let query = checkpoint.tensor(Tensor::Layer(0, LayerTensor::Q))?; // (heads * head_dim, dim)
//! assert_eq!(query.cols, checkpoint.config.dim);
//! # Ok(())
//! # }
//! ```
//!
//! # Limits
//! Weights stay on disk until they are asked for; headers are at most [`limits::HEADER_BYTES_MAX`]
//! and all other counts are in [`limits`]. No input makes this crate panic.

mod archive;
pub mod chat;
mod checkpoint;
mod config;
mod decode_stream;
mod dequant;
mod error;
pub mod gguf;
mod gguf_model;
mod gguf_tokenizer;
mod glassllm;
mod hugging_face;
mod json;
pub mod limits;
mod names;
pub mod npz;
pub mod random;
pub mod safetensors;
mod source;
mod tensor;
mod tokenizer;

pub use chat::{ChatTemplate, Message, Segment};
pub use checkpoint::Checkpoint;
pub use config::{Activation, Arch, Config, Pooling};
pub use decode_stream::DecodeStream;
pub use dequant::DType;
pub use error::{Error, Result};
pub use tensor::{LayerTensor, Matrix, Tensor};
pub use tokenizer::Tokenizer;

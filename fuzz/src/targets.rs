//! The decoders under test: one file and one line each.

mod argument;
mod bundle;
mod checkpoint;
mod decided;
mod decision;
mod deploy;
mod dispute;
mod discovery;
mod evidence;
mod frame;
mod gguf;
mod ledger;
mod npz;
mod safetensors;
mod share;
mod template;
mod tokenizer;
mod transcript;
mod wire;
mod wrong;

pub(crate) const TARGETS: &[Target] = &[
    gguf::TARGET,
    safetensors::TARGET,
    npz::TARGET,
    checkpoint::TARGET,
    decided::TARGET,
    decision::TARGET,
    tokenizer::TARGET,
    template::TARGET,
    wire::TARGET,
    deploy::TARGET,
    argument::TARGET,
    bundle::TARGET,
    share::TARGET,
    wrong::TARGET,
    dispute::TARGET,
    transcript::TARGET,
    frame::TARGET,
    discovery::TARGET,
    ledger::TARGET,
    evidence::TARGET,
];

/// A decoder, what to feed it, and what it promises.
pub(crate) struct Target {
    /// Name on the command line and of the corpus folder.
    pub(crate) name: &'static str,
    /// Decode the bytes; the answer tells outcomes apart.
    pub(crate) run: fn(&[u8]) -> String,
    /// Live bytes that are allowed for an input of this many bytes.
    pub(crate) bound: fn(u64) -> u64,
    /// Inputs to start from.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
    /// Words of the format.
    pub(crate) dictionary: &'static [&'static [u8]],
}

/// `ok`, or the error's text.
pub(crate) fn outcome<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

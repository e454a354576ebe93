//! Named limits on everything that an untrusted file can ask for.
//!
//! While a header is parsed, live allocations stay below
//! `HEADER_ALLOC_FACTOR * header bytes + HEADER_ALLOC_BASE`; the fuzz targets assert it.

/// Bytes of a GGUF or safetensors header: 64 MiB holds a vocabulary of one million tokens.
pub const HEADER_BYTES_MAX: u64 = 64 << 20;
/// Live bytes per header byte while a header is parsed.
pub const HEADER_ALLOC_FACTOR: u64 = 16;
/// Live bytes beyond that, whatever the header's size.
pub const HEADER_ALLOC_BASE: u64 = 1 << 20;
/// Tensors in one checkpoint.
pub const TENSORS_MAX: u64 = 100_000;
/// Dimensions of a tensor.
pub const DIMS_MAX: u64 = 4;
/// Bytes of a tensor's name.
pub const TENSOR_NAME_BYTES_MAX: u64 = 256;
/// Metadata entries in a GGUF file.
pub const METADATA_MAX: u64 = 65_536;
/// Bytes of a metadata key.
pub const KEY_BYTES_MAX: u64 = 65_535;
/// Bytes of one string value: chat templates of a few hundred kilobytes exist.
pub const STRING_BYTES_MAX: u64 = 1 << 20;
/// Elements of one metadata array.
pub const ARRAY_MAX: u64 = 4_000_000;
/// Bytes of a JSON file beside the weights (tokenizer.json is the largest).
pub const JSON_BYTES_MAX: u64 = 64 << 20;
/// Weight files of one sharded checkpoint.
pub const SHARDS_MAX: usize = 512;
/// Elements of one tensor: 2^31 f32 values are 8 GiB.
pub const ELEMENTS_MAX: u64 = 1 << 31;
/// Bytes of one array inside an npz file, uncompressed.
pub const NPZ_ENTRY_BYTES_MAX: u64 = 256 << 20;
/// Bytes of an npz file, and of all its arrays uncompressed.
pub const NPZ_BYTES_MAX: u64 = 1 << 30;
/// Transformer layers.
pub const LAYERS_MAX: u64 = 1_024;
/// Width of the residual stream and of the feed-forward layer.
pub const DIM_MAX: u64 = 1 << 20;
/// Attention heads.
pub const HEADS_MAX: u64 = 4_096;
/// Vocabulary entries.
pub const VOCAB_MAX: u64 = 1 << 22;
/// Positions.
pub const CONTEXT_MAX: u64 = 1 << 24;

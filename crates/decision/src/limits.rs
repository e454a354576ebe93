//! Named limits on everything that an untrusted model can ask for.

/// Features of a row: wide tabular data has some thousands.
pub const FEATURES: usize = 16_384;
/// Bytes of a feature's or a class's name.
pub const NAME_BYTES: usize = 256;
/// Classes.
pub const CLASSES: usize = 1_024;
/// Columns that trees compare: a feature has one per treatment of missing values, and one per set of
/// categories.
pub const COLUMNS: usize = 65_536;
/// Cuts of one column.
pub const CUTS: usize = 65_536;
/// Cuts of all columns.
pub const CUTS_ALL: usize = 1 << 21;
/// Words of 32 categories in a set: LightGBM's categories are below 2^16 in practice.
pub const CATEGORY_WORDS: usize = 2_048;
/// Trees.
pub const TREES: usize = 16_384;
/// Splits of one tree.
pub const NODES: usize = 65_536;
/// Splits of all trees.
pub const NODES_ALL: usize = 1 << 21;
/// Splits between the root of a tree and a leaf.
pub const DEPTH: usize = 512;
/// Largest magnitude of a leaf: sums over all trees stay below 2^45.
pub const LEAF_MAX: i32 = (1 << 30) - 1;
/// Largest magnitude of a score's start.
pub const BASE_MAX: i64 = 1 << 45;
/// Binary places of a score.
pub const PLACES: u8 = 60;
/// Layers of a perceptron.
pub const LAYERS: usize = 32;
/// Inputs and outputs of a perceptron's layer.
pub const WIDTH: usize = 16_384;
/// Activation tables of a perceptron.
pub const TABLES: usize = 32;

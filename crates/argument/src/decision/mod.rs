//! Decisions of small models, many at once, as one statement each.

pub mod mlp;
pub mod trees;

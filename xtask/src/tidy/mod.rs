//! The laws of the workspace, each a test. `ARCHITECTURE.md` says why each holds.

mod code;
mod layers;
mod text;
mod tree;

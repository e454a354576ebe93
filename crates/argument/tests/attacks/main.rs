//! A malicious prover runs the honest one and changes one thing; the verifier says exactly what is wrong.
#![allow(missing_docs)]

mod cells;
mod world;

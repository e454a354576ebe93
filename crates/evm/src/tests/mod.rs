//! Contracts on a chain of one's own.

mod gas;
mod puppet;
mod random;
mod steps;
mod world;

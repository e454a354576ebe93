//! Tests through the public interface, one module per kind of checkpoint.

mod chat;
mod common;
mod folder;
mod gguf;
mod random;
mod real;

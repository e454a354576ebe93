//! One file per endpoint: its path, its handler, nothing shared but `server::Shared`.

pub(crate) mod chat;
pub(crate) mod health;
pub(crate) mod models;

//! The gateway as its clients see it: most tests call the router, the last ones use sockets.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod chat;
mod guard;
mod models;
mod scripted;
mod socket;
mod stream;

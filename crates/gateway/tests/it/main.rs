//! The gateway as its clients see it: most tests call the router, the last ones use sockets.

mod chat;
mod guard;
mod models;
mod scripted;
mod socket;
mod stream;

//! Whole models through a home on disk.

mod architectures;
mod home;
mod parts;

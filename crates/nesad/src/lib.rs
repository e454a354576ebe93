//! Run a compute node: hold a layer range, serve sessions, sign what was done.

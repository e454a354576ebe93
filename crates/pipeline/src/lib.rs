//! Drive one hop of an inference session: frames in, effects out, no I/O.

//! Add up the error terms of the whole argument.

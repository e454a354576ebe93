//! Turn a float checkpoint into an exact integer model, deterministically.

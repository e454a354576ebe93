//! Read float checkpoints, tokenizers and templates from untrusted files.

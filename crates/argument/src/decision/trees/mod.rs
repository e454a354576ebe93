//! Decisions of boosted trees: a batch of ranks in, their scores out.

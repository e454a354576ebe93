//! Keep models and shards on disk by content, and fetch them resumably.

pub mod pull;

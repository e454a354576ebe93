//! OpenAI's JSON: requests in, answers out. Nothing outside this module and `error` knows it.

pub(crate) mod fields;
pub(crate) mod request;
pub(crate) mod response;

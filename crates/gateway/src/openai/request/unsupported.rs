//! Fields that would change the answer and cannot be honoured yet.
//!
//! Each stands with the values that ask for nothing; any other value is refused by name. Never
//! ignore one silently: its sender would take a wrong answer for the right one. Fields in no table
//! (`user`, `metadata`, `store`, `service_tier`, `prompt_cache_key`, `safety_identifier`, a
//! message's `name`, whatever comes next) leave the answer as it is and are accepted.

use super::Fields;
use crate::error::ApiError;
use serde_json::Value;

/// Values of a field that ask for nothing; absent and null always do.
enum Idle {
    /// No value.
    Never,
    /// `false`.
    False,
    /// An empty array or object.
    Empty,
    /// This number.
    Number(f64),
    /// One of these strings.
    Words(&'static [&'static str]),
    /// `["text"]`.
    TextOnly,
    /// `{"type": "text"}`.
    TypeText,
}

impl Idle {
    fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Never => false,
            Self::False => value == &Value::Bool(false),
            Self::Empty => {
                value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(serde_json::Map::is_empty)
            }
            Self::Number(idle) => value.as_f64() == Some(*idle),
            Self::Words(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Self::TextOnly => value
                .as_array()
                .is_some_and(|list| list.iter().all(|mode| mode == "text")),
            Self::TypeText => value.get("type").is_some_and(|kind| kind == "text"),
        }
    }
}

/// (field, its idle values, what to do instead)
type Rule = (&'static str, Idle, &'static str);

const TOOLS: &str = "tools are not supported yet: ask without them";
const ONE: &str = "only one choice per request is supported: send several requests";
const LOGPROBS: &str = "log probabilities are not supported yet: leave it out";
const SAMPLING: &str = "this change of sampling is not supported yet: use temperature and top_p";
const SHAPE: &str = "constrained output is not supported yet: ask for the format in the prompt";
const TEXT: &str = "only text is supported: leave it out";
const EFFORT: &str = "the effort of an answer cannot be set: leave it out";

const REQUEST: &[Rule] = &[
    ("n", Idle::Number(1.0), ONE),
    ("best_of", Idle::Number(1.0), ONE),
    ("tools", Idle::Empty, TOOLS),
    ("tool_choice", Idle::Words(&["none", "auto"]), TOOLS),
    ("functions", Idle::Empty, TOOLS),
    ("function_call", Idle::Words(&["none", "auto"]), TOOLS),
    ("web_search_options", Idle::Never, TOOLS),
    ("logprobs", Idle::False, LOGPROBS),
    ("top_logprobs", Idle::Number(0.0), LOGPROBS),
    ("prompt_logprobs", Idle::Number(0.0), LOGPROBS),
    ("logit_bias", Idle::Empty, SAMPLING),
    ("presence_penalty", Idle::Number(0.0), SAMPLING),
    ("frequency_penalty", Idle::Number(0.0), SAMPLING),
    ("repetition_penalty", Idle::Number(1.0), SAMPLING),
    ("repeat_penalty", Idle::Number(1.0), SAMPLING),
    ("top_k", Idle::Number(0.0), SAMPLING),
    ("min_p", Idle::Number(0.0), SAMPLING),
    ("typical_p", Idle::Number(1.0), SAMPLING),
    ("min_tokens", Idle::Number(0.0), SAMPLING),
    ("ignore_eos", Idle::False, SAMPLING),
    (
        "stop_token_ids",
        Idle::Empty,
        "only text can stop an answer: use stop",
    ),
    ("response_format", Idle::TypeText, SHAPE),
    ("grammar", Idle::Never, SHAPE),
    ("guided_json", Idle::Never, SHAPE),
    ("guided_regex", Idle::Never, SHAPE),
    ("guided_choice", Idle::Never, SHAPE),
    ("guided_grammar", Idle::Never, SHAPE),
    ("structured_outputs", Idle::Never, SHAPE),
    ("modalities", Idle::TextOnly, TEXT),
    ("audio", Idle::Never, TEXT),
    ("reasoning_effort", Idle::Words(&["none"]), EFFORT),
    ("verbosity", Idle::Words(&["medium"]), EFFORT),
    // What the user set as the least that they accept must never be taken for advice.
    (
        "nesa",
        Idle::Empty,
        "options of this name are not supported yet: set them at start",
    ),
];

const MESSAGE: &[Rule] = &[
    ("tool_calls", Idle::Empty, TOOLS),
    ("function_call", Idle::Never, TOOLS),
    ("tool_call_id", Idle::Never, TOOLS),
    (
        "refusal",
        Idle::Words(&[""]),
        "refusals are not supported: put the text into content",
    ),
    ("audio", Idle::Never, TEXT),
    (
        "prefix",
        Idle::False,
        "continuing a message is not supported yet: ask with a user message",
    ),
];

/// Refuses a request with a field that it cannot have.
pub(super) fn check_request(fields: &Fields) -> Result<(), ApiError> {
    check(fields, REQUEST)
}

/// Refuses a message with a field that it cannot have.
pub(super) fn check_message(fields: &Fields) -> Result<(), ApiError> {
    check(fields, MESSAGE)
}

fn check(fields: &Fields, rules: &[Rule]) -> Result<(), ApiError> {
    for (name, idle, instead) in rules {
        if fields.peek(name).is_some_and(|value| !idle.holds(value)) {
            let path = fields.at(name);
            let message = format!("{path}: {instead}");
            return Err(ApiError::unsupported(path, message));
        }
    }
    Ok(())
}

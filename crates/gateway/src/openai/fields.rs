//! Take typed fields out of a JSON object; every refusal names the field.

use crate::error::ApiError;
use serde_json::{Map, Value};

/// An object whose fields are taken one by one. `null` counts as absent, as in OpenAI's API.
#[derive(Debug)]
pub(crate) struct Fields {
    object: Map<String, Value>,
    path: String, // "" or "messages[3]."
}

impl Fields {
    /// Takes apart `value`, which stands at `path` (empty for the whole request).
    pub(crate) fn new(value: Value, path: &str) -> Result<Self, ApiError> {
        match value {
            Value::Object(object) if path.is_empty() => Ok(Self {
                object,
                path: String::new(),
            }),
            Value::Object(object) => Ok(Self {
                object,
                path: format!("{path}."),
            }),
            _ if path.is_empty() => {
                Err(ApiError::field("body", "the request must be a JSON object"))
            }
            _ => Err(ApiError::field(path, format!("{path} must be an object"))),
        }
    }

    /// The full name of a field.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// Any value.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// A value without taking it.
    pub(crate) fn peek(&self, name: &str) -> Option<&Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// A string.
    pub(crate) fn string(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "a string")),
        }
    }

    /// A boolean, false if absent.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(name, "true or false")),
        }
    }

    /// A whole number of tokens, at least 1.
    pub(crate) fn count(&mut self, name: &str) -> Result<Option<u32>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let count = value
            .as_u64()
            .and_then(|n| u32::try_from(n).ok())
            .filter(|&n| n > 0);
        count
            .map(Some)
            .ok_or_else(|| self.wrong(name, "a whole number from 1 to 4294967295"))
    }

    /// A number from `low` to `high`.
    pub(crate) fn number(
        &mut self,
        name: &str,
        low: f64,
        high: f64,
    ) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|n| (low..=high).contains(n));
        // -0.0 lies in the range too; adding zero makes it 0.0.
        number
            .map(|n| Some(n + 0.0))
            .ok_or_else(|| self.wrong(name, &format!("a number from {low} to {high}")))
    }

    /// The refusal of a field that is not what it must be.
    pub(crate) fn wrong(&self, name: &str, expected: &str) -> ApiError {
        let path = self.at(name);
        let message = format!("{path} must be {expected}");
        ApiError::field(path, message)
    }
}

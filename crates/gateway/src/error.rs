//! Why a gateway does not run, and how a refusal looks to an OpenAI client.

use crate::BackendError;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The key is too short, too long or not visible ASCII.
    #[error("the API key must have 16 to 256 visible ASCII characters: generate a fresh one")]
    Key,
    /// The system gives no randomness.
    #[error("the system gives no randomness: check /dev/urandom")]
    Random,
    /// The listener can be reached from other machines.
    #[error(
        "{address} is not a loopback address: bind 127.0.0.1, and use SSH to reach it from afar"
    )]
    NotLoopback {
        /// Where the listener is bound.
        address: std::net::SocketAddr,
    },
    /// The listener failed.
    #[error("the listener failed: {0}")]
    Io(#[from] std::io::Error),
}

/// A refusal as OpenAI's clients expect it: `{"error": {message, type, param, code}}`.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
    retry_after_s: Option<u32>,
    retry: Option<bool>,
}

impl ApiError {
    /// A request at fault, with `status` and OpenAI's usual type.
    pub(crate) fn refused(
        status: StatusCode,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            kind: "invalid_request_error",
            code,
            param: None,
            message: message.into(),
            retry_after_s: None,
            retry: None,
        }
    }

    /// A 400 that names the field at fault.
    pub(crate) fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, None, message).at(param)
    }

    /// A 400 for a field that is known but cannot be honoured yet.
    pub(crate) fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        let code = Some("unsupported_parameter");
        Self::refused(StatusCode::BAD_REQUEST, code, message).at(param)
    }

    /// A 429: this gateway itself has no room.
    pub(crate) fn busy(retry_after_s: u32) -> Self {
        BackendError::Busy { retry_after_s }.into()
    }

    fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    fn fault(status: StatusCode, kind: &'static str, code: &'static str, message: String) -> Self {
        Self {
            kind,
            ..Self::refused(status, Some(code), message)
        }
    }

    /// The JSON object, also sent as the last event of a stream that fails.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }
}

impl From<BackendError> for ApiError {
    fn from(error: BackendError) -> Self {
        let message = error.to_string();
        match error {
            BackendError::InvalidRequest { param, .. } => Self {
                param,
                ..Self::refused(StatusCode::BAD_REQUEST, None, message)
            },
            BackendError::ContextLength { .. } => {
                let code = Some("context_length_exceeded");
                Self::refused(StatusCode::BAD_REQUEST, code, message).at("messages")
            }
            BackendError::ModelNotFound { .. } => {
                Self::refused(StatusCode::NOT_FOUND, Some("model_not_found"), message).at("model")
            }
            BackendError::Busy { retry_after_s } => Self {
                retry_after_s: Some(retry_after_s),
                ..Self::fault(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    "sessions_taken",
                    message,
                )
            },
            BackendError::Unavailable { .. } => Self::fault(
                StatusCode::SERVICE_UNAVAILABLE,
                "server_error",
                "network_unreachable",
                message,
            ),
            // Clients retry any 5xx by themselves, and each try is a paid inference.
            BackendError::Verification { .. } => Self {
                retry: Some(false),
                ..Self::fault(
                    StatusCode::BAD_GATEWAY,
                    "verification_failed",
                    "verification_failed",
                    message,
                )
            },
            BackendError::Internal { .. } => Self::fault(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "internal_error",
                message,
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.retry == Some(false) {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

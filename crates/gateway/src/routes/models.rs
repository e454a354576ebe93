//! `GET /v1/models` and `GET /v1/models/{id}`: what can be asked, and under which labels.

use crate::error::ApiError;
use crate::openai::response;
use crate::server::Shared;
use crate::{BackendError, ModelInfo};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use std::sync::Arc;

pub(crate) fn router() -> Router<Arc<Shared>> {
    // Names may contain slashes, as `owner/model`.
    Router::new()
        .route("/v1/models", get(list))
        .route("/v1/models/{*id}", get(show))
}

async fn list(State(shared): State<Arc<Shared>>) -> Json<Value> {
    Json(response::models(&shared.backend.models()))
}

async fn show(
    State(shared): State<Arc<Shared>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Value>, ApiError> {
    let Path(id) = id.map_err(|_| ApiError::field("model", "model must be a name in UTF-8"))?;
    Ok(Json(response::model(&find(&shared, &id)?)))
}

/// The model named `id`.
///
/// # Errors
/// 404 `model_not_found` if it is not on offer.
pub(super) fn find(shared: &Shared, id: &str) -> Result<ModelInfo, ApiError> {
    let found = shared
        .backend
        .models()
        .into_iter()
        .find(|model| model.id == id);
    found.ok_or_else(|| {
        BackendError::ModelNotFound {
            model: id.to_string(),
        }
        .into()
    })
}

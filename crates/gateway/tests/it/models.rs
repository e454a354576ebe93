//! The list of models.

use crate::scripted::{Scripted, call, check_error, gateway, get, json, limits};
use serde_json::json;

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let gateway = gateway(&Scripted::saying(&[]), limits());
    let list = json(call(&gateway, get("/v1/models")).await).await;
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"].as_array().unwrap().len(), 2);
    let labels = json!({
        "context_tokens": 2048, "root": "0123abcd", "privacy": "obfuscated", "assurance": "spot:8",
    });
    let model = json!({
        "id": "m", "object": "model", "created": 1_700_000_000u64, "owned_by": "local",
        "nesa": labels,
    });
    assert_eq!(list["data"][0], model);
    assert_eq!(json(call(&gateway, get("/v1/models/m")).await).await, model);
    for path in ["/v1/models/owner/m2", "/v1/models/owner%2Fm2"] {
        assert_eq!(
            json(call(&gateway, get(path)).await).await["id"],
            "owner/m2"
        );
    }
    let response = call(&gateway, get("/v1/models/gone")).await;
    check_error(
        response.status(),
        404,
        &json(response).await,
        "model_not_found",
    );
    assert_eq!(call(&gateway, get("/v1/models/%ff")).await.status(), 400);
}

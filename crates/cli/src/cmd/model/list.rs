//! `nesa model ls` and `nesa model rm`.

use nesa_storage::disk;
use serde_json::{Value, json};

use crate::output::{bytes, table};
use crate::{Context, Failure};

/// Remove a model and its sealed versions.
#[derive(Debug, clap::Args)]
pub(crate) struct Rm {
    /// The model's name
    name: String,
    /// Also remove its downloaded files
    #[arg(long)]
    cache: bool,
}

/// Runs `nesa model ls`.
pub(crate) fn ls(context: &Context) -> Result<(), Failure> {
    let mut values: Vec<Value> = Vec::new();
    let heading = ["NAME", "ROOT", "FAMILY", "LAYERS", "DIM", "CONTEXT", "SIZE"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    for listed in context.home.models()? {
        let model = match &listed.model {
            Ok(model) => model,
            Err(e) => {
                values.push(json!({"name": listed.name, "error": e.to_string()}));
                rows.push(vec![listed.name, "damaged; run `nesa model rm`".into()]);
                continue;
            }
        };
        let (m, root) = (model.manifest(), model.root().to_string());
        let arch = model.source().map(|s| s.arch).unwrap_or_default();
        rows.push(vec![
            listed.name.clone(),
            root[..12].to_owned(),
            arch.clone(),
            m.shape.layers.to_string(),
            m.shape.dim.to_string(),
            m.shape.context.to_string(),
            bytes(model.bytes()),
        ]);
        values.push(json!({
            "name": listed.name,
            "root": root,
            "arch": arch,
            "layers": m.shape.layers,
            "dim": m.shape.dim,
            "context": m.shape.context,
            "bytes": model.bytes(),
        }));
    }
    let empty = values.is_empty();
    context.out.result(&Value::Array(values), || {
        if empty {
            "no models yet; run `nesa model pull smollm2-135m`".to_owned()
        } else {
            table(&rows)
        }
    });
    Ok(())
}

/// Runs `nesa model rm`.
pub(crate) fn rm(what: &Rm, context: &Context) -> Result<(), Failure> {
    let mut freed = context.home.remove(&what.name)?;
    if what.cache && nesa_storage::pull::catalog::find(&what.name).is_some() {
        let folder = context.home.cache().join(&what.name);
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        freed += files.filter_map(|f| disk::size(&f.path())).sum::<u64>();
        disk::remove_folder(&folder).map_err(nesa_storage::Error::from)?;
    }
    let value = json!({"name": what.name, "bytes_freed": freed});
    context.out.result(&value, || {
        format!("removed {}, {} freed", what.name, bytes(freed))
    });
    Ok(())
}

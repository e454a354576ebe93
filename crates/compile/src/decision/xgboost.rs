//! XGBoost's JSON: `float32(x) < threshold` goes left, a missing value goes where the split says.

use nesa_decision::trees::Missing;
use nesa_decision::{Task, Trees, key, limits};
use serde_json::Value;

use super::config::Config;
use super::grow::{self, Raw, RawTree, Test, View};
use super::{Format, Result};

const FORMAT: Format = Format::XgBoost;
/// Objectives whose margin is the prediction.
const IDENTITY: [&str; 4] = [
    "reg:squarederror",
    "reg:absoluteerror",
    "reg:pseudohubererror",
    "reg:quantileerror",
];

/// The order that a double must be below so that XGBoost goes left at the threshold `t`.
///
/// XGBoost rounds `x` to a float first. Rounding is monotonic, so `float32(x) < t` holds exactly below
/// the middle between `t` and the float before it; at the middle itself the even one of the two wins.
pub(super) fn cut(t: f32) -> Option<i64> {
    if !t.is_finite() {
        return None;
    }
    let t = if t == 0.0 { 0.0 } else { t };
    let before = if t == f32::MIN {
        -libm::ldexp(1.0, 128)
    } else {
        f64::from(t.next_down())
    };
    let middle = f64::midpoint(before, f64::from(t));
    Some(key::order(middle.to_bits())? + i64::from(t.to_bits() & 1))
}

/// Reads a model.
pub(super) fn import(bytes: &[u8], config: &Config) -> Result<Trees> {
    let v: Value = serde_json::from_slice(bytes).map_err(|e| FORMAT.malformed(e.to_string()))?;
    let learner = &v["learner"];
    let booster = &learner["gradient_booster"];
    match booster["name"].as_str() {
        Some("gbtree") => {}
        Some(other) => {
            return Err(FORMAT.unsupported(format!(
                "booster {other} is not supported; train with booster=gbtree"
            )));
        }
        None => return Err(FORMAT.malformed("it names no booster")),
    }
    let param = &learner["learner_model_param"];
    let features = number(&param["num_feature"]).filter(|n| (1..=limits::FEATURES).contains(n));
    let features =
        features.ok_or_else(|| FORMAT.malformed("num_feature is missing or too large"))?;
    if number(&param["num_target"]).unwrap_or(1) > 1 {
        return Err(FORMAT.unsupported("several targets are not supported; train one model each"));
    }
    let num_class = number(&param["num_class"]).unwrap_or(0);
    let objective = learner["objective"]["name"].as_str().unwrap_or_default();
    let (task, classes) = match objective {
        "binary:logistic" | "binary:logitraw" => (Task::Binary, 2),
        "multi:softprob" | "multi:softmax" => (Task::Classes, num_class),
        o if IDENTITY.contains(&o) => (Task::Regression, 0),
        other => {
            return Err(FORMAT.unsupported(format!(
                "objective {other:?} is not supported; known are binary:logistic, multi:softprob and reg:squarederror"
            )));
        }
    };
    if classes > limits::CLASSES {
        return Err(FORMAT.malformed("too many classes"));
    }
    let scores = if task == Task::Classes { classes } else { 1 };
    let base = base(&param["base_score"], objective, scores)?;
    let trees = trees(&booster["model"], features)?;
    let places = grow::places(&base, &trees)?;
    let named = learner["feature_names"]
        .as_array()
        .filter(|n| n.len() == features);
    let name = |i: usize| {
        let given = named.and_then(|n| n[i].as_str());
        given.map_or_else(|| format!("f{i}"), str::to_owned)
    };
    let schema = config.schema(task, (0..features).map(name).collect(), classes, places)?;
    grow::build(schema, &base, &trees)
}

/// A count that XGBoost writes as text.
fn number(v: &Value) -> Option<usize> {
    match v {
        Value::String(s) => s.parse().ok(),
        v => v.as_u64().map(|n| n as usize),
    }
}

/// Where each score starts: `"5E-1"`, or `"[5E-1]"` since version 3.
fn base(v: &Value, objective: &str, scores: usize) -> Result<Vec<f64>> {
    let wrong = || FORMAT.malformed("base_score is no number");
    let text = v.as_str().ok_or_else(wrong)?;
    let parts = text.trim_matches(['[', ']']).split(',').map(|p| {
        let value: f32 = p.trim().parse().map_err(|_| wrong())?;
        Ok(f64::from(value))
    });
    let mut all = parts.take(scores + 1).collect::<Result<Vec<f64>>>()?;
    if all.len() == 1 {
        all.resize(scores, all[0]);
    }
    if all.len() != scores {
        return Err(wrong());
    }
    if objective == "binary:logistic" {
        for p in &mut all {
            if *p <= 0.0 || *p >= 1.0 {
                return Err(FORMAT.malformed("base_score is no probability"));
            }
            *p = -libm::log(1.0 / *p - 1.0);
        }
    }
    Ok(all)
}

fn trees(model: &Value, features: usize) -> Result<Vec<RawTree>> {
    let list = |v: &Value| v.as_array().cloned();
    let missing = || FORMAT.malformed("the trees are missing");
    let info = model["tree_info"].as_array().ok_or_else(missing)?;
    let trees = model["trees"].as_array().ok_or_else(missing)?;
    if trees.len() != info.len() || trees.len() > limits::TREES {
        return Err(FORMAT.malformed("number of trees"));
    }
    let mut out = Vec::with_capacity(trees.len());
    for (t, class) in trees.iter().zip(info) {
        let class = class.as_u64().and_then(|c| u32::try_from(c).ok());
        let class = class.ok_or_else(|| FORMAT.malformed("class of a tree"))?;
        if number(&t["tree_param"]["size_leaf_vector"]).unwrap_or(1) > 1 {
            return Err(FORMAT.unsupported("leaves with several values are not supported; train with multi_strategy=one_output_per_tree"));
        }
        if list(&t["categories"]).is_some_and(|c| !c.is_empty()) {
            return Err(FORMAT.unsupported(
                "categorical splits are not supported; encode categories as numbers",
            ));
        }
        out.push(RawTree {
            class,
            nodes: nodes(t, features)?,
        });
    }
    Ok(out)
}

fn nodes(t: &Value, features: usize) -> Result<Vec<Raw>> {
    let array = |key: &str| {
        let found = t[key].as_array();
        found.ok_or_else(|| FORMAT.malformed(format!("a tree has no {key}")))
    };
    let (left, right) = (array("left_children")?, array("right_children")?);
    let (split, at) = (array("split_indices")?, array("split_conditions")?);
    let default = array("default_left")?;
    let n = left.len();
    if [right, split, at, default].iter().any(|a| a.len() != n) || n > 2 * limits::NODES + 1 {
        return Err(FORMAT.malformed("the lists of a tree have different lengths"));
    }
    let node = |i: usize| {
        let value = at[i].as_f64().map(|v| v as f32);
        let value = value.ok_or_else(|| FORMAT.malformed("a split condition is no number"))?;
        if left[i].as_i64() == Some(-1) {
            return Ok(Raw::Leaf(f64::from(value)));
        }
        let index = |v: &Value| {
            let index = v.as_u64().map(|v| v as usize);
            index.ok_or_else(|| FORMAT.malformed("an index of a tree is no number"))
        };
        let feature = index(&split[i])?;
        if feature >= features {
            return Err(FORMAT.malformed("feature of a split"));
        }
        let goes_left = default[i]
            .as_bool()
            .unwrap_or(default[i].as_u64() == Some(1));
        let view = View {
            feature: feature as u32,
            missing: if goes_left {
                Missing::Left
            } else {
                Missing::Right
            },
            snap: false,
            sparse: false,
        };
        let below = cut(value).ok_or_else(|| FORMAT.malformed("a threshold is not finite"))?;
        Ok(Raw::Split {
            view,
            test: Test::Below(below),
            left: index(&left[i])?,
            right: index(&right[i])?,
        })
    };
    (0..n).map(node).collect()
}

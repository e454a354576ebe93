//! LightGBM's text: `x <= threshold` in doubles goes left; three treatments of missing values; sets of
//! categories.

use std::collections::BTreeMap;
use std::str::FromStr;

use nesa_decision::trees::Missing;
use nesa_decision::{Task, Trees, key, limits};

use super::config::Config;
use super::grow::{self, Raw, RawTree, Test, View};
use super::{Format, Result};

const FORMAT: Format = Format::LightGbm;
/// Objectives whose raw score is the prediction.
const IDENTITY: [&str; 6] = [
    "regression",
    "regression_l1",
    "huber",
    "fair",
    "quantile",
    "mape",
];
/// Bits of `decision_type`.
const CATEGORICAL: u32 = 1;
const DEFAULT_LEFT: u32 = 2;

/// `key=value` lines up to the next section.
type Section<'a> = BTreeMap<&'a str, &'a str>;

/// Reads a model.
pub(super) fn import(bytes: &[u8], config: &Config) -> Result<Trees> {
    let text = std::str::from_utf8(bytes).map_err(|_| FORMAT.malformed("it is not UTF-8"))?;
    let (head, trees) = sections(text)?;
    if head.contains_key("average_output") {
        return Err(
            FORMAT.unsupported("averaged forests are not supported; train with boosting=gbdt")
        );
    }
    let last = one::<usize>(&head, "max_feature_idx")?;
    if last >= limits::FEATURES {
        return Err(FORMAT.malformed("too many features"));
    }
    let per: usize = one(&head, "num_tree_per_iteration")?;
    let objective = head.get("objective").copied().unwrap_or_default();
    let mut words = objective.split_whitespace();
    let (task, classes) = match words.next().unwrap_or_default() {
        "binary" => (Task::Binary, 2),
        "multiclass" | "multiclassova" => (Task::Classes, per),
        o if IDENTITY.contains(&o) && !words.any(|w| w == "sqrt") => (Task::Regression, 0),
        _ => {
            return Err(FORMAT.unsupported(format!(
                "objective {objective:?} is not supported; known are binary, multiclass and regression"
            )));
        }
    };
    let scores = if task == Task::Classes { per } else { 1 };
    if per != scores || per == 0 || per > limits::CLASSES || trees.len() > limits::TREES {
        return Err(FORMAT.malformed("number of trees per iteration"));
    }
    let mut raw = Vec::with_capacity(trees.len());
    for (i, t) in trees.iter().enumerate() {
        raw.push(RawTree {
            class: (i % per) as u32,
            nodes: nodes(t, last)?,
        });
    }
    let base = vec![0.0; scores];
    let places = grow::places(&base, &raw)?;
    let given = head.get("feature_names").copied().unwrap_or_default();
    let mut names: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
    if names.len() != last + 1 {
        names = (0..=last).map(|i| format!("Column_{i}")).collect();
    }
    let schema = config.schema(task, names, classes, places)?;
    grow::build(schema, &base, &raw)
}

/// The head and one section per tree.
fn sections(text: &str) -> Result<(Section<'_>, Vec<Section<'_>>)> {
    let mut lines = text.lines();
    if lines.next().map(str::trim) != Some("tree") {
        return Err(FORMAT.malformed("it does not begin with \"tree\""));
    }
    let (mut head, mut trees, mut ended) = (Section::new(), Vec::new(), false);
    for line in lines {
        let line = line.trim();
        if line == "end of trees" {
            ended = true;
            break;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if name == "Tree" {
            trees.push(Section::new());
            continue;
        }
        if !name.is_empty() {
            trees.last_mut().unwrap_or(&mut head).insert(name, value);
        }
    }
    if ended {
        Ok((head, trees))
    } else {
        Err(FORMAT.malformed("it ends before \"end of trees\""))
    }
}

fn one<T: FromStr>(s: &Section<'_>, name: &str) -> Result<T> {
    let value = s.get(name).and_then(|v| v.trim().parse().ok());
    value.ok_or_else(|| FORMAT.malformed(format!("{name} is missing or no number")))
}

/// Exactly `n` numbers.
fn list<T: FromStr>(s: &Section<'_>, name: &str, n: usize) -> Result<Vec<T>> {
    let wrong = || FORMAT.malformed(format!("{name} does not hold {n} numbers"));
    let text = s.get(name).copied().unwrap_or_default();
    let words = text.split_whitespace();
    let all = words.map(|w| w.parse().map_err(|_| wrong()));
    let all = all.take(n + 1).collect::<Result<Vec<T>>>()?;
    if all.len() == n {
        Ok(all)
    } else {
        Err(wrong())
    }
}

/// Splits first, then leaves, as LightGBM numbers them: child `c ≥ 0` is a split, else leaf `−c − 1`.
fn nodes(s: &Section<'_>, last_feature: usize) -> Result<Vec<Raw>> {
    let leaves: usize = one(s, "num_leaves")?;
    if leaves == 0 || leaves > limits::NODES + 1 {
        return Err(FORMAT.malformed("number of leaves"));
    }
    if s.get("is_linear").is_some_and(|v| v.trim() != "0") {
        return Err(
            FORMAT.unsupported("linear leaves are not supported; train with linear_tree=false")
        );
    }
    let values: Vec<f64> = list(s, "leaf_value", leaves)?;
    let n = leaves - 1;
    let mut out = Vec::with_capacity(n + leaves);
    if n > 0 {
        let feature: Vec<usize> = list(s, "split_feature", n)?;
        let threshold: Vec<f64> = list(s, "threshold", n)?;
        let kind: Vec<u32> = list(s, "decision_type", n)?;
        let (left, right): (Vec<i64>, Vec<i64>) =
            (list(s, "left_child", n)?, list(s, "right_child", n)?);
        let sets = sets(s)?;
        let place = |c: i64| {
            let index = if c >= 0 {
                c
            } else {
                (n as i64).saturating_add(!c)
            };
            usize::try_from(index).unwrap_or(usize::MAX)
        };
        for i in 0..n {
            if feature[i] > last_feature {
                return Err(FORMAT.malformed("feature of a split"));
            }
            let (view, test) = split(feature[i] as u32, threshold[i], kind[i], &sets)?;
            let (left, right) = (place(left[i]), place(right[i]));
            out.push(Raw::Split {
                view,
                test,
                left,
                right,
            });
        }
    }
    out.extend(values.into_iter().map(Raw::Leaf));
    Ok(out)
}

/// The sets of categories of a tree.
fn sets(s: &Section<'_>) -> Result<Vec<Vec<u32>>> {
    let n = s
        .get("num_cat")
        .map_or(Ok(0), |_| one::<usize>(s, "num_cat"))?;
    if n == 0 {
        return Ok(Vec::new());
    }
    if n > limits::NODES {
        return Err(FORMAT.malformed("number of category sets"));
    }
    let ends: Vec<usize> = list(s, "cat_boundaries", n + 1)?;
    let len = ends[n];
    if len > limits::CATEGORY_WORDS * n {
        return Err(FORMAT.malformed("size of the category sets"));
    }
    let words: Vec<u32> = list(s, "cat_threshold", len)?;
    let set = |p: &[usize]| {
        let part = words.get(p[0]..p[1]);
        let mut part = part.map(<[u32]>::to_vec).unwrap_or_default();
        while part.last() == Some(&0) {
            part.pop();
        }
        part
    };
    Ok(ends.windows(2).map(set).collect())
}

fn split(feature: u32, threshold: f64, kind: u32, sets: &[Vec<u32>]) -> Result<(View, Test)> {
    let mut view = View {
        feature,
        missing: Missing::Right,
        snap: true,
        sparse: false,
    };
    if kind & CATEGORICAL != 0 {
        let set = (threshold >= 0.0)
            .then(|| sets.get(threshold as usize))
            .flatten();
        let set = set.filter(|s| !s.is_empty());
        let set = set.ok_or_else(|| FORMAT.malformed("category set of a split"))?;
        return Ok((view, Test::In(set.clone())));
    }
    let side = if kind & DEFAULT_LEFT != 0 {
        Missing::Left
    } else {
        Missing::Right
    };
    (view.missing, view.sparse) = match kind >> 2 {
        0 => (Missing::Zero, false),
        1 => (side, true),
        2 => (side, false),
        _ => return Err(FORMAT.malformed("decision type of a split")),
    };
    // Infinity is a threshold too: it parts missing values from all others.
    let order = key::order(threshold.to_bits());
    let order = order.ok_or_else(|| FORMAT.malformed("a threshold is no number"))?;
    // `x <= t` is `x < ` the double after `t`.
    Ok((view, Test::Below(order + 1)))
}

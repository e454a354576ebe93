//! Small files by hand; trees against an evaluator that compares floats as the libraries do.

use nesa_decision::{Model, Task};

use super::*;

const XGBOOST: &str = r#"{"learner":{"feature_names":["a","b"],"gradient_booster":{"name":"gbtree","model":{
  "tree_info":[0,0,0],"trees":[
  {"categories":[],"left_children":[1,-1,3,-1,-1],"right_children":[2,-1,4,-1,-1],"split_indices":[0,0,1,0,0],
   "split_conditions":[0.1,-0.25,1.0,0.5,0.75],"default_left":[1,0,0,0,0],"tree_param":{"num_nodes":"5","size_leaf_vector":"1"}},
  {"categories":[],"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_indices":[1,0,0],
   "split_conditions":[-3.0,-1.0,0.125],"default_left":[0,0,0],"tree_param":{"num_nodes":"3","size_leaf_vector":"1"}},
  {"categories":[],"left_children":[-1],"right_children":[-1],"split_indices":[0],
   "split_conditions":[0.0625],"default_left":[0],"tree_param":{"num_nodes":"1","size_leaf_vector":"1"}}]}},
  "learner_model_param":{"base_score":"[5E-1]","num_class":"0","num_feature":"2","num_target":"1"},
  "objective":{"name":"binary:logistic"}}}"#;

/// `b` in {1, 34} or else by `a`, whose zeros and NaNs are missing; then NaNs of `b` as missing, and as 0.
const LIGHTGBM: &str = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\n\
    objective=binary sigmoid:1\nfeature_names=a b\n\n\
    Tree=0\nnum_leaves=3\nnum_cat=1\nsplit_feature=1 0\nthreshold=0 0.5\ndecision_type=1 6\n\
    left_child=-1 -2\nright_child=1 -3\nleaf_value=1 2 4\ncat_boundaries=0 2\ncat_threshold=2 4\nis_linear=0\n\n\
    Tree=1\nnum_leaves=3\nnum_cat=0\nsplit_feature=1 1\nthreshold=inf -1.5\ndecision_type=8 2\n\
    left_child=1 -1\nright_child=-2 -3\nleaf_value=8 16 32\nis_linear=0\n\nend of trees\n";

fn load(text: &[u8], config: Option<&str>, rows: &[Vec<f64>]) -> Result<Model> {
    let bytes = text;
    import(
        Format::of(bytes),
        &Source {
            bytes,
            config,
            rows,
        },
    )
}

/// The score of a row in the original's unit.
fn score(m: &Model, row: &[f64]) -> f64 {
    let q = edge::quantise(m, row).unwrap();
    let d = m.decide(&q).unwrap();
    assert_eq!(d.class, Some(u32::from(d.scores[0] > 0)));
    d.scores[0] as f64 / libm::ldexp(1.0, i32::from(m.schema().places()))
}

#[test]
fn xgboost_trees_decide_as_float_comparisons_do() {
    let m = load(XGBOOST.as_bytes(), None, &[]).unwrap();
    assert_eq!(m.schema().features(), ["a", "b"]);
    let below = |x: f64, t: f32, missing: bool| if x.is_nan() { missing } else { (x as f32) < t };
    let expected = |a: f64, b: f64| {
        let first = if below(a, 0.1, true) {
            -0.25
        } else if below(b, 1.0, false) {
            0.5
        } else {
            0.75
        };
        first + if below(b, -3.0, false) { -1.0 } else { 0.125 } + 0.0625
    };
    let t = f64::from(0.1f32);
    let middle = f64::midpoint(t, f64::from(0.1f32.next_down()));
    let mut values = vec![f64::NAN, 0.0, -0.0, 5.0, -1e30, 1e300, f64::INFINITY];
    for x in [
        t,
        0.1,
        middle,
        1.0,
        f64::midpoint(1.0, f64::from(1f32.next_down())),
        -3.0,
    ] {
        values.extend([x, x.next_up(), x.next_down()]);
    }
    for a in &values {
        for b in &values {
            assert_eq!(score(&m, &[*a, *b]), expected(*a, *b), "{a:?} {b:?}");
        }
    }
}

#[test]
fn a_cut_is_where_rounding_to_float_crosses_the_threshold() {
    let mut bits = 1u32;
    for _ in 0..20_000 {
        bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let t = f32::from_bits(bits);
        let Some(cut) = xgboost::cut(t) else { continue };
        let middle = f64::midpoint(f64::from(t), f64::from(t.next_down()));
        let near = [
            f64::from(t),
            middle,
            middle.next_up(),
            middle.next_down(),
            f64::from(t.next_down()),
        ];
        for x in near.into_iter().filter(|x| x.is_finite()) {
            let order = nesa_decision::key::order(x.to_bits()).unwrap();
            assert_eq!(order < cut, (x as f32) < t, "{x:e} {t:e}");
        }
    }
    for t in [
        0.0f32,
        -0.0,
        f32::MIN,
        f32::MAX,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        -f32::from_bits(1),
    ] {
        let cut = xgboost::cut(t).unwrap();
        for x in [
            f64::from(t),
            f64::from(t).next_down(),
            -libm::ldexp(1.0, -150),
            0.0,
            f64::MIN,
            f64::MAX,
        ] {
            let order = nesa_decision::key::order(x.to_bits()).unwrap();
            assert_eq!(order < cut, (x as f32) < t, "{x:e} {t:e}");
        }
    }
    assert_eq!(xgboost::cut(f32::INFINITY), None);
}

#[test]
fn lightgbm_trees_decide_as_its_rules_say() {
    let m = load(LIGHTGBM.as_bytes(), None, &[]).unwrap();
    let nan = f64::NAN;
    let first = |a: f64, b: f64| {
        if !b.is_nan() && [1, 34].contains(&(b as i64)) {
            1.0
        } else if a.is_nan() || a.abs() <= f64::from(1e-35f32) || a <= 0.5 {
            2.0 // missing goes left
        } else {
            4.0
        }
    };
    let second = |b: f64| {
        if b.is_nan() {
            16.0 // all but a NaN are at most infinity
        } else if b <= -1.5 {
            8.0
        } else {
            32.0
        }
    };
    for a in [nan, 0.0, 1e-36, 0.5, 0.5f64.next_up(), -7.0, f64::INFINITY] {
        for b in [
            nan,
            0.0,
            1.0,
            1.9,
            34.0,
            33.0,
            2.0,
            -1.0,
            -1.5,
            (-1.5f64).next_up(),
            1e12,
            f64::INFINITY,
        ] {
            assert_eq!(score(&m, &[a, b]), first(a, b) + second(b), "{a:?} {b:?}");
        }
    }
}

#[test]
fn names_may_come_from_a_configuration() {
    let config = r#"{"features": ["x", "y"], "classes": ["no", "yes"]}"#;
    let m = load(XGBOOST.as_bytes(), Some(config), &[]).unwrap();
    assert_eq!(
        (m.schema().features(), m.schema().classes()),
        (
            &["x".to_owned(), "y".into()][..],
            &["no".to_owned(), "yes".into()][..]
        )
    );
    assert_ne!(
        m.root(),
        load(XGBOOST.as_bytes(), None, &[]).unwrap().root()
    );
    for wrong in [r#"{"features": ["x"]}"#, r#"{"colour": 1}"#, "[]", "{"] {
        assert!(
            matches!(
                load(XGBOOST.as_bytes(), Some(wrong), &[]),
                Err(ImportError::Config(_))
            ),
            "{wrong}"
        );
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let says = |text: String, part: &str| {
        let e = load(text.as_bytes(), None, &[]).unwrap_err().to_string();
        assert!(e.contains(part), "{e}");
    };
    says(XGBOOST.replace("gbtree", "dart"), "booster dart");
    says(XGBOOST.replace("binary:logistic", "rank:ndcg"), "rank:ndcg");
    says(
        XGBOOST.replacen("\"categories\":[]", "\"categories\":[1]", 1),
        "categorical",
    );
    says(
        XGBOOST.replacen("\"left_children\":[1,-1,3", "\"left_children\":[1,-1,1", 1),
        "reached twice",
    );
    says(
        XGBOOST.replacen("\"left_children\":[1,-1,3", "\"left_children\":[1,-1,9", 1),
        "child",
    );
    says(
        XGBOOST.replace("\"num_feature\":\"2\"", "\"num_feature\":\"1\""),
        "feature",
    );
    says(
        LIGHTGBM.replace("right_child=1 -3", "right_child=1 -9223372036854775808"),
        "child",
    );
    says(LIGHTGBM.replace("is_linear=0", "is_linear=1"), "linear");
    says(
        LIGHTGBM.replace("objective=binary", "objective=poisson"),
        "poisson",
    );
    says(
        LIGHTGBM.replace("cat_boundaries=0 2", "cat_boundaries=0 9"),
        "cat_threshold",
    );
    says(LIGHTGBM.replace("end of trees", ""), "ends before");
    says(
        LIGHTGBM.replace("leaf_value=1 2 4", "leaf_value=1 2 nan"),
        "leaf",
    );
}

#[test]
fn cut_files_are_refused_and_nothing_panics() {
    for text in [XGBOOST, LIGHTGBM] {
        let text = text.as_bytes();
        let end = text.len() - 2;
        for i in (0..end).step_by(3) {
            assert!(load(&text[..i], None, &[]).is_err(), "cut at {i}");
            let mut other = text.to_vec();
            other[i] = b'9';
            let _ = load(&other, None, &[]);
        }
    }
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut n = bytes.len();
    while n > 127 {
        out.push(n as u8 | 128);
        n >>= 7;
    }
    out.push(n as u8);
    out.extend(bytes);
    out
}

fn tensor(name: &str, dims: &[u8], values: &[f32]) -> Vec<u8> {
    let mut out: Vec<u8> = dims.iter().flat_map(|d| [8, *d]).collect();
    let data: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    out.extend([&[16, 1][..], &field(8, name.as_bytes()), &field(9, &data)].concat());
    field(5, &out)
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = inputs.iter().flat_map(|i| field(1, i.as_bytes())).collect();
    out.extend(
        [
            field(2, output.as_bytes()),
            field(4, op.as_bytes()),
            attributes.to_vec(),
        ]
        .concat(),
    );
    field(1, &out)
}

/// `Sigmoid(Relu((x − m)/s · W1ᵀ + b1) · W2 + b2)`: two features, three hidden values.
fn onnx(hidden: &str) -> Vec<u8> {
    let trans = field(5, &[&field(1, b"transB")[..], &[24, 1, 160, 1, 2]].concat());
    let graph = [
        node("Sub", &["x", "m"], "c", &[]),
        node("Div", &["c", "s"], "n", &[]),
        node("Gemm", &["n", "w1", "b1"], "y", &trans),
        node(hidden, &["y"], "h", &[]),
        node("MatMul", &["h", "w2"], "z", &[]),
        node("Add", &["z", "b2"], "a", &[]),
        node("Sigmoid", &["a"], "p", &[]),
        tensor("m", &[2], &M),
        tensor("s", &[2], &S),
        tensor("w1", &[3, 2], &W1),
        tensor("b1", &[3], &B1),
        tensor("w2", &[3, 1], &W2),
        tensor("b2", &[1], &[B2]),
        field(11, &field(1, b"x")),
    ];
    field(7, &graph.concat())
}

const M: [f32; 2] = [1.0, -2.0];
const S: [f32; 2] = [2.0, 0.5];
const W1: [f32; 6] = [0.5, -1.0, 1.5, 0.25, -0.75, 1.0];
const B1: [f32; 3] = [0.1, -0.2, 0.3];
const W2: [f32; 3] = [1.0, -0.5, 0.75];
const B2: f32 = -0.4;

fn float(x: &[f64], function: fn(f64) -> f64) -> f64 {
    let n: Vec<f64> = (0..2)
        .map(|j| (x[j] - f64::from(M[j])) / f64::from(S[j]))
        .collect();
    let hidden = (0..3).map(|i| {
        let sum: f64 = (0..2).map(|j| f64::from(W1[2 * i + j]) * n[j]).sum();
        f64::from(W2[i]) * function(sum + f64::from(B1[i]))
    });
    hidden.sum::<f64>() + f64::from(B2)
}

fn rows() -> Vec<Vec<f64>> {
    let at = |i: i32| vec![f64::from(i % 9) - 3.0, f64::from(i % 7) * 0.3 - 3.0];
    (0..63).map(at).collect()
}

fn safetensors() -> Vec<u8> {
    let head = r#"{"w":{"dtype":"F32","shape":[3,2],"data_offsets":[0,24]},"b":{"dtype":"F32","shape":[3],"data_offsets":[24,36]},"v":{"dtype":"F32","shape":[1,3],"data_offsets":[36,48]},"c":{"dtype":"F32","shape":[1],"data_offsets":[48,52]}}"#;
    let mut out = (head.len() as u64).to_le_bytes().to_vec();
    out.extend(head.as_bytes());
    for v in W1.iter().chain(&B1).chain(&W2).chain(&[B2]) {
        out.extend(v.to_le_bytes());
    }
    out
}

const CONFIG: &str = r#"{"mean": [1, -2], "scale": [2, 0.5], "layers": [
    {"weight": "w", "bias": "b", "activation": "relu"}, {"weight": "v", "bias": "c"}]}"#;

#[test]
fn perceptrons_are_near_their_floats_and_one_model_from_both_files() {
    let relu: fn(f64) -> f64 = |x| x.max(0.0);
    let sigmoid: fn(f64) -> f64 = |x| 1.0 / (1.0 + (-x).exp());
    for (op, function) in [("Relu", relu), ("Tanh", f64::tanh), ("Sigmoid", sigmoid)] {
        let m = load(&onnx(op), None, &rows()).unwrap();
        assert_eq!(m.schema().task(), Task::Binary);
        for row in rows() {
            let (ours, exact) = (score(&m, &row), float(&row, function));
            assert!((ours - exact).abs() < 0.05, "{op} {row:?}: {ours} {exact}");
        }
    }
    let a = load(&onnx("Relu"), None, &rows()).unwrap();
    let b = load(&safetensors(), Some(CONFIG), &rows()).unwrap();
    assert_eq!(a.root(), b.root());
}

#[test]
fn perceptrons_beyond_the_plain_ones_are_refused_by_name() {
    let says = |bytes: &[u8], config: Option<&str>, rows: &[Vec<f64>], part: &str| {
        let e = load(bytes, config, rows).unwrap_err().to_string();
        assert!(e.contains(part), "{e}");
    };
    says(&onnx("Conv"), None, &rows(), "Conv");
    says(&onnx("Relu"), None, &[], "--rows");
    says(&onnx("Relu"), None, &[vec![1.0]], "2");
    says(&onnx("Relu"), None, &[vec![1.0, f64::NAN]], "f1");
    says(&safetensors(), None, &rows(), "--config");
    says(
        &safetensors(),
        Some(&CONFIG.replace("relu", "swish")),
        &rows(),
        "swish",
    );
    says(
        &safetensors(),
        Some(&CONFIG.replace("\"v\"", "\"nothing\"")),
        &rows(),
        "nothing",
    );
    says(
        &safetensors(),
        Some(&CONFIG.replace("[2, 0.5]", "[2, 0]")),
        &rows(),
        "scale",
    );
    let whole = onnx("Relu");
    for i in (0..whole.len()).step_by(2) {
        assert!(load(&whole[..i], None, &rows()).is_err(), "cut at {i}");
    }
    let m = load(&whole, None, &rows()).unwrap();
    assert!(matches!(
        edge::quantise(&m, &[f64::NAN, 0.0]),
        Err(ImportError::Missing { .. })
    ));
    assert_eq!(edge::quantise(&m, &[1e300, -2.0]).unwrap(), [32_767, 0]);
}

//! Decision models: the canonical encoding, and the importers of other libraries' files.

use nesa_codec::{Decode, Encode};
use nesa_compile::decision::{Format, Source, edge, import};
use nesa_decision::Model;

use super::{Target, outcome};

pub(crate) const TARGET: Target = Target {
    name: "decision",
    run,
    // An activation table of a perceptron has 128 KiB; JSON values are larger than their text.
    bound: |len| 200 * len + (4 << 20),
    seeds,
    dictionary: &[
        b"Tree=",
        b"num_leaves=2",
        b"end of trees",
        b"binary sigmoid:1",
        b"inf",
        b"nan",
        b"-1",
        b"\"default_left\":[1]",
        b"Gemm",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
    ],
};

const CONFIG: &str =
    r#"{"layers": [{"weight": "w", "bias": "b", "activation": "relu"}, {"weight": "v"}]}"#;
const XGBOOST: &str = r#"{"learner":{"gradient_booster":{"model":{"tree_info":[0],"trees":[{"categories":[],"default_left":[1,0,0],"left_children":[1,-1,-1],"right_children":[2,-1,-1],"split_conditions":[0.5,-1.5,2.5],"split_indices":[0,0,0],"tree_param":{"num_nodes":"3","size_leaf_vector":"1"}}]},"name":"gbtree"},"learner_model_param":{"base_score":"5E-1","num_class":"0","num_feature":"1","num_target":"1"},"objective":{"name":"binary:logistic"}}}"#;
const LIGHTGBM: &str = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=binary sigmoid:1\nfeature_names=a\n\nTree=0\nnum_leaves=3\nnum_cat=1\nsplit_feature=0 0\nthreshold=0.5 0\ndecision_type=10 1\nleft_child=1 -1\nright_child=-3 -2\nleaf_value=1 2 3\ncat_boundaries=0 1\ncat_threshold=5\nis_linear=0\nshrinkage=1\n\nend of trees\n";

fn run(bytes: &[u8]) -> String {
    let decoded = Model::from_bytes(bytes);
    let mut told = outcome(decoded.as_ref());
    if let Ok(m) = &decoded {
        assert_eq!(m.to_bytes(), bytes, "one encoding per model");
        told += &decide(m);
    }
    let rows = vec![vec![0.5, -1.0], vec![2.0, 3.0]];
    let source = Source {
        bytes,
        config: (Format::of(bytes) == Format::Safetensors).then_some(CONFIG),
        rows: &rows,
    };
    let imported = import(Format::of(bytes), &source);
    told += &outcome(imported.as_ref());
    if let Ok(m) = imported {
        assert_eq!(
            Model::from_bytes(&m.to_bytes()).as_ref(),
            Ok(&m),
            "what is made can be read"
        );
        told += &decide(&m);
    }
    told
}

fn decide(m: &Model) -> String {
    let row = vec![1.5; m.schema().features().len()];
    match edge::quantise(m, &row) {
        Ok(q) => outcome(m.decide(&q)),
        Err(e) => e.to_string(),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = [XGBOOST, LIGHTGBM].map(|s| s.as_bytes().to_vec()).into();
    for text in [XGBOOST, LIGHTGBM] {
        let bytes = text.as_bytes();
        let source = Source {
            bytes,
            config: None,
            rows: &[],
        };
        out.extend(import(Format::of(bytes), &source).map(|m| m.to_bytes()));
    }
    out.extend([safetensors(), onnx()]);
    out
}

/// Two inputs, two hidden values, one output.
fn safetensors() -> Vec<u8> {
    let head = r#"{"w":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[2],"data_offsets":[16,24]},"v":{"dtype":"F32","shape":[1,2],"data_offsets":[24,32]}}"#;
    let mut out = (head.len() as u64).to_le_bytes().to_vec();
    out.extend(head.as_bytes());
    for v in [1f32, -2.0, 0.5, 1.0, 0.1, -0.1, 1.0, 1.0] {
        out.extend(v.to_le_bytes());
    }
    out
}

/// `Sigmoid(Gemm(x, w, transB = 1))` with two inputs.
fn onnx() -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| {
        let mut out = vec![number << 3 | 2, bytes.len() as u8];
        out.extend(bytes);
        out
    };
    let data: Vec<u8> = [1f32, -2.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let weight = [&[8, 1, 8, 2, 16, 1][..], &field(8, b"w"), &field(9, &data)].concat();
    let trans = [&field(1, b"transB")[..], &[24, 1]].concat();
    let gemm = [
        field(1, b"x"),
        field(1, b"w"),
        field(2, b"y"),
        field(4, b"Gemm"),
        field(5, &trans),
    ];
    let sigmoid = [field(1, b"y"), field(2, b"z"), field(4, b"Sigmoid")];
    let graph = [
        field(1, &gemm.concat()),
        field(1, &sigmoid.concat()),
        field(5, &weight),
        field(11, &field(1, b"x")),
    ];
    field(7, &graph.concat())
}

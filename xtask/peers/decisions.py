"""Train decision models with their own libraries and write models, rows and predictions.

usage: decisions.py OUT GERMAN_CREDIT_FILE

For each data set: train.csv, test.csv, hard.csv (missing values, thresholds and their neighbours),
xgboost.json, lightgbm.txt, mlp.safetensors + mlp.json, mlp.onnx, and expected.json with the class and
margin that each library gives for every row.
"""

import json
import pathlib
import sys

import lightgbm
import numpy as np
import onnx
import xgboost
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

SEED = 7
ROUNDS = 100


def german(path):
    """The German Credit data, symbols numbered in their order."""
    rows = [line.split() for line in pathlib.Path(path).read_text().splitlines() if line.strip()]
    columns = list(zip(*rows))
    names, values = [], []
    for i, column in enumerate(columns[:-1]):
        names.append(f"a{i + 1}")
        if all(v.lstrip("-").isdigit() for v in column):
            values.append([float(v) for v in column])
        else:
            known = sorted(set(column), key=lambda v: (len(v), v))
            values.append([float(known.index(v)) for v in column])
    return np.array(values).T, np.array([int(v == "1") for v in columns[-1]]), names


def breast():
    data = load_breast_cancer()
    return data.data, data.target, [n.replace(" ", "_") for n in data.feature_names]


def csv(path, names, rows):
    text = [",".join(names)]
    text += [",".join("" if np.isnan(v) else repr(float(v)) for v in row) for row in rows]
    path.write_text("\n".join(text) + "\n")


def hard_rows(x, thresholds, random):
    """Rows at thresholds, at their neighbours and with holes."""
    rows = x[random.integers(0, len(x), 400)].copy()
    for row in rows:
        for j in range(x.shape[1]):
            kind = random.integers(0, 8)
            if kind == 0:
                row[j] = np.nan
            elif kind == 1:
                row[j] = random.choice([0.0, -0.0, 1e-36, -1e-36, 1e-35, 2e-35, 1e30, -1e30])
            elif kind < 6 and thresholds.get(j):
                t = float(random.choice(thresholds[j]))
                single = float(np.float32(t))
                below = float(np.nextafter(np.float32(t), np.float32(-np.inf)))
                middle = (single + below) / 2
                near = [t, np.nextafter(t, -np.inf), np.nextafter(t, np.inf), single, below, middle,
                        np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf)]
                row[j] = near[random.integers(0, len(near))]
    return rows


def export_onnx(path, mlp, scaler):
    nodes, constants, at = [], [], "scaled"
    def constant(name, value):
        constants.append(numpy_helper.from_array(value.astype(np.float32), name))
    constant("mean", scaler.mean_)
    constant("scale", scaler.scale_)
    nodes.append(helper.make_node("Sub", ["x", "mean"], ["centred"]))
    nodes.append(helper.make_node("Div", ["centred", "scale"], ["scaled"]))
    for i, (w, b) in enumerate(zip(mlp.coefs_, mlp.intercepts_)):
        constant(f"w{i}", w if i % 2 else w.T)
        constant(f"b{i}", b)
        if i % 2:
            nodes.append(helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"]))
            nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [f"y{i}"]))
        else:
            nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"y{i}"], transB=1))
        at = f"h{i}"
        last = i + 1 == len(mlp.coefs_)
        nodes.append(helper.make_node("Sigmoid" if last else "Relu", [f"y{i}"], [at]))
    n = mlp.coefs_[0].shape[0]
    value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, width])
    graph = helper.make_graph(nodes, "mlp", [value("x", n)], [value(at, 1)], constants)
    model = helper.make_model(graph)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def margin(mlp, x):
    h = x
    for i, (w, b) in enumerate(zip(mlp.coefs_, mlp.intercepts_)):
        h = h @ w + b
        if i + 1 < len(mlp.coefs_):
            h = np.maximum(h, 0)
    return h[:, 0]


def thresholds(out):
    """Feature -> thresholds of numerical splits, of both tree models."""
    found = {}
    model = json.loads((out / "xgboost.json").read_text())
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        for left, feature, at in zip(tree["left_children"], tree["split_indices"], tree["split_conditions"]):
            if left != -1:
                found.setdefault(feature, []).append(at)
    sections = (out / "lightgbm.txt").read_text().split("Tree=")[1:]
    for section in sections:
        part = dict(line.split("=", 1) for line in section.splitlines() if "=" in line)
        kinds = map(int, part.get("decision_type", "").split())
        features, at = part.get("split_feature", "").split(), part.get("threshold", "").split()
        for feature, t, kind in zip(features, at, kinds):
            if kind & 1 == 0 and np.isfinite(float(t)):
                found.setdefault(int(feature), []).append(float(t))
    return found


def run(out, name, x, y, names):
    out = out / name
    out.mkdir(parents=True, exist_ok=True)
    train, test, y_train, y_test = train_test_split(x, y, test_size=0.3, random_state=SEED, stratify=y)
    random = np.random.default_rng(SEED)
    holes = np.where(random.random(train.shape) < 0.05, np.nan, train)

    gbdt = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "seed": SEED, "nthread": 1},
        xgboost.DMatrix(holes, y_train, feature_names=names), ROUNDS)
    gbdt.save_model(out / "xgboost.json")
    light = lightgbm.train(
        {"objective": "binary", "num_leaves": 15, "learning_rate": 0.1, "seed": SEED, "num_threads": 1,
         "deterministic": True, "verbose": -1, "min_data_in_leaf": 5},
        lightgbm.Dataset(holes, y_train, feature_name=names,
                         categorical_feature=[names[0]] if name == "german" else "auto"), ROUNDS)
    light.save_model(out / "lightgbm.txt")

    scaler = StandardScaler().fit(train)
    mlp = MLPClassifier((32, 16), alpha=1e-2, max_iter=300, random_state=SEED, early_stopping=False)
    mlp.fit(scaler.transform(train), y_train)
    tensors = {}
    layers = []
    for i, (w, b) in enumerate(zip(mlp.coefs_, mlp.intercepts_)):
        tensors[f"{i}.weight"] = np.ascontiguousarray(w.T).astype(np.float32)
        tensors[f"{i}.bias"] = b.astype(np.float32)
        last = i + 1 == len(mlp.coefs_)
        layers.append({"weight": f"{i}.weight", "bias": f"{i}.bias",
                       "activation": "identity" if last else "relu"})
    save_file(tensors, out / "mlp.safetensors")
    common = {"task": "binary", "features": names, "classes": ["0", "1"]}
    (out / "mlp.json").write_text(json.dumps(
        {**common, "mean": scaler.mean_.tolist(), "scale": scaler.scale_.tolist(), "layers": layers}))
    (out / "onnx.json").write_text(json.dumps(common))
    export_onnx(out / "mlp.onnx", mlp, scaler)

    hard = hard_rows(train, thresholds(out), random)
    csv(out / "train.csv", names, train)
    csv(out / "test.csv", names, test)
    csv(out / "hard.csv", names, hard)

    def told(margins):
        return {"margin": [float(m) for m in margins], "class": [int(m > 0) for m in margins]}

    def xgb(rows):
        return told(gbdt.predict(xgboost.DMatrix(rows, feature_names=names), output_margin=True))

    def lgb(rows):
        return told(light.predict(rows, raw_score=True, num_threads=1))

    expected = {
        "labels": y_test.tolist(),
        "xgboost": {"test": xgb(test), "hard": xgb(hard)},
        "lightgbm": {"test": lgb(test), "hard": lgb(hard)},
        "mlp": {"test": told(margin(mlp, scaler.transform(test)))},
    }
    own = mlp.predict(scaler.transform(test))
    assert own.tolist() == expected["mlp"]["test"]["class"]
    (out / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    run(folder, "german", *german(sys.argv[2]))
    run(folder, "breast", *breast())

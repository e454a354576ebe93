"""Prove one decision of a perceptron with EZKL and report time, error and setting as one JSON line.

usage: ezkl_peer.py make OUT LAYER LAYER ...       a random perceptron (relu), rows, and its float outputs
       ezkl_peer.py prove OUT NAME=VALUE ...       one proof of the row, with these settings

Settings: scale, params (private or fixed), cols, calibrate (0 or 1).
"""

import json
import os
import pathlib
import resource
import sys
import time

import numpy as np

SEED = 7
CALIBRATION_ROWS = 200


def forward(layers, x):
    for i, (w, b) in enumerate(layers):
        x = x @ w.T + b
        if i + 1 < len(layers):
            x = np.maximum(x, 0)
    return x


def make(out, widths):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(SEED)
    layers = []
    for cols, rows in zip(widths, widths[1:]):
        w = random.normal(0, np.sqrt(2 / cols), (rows, cols)).astype(np.float32)
        layers.append((w, random.normal(0, 0.1, rows).astype(np.float32)))
    x = random.normal(0, 1, (CALIBRATION_ROWS + 1, widths[0])).astype(np.float32)
    nodes, constants, at = [], [], "x"
    for i, (w, b) in enumerate(layers):
        constants += [numpy_helper.from_array(w, f"w{i}"), numpy_helper.from_array(b, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"y{i}"], transB=1))
        at = f"y{i}"
        if i + 1 < len(layers):
            nodes.append(helper.make_node("Relu", [at], [f"h{i}"]))
            at = f"h{i}"
    value = lambda name, width: helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, width])
    graph = helper.make_graph(nodes, "mlp", [value("x", widths[0])], [value(at, widths[-1])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, out / "mlp.onnx")
    csv = lambda rows: "".join(",".join(repr(float(v)) for v in row) + "\n" for row in rows)
    (out / "train.csv").write_text(csv(x[1:]))
    (out / "row.csv").write_text(csv(x[:1]))
    (out / "input.json").write_text(json.dumps({"input_data": [x[0].tolist()]}))
    wide = [(w.astype(np.float64), b.astype(np.float64)) for w, b in layers]
    expected = forward(wide, x[0].astype(np.float64)).tolist()
    (out / "expected.json").write_text(json.dumps(expected))
    (out / "config.json").write_text(json.dumps({"task": "classes"}))
    print(json.dumps({"parameters": int(sum(w.size + b.size for w, b in layers))}))


def error(outputs, expected):
    """Euclidean norm of the difference over that of the float outputs."""
    outputs, expected = np.array(outputs), np.array(expected)
    return float(np.linalg.norm(outputs - expected) / np.linalg.norm(expected))


def prove(out, settings):
    import ezkl

    scale, params = int(settings.get("scale", 7)), settings.get("params", "private")
    cols, calibrate = int(settings.get("cols", 2)), settings.get("calibrate", "0") == "1"
    path = lambda name: str(out / name)
    args = ezkl.PyRunArgs()
    args.input_visibility, args.output_visibility, args.param_visibility = "public", "public", params
    args.input_scale, args.param_scale, args.num_inner_cols = scale, scale, cols
    os.environ.setdefault("RUST_LOG", "error")
    assert ezkl.gen_settings(path("mlp.onnx"), path("settings.json"), py_run_args=args)
    if calibrate:
        assert ezkl.calibrate_settings(path("input.json"), path("mlp.onnx"), path("settings.json"))
    else:
        assert ezkl.calibrate_settings(path("input.json"), path("mlp.onnx"), path("settings.json"), scales=[scale],
                                       scale_rebase_multiplier=[1])
    assert ezkl.compile_circuit(path("mlp.onnx"), path("circuit"), path("settings.json"))
    found = json.loads((out / "settings.json").read_text())
    rows = found["run_args"]["logrows"]
    srs = out / f"srs{rows}"
    if not srs.exists():
        ezkl.gen_srs(str(srs), rows)
    started = time.monotonic()
    assert ezkl.setup(path("circuit"), path("vk"), path("pk"), str(srs))
    setup_s = time.monotonic() - started
    started = time.monotonic()
    witness = ezkl.gen_witness(path("input.json"), path("circuit"), path("witness.json"), path("vk"), str(srs))
    witness_s = time.monotonic() - started
    started, cpu = time.monotonic(), time.process_time()
    ezkl.prove(path("witness.json"), path("circuit"), path("pk"), path("proof.json"), str(srs))
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    started = time.monotonic()
    assert ezkl.verify(path("proof.json"), path("settings.json"), path("vk"), str(srs))
    verify_s = time.monotonic() - started
    output_scale = found["model_output_scales"][0]
    outputs = [ezkl.felt_to_float(v, output_scale) for v in witness["outputs"][0]]
    expected = json.loads((out / "expected.json").read_text())
    proof = json.loads((out / "proof.json").read_text())
    print(json.dumps({
        "system": "EZKL 23.0.5", "scale": found["run_args"]["param_scale"], "params": params,
        "logrows": rows, "columns": found["run_args"]["num_inner_cols"], "calibrated": calibrate,
        "seconds": seconds, "cpu_seconds": cpu, "witness_seconds": witness_s, "setup_seconds": setup_s,
        "verify_seconds": verify_s, "bytes": len(proof["proof"]) if isinstance(proof["proof"], list) else len(proof["hex_proof"]) // 2,
        "proving_key_bytes": (out / "pk").stat().st_size,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "error": error(outputs, expected),
    }))


def main():
    what, out = sys.argv[1], pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    if what == "make":
        make(out, [int(w) for w in sys.argv[3:]])
    else:
        prove(out, dict(a.split("=", 1) for a in sys.argv[3:]))


main()

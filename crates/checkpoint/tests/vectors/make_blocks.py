"""Quantised blocks and their values by the reference implementation.

    pip install gguf==0.19.0 numpy && python make_blocks.py > blocks.json
"""

import json

import gguf
import numpy as np

T = gguf.GGMLQuantizationType
rng = np.random.default_rng(20261124)
out = {}
for kind in (T.Q8_0, T.Q4_0, T.Q4_1, T.Q4_K, T.Q6_K, T.BF16, T.F16):
    block, size = gguf.GGML_QUANT_SIZES[kind]
    count = max(1, 512 // block) if block > 1 else 16
    data = rng.integers(0, 256, count * size, dtype=np.uint8).reshape(1, -1)
    if block > 1:
        # Finite scales of a usual size wherever the layout has an f16.
        at = {T.Q4_K: (0, 2), T.Q4_1: (0, 2), T.Q6_K: (208,)}.get(kind, (0,))
        for b in range(count):
            for o in at:
                scale = np.float16(rng.normal() * 0.01).tobytes()
                data[0, b * size + o : b * size + o + 2] = np.frombuffer(scale, np.uint8)
        values = gguf.quants.dequantize(data, kind).reshape(-1)
    elif kind == T.BF16:
        values = (data.reshape(-1).view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    else:
        values = data.reshape(-1).view(np.float16).astype(np.float32)
    keep = np.isfinite(values)
    out[kind.name] = {
        "bytes": data.tobytes().hex(),
        "bits": [int(b) if k else None for b, k in zip(values.view(np.uint32), keep)],
    }
print(json.dumps(out))

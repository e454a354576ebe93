"""SecretFlow SPU on the shape of a model, every party a process of its own on loopback.

    spu_peer.py SHAPE [--protocol semi2k|aby3|cheetah] [--weights public|secret] [--layers N] [--repeat N]

SHAPE is `smollm2-135m` (one token decoded behind a cache of 127 positions) or `minilm-l6` (one
embedding of 128 tokens). Weights are random, of the model's own shapes and of a scale that keeps
activations in the range of a real one; what they are does not change what they cost. Prints one
JSON value: seconds of each repetition, from the first to the last layer, and the largest error
against the same computation in floating point, so that a fast wrong answer shows.

What is left out on both sides of the comparison, because the client does it in the clear: looking
up embeddings, and (for the decoder) the matrix of the head.
"""

import argparse
import json
import multiprocessing as mp
import os
import socket
import sys
import time

import jax.numpy as jnp
import numpy as np
import spu
import spu.utils.frontend as frontend
from jax import lax

CONTEXT = 128
SHAPES = {
    "smollm2-135m": dict(layers=30, dim=576, heads=9, kv_heads=3, hidden=1536, rows=1),
    "minilm-l6": dict(layers=6, dim=384, heads=12, kv_heads=12, hidden=1536, rows=CONTEXT),
}

# Two parties with a dealer of random numbers (the first of them), three that do not collude, and two
# without a dealer.
PARTIES = {"semi2k": 2, "aby3": 3, "cheetah": 2}


def weights(shape, layer):
    """The matrices of one layer, the same in every process."""
    rng = np.random.default_rng(1000 + layer)
    dim, hidden = shape["dim"], shape["hidden"]
    kv = dim // shape["heads"] * shape["kv_heads"]

    def matrix(rows, columns):
        return rng.normal(0, rows**-0.5, (rows, columns)).astype(np.float32)

    names = {"q": (dim, dim), "k": (dim, kv), "v": (dim, kv), "o": (dim, dim)}
    names |= {"up": (dim, hidden), "down": (hidden, dim)}
    if shape["rows"] == 1:
        names["gate"] = (dim, hidden)
    return {name: matrix(*size) for name, size in names.items()}


def inputs(shape):
    """Input rows, and for a decoder the cached keys and values of each layer."""
    rng = np.random.default_rng(7)
    x = rng.normal(0, 1, (shape["rows"], shape["dim"])).astype(np.float32)
    if shape["rows"] > 1:
        return x, []
    size = (CONTEXT - 1, shape["kv_heads"], shape["dim"] // shape["heads"])
    cache = [rng.normal(0, 1, (2, *size)).astype(np.float32) for _ in range(shape["layers"])]
    return x, cache


def softmax(s):
    """As SPU's own transformer examples have it: exponentials far below the largest are 0."""
    s = s - jnp.max(s, axis=-1, keepdims=True)
    e = jnp.exp(s) * (s > -14)
    return e / jnp.sum(e, axis=-1, keepdims=True)


def piecewise(f, limit, degree):
    """f(x) as an even or odd part of a polynomial inside the limit, 0 below it, x above it."""
    grid = np.linspace(-limit, limit, 2001)
    # f(x) − x/2 is even for SiLU and GELU.
    even = np.polynomial.polynomial.polyfit(grid**2, f(grid) - grid / 2, degree // 2)

    def g(x):
        square, total = x * x, float(even[0])
        power = square
        for c in even[1:]:
            total = total + float(c) * power
            power = power * square
        inside = total + 0.5 * x
        low, high = x < -limit, x > limit
        return jnp.where(high, x, jnp.where(low, 0.0, inside))

    return g


silu = piecewise(lambda x: x / (1 + np.exp(-x)), 6.0, 8)
gelu = piecewise(lambda x: 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3))), 4.0, 8)


def heads(x, count):
    return x.reshape(x.shape[0], count, -1).transpose(1, 0, 2)


def attend(q, k, v, shape):
    """(heads, rows, size) over (kv_heads, positions, size) -> (rows, dim)."""
    group = shape["heads"] // shape["kv_heads"]
    rows, size = q.shape[1], q.shape[2]
    q = q.reshape(shape["kv_heads"], group * rows, size)
    scores = jnp.matmul(q, k.transpose(0, 2, 1)) * size**-0.5
    mixed = jnp.matmul(softmax(scores), v)
    mixed = mixed.reshape(shape["heads"], rows, size)
    return mixed.transpose(1, 0, 2).reshape(rows, -1)


def rotate(x):
    """Rotary position CONTEXT − 1, a public constant."""
    size = x.shape[-1]
    angle = (CONTEXT - 1) * 10000.0 ** (-np.arange(0, size, 2) / size)
    cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
    a, b = x[..., : size // 2], x[..., size // 2 :]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def rms(x):
    return x * lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5)


def layer_norm(x):
    x = x - jnp.mean(x, axis=-1, keepdims=True)
    return x * lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-5)


def decoder(shape):
    """One Llama layer on one row behind a cache: norm, attention, norm, gated feed-forward."""

    def layer(x, cache, w):
        h = rms(x)
        q = rotate(heads(h @ w["q"], shape["heads"]))
        k = rotate(heads(h @ w["k"], shape["kv_heads"]))
        v = heads(h @ w["v"], shape["kv_heads"])
        k = jnp.concatenate([cache[0].transpose(1, 0, 2), k], axis=1)
        v = jnp.concatenate([cache[1].transpose(1, 0, 2), v], axis=1)
        x = x + attend(q, k, v, shape) @ w["o"]
        h = rms(x)
        return x + (silu(h @ w["gate"]) * (h @ w["up"])) @ w["down"]

    return layer


def encoder(shape):
    """One BERT layer on all rows: attention, norm, feed-forward with GELU, norm."""

    def layer(x, w):
        q, k, v = (heads(x @ w[n], shape["heads"]) for n in "qkv")
        x = layer_norm(x + attend(q, k, v, shape) @ w["o"])
        return layer_norm(x + gelu(x @ w["up"]) @ w["down"])

    return layer


def plain(shape, count):
    """The same layers in floating point."""
    x, cache = inputs(shape)
    for i in range(count):
        w = weights(shape, i)
        x = decoder(shape)(x, cache[i], w) if cache else encoder(shape)(x, w)
    return np.asarray(x)


def config(protocol, weights):
    kind = getattr(spu.ProtocolKind, protocol.upper())
    c = spu.RuntimeConfig(protocol=kind, field=spu.FieldType.FM64)
    # As in SPU's transformer examples.
    c.fxp_exp_mode = spu.RuntimeConfig.ExpMode.EXP_TAYLOR
    c.fxp_exp_iters = 5
    # Its cheaper truncation, off by default: with secret weights it was seen to give wrong embeddings.
    c.trunc_allow_msb_error = weights == "public"
    return c


def compiled(shape, visibility):
    """One layer as SPU code; the names of its inputs follow `x`, cache, then matrices by name."""
    x, cache = inputs(shape)
    w = weights(shape, 0)
    fn, args = (decoder, [x, cache[0], w]) if cache else (encoder, [x, w])
    secret = spu.Visibility.VIS_SECRET
    names = ["x"] + (["cache"] if cache else []) + sorted(w)
    vis = [secret] * (2 if cache else 1) + [visibility] * len(w)
    executable, _ = frontend.compile(
        frontend.Kind.JAX, fn(shape), args, {}, names, vis, lambda out: ["y"] * len(out)
    )
    return executable.code


def party(rank, ports, options, secrets, pipe):
    shape = SHAPES[options.shape]
    count = options.layers or shape["layers"]
    c = config(options.protocol, options.weights)
    desc = spu.link.Desc()
    desc.recv_timeout_ms = 600_000
    for i, port in enumerate(ports):
        desc.add_party(f"party-{i}", f"127.0.0.1:{port}")
    link = spu.link.create_brpc(desc, rank)
    runtime, io = spu.Runtime(link, c), spu.Io(len(ports), c)
    visibility = spu.Visibility.VIS_PUBLIC
    if options.weights == "public":
        for i in range(count):
            for name, w in weights(shape, i).items():
                runtime.set_var(f"{name}{i}", io.make_shares(w, visibility)[rank])
    else:
        visibility = spu.Visibility.VIS_SECRET
    for name, share in secrets:
        runtime.set_var(name, share)
    code = compiled(shape, visibility)
    matrices, cached = sorted(weights(shape, 0)), shape["rows"] == 1
    steps = []
    for i in range(count):
        names = [f"x{i}"] + ([f"cache{i}"] if cached else []) + [f"{m}{i}" for m in matrices]
        steps.append(
            spu.Executable(name="layer", input_names=names, output_names=[f"x{i + 1}"], code=code)
        )
    for _ in range(options.repeat):
        link.barrier()
        start, cpu = time.perf_counter(), time.process_time()
        for step in steps:
            runtime.run(step)
        took = time.perf_counter() - start
        pipe.send((took, time.process_time() - cpu, runtime.get_var(f"x{count}")))
    link.barrier()
    link.stop_link()


def free_ports(n):
    held = [socket.socket() for _ in range(n)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("--protocol", choices=PARTIES, default="semi2k")
    parser.add_argument("--weights", choices=["public", "secret"], default="public")
    parser.add_argument("--layers", type=int, default=0, help="0: all")
    parser.add_argument("--repeat", type=int, default=2)
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    count = options.layers or shape["layers"]
    parties = PARTIES[options.protocol]

    io = spu.Io(parties, config(options.protocol, options.weights))
    x, cache = inputs(shape)
    values = {"x0": x} | {f"cache{i}": c for i, c in enumerate(cache[:count])}
    if options.weights == "secret":
        for i in range(count):
            values |= {f"{name}{i}": w for name, w in weights(shape, i).items()}
    shares = {n: io.make_shares(v, spu.Visibility.VIS_SECRET) for n, v in values.items()}

    context = mp.get_context("spawn")
    ports, pipes, processes = free_ports(parties), [], []
    for rank in range(parties):
        ours, theirs = context.Pipe()
        secrets = [(n, s[rank]) for n, s in shares.items()]
        p = context.Process(target=party, args=(rank, ports, options, secrets, theirs))
        p.start()
        theirs.close()
        pipes.append(ours)
        processes.append(p)
    runs = [[pipe.recv() for pipe in pipes] for _ in range(options.repeat)]
    for p in processes:
        p.join()
    want = plain(shape, count)
    got = np.asarray(io.reconstruct([r[2] for r in runs[-1]]))
    result = {
        "system": f"SecretFlow SPU {spu.__version__}",
        "protocol": options.protocol,
        "weights": options.weights,
        "parties": parties,
        "shape": options.shape,
        "layers": count,
        "rows": shape["rows"],
        "context": CONTEXT,
        "seconds": [max(r[0] for r in run) for run in runs],
        "cpu_seconds": [sum(r[1] for r in run) for run in runs],
        "error_over_norm": float(np.linalg.norm(got - want) / np.linalg.norm(want)),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

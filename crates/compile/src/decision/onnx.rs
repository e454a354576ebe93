//! Plain perceptrons from ONNX: one chain of linear layers and activations.
//!
//! `Sub`, `Add`, `Mul` and `Div` by constants before the first layer are the input's scale; a `Softmax`,
//! `ArgMax` or, of one output, `Sigmoid` at the end does not change which class wins and is dropped.

use std::collections::BTreeMap;

use nesa_decision::{Task, limits};

use super::config::Config;
use super::perceptron::{Float, FloatLayer, Function};
use super::protobuf::{Fields, Value};
use super::{Format, ImportError, Result};
use crate::float::Mat;

const FORMAT: Format = Format::Onnx;
/// Nodes of a graph.
const NODES_MAX: usize = 1_024;
/// `TensorProto.FLOAT` and `DOUBLE`.
const FLOAT: u64 = 1;
const DOUBLE: u64 = 11;

fn bad(what: &str) -> ImportError {
    FORMAT.malformed(what)
}

/// A constant.
#[derive(Debug, Clone, Default)]
struct Tensor {
    dims: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Debug, Default)]
struct Node<'a> {
    op: &'a str,
    inputs: Vec<&'a str>,
    output: &'a str,
    floats: BTreeMap<&'a str, f32>,
    ints: BTreeMap<&'a str, i64>,
    texts: BTreeMap<&'a str, &'a [u8]>,
    tensor: Option<Tensor>,
}

#[derive(Debug, Default)]
struct Graph<'a> {
    nodes: Vec<Node<'a>>,
    constants: BTreeMap<&'a str, Tensor>,
    inputs: Vec<&'a str>,
}

fn text(v: Value<'_>) -> Result<&str> {
    match v {
        Value::Bytes(b) => std::str::from_utf8(b).map_err(|_| bad("a name is not UTF-8")),
        _ => Err(bad("a name is no text")),
    }
}

fn message(v: Value<'_>) -> Result<Fields<'_>> {
    match v {
        Value::Bytes(b) => Ok(Fields::new(b)),
        _ => Err(bad("a message is none")),
    }
}

/// Calls `on` for every field of `m`.
fn each<'a>(mut m: Fields<'a>, on: &mut dyn FnMut(u64, Value<'a>) -> Result<()>) -> Result<()> {
    while let Some((number, value)) = m.next().map_err(bad)? {
        on(number, value)?;
    }
    Ok(())
}

/// Reads a graph.
pub(super) fn read(bytes: &[u8], config: &Config) -> Result<Float> {
    let mut graph = None;
    each(Fields::new(bytes), &mut |number, value| {
        if number == 7 {
            graph = Some(parse(message(value)?)?);
        }
        Ok(())
    })?;
    let graph = graph.ok_or_else(|| bad("it has no graph"))?;
    Chain::default().follow(graph, config)
}

fn parse(m: Fields<'_>) -> Result<Graph<'_>> {
    let mut graph = Graph::default();
    each(m, &mut |number, value| {
        match number {
            1 => graph.nodes.push(node(message(value)?)?),
            5 => {
                let (name, t) = tensor(message(value)?)?;
                graph.constants.insert(name, t);
            }
            11 => each(message(value)?, &mut |n, v| {
                if n == 1 {
                    graph.inputs.push(text(v)?);
                }
                Ok(())
            })?,
            _ => {}
        }
        if graph.nodes.len() > NODES_MAX || graph.constants.len() > NODES_MAX {
            return Err(FORMAT.unsupported("the graph is larger than a perceptron's"));
        }
        Ok(())
    })?;
    Ok(graph)
}

fn node(m: Fields<'_>) -> Result<Node<'_>> {
    let mut out = Node::default();
    each(m, &mut |number, value| {
        match number {
            1 => out.inputs.push(text(value)?),
            2 if out.output.is_empty() => out.output = text(value)?,
            4 => out.op = text(value)?,
            5 => attribute(message(value)?, &mut out)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(out)
}

fn attribute<'a>(m: Fields<'a>, out: &mut Node<'a>) -> Result<()> {
    let (mut name, mut values) = ("", Vec::new());
    each(m, &mut |number, value| {
        match number {
            1 => name = text(value)?,
            2..=5 => values.push((number, value)),
            _ => {}
        }
        Ok(())
    })?;
    for (number, value) in values {
        match (number, value) {
            (2, Value::Fixed32(v)) => {
                out.floats.insert(name, f32::from_bits(v));
            }
            (3, Value::Varint(v)) => {
                out.ints.insert(name, v as i64);
            }
            (4, Value::Bytes(v)) => {
                out.texts.insert(name, v);
            }
            (5, v) => out.tensor = Some(tensor(message(v)?)?.1),
            _ => return Err(bad("an attribute has another type than it says")),
        }
    }
    Ok(())
}

fn tensor(m: Fields<'_>) -> Result<(&str, Tensor)> {
    let (mut name, mut kind, mut t) = ("", 0, Tensor::default());
    let (mut raw, mut floats, mut doubles): (&[u8], &[u8], &[u8]) = (&[], &[], &[]);
    each(m, &mut |number, value| {
        match (number, value) {
            (1, Value::Varint(d)) => t.dims.push(usize::try_from(d).unwrap_or(usize::MAX)),
            (1, Value::Bytes(b)) => {
                let mut packed = Fields::new(b);
                while !packed.is_empty() && t.dims.len() <= 4 {
                    let d = packed.varint().map_err(bad)?;
                    t.dims.push(usize::try_from(d).unwrap_or(usize::MAX));
                }
            }
            (2, Value::Varint(k)) => kind = k,
            (4, Value::Fixed32(v)) => t.data.push(f32::from_bits(v)),
            (4, Value::Bytes(b)) => floats = b,
            (8, v) => name = text(v)?,
            (9, Value::Bytes(b)) => raw = b,
            (10, Value::Fixed64(v)) => t.data.push(f64::from_bits(v) as f32),
            (10, Value::Bytes(b)) => doubles = b,
            (13, _) => {
                return Err(FORMAT
                    .unsupported("weights in another file are not supported; save them inside"));
            }
            _ => {}
        }
        if t.dims.len() > 4 {
            return Err(FORMAT.unsupported("a constant has more than four dimensions"));
        }
        Ok(())
    })?;
    let wide = kind == DOUBLE;
    if wide || kind == FLOAT {
        let part = if raw.is_empty() {
            [floats, doubles][usize::from(wide)]
        } else {
            raw
        };
        if wide {
            let one = |b: &[u8]| {
                f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32
            };
            t.data.extend(part.chunks_exact(8).map(one));
        } else {
            let one = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            t.data.extend(part.chunks_exact(4).map(one));
        }
        let count = t.dims.iter().try_fold(1usize, |p, d| p.checked_mul(*d));
        if count != Some(t.data.len()) {
            return Err(bad("a constant's size is not its shape's"));
        }
    }
    Ok((name, t))
}

/// What was read of the chain so far.
#[derive(Debug, Default)]
struct Chain {
    /// `x·factor + shift` of each feature, before the first layer; one entry is for all.
    factor: Vec<f64>,
    shift: Vec<f64>,
    layers: Vec<FloatLayer>,
    /// The name of what dropped the rest, if anything did.
    closed: Option<String>,
    sigmoid: bool,
}

impl Chain {
    fn follow(mut self, mut graph: Graph<'_>, config: &Config) -> Result<Float> {
        let fed = graph
            .inputs
            .iter()
            .find(|i| !graph.constants.contains_key(*i));
        let mut at = *fed.ok_or_else(|| bad("it has no input"))?;
        (self.factor, self.shift) = (vec![1.0], vec![0.0]);
        for mut node in std::mem::take(&mut graph.nodes) {
            if node.op == "Constant" {
                let value = node.tensor.take();
                let value = value
                    .ok_or_else(|| FORMAT.unsupported("a Constant of another type than float"))?;
                graph.constants.insert(node.output, value);
                continue;
            }
            // The second outputs of some exporters: labels behind the scores.
            if self.closed.is_some() {
                continue;
            }
            let place = node.inputs.iter().position(|i| *i == at);
            let place = place.ok_or_else(|| {
                FORMAT.unsupported(format!(
                    "{} is not on one chain from the input; only plain perceptrons are supported",
                    node.op
                ))
            })?;
            let constants: Vec<&Tensor> = (node.inputs.iter().enumerate())
                .filter(|(i, name)| *i != place && !name.is_empty())
                .map(|(_, name)| graph.constants.get(name))
                .collect::<Option<_>>()
                .ok_or_else(|| {
                    FORMAT.unsupported(format!(
                        "{} has two variable inputs; only plain perceptrons are supported",
                        node.op
                    ))
                })?;
            self.step(&node, place, &constants)?;
            at = node.output;
        }
        self.finish(config)
    }

    fn step(&mut self, node: &Node<'_>, place: usize, constants: &[&Tensor]) -> Result<()> {
        match (node.op, constants) {
            ("Gemm", [w, rest @ ..]) if place == 0 => self.gemm(node, w, rest.first().copied()),
            ("MatMul", [w]) if place == 0 => self.push(w, false),
            ("Add", [c]) => self.add(c, 1.0),
            ("Sub", [c]) if place == 0 => self.add(c, -1.0),
            ("Mul", [c]) if self.layers.is_empty() => self.scale(c, false),
            ("Div", [c]) if self.layers.is_empty() && place == 0 => self.scale(c, true),
            ("Identity" | "Dropout" | "Flatten", _) => Ok(()),
            ("Relu", []) => self.activate(Function::Relu),
            ("Sigmoid", []) => self.activate(Function::Sigmoid),
            ("Tanh", []) => self.activate(Function::Tanh),
            ("Gelu", []) => match node.texts.get("approximate") {
                Some(t) if *t == b"tanh" => self.activate(Function::GeluTanh),
                _ => self.activate(Function::Gelu),
            },
            ("Softmax" | "LogSoftmax" | "ArgMax", _) if !self.layers.is_empty() => {
                self.closed = Some(node.op.to_owned());
                Ok(())
            }
            (op, _) => Err(FORMAT.unsupported(format!(
                "operator {op} is not supported here; known are Gemm, MatMul, Add, Relu, Sigmoid, Tanh, Gelu, and Softmax at the end"
            ))),
        }
    }

    fn gemm(&mut self, node: &Node<'_>, w: &Tensor, bias: Option<&Tensor>) -> Result<()> {
        let int = |name: &str| node.ints.get(name).copied().unwrap_or(0);
        let float = |name: &str| node.floats.get(name).copied().unwrap_or(1.0);
        if int("transA") != 0 {
            return Err(FORMAT.unsupported("Gemm with transA is not supported"));
        }
        let mut scaled = w.clone();
        scaled.data.iter_mut().for_each(|v| *v *= float("alpha"));
        self.push(&scaled, int("transB") != 0)?;
        if let Some(bias) = bias {
            self.add(bias, f64::from(float("beta")))?;
        }
        Ok(())
    }

    /// A linear layer; `w` is (inputs, outputs), or the other way where `transposed`.
    fn push(&mut self, w: &Tensor, transposed: bool) -> Result<()> {
        let [a, b] = w.dims[..] else {
            return Err(bad("a weight has not two dimensions"));
        };
        let (rows, cols) = if transposed { (a, b) } else { (b, a) };
        let fits = (1..=limits::WIDTH).contains(&rows) && (1..=limits::WIDTH).contains(&cols);
        if !fits || w.data.len() != rows * cols || self.layers.len() >= limits::LAYERS {
            return Err(bad("size of a weight"));
        }
        let data = if transposed {
            w.data.clone()
        } else {
            let at = |i: usize| w.data[(i % cols) * rows + i / cols];
            (0..rows * cols).map(at).collect()
        };
        self.layers.push(FloatLayer {
            mat: Mat {
                rows,
                cols,
                data,
                bias: vec![0.0; rows],
            },
            function: None,
        });
        Ok(())
    }

    fn add(&mut self, c: &Tensor, sign: f64) -> Result<()> {
        let Some(layer) = self.layers.last_mut() else {
            widen(&mut self.shift, c.data.len())?;
            for (i, s) in self.shift.iter_mut().enumerate() {
                *s += sign * f64::from(*broadcast(c, i)?);
            }
            return Ok(());
        };
        if layer.function.is_some() {
            return Err(FORMAT.unsupported("Add behind an activation is not supported"));
        }
        for (i, b) in layer.mat.bias.iter_mut().enumerate() {
            *b += (sign * f64::from(*broadcast(c, i)?)) as f32;
        }
        Ok(())
    }

    fn scale(&mut self, c: &Tensor, divide: bool) -> Result<()> {
        widen(&mut self.shift, c.data.len())?;
        let n = self.shift.len();
        widen(&mut self.factor, n)?;
        for i in 0..n {
            let v = f64::from(*broadcast(c, i)?);
            let v = if divide { 1.0 / v } else { v };
            self.factor[i] *= v;
            self.shift[i] *= v;
        }
        Ok(())
    }

    fn activate(&mut self, function: Function) -> Result<()> {
        match self.layers.last_mut() {
            Some(layer) if layer.function.is_none() => {
                layer.function = Some(function);
                Ok(())
            }
            _ => Err(FORMAT.unsupported("an activation does not follow a linear layer")),
        }
    }

    fn finish(mut self, config: &Config) -> Result<Float> {
        let last = self
            .layers
            .last_mut()
            .ok_or_else(|| bad("it has no linear layer"))?;
        let rows = last.mat.rows;
        if last.function == Some(Function::Sigmoid) && rows == 1 {
            last.function = None;
            self.sigmoid = true;
        }
        let guess = match rows {
            1 if self.sigmoid => Task::Binary,
            1 => Task::Regression,
            _ => Task::Classes,
        };
        let cols = self.layers[0].mat.cols;
        widen(&mut self.factor, cols)?;
        widen(&mut self.shift, cols)?;
        let (mut mean, mut scale) = (Vec::new(), Vec::new());
        for (f, s) in self.factor.iter().zip(&self.shift) {
            // x·f + s = (x − mean) / scale
            mean.push(-s / f);
            scale.push(1.0 / f);
        }
        Float::new(self.layers, config, guess, Some((mean, scale)))
    }
}

/// Makes one entry for all into one per feature.
fn widen(v: &mut Vec<f64>, n: usize) -> Result<()> {
    if v.len() == 1 && (1..=limits::WIDTH).contains(&n) {
        v.resize(n, v[0]);
    }
    if n == 1 || v.len() == n {
        Ok(())
    } else {
        Err(bad("a constant of another width than the row"))
    }
}

/// Entry `i` of a row, or the one entry for all.
fn broadcast(c: &Tensor, i: usize) -> Result<&f32> {
    let one = (c.data.len() == 1).then(|| &c.data[0]);
    one.or_else(|| c.data.get(i))
        .ok_or_else(|| bad("a constant of another width than the row"))
}

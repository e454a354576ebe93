//! The blocks on sums of products that were computed elsewhere.

use nesa_kernels::{Panel, finish_sums};

use super::Engine;
use super::attention::Part;
use super::packed::{FfnOf, Rounding};
use super::run::{Buffers, Hidden, Run};
use crate::ModelError;
use crate::cache::KvCache;
use crate::spec::Order;
use crate::split::walk::At;
use crate::split::{Limbs, Outline, OutlineBlock, Product, Walk};

/// Sums as they came.
#[derive(Clone, Copy)]
enum Values<'a> {
    /// Centred field elements, (n·limbs, width).
    Field(&'a [i32]),
    /// Exact sums of inputs that were not cut, (n, width).
    Whole(&'a [i64]),
}

/// The sums of one product.
#[derive(Clone, Copy)]
struct Sums<'a> {
    values: Values<'a>,
    limbs: Limbs,
    width: usize,
    n: usize,
}

impl Sums<'_> {
    /// The limbs of the columns from `first` on, as many as `l` has outputs, put together: (n, rows).
    fn join(&self, l: &Rounding, first: usize, out: &mut Vec<i64>) {
        out.clear();
        out.reserve(self.n * l.rows());
        let cols = first..first + l.rows();
        match self.values {
            Values::Field(values) => {
                for row in values.chunks_exact(self.limbs.count * self.width) {
                    self.limbs.join(row, self.width, &cols, out);
                }
            }
            Values::Whole(values) => {
                let rows = values.chunks_exact(self.width);
                rows.for_each(|row| out.extend_from_slice(&row[cols.clone()]));
            }
        }
    }
}

/// Inputs (n, cols) as rows of limbs.
fn offer<X: Copy + Into<i32>>(limbs: Limbs, cols: usize, rows: &[X], inputs: &mut Vec<i32>) {
    inputs.clear();
    inputs.reserve(rows.len() * limbs.count);
    for row in rows.chunks_exact(cols) {
        limbs.cut(row, inputs);
    }
}

impl Engine {
    /// Begins `walk`: it then wants the first product of the first block.
    ///
    /// # Errors
    /// [`ModelError::Walk`] when it began before, when blocks are missing, or when the model is not causal
    /// and the walk does not start at position 0; [`ModelError::Shape`] when its rows are none or not
    /// (n, dim); [`ModelError::Context`] beyond the model's positions.
    pub fn walk_start(&mut self, outline: &Outline, walk: &mut Walk) -> Result<(), ModelError> {
        let s = &outline.shape;
        if walk.at != At::Start || !outline.is_complete() {
            return Err(ModelError::Walk(
                "a walk began before, or its model lacks blocks",
            ));
        }
        if !s.causal && walk.start != 0 {
            return Err(ModelError::Walk("an encoder sees all rows at once"));
        }
        let n = walk.x.len() / s.dim;
        if n == 0 || !walk.x.len().is_multiple_of(s.dim) {
            return Err(ModelError::Shape {
                what: "residual values",
                expected: n.max(1) * s.dim,
                actual: walk.x.len(),
            });
        }
        let asked = walk.start.saturating_add(n);
        if asked > s.context {
            let context = s.context;
            return Err(ModelError::Context { asked, context });
        }
        let (run, buf) = self.split();
        run.enter_layer(outline, 0, walk, buf);
        Ok(())
    }

    /// Takes the sums of the product that `walk` wants, (n·limbs, rows), centred field elements in the order
    /// of [`Walk::inputs`], and computes up to the next product. Keys and values are stored
    /// in `cache`, which holds all blocks, at the walk's positions; the cache is not advanced.
    ///
    /// # Errors
    /// [`ModelError::Walk`] when nothing is wanted, the cache is another model's, or lacks earlier
    /// positions in this layer; [`ModelError::Shape`] when `sums` has another size, [`ModelError::Context`]
    /// when the cache is too small. The walk is then as before.
    pub fn walk_on(
        &mut self,
        outline: &Outline,
        walk: &mut Walk,
        cache: &mut KvCache,
        sums: &[i32],
    ) -> Result<(), ModelError> {
        self.go_on(outline, walk, cache, Values::Field(sums))
    }

    /// [`Engine::walk_on`] with the exact sums (n, rows) of inputs that are not cut, in an outline
    /// [of whole inputs](Outline::whole). Sums and biases together must stay below 2^49 in magnitude, as those
    /// of a model do.
    ///
    /// # Errors
    /// As [`Engine::walk_on`]; also [`ModelError::Walk`] in an outline that cuts inputs.
    pub fn walk_whole(
        &mut self,
        outline: &Outline,
        walk: &mut Walk,
        cache: &mut KvCache,
        sums: &[i64],
    ) -> Result<(), ModelError> {
        if let At::Wants(layer, product) = walk.at
            && outline.limbs(layer, product) != Limbs::ONE
        {
            return Err(ModelError::Walk("this outline cuts inputs into limbs"));
        }
        self.go_on(outline, walk, cache, Values::Whole(sums))
    }

    fn go_on(
        &mut self,
        outline: &Outline,
        walk: &mut Walk,
        cache: &mut KvCache,
        values: Values<'_>,
    ) -> Result<(), ModelError> {
        let s = &outline.shape;
        let At::Wants(layer, product) = walk.at else {
            return Err(ModelError::Walk("the walk wants no product"));
        };
        let block = outline
            .blocks
            .get(layer)
            .ok_or(ModelError::Walk("the walk is in another model"))?;
        let n = walk.x.len() / s.dim;
        let limbs = block.limbs[product as usize];
        let (width, _) = product.dims(s);
        let expected = n * limbs.count * width;
        let actual = match values {
            Values::Field(sums) => sums.len(),
            Values::Whole(sums) => sums.len(),
        };
        if n == 0 || actual != expected {
            return Err(ModelError::Shape {
                what: "sums of a product",
                expected,
                actual,
            });
        }
        let sums = Sums {
            values,
            limbs,
            width,
            n,
        };
        if product == Product::Qkv {
            check_cache(outline, layer, walk.start, n, cache)?;
        }
        let (run, buf) = self.split();
        match product {
            Product::Qkv => run.after_qkv(outline, layer, walk, cache, sums, buf),
            Product::Output => run.after_output(outline, layer, walk, sums, buf),
            Product::Ffn => run.after_ffn(outline, layer, walk, sums, buf),
            Product::Down => run.after_down(outline, layer, walk, sums, buf),
        }
        Ok(())
    }
}

/// Whether `n` positions from `start` on can be stored in `layer`, and those before are there.
fn check_cache(
    outline: &Outline,
    layer: usize,
    start: usize,
    n: usize,
    cache: &KvCache,
) -> Result<(), ModelError> {
    if !cache.fits(&outline.shape, outline.blocks.len()) {
        return Err(ModelError::Walk("the cache is another model's"));
    }
    let (asked, context) = (start + n, cache.capacity());
    if asked > context {
        return Err(ModelError::Context { asked, context });
    }
    if start > cache.stored(layer) {
        return Err(ModelError::Walk(
            "earlier positions have not passed this layer",
        ));
    }
    Ok(())
}

impl Run<'_> {
    /// Rounded outputs (n, rows) of the layers whose sums follow one another in `sums`.
    fn round<const N: usize>(
        &self,
        layers: [(&Rounding, &mut Vec<i16>); N],
        sums: Sums<'_>,
        (wide, narrow): (&mut Vec<i64>, &mut Vec<i32>),
    ) {
        let values = match sums.values {
            Values::Field(values) => values,
            Values::Whole(values) => return self.round_sums(layers, values, sums.n),
        };
        let mut first = 0;
        for (l, out) in layers {
            let rows = l.rows();
            out.resize(sums.n * rows, 0);
            if sums.limbs == Limbs::ONE && l.is_narrow() {
                let all = values.chunks_exact(sums.width);
                for (sums, out) in all.zip(out.chunks_exact_mut(rows)) {
                    l.round(self.level, &sums[first..][..rows], narrow, out);
                }
            } else {
                sums.join(l, first, wide);
                let out = Panel::new(out, sums.n, rows);
                finish_sums(self.level, wide, l.requantize(out));
            }
            first += rows;
        }
    }

    /// Adds the rounded outputs of `l` to the residual rows `x` (n, dim).
    fn add_sums(&self, l: &Rounding, sums: Sums<'_>, x: &mut [i32], scratch: &mut Vec<i64>) {
        let x = Panel::new(x, sums.n, l.rows());
        if let Values::Whole(values) = sums.values {
            return finish_sums(self.level, values, l.add(x));
        }
        sums.join(l, 0, scratch);
        finish_sums(self.level, scratch, l.add(x));
    }

    /// Makes `walk` want the first product of block `layer`, or nothing after the last block.
    fn enter_layer(&self, o: &Outline, layer: usize, walk: &mut Walk, buf: &mut Buffers) {
        let dim = o.shape.dim;
        let Some(block) = o.blocks.get(layer) else {
            walk.inputs.clear();
            walk.at = At::End;
            return;
        };
        let pre = o.shape.order == Order::Pre;
        let norm = pre.then_some(&block.parts.attn_norm);
        self.activate(norm, &walk.x, dim, buf);
        want(walk, block, (layer, Product::Qkv), dim, &buf.a);
    }

    fn after_qkv(
        &self,
        o: &Outline,
        layer: usize,
        walk: &mut Walk,
        cache: &mut KvCache,
        sums: Sums<'_>,
        buf: &mut Buffers,
    ) {
        let (s, block) = (&o.shape, &o.blocks[layer]);
        let b = &block.parts;
        let qkv = [(&b.q, &mut buf.q), (&b.k, &mut buf.k), (&b.v, &mut buf.v)];
        self.round(qkv, sums, (&mut buf.sums, &mut buf.row));
        buf.mixed.resize(buf.q.len(), 0);
        let part = Part {
            cache,
            start: walk.start,
            rows: 0..sums.n,
        };
        self.attention((s, &o.common), b, layer, part, buf);
        want(walk, block, (layer, Product::Output), s.q_dim(), &buf.mixed);
    }

    fn after_output(
        &self,
        o: &Outline,
        layer: usize,
        walk: &mut Walk,
        sums: Sums<'_>,
        buf: &mut Buffers,
    ) {
        let (s, block) = (&o.shape, &o.blocks[layer]);
        let b = &block.parts;
        let pre = s.order == Order::Pre;
        self.add_sums(&b.o, sums, &mut walk.x, &mut buf.sums);
        if !pre {
            self.close(&b.attn_norm, &mut walk.x, s.dim, buf);
        }
        self.activate(pre.then_some(&b.ffn_norm), &walk.x, s.dim, buf);
        want(walk, block, (layer, Product::Ffn), s.dim, &buf.a);
    }

    fn after_ffn(
        &self,
        o: &Outline,
        layer: usize,
        walk: &mut Walk,
        sums: Sums<'_>,
        buf: &mut Buffers,
    ) {
        let block = &o.blocks[layer];
        let b = &block.parts;
        let scratch = (&mut buf.sums, &mut buf.row);
        match &b.ffn {
            FfnOf::Gated { gate, up, .. } => {
                let pair = [(gate, &mut buf.gate), (up, &mut buf.up)];
                self.round(pair, sums, scratch);
            }
            FfnOf::Plain { up, .. } => self.round([(up, &mut buf.up)], sums, scratch),
        }
        let (down, cols) = ((layer, Product::Down), o.shape.ffn);
        match self.hidden(&b.ffn, o.common.tables[b.table].values(), buf) {
            Hidden::Wide => want(walk, block, down, cols, &buf.products),
            Hidden::Narrow => want(walk, block, down, cols, &buf.a),
        }
    }

    fn after_down(
        &self,
        o: &Outline,
        layer: usize,
        walk: &mut Walk,
        sums: Sums<'_>,
        buf: &mut Buffers,
    ) {
        let b = &o.blocks[layer].parts;
        let (FfnOf::Gated { down, .. } | FfnOf::Plain { down, .. }) = &b.ffn;
        self.add_sums(down, sums, &mut walk.x, &mut buf.sums);
        if o.shape.order == Order::Post {
            self.close(&b.ffn_norm, &mut walk.x, o.shape.dim, buf);
        }
        self.enter_layer(o, layer + 1, walk, buf);
    }
}

/// Makes `walk` want `at` of the inputs `rows` (n, cols).
fn want<X: Copy + Into<i32>>(
    walk: &mut Walk,
    block: &OutlineBlock,
    at: (usize, Product),
    cols: usize,
    rows: &[X],
) {
    offer(block.limbs[at.1 as usize], cols, rows, &mut walk.inputs);
    walk.at = At::Wants(at.0, at.1);
}

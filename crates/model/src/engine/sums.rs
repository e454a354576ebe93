//! Products whose exact sums are kept beside what becomes of them.

use nesa_kernels::{Epilogue, Panel, Rows, finish_sums, matmul};

use super::packed::{PackedLinear, Rounding};
use super::run::Run;

/// The exact sums of the four products of one block, by code of the product: each (n, rows), the outputs of
/// the product's matrices one after the other, without bias.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct BlockSums(pub [Vec<i64>; 4]);

impl Run<'_> {
    /// The sums (n, Σ rows) of layers that read the same prepared rows.
    pub(super) fn raw<const N: usize>(
        &self,
        layers: [&PackedLinear; N],
        rows: &Rows,
        n: usize,
        sums: &mut Vec<i64>,
    ) {
        let width: usize = layers.iter().map(|l| l.matrix.rows()).sum();
        sums.resize(n * width, 0);
        let mut rest = Some(Panel::new(sums, n, width));
        let panels = layers.into_iter().filter_map(|l| {
            let (panel, after) = rest.take()?.split_at(l.matrix.rows());
            rest = Some(after);
            Some((l, panel))
        });
        let panels: Vec<_> = panels.collect();
        self.share(panels, |(l, blocks, out)| {
            matmul(&l.matrix, rows, blocks, l.width, Epilogue::RawI64(out));
        });
    }

    /// Rounded outputs (n, rows) of the layers whose `sums` (n, Σ rows) follow one another.
    pub(super) fn round_sums<const N: usize>(
        &self,
        layers: [(&Rounding, &mut Vec<i16>); N],
        sums: &[i64],
        n: usize,
    ) {
        let width = sums.len() / n.max(1);
        let mut first = 0;
        for (l, out) in layers {
            let rows = l.rows();
            out.resize(n * rows, 0);
            let all = sums.chunks_exact(width.max(1));
            for (sums, out) in all.zip(out.chunks_exact_mut(rows.max(1))) {
                let out = Panel::new(out, 1, rows);
                finish_sums(self.level, &sums[first..][..rows], l.requantize(out));
            }
            first += rows;
        }
    }
}

//! The weight of a sparse product: the panels of the dense one, `[panel][neuron][columns]`. A neuron's row of a panel is contiguous, which is
//! what a non-zero reads, so that one form of a weight serves both products.

use crate::matmul::{PackedB, Rhs, Stored};
use crate::simd::Simd;
use std::ops::Range;

/// A weight N [neurons, d] in what its blocks need.
#[derive(Clone, Copy)]
pub struct Weight<'a> {
    /// k = neurons, n = d, and not in bf16 pairs (see [`PackedB::in_rows`]); for compact blocks.
    pub rows: Option<&'a PackedB>,
    /// For dense blocks.
    pub dense: Option<Rhs<'a>>,
}

/// Panels that are read together, side by side: a non-zero then costs one broadcast and 4 to 8 multiply-adds, and with two sets of accumulators they
/// fill half the registers of each instruction set. The tile (768 KB at 3072 neurons with AVX-512, 384 KB with AVX2) stays in the L2 while a
/// chunk of tokens passes over it.
pub(super) const PANELS: usize = 2;

/// Neighbouring panels of a weight.
pub(super) struct TilePanels<'a> {
    pub w: &'a PackedB,
    pub panels: Range<usize>,
}

/// Where the rows of panels are.
pub(super) struct PanelRows<T> {
    /// Of the first panel.
    pub first: *const T,
    /// Values from a row of a panel to that of the next one.
    pub apart: usize,
    /// First column.
    pub column: usize,
    /// Vectors in a row of a panel.
    pub vectors: usize,
}

/// Values from one row to the next in panels of `NV` vectors. A constant: with a variable the zero-skip product lost a fifth.
#[inline(always)]
pub(super) const fn stride<S: Simd, T: Stored, const NV: usize>() -> usize {
    let vectors = if T::PAIRED { NV.next_multiple_of(2) } else { NV };
    vectors * S::LANES
}

impl TilePanels<'_> {
    /// The panels as one, where there are [`PANELS`] and none is cut.
    #[inline(always)]
    pub fn whole<T: Stored>(&self, values: &[T]) -> Option<PanelRows<T>> {
        let nr = self.w.shape().nr();
        let is_whole = self.panels.len() == PANELS && self.panels.end * nr <= self.w.n;
        is_whole.then(|| self.rows(values, self.panels.start))
    }

    /// One by one.
    #[inline(always)]
    pub fn each<T: Stored>(&self, values: &[T]) -> impl Iterator<Item = PanelRows<T>> {
        self.panels.clone().map(|index| self.rows(values, index))
    }

    #[inline(always)]
    fn rows<T: Stored>(&self, values: &[T], index: usize) -> PanelRows<T> {
        let panel = self.w.panel(values, index);
        let nr = self.w.shape().nr();
        PanelRows {
            first: panel.values.as_ptr(),
            apart: self.w.apart(),
            column: index * nr,
            vectors: panel.nv,
        }
    }
}

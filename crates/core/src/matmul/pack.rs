//! B in column panels: `[panel][k][width]`, the order in which the micro-kernel reads it.

use super::stored::{Precision, Stored, StoredBuf, check};
use super::tile::Shape;
use super::{COLUMNS_FEW, COLUMNS_MANY, ROW_BLOCK, pairs, with_scratch};
use crate::memory::AlignedBuf;
use crate::simd::Isa;
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};
use std::ops::Range;

/// B [k, n] packed in column panels for repeated products.
///
/// Panels are `NR` columns wide; the last one is cut to the vectors (bf16: pairs of them) it needs and padded with zeros.
#[derive(Debug)]
pub struct PackedB {
    pub k: usize,
    pub n: usize,
    pub(super) shape: Shape,
    pub(super) values: StoredBuf,
    /// Values from the start of a panel to that of the next one.
    apart: usize,
    /// Whether the values are bf16 for the CPU's own bf16 arithmetic, see [`super::pairs`].
    in_pairs: bool,
}

/// One panel of a [`PackedB`].
pub(crate) struct Panel<'a, T> {
    pub values: &'a [T],
    /// Columns of B in it.
    pub width: usize,
    /// Vectors in a row of it.
    pub nv: usize,
}

/// Values between long panels whose length is even: 22 cache lines of f32, 86 where panels have 32 columns (AVX-512) and 256 KB; bf16 has half of the
/// lines, so that it takes half of the memory of f32. Without them a row of the weight is in one set of the caches, and the sampled product, which reads
/// it across all panels, does not find it there again; so the 48 or 24 panels of 768 columns and 3072 rows spread over the 1024 or 2048 sets of an L2.
///
/// Zen 3 (AVX2), 3 % of non-zeros, with 21 lines: sampled 4.38 -> 3.56 ms, zero-skip, which reads two panels, 3.9 -> 3.2 ms; 1 and 8 lines are alike,
/// with 64 it is slower. Emerald Rapids (AVX-512), 86 lines instead of 22: sampled 1.91 -> 1.82 ms; 43 and 150 lines no more.
fn gap(shape: Shape, panel: usize) -> usize {
    if panel < LONG || !panel.is_multiple_of(EVEN) {
        0
    } else if shape.nr() >= 32 && panel >= 2 * LONG {
        1376
    } else {
        352
    }
}

/// Values of a long panel: 128 KB of f32. Shorter ones hold few neurons; the weights of an up-projection, 96 panels of 96 KB, would grow by 1.4 %.
const LONG: usize = 32 << 10;
/// What an even length is a multiple of: a page of bf16, two of f32.
const EVEN: usize = 2048;

/// Rows of the weight that one packing task transposes at a time: 16 f32 are a cache line, read whole.
const LINE: usize = 16;

/// Fills panels with the transpose of row-major `weight` [.., k].
fn panels_of_rows(weight: &[f32], k: usize) -> impl Fn(&mut [f32], usize, usize, usize) + Sync {
    move |panel, first, width, stride| {
        for k0 in (0..k).step_by(LINE) {
            let k1 = k.min(k0 + LINE);
            for column in 0..width {
                let row = &weight[(first + column) * k..][..k];
                for (at, &value) in row[k0..k1].iter().enumerate() {
                    panel[(k0 + at) * stride + column] = value;
                }
            }
        }
    }
}

impl PackedB {
    /// `weight` is row-major [n, k] (a Linear's [out, in]); the product will be x [m, k] · weightᵀ.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_rows(isa: Isa, pool: &Pool, weight: &[f32], n: usize, k: usize) -> Result<PackedB> {
        PackedB::from_rows_in(isa, pool, Precision::F32, weight, n, k)
    }

    /// [`PackedB::from_rows`] stored in `precision`.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_rows_in(
        isa: Isa,
        pool: &Pool,
        precision: Precision,
        weight: &[f32],
        n: usize,
        k: usize,
    ) -> Result<PackedB> {
        check("PackedB::from_rows", weight.len(), n, k)?;
        PackedB::build(isa, pool, precision, k, n, panels_of_rows(weight, k))
    }

    /// `b` is row-major [k, n].
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_columns(isa: Isa, pool: &Pool, b: &[f32], k: usize, n: usize) -> Result<PackedB> {
        PackedB::from_columns_in(isa, pool, Precision::F32, b, k, n)
    }

    /// [`PackedB::from_columns`] stored in `precision`.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_columns_in(
        isa: Isa,
        pool: &Pool,
        precision: Precision,
        b: &[f32],
        k: usize,
        n: usize,
    ) -> Result<PackedB> {
        check("PackedB::from_columns", b.len(), k, n)?;
        PackedB::build(isa, pool, precision, k, n, |panel, first, width, stride| {
            for (row, target) in panel.chunks_exact_mut(stride).enumerate() {
                target[..width].copy_from_slice(&b[row * n + first..][..width]);
            }
        })
    }

    /// The same matrix in rows that are contiguous, which a sparse product reads; None where it has them, which is everywhere but in bf16 pairs.
    ///
    /// # Errors
    /// No memory.
    pub fn in_rows(&self, pool: &Pool) -> Result<Option<PackedB>> {
        if !self.is_in_pairs() {
            return Ok(None);
        }
        let (weight, k) = (self.to_rows(pool)?, self.k);
        let mut packed = PackedB::uninit(self.shape, self.precision(), false, k, self.n)?;
        packed.fill_panels(pool, panels_of_rows(&weight, k));
        Ok(Some(packed))
    }

    pub fn bytes(&self) -> usize {
        self.values.bytes()
    }

    pub fn precision(&self) -> Precision {
        self.values.precision()
    }

    /// The reverse of [`PackedB::from_rows_in`]: row-major [n, k], as rounded as it was stored.
    ///
    /// # Errors
    /// No memory.
    pub fn to_rows(&self, pool: &Pool) -> Result<AlignedBuf> {
        let mut out = AlignedBuf::uninit(self.n * self.k)?;
        match &self.values {
            StoredBuf::F32(values) => self.unpack(pool, values, &mut out),
            StoredBuf::Bf16(values) if self.is_in_pairs() => self.unpack_pairs(pool, values, &mut out),
            StoredBuf::Bf16(values) => self.unpack(pool, values, &mut out),
        }
        Ok(out)
    }

    fn unpack<T: Stored>(&self, pool: &Pool, values: &[T], out: &mut [f32]) {
        let target = SendPtr::new(out);
        pool.run(self.panels(), &|index| {
            let panel = self.panel(values, index);
            let stride = self.stride(panel.nv);
            // SAFETY: panels are disjoint ranges of rows of `out`.
            let rows = unsafe { target.slice(index * self.shape.nr() * self.k, panel.width * self.k) };
            with_scratch(stride, |scratch| {
                for (at, row) in panel.values.chunks_exact(stride).enumerate() {
                    T::load_row(row, self.shape.lanes, scratch);
                    for (column, row) in rows.chunks_exact_mut(self.k).enumerate() {
                        row[at] = scratch[column];
                    }
                }
            });
        });
    }

    fn build(
        isa: Isa,
        pool: &Pool,
        precision: Precision,
        k: usize,
        n: usize,
        fill: impl Fn(&mut [f32], usize, usize, usize) + Sync,
    ) -> Result<PackedB> {
        let in_pairs = pairs::are_used(isa, precision);
        let mut packed = PackedB::uninit(Shape::stored(isa, precision), precision, in_pairs, k, n)?;
        packed.fill_panels(pool, fill);
        Ok(packed)
    }

    /// Of this shape, its values still to be written.
    pub(super) fn uninit(shape: Shape, precision: Precision, in_pairs: bool, k: usize, n: usize) -> Result<PackedB> {
        let unit = match (precision, in_pairs) {
            (_, true) => shape.nr(),
            (Precision::F32, false) => shape.lanes,
            (Precision::Bf16, false) => 2 * shape.lanes,
        };
        let rows = if in_pairs { pairs::padded(k) } else { k };
        let too_large = || Error::OutOfMemory {
            bytes: usize::MAX,
            what: "a packed matrix",
        };
        let panel = shape.nr().checked_mul(rows).ok_or_else(too_large)?;
        let apart = panel.checked_add(gap(shape, panel)).ok_or_else(too_large)?;
        let last = n.div_ceil(shape.nr()).saturating_sub(1);
        let width = (n - last * shape.nr()).next_multiple_of(unit);
        let len = last
            .checked_mul(apart)
            .and_then(|len| len.checked_add(width * rows))
            .ok_or_else(too_large)?;
        Ok(PackedB {
            k,
            n,
            shape,
            values: StoredBuf::uninit(precision, len)?,
            apart,
            in_pairs,
        })
    }

    /// `fill(panel, first column, columns, stride)` writes one panel, whose padding is zero already (the tasks touch their pages first, not
    /// one thread for all).
    fn fill_panels(&mut self, pool: &Pool, fill: impl Fn(&mut [f32], usize, usize, usize) + Sync) {
        // Taken out while the panels' places are asked for.
        let empty = StoredBuf::empty(self.precision());
        let mut values = std::mem::replace(&mut self.values, empty);
        match &mut values {
            StoredBuf::F32(values) => self.fill(pool, values, fill),
            StoredBuf::Bf16(values) if self.is_in_pairs() => self.fill_pairs(pool, values, fill),
            StoredBuf::Bf16(values) => self.fill(pool, values, fill),
        }
        self.values = values;
    }

    fn fill<T: Stored>(&self, pool: &Pool, values: &mut [T], fill: impl Fn(&mut [f32], usize, usize, usize) + Sync) {
        let (k, nr, lanes) = (self.k, self.shape.nr(), self.shape.lanes);
        let unit = if T::PAIRED { 2 * lanes } else { lanes };
        let target = SendPtr::new(values);
        pool.run(self.n.div_ceil(nr), &|index| {
            let first = index * nr;
            let width = nr.min(self.n - first);
            let stride = width.next_multiple_of(unit);
            let range = self.panel_range(index);
            // SAFETY: panels are disjoint ranges of the buffer.
            let panel = unsafe { target.slice(range.start, range.len()) };
            with_scratch(stride * k, |scratch| {
                if width < stride {
                    scratch.fill(0.0);
                }
                fill(scratch, first, width, stride);
                for (row, target) in scratch.chunks_exact(stride).zip(panel.chunks_exact_mut(stride)) {
                    T::store_row(row, lanes, target);
                }
            });
        });
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    pub(crate) fn values(&self) -> &StoredBuf {
        &self.values
    }

    /// Values in a row of panel `index`; in pairs, half of what two rows take.
    pub(super) fn panel_stride(&self, index: usize) -> usize {
        let nr = self.shape.nr();
        if self.is_in_pairs() {
            return nr;
        }
        self.stride(nr.min(self.n - index * nr).div_ceil(self.shape.lanes))
    }

    /// Whether the values are in pairs. A constant where no CPU has a unit for them, so that their code is not there either.
    pub(super) fn is_in_pairs(&self) -> bool {
        cfg!(target_arch = "x86_64") && self.in_pairs
    }

    /// K with its padding.
    pub(super) fn padded_k(&self) -> usize {
        if self.is_in_pairs() {
            pairs::padded(self.k)
        } else {
            self.k
        }
    }

    /// Where the values of panel `index` are.
    pub(super) fn panel_range(&self, index: usize) -> Range<usize> {
        let first = index * self.apart;
        first..first + self.panel_stride(index) * self.padded_k()
    }

    /// Values from the start of a panel to that of the next one.
    pub(crate) fn apart(&self) -> usize {
        self.apart
    }

    /// Values in a row of a panel of `nv` vectors.
    pub(crate) fn stride(&self, nv: usize) -> usize {
        let nv = match self.values.precision() {
            Precision::F32 => nv,
            Precision::Bf16 => nv.next_multiple_of(2),
        };
        nv * self.shape.lanes
    }

    /// Columns of a task (BLIS `NC`) where the rows make `blocks` blocks.
    pub(super) fn task_columns(&self, blocks: usize) -> usize {
        let many = if self.is_in_pairs() {
            pairs::COLUMNS_MANY
        } else {
            COLUMNS_MANY
        };
        many.min(COLUMNS_FEW * blocks)
    }

    /// Rows of A that are a task's: see [`super::block_rows`].
    pub fn block_rows(&self) -> usize {
        if self.is_in_pairs() {
            pairs::TASK_ROWS
        } else {
            ROW_BLOCK
        }
    }

    /// Row tiles of a task.
    pub(super) fn task_tiles(&self) -> usize {
        self.block_rows() / self.shape.mr
    }

    /// Blocks of rows that are tasks of a product of `rows` rows, see [`super::matmul_parts`].
    pub fn row_blocks(&self, rows: usize) -> usize {
        self.tiles(rows).div_ceil(self.task_tiles())
    }

    /// Panels of `columns` columns, at least one.
    pub(crate) fn panels_in(&self, columns: usize) -> usize {
        (columns / self.shape.nr()).max(1)
    }

    /// Row tiles to cut `rows` rows into.
    pub(crate) fn tiles(&self, rows: usize) -> usize {
        rows.div_ceil(self.shape.mr)
    }

    pub(crate) fn panels(&self) -> usize {
        self.n.div_ceil(self.shape.nr())
    }

    pub(crate) fn panel<'a, T: Stored>(&self, values: &'a [T], index: usize) -> Panel<'a, T> {
        let width = self.shape.nr().min(self.n - index * self.shape.nr());
        let nv = width.div_ceil(self.shape.lanes);
        Panel {
            values: &values[self.panel_range(index)],
            width,
            nv,
        }
    }
}

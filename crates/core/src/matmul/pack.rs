//! B in column panels: `[panel][k][width]`, the order in which the micro-kernel reads it.

use super::tile::Shape;
use crate::memory::AlignedBuf;
use crate::simd::Isa;
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// B [k, n] packed in column panels for repeated products.
///
/// Panels are `NR` columns wide; the last one is cut to the vectors it needs and padded with zeros.
#[derive(Debug)]
pub struct PackedB {
    pub k: usize,
    pub n: usize,
    pub(super) shape: Shape,
    pub(super) values: AlignedBuf,
}

/// One panel of a [`PackedB`].
pub(super) struct Panel<'a> {
    pub values: &'a [f32],
    /// Columns of B in it.
    pub width: usize,
    /// Vectors in a row of it.
    pub nv: usize,
}

/// Rows of the weight that one packing task transposes at a time: 16 f32 are a cache line, read whole.
const LINE: usize = 16;

impl PackedB {
    /// `weight` is row-major [n, k] (a Linear's [out, in]); the product will be x [m, k] · weightᵀ.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_rows(isa: Isa, pool: &Pool, weight: &[f32], n: usize, k: usize) -> Result<PackedB> {
        check("PackedB::from_rows", weight.len(), n, k)?;
        PackedB::build(isa, pool, k, n, |panel, first, width, stride| {
            for k0 in (0..k).step_by(LINE) {
                let k1 = k.min(k0 + LINE);
                for column in 0..width {
                    let row = &weight[(first + column) * k..][..k];
                    for (at, &value) in row[k0..k1].iter().enumerate() {
                        panel[(k0 + at) * stride + column] = value;
                    }
                }
            }
        })
    }

    /// `b` is row-major [k, n].
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_columns(isa: Isa, pool: &Pool, b: &[f32], k: usize, n: usize) -> Result<PackedB> {
        check("PackedB::from_columns", b.len(), k, n)?;
        PackedB::build(isa, pool, k, n, |panel, first, width, stride| {
            for (row, target) in panel.chunks_exact_mut(stride).enumerate() {
                target[..width].copy_from_slice(&b[row * n + first..][..width]);
            }
        })
    }

    pub fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// `fill(panel, first column, columns, stride)` writes one panel, whose padding is zero already (the tasks touch their pages first, not one
    /// thread for all).
    fn build(
        isa: Isa,
        pool: &Pool,
        k: usize,
        n: usize,
        fill: impl Fn(&mut [f32], usize, usize, usize) + Sync,
    ) -> Result<PackedB> {
        let shape = Shape::for_isa(isa);
        let nr = shape.nr();
        let padded = n.next_multiple_of(shape.lanes);
        let len = padded.checked_mul(k).ok_or(Error::OutOfMemory {
            bytes: usize::MAX,
            what: "a packed matrix",
        })?;
        let mut values = AlignedBuf::uninit(len)?;
        let target = SendPtr::new(&mut values);
        pool.run(n.div_ceil(nr), &|index| {
            let first = index * nr;
            let stride = nr.min(padded - first);
            // SAFETY: panels are disjoint ranges that together make up `len`.
            let panel = unsafe { target.slice(first * k, stride * k) };
            let width = nr.min(n - first);
            if width < stride {
                panel.fill(0.0);
            }
            fill(panel, first, width, stride);
        });
        Ok(PackedB { k, n, shape, values })
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

    pub(super) fn panel(&self, index: usize) -> Panel<'_> {
        let first = index * self.shape.nr();
        let width = self.shape.nr().min(self.n - first);
        let nv = width.div_ceil(self.shape.lanes);
        Panel {
            values: &self.values[first * self.k..][..nv * self.shape.lanes * self.k],
            width,
            nv,
        }
    }
}

fn check(op: &'static str, found: usize, rows: usize, columns: usize) -> Result<()> {
    if rows.checked_mul(columns) == Some(found) {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        what: "the matrix",
        found: format!("{found} values"),
        expected: format!("[{rows}, {columns}]"),
    })
}

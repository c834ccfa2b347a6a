//! aᵀ · b: weight gradients.

use super::tile::{self, Shape, Target, Tile};
use super::{Accumulate, PackedB, matmul};
use crate::memory::AlignedBuf;
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// A side of at most this many is tiny (LoRA's rank): the other operand is then read once or twice in all, so that packing it first
/// would cost as much as the product.
const TINY: usize = 24;

/// Columns of a task of the tiny product.
const COLUMNS: usize = 64;

/// out [p, q] = aᵀ · b, with a [t, p] and b [t, q] row-major. Either of p and q may be tiny.
///
/// # Errors
/// A wrong length, or no memory for the packed operands.
#[allow(clippy::too_many_arguments)]
pub fn matmul_at_b(
    isa: Isa,
    pool: &Pool,
    a: &[f32],
    p: usize,
    b: &[f32],
    q: usize,
    t: usize,
    accumulate: Accumulate,
    out: &mut [f32],
) -> Result<()> {
    for (what, found, rows, columns) in [("a", a.len(), t, p), ("b", b.len(), t, q), ("out", out.len(), p, q)] {
        if rows.checked_mul(columns) != Some(found) {
            return Err(Error::Shape {
                op: "matmul_at_b",
                what,
                found: format!("{found} values"),
                expected: format!("[{rows}, {columns}]"),
            });
        }
    }
    if p <= TINY && p <= q {
        return tiny(isa, pool, a, p, b, q, t, accumulate, out);
    }
    if q <= TINY {
        // (bᵀ · a)ᵀ: the long side has to lie along the vectors.
        let mut transposed = AlignedBuf::uninit(p * q)?;
        tiny(isa, pool, b, q, a, p, t, Accumulate::Overwrite, &mut transposed)?;
        for (i, out) in out.chunks_exact_mut(q.max(1)).enumerate() {
            for (j, out) in out.iter_mut().enumerate() {
                let value = transposed[j * p + i];
                *out = match accumulate {
                    Accumulate::Overwrite => value,
                    Accumulate::Add(scale) => *out + scale * value,
                };
            }
        }
        return Ok(());
    }
    let rows = transpose(pool, a, t, p)?;
    let columns = PackedB::from_columns(isa, pool, b, t, q)?;
    matmul(isa, pool, &rows, p, &columns, None, accumulate, out);
    Ok(())
}

/// The product for a tiny p: a is transposed, b read where it lies.
#[allow(clippy::too_many_arguments)]
fn tiny(
    isa: Isa,
    pool: &Pool,
    a: &[f32],
    p: usize,
    b: &[f32],
    q: usize,
    t: usize,
    accumulate: Accumulate,
    out: &mut [f32],
) -> Result<()> {
    let rows = transpose(pool, a, t, p)?;
    let shape = Shape::for_isa(isa);
    // Columns that do not fill a panel: vectors would reach past the end of b, so they are packed.
    let whole = q / shape.nr() * shape.nr();
    let mut tail = AlignedBuf::new_zeroed(if whole < q { t * shape.nr() } else { 0 })?;
    for (target, row) in tail.chunks_exact_mut(shape.nr()).zip(b.chunks_exact(q.max(1))) {
        target[..q - whole].copy_from_slice(&row[whole..]);
    }
    let panels = q.div_ceil(shape.nr());
    let panels_per_task = (COLUMNS / shape.nr()).max(1);
    let target = SendPtr::new(out);
    pool.run(panels.div_ceil(panels_per_task), &|task| {
        let first = task * panels_per_task;
        let panels = first..panels.min(first + panels_per_task);
        dispatch(
            isa,
            TinyTask {
                rows: &rows,
                p,
                b,
                q,
                t,
                tail: &tail,
                panels,
                accumulate,
                out: target,
            },
        );
    });
    Ok(())
}

struct TinyTask<'a> {
    /// [p, t]
    rows: &'a [f32],
    p: usize,
    b: &'a [f32],
    q: usize,
    t: usize,
    tail: &'a [f32],
    panels: std::ops::Range<usize>,
    accumulate: Accumulate,
    out: SendPtr<f32>,
}

impl Kernel for TinyTask<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let shape = const { Shape::of::<S>() };
        let (scale, add) = match self.accumulate {
            Accumulate::Overwrite => (1.0, false),
            Accumulate::Add(scale) => (scale, true),
        };
        let tiles = self.p.div_ceil(shape.mr);
        for panel in self.panels {
            let column = panel * shape.nr();
            let width = shape.nr().min(self.q - column);
            let (b, ldb) = match width == shape.nr() {
                true => (self.b.as_ptr().wrapping_add(column), self.q),
                false => (self.tail.as_ptr(), shape.nr()),
            };
            for tile in 0..tiles {
                let (row, end) = (tile * self.p / tiles, (tile + 1) * self.p / tiles);
                // SAFETY: rows below p, columns below q, k below t; whole panels are inside b, the last one in `tail`; this
                // task alone writes these columns.
                unsafe {
                    let tile = Tile {
                        a: self.rows.as_ptr().add(row * self.t),
                        lda: self.t,
                        b,
                        ldb,
                        k: self.t,
                        ahead: b,
                        two_ahead: false,
                        to: Target {
                            out: self.out.at(row * self.q + column),
                            ldo: self.q,
                            width,
                            bias: std::ptr::null(),
                            add,
                            scale,
                        },
                    };
                    tile::run(s, &tile, end - row, width.div_ceil(shape.lanes));
                }
            }
        }
    }
}

/// [rows, columns] to [columns, rows].
fn transpose(pool: &Pool, a: &[f32], rows: usize, columns: usize) -> Result<AlignedBuf> {
    /// Columns of a task: a cache line, so that every line is read once.
    const STRIP: usize = 16;
    let mut out = AlignedBuf::uninit(a.len())?;
    let target = SendPtr::new(&mut out);
    pool.run(columns.div_ceil(STRIP), &|strip| {
        let first = strip * STRIP;
        let width = STRIP.min(columns - first);
        // SAFETY: the strips' ranges of the transpose are disjoint and in range.
        let part = unsafe { target.slice(first * rows, width * rows) };
        for row in 0..rows {
            for (column, &value) in a[row * columns + first..][..width].iter().enumerate() {
                part[column * rows + row] = value;
            }
        }
    });
    Ok(out)
}

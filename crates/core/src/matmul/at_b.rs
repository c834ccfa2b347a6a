//! aᵀ · b: weight gradients.

use super::{Accumulate, PackedB, matmul};
use crate::memory::AlignedBuf;
use crate::simd::Isa;
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

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
    let rows = transpose(pool, a, t, p)?;
    let columns = PackedB::from_columns(isa, pool, b, t, q)?;
    matmul(isa, pool, &rows, p, &columns, None, accumulate, out);
    Ok(())
}

/// [rows, columns] to [columns, rows].
fn transpose(pool: &Pool, a: &[f32], rows: usize, columns: usize) -> Result<AlignedBuf> {
    /// Columns of a task: a cache line, so that every line is read once.
    const STRIP: usize = 16;
    let mut out = AlignedBuf::new_zeroed(a.len())?;
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

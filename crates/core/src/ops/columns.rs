//! Columns of matrices: cut out, put in, scaled one by one.

use super::{COLUMN_BLOCK, for_chunks, load, rows_per_task, store};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// Rows that [`sum_products`] adds up in f32 before the result joins the total.
const ROW_CHUNK: usize = 48;

/// `out = x[:, start..start + width]`; x `[rows, cols]`, out `[rows, width]`.
pub fn slice(pool: &Pool, x: &[f32], cols: usize, start: usize, width: usize, out: &mut [f32]) {
    if width == 0 {
        return;
    }
    assert!(
        start + width <= cols && out.len() / width * cols == x.len(),
        "columns: shapes"
    );
    let pointer = SendPtr::new(out);
    for_chunks(pool, x.len() / cols, rows_per_task(width), |first, rows| {
        // SAFETY: tasks have disjoint rows, inside `out`.
        let out = unsafe { pointer.slice(first * width, rows * width) };
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            out.copy_from_slice(&x[(first + row) * cols + start..][..width]);
        }
    });
}

/// `y[:, start..start + width] = x`; y `[rows, cols]`, x `[rows, width]`.
pub fn put(pool: &Pool, y: &mut [f32], cols: usize, start: usize, width: usize, x: &[f32]) {
    if width == 0 {
        return;
    }
    assert!(
        start + width <= cols && x.len() / width * cols == y.len(),
        "columns: shapes"
    );
    let pointer = SendPtr::new(y);
    for_chunks(pool, x.len() / width, rows_per_task(width), |first, rows| {
        for row in first..first + rows {
            // SAFETY: tasks have disjoint rows, inside `y`.
            let y = unsafe { pointer.slice(row * cols + start, width) };
            y.copy_from_slice(&x[row * width..][..width]);
        }
    });
}

struct Scale<'a> {
    x: &'a [f32],
    factors: &'a [f32],
    shift: Option<&'a [f32]>,
    out: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cols = self.factors.len();
        for (x, out) in self.x.chunks_exact(cols).zip(self.out.chunks_exact_mut(cols)) {
            let mut c = 0;
            while c < cols {
                let n = S::LANES.min(cols - c);
                // SAFETY: rows, factors and shift have `cols` elements.
                unsafe {
                    let factor = load(s, self.factors.as_ptr().add(c), n);
                    let mut y = s.mul(load(s, x.as_ptr().add(c), n), factor);
                    if let Some(shift) = self.shift {
                        y = s.add(y, load(s, shift.as_ptr().add(c), n));
                    }
                    store(s, out.as_mut_ptr().add(c), y, n);
                }
                c += n;
            }
        }
    }
}

/// `out[r, c] = x[r, c] * factors[c] + shift[c]`; x, out `[rows, cols]`, factors and shift (or none) `[cols]`.
pub fn scale(isa: Isa, pool: &Pool, x: &[f32], factors: &[f32], shift: Option<&[f32]>, out: &mut [f32]) {
    let cols = factors.len();
    if cols == 0 {
        return;
    }
    assert!(
        x.len() == out.len() && x.len().is_multiple_of(cols),
        "scale columns: shapes"
    );
    let pointer = SendPtr::new(out);
    for_chunks(pool, x.len() / cols, rows_per_task(cols), |first, rows| {
        // SAFETY: tasks have disjoint rows, inside `out`.
        let out = unsafe { pointer.slice(first * cols, rows * cols) };
        let x = &x[first * cols..][..rows * cols];
        dispatch(isa, Scale { x, factors, shift, out });
    });
}

/// [`scale`] without a shift, on the calling thread (for use inside a task).
pub(crate) fn scale_rows(isa: Isa, x: &[f32], factors: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "scale columns: shapes");
    let shift = None;
    dispatch(isa, Scale { x, factors, shift, out });
}

struct SumProducts<'a> {
    a: &'a [f32],
    b: &'a [f32],
    cols: usize,
    start: usize,
    out: &'a mut [f32],
}

impl Kernel for SumProducts<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (rows, width) = (self.a.len() / self.cols, self.out.len());
        let mut c = 0;
        while c < width {
            let n = S::LANES.min(width - c);
            let mut total = s.zero();
            let mut row = 0;
            while row < rows {
                let mut part = s.zero();
                for row in row..(row + ROW_CHUNK).min(rows) {
                    let at = row * self.cols + self.start + c;
                    // SAFETY: columns start + c .. start + c + n are inside the row of both.
                    let (a, b) = unsafe { (load(s, self.a.as_ptr().add(at), n), load(s, self.b.as_ptr().add(at), n)) };
                    part = s.mul_add(a, b, part);
                }
                total = s.add(total, part);
                row += ROW_CHUNK;
            }
            // SAFETY: n columns are left from c.
            unsafe { store(s, self.out.as_mut_ptr().add(c), total, n) };
            c += n;
        }
    }
}

/// `out[c] = Σ_r a[r, c] b[r, c]`: the gradient of [`scale`]'s factors. a, b `[rows, cols]`, out `[cols]`.
pub fn sum_products(isa: Isa, pool: &Pool, a: &[f32], b: &[f32], out: &mut [f32]) {
    let cols = out.len();
    if cols == 0 {
        return;
    }
    assert!(
        a.len() == b.len() && a.len().is_multiple_of(cols),
        "sum of products: shapes"
    );
    let pointer = SendPtr::new(out);
    for_chunks(pool, cols, COLUMN_BLOCK, |start, len| {
        // SAFETY: column blocks are inside `out` and disjoint.
        let out = unsafe { pointer.slice(start, len) };
        dispatch(isa, SumProducts { a, b, cols, start, out });
    });
}

struct SquareSum<'a>(&'a [f32]);

impl Kernel for SquareSum<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let mut total = 0.0f64;
        // Short sums in f32, those in f64.
        for part in self.0.chunks(64 * S::LANES) {
            let mut sum = s.zero();
            let mut c = 0;
            while c < part.len() {
                let n = S::LANES.min(part.len() - c);
                // SAFETY: n elements are left from c.
                let x = unsafe { load(s, part.as_ptr().add(c), n) };
                sum = s.mul_add(x, x, sum);
                c += n;
            }
            total += f64::from(s.reduce_add(sum));
        }
        total
    }
}

/// `out[r] = sqrt(Σ_c x[r, c]²)`; x `[rows, cols]`, out `[rows]`.
pub fn row_norms(isa: Isa, pool: &Pool, x: &[f32], cols: usize, out: &mut [f32]) {
    assert_eq!(x.len(), out.len() * cols, "row norms: shapes");
    let rows = out.len();
    let pointer = SendPtr::new(out);
    for_chunks(pool, rows, rows_per_task(cols), |first, rows| {
        // SAFETY: tasks have disjoint rows, inside `out`.
        let out = unsafe { pointer.slice(first, rows) };
        for (row, out) in out.iter_mut().enumerate() {
            *out = dispatch(isa, SquareSum(&x[(first + row) * cols..][..cols])).sqrt() as f32;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn columns_are_cut_out_and_put_back() {
        for (rows, cols, start, width) in [(1, 1, 0, 1), (5, 7, 2, 3), (4000, 12, 4, 4), (3, 9, 9, 0)] {
            let x = random(1, rows * cols);
            let naive: Vec<f64> = (0..rows * width)
                .map(|i| x[i / width * cols + start + i % width] as f64)
                .collect();
            for out in everywhere(|_, pool| {
                let mut out = vec![7.0; rows * width];
                slice(pool, &x, cols, start, width, &mut out);
                out
            }) {
                close(&out, &naive, 0.0);
            }
            let part = random(2, rows * width);
            let mut right = wide(&x);
            for (i, value) in part.iter().enumerate() {
                right[i / width * cols + start + i % width] = *value as f64;
            }
            for out in everywhere(|_, pool| {
                let mut y = x.clone();
                put(pool, &mut y, cols, start, width, &part);
                y
            }) {
                close(&out, &right, 0.0);
            }
        }
    }

    #[test]
    fn factors_and_norms_match_naive() {
        for (rows, cols) in [(1, 1), (5, 3), (49, 64), (97, 131), (700, 77), (0, 4)] {
            let (x, dy, factors) = (random(1, rows * cols), random(2, rows * cols), random(3, cols));
            let scaled: Vec<f64> = (0..rows * cols)
                .map(|i| x[i] as f64 * factors[i % cols] as f64)
                .collect();
            let products: Vec<f64> = (0..cols)
                .map(|c| {
                    (0..rows)
                        .map(|r| x[r * cols + c] as f64 * dy[r * cols + c] as f64)
                        .sum()
                })
                .collect();
            let norms: Vec<f64> = (0..rows)
                .map(|r| {
                    let row = &x[r * cols..(r + 1) * cols];
                    row.iter().map(|&x| (x as f64).powi(2)).sum::<f64>().sqrt()
                })
                .collect();
            for out in everywhere(|isa, pool| {
                let mut out = vec![7.0; rows * cols];
                scale(isa, pool, &x, &factors, None, &mut out);
                out
            }) {
                close(&out, &scaled, 1e-7);
            }
            let shift = random(4, cols);
            let shifted: Vec<f64> = scaled
                .iter()
                .enumerate()
                .map(|(i, y)| y + shift[i % cols] as f64)
                .collect();
            for out in everywhere(|isa, pool| {
                let mut out = vec![7.0; rows * cols];
                scale(isa, pool, &x, &factors, Some(&shift), &mut out);
                out
            }) {
                close(&out, &shifted, 1e-6);
            }
            for out in everywhere(|isa, pool| {
                let mut out = vec![7.0; cols];
                sum_products(isa, pool, &x, &dy, &mut out);
                out
            }) {
                close(&out, &products, 1e-5);
            }
            for out in everywhere(|isa, pool| {
                let mut out = vec![7.0; rows];
                row_norms(isa, pool, &x, cols, &mut out);
                out
            }) {
                close(&out, &norms, 1e-6);
            }
        }
    }
}

//! Sums, products and copies of whole tensors, and sums over rows.

use super::{COLUMN_BLOCK, Map, for_chunks, rows_per_task};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// Rows that [`sum_rows`] adds up in f32 before the result joins the total.
pub const ROW_CHUNK: usize = 48;

#[derive(Clone, Copy)]
struct Add;
impl Map<2> for Add {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [a, b]: [S::F; 2]) -> S::F {
        s.add(a, b)
    }
}

#[derive(Clone, Copy)]
struct AddScaled(f32);
impl Map<2> for AddScaled {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [y, x]: [S::F; 2]) -> S::F {
        s.mul_add(s.splat(self.0), x, y)
    }
}

#[derive(Clone, Copy)]
struct Scale(f32);
impl Map<1> for Scale {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, s.splat(self.0))
    }
}

#[derive(Clone, Copy)]
struct Mul;
impl Map<2> for Mul {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [a, b]: [S::F; 2]) -> S::F {
        s.mul(a, b)
    }
}

#[derive(Clone, Copy)]
struct Div;
impl Map<2> for Div {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [a, b]: [S::F; 2]) -> S::F {
        s.div(a, b)
    }
}

#[derive(Clone, Copy)]
struct Same;
impl Map<1> for Same {
    #[inline(always)]
    fn map<S: Simd>(self, _: S, [x]: [S::F; 1]) -> S::F {
        x
    }
}

/// `out = a + b`; all `[n]`.
pub fn add(isa: Isa, pool: &Pool, a: &[f32], b: &[f32], out: &mut [f32]) {
    super::map(isa, pool, Add, [a, b], out);
}

/// The same on the calling thread (for use inside a task).
pub(crate) fn add_into(isa: Isa, a: &[f32], b: &[f32], out: &mut [f32]) {
    super::map_into(isa, Add, [a, b], out);
}

/// `y += scale * x`; both `[n]`.
pub fn add_in_place(isa: Isa, pool: &Pool, y: &mut [f32], x: &[f32], scale: f32) {
    super::map_in_place(isa, pool, AddScaled(scale), y, x);
}

/// `out = factor * x`; both `[n]`.
pub fn scale(isa: Isa, pool: &Pool, x: &[f32], factor: f32, out: &mut [f32]) {
    super::map(isa, pool, Scale(factor), [x], out);
}

/// `out = a * b`, element by element; all `[n]`.
pub fn mul(isa: Isa, pool: &Pool, a: &[f32], b: &[f32], out: &mut [f32]) {
    super::map(isa, pool, Mul, [a, b], out);
}

/// `out = a / b`, element by element; all `[n]`.
pub fn div(isa: Isa, pool: &Pool, a: &[f32], b: &[f32], out: &mut [f32]) {
    super::map(isa, pool, Div, [a, b], out);
}

/// `y *= x` on the calling thread (for use inside a task); both `[n]`.
pub(crate) fn mul_slice(isa: Isa, y: &mut [f32], x: &[f32]) {
    super::map_slice2(isa, Mul, y, x);
}

/// `y += x` on the calling thread (for use inside a task); both `[n]`.
pub(crate) fn add_slice(isa: Isa, y: &mut [f32], x: &[f32]) {
    super::map_slice2(isa, Add, y, x);
}

/// `y += scale * x` on the calling thread (for use inside a task); both `[n]`.
pub(crate) fn add_scaled_slice(isa: Isa, y: &mut [f32], x: &[f32], scale: f32) {
    super::map_slice2(isa, AddScaled(scale), y, x);
}

/// `out = x`; both `[n]`.
pub fn copy(isa: Isa, pool: &Pool, x: &[f32], out: &mut [f32]) {
    super::map(isa, pool, Same, [x], out);
}

/// `y[r, c] += scale * row[c]`; y `[rows, cols]`, row `[cols]`.
pub fn add_row(isa: Isa, pool: &Pool, y: &mut [f32], scale: f32, row: &[f32]) {
    let cols = row.len();
    if cols == 0 {
        return;
    }
    assert_eq!(y.len() % cols, 0, "add_row: whole rows");
    let pointer = SendPtr::new(y);
    for_chunks(pool, y.len() / cols, rows_per_task(cols), |start, rows| {
        for r in start..start + rows {
            // SAFETY: row r is inside `y`, and only this task has it.
            let y = unsafe { pointer.slice(r * cols, cols) };
            super::map_slice2(isa, AddScaled(scale), y, row);
        }
    });
}

/// `Σ x` in f64.
pub fn sum(isa: Isa, pool: &Pool, x: &[f32]) -> f64 {
    super::sum_chunks(pool, x.len(), |start, len| {
        super::sum_map(isa, Same, [&x[start..start + len]])
    })
}

struct SumRows<'a> {
    x: &'a [f32],
    cols: usize,
    start: usize,
    out: &'a mut [f32],
}

impl Kernel for SumRows<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.x.len() / self.cols;
        let width = self.out.len();
        let mut c = 0;
        while c < width {
            let n = (width - c).min(4 * S::LANES);
            let mut total = [s.zero(); 4];
            let mut row = 0;
            while row < rows {
                let end = (row + ROW_CHUNK).min(rows);
                let mut part = [s.zero(); 4];
                while row < end {
                    // SAFETY: columns start + c .. start + c + n are inside row `row` of x.
                    unsafe {
                        let x = self.x.as_ptr().add(row * self.cols + self.start + c);
                        if n == 4 * S::LANES {
                            for v in 0..4 {
                                part[v] = s.add(part[v], s.load(x.add(v * S::LANES)));
                            }
                        } else {
                            for v in 0..4 {
                                if v * S::LANES < n {
                                    let lanes = (n - v * S::LANES).min(S::LANES);
                                    part[v] = s.add(part[v], s.load_partial(x.add(v * S::LANES), lanes));
                                }
                            }
                        }
                    }
                    row += 1;
                }
                for v in 0..4 {
                    total[v] = s.add(total[v], part[v]);
                }
            }
            for v in 0..4 {
                if v * S::LANES < n {
                    // SAFETY: n columns are left in `out` from c.
                    unsafe {
                        let lanes = (n - v * S::LANES).min(S::LANES);
                        s.store_partial(self.out.as_mut_ptr().add(c + v * S::LANES), total[v], lanes);
                    }
                }
            }
            c += n;
        }
    }
}

/// `out[c] = Σ_r x[r, c]`; x `[rows, cols]`, out `[cols]`. Chunks of [`ROW_CHUNK`] rows are summed, then their sums, in order.
pub fn sum_rows(isa: Isa, pool: &Pool, x: &[f32], cols: usize, out: &mut [f32]) {
    assert_eq!(out.len(), cols, "sum_rows: one output per column");
    if cols == 0 {
        return;
    }
    assert_eq!(x.len() % cols, 0, "sum_rows: whole rows");
    let pointer = SendPtr::new(out);
    for_chunks(pool, cols, COLUMN_BLOCK, |start, len| {
        // SAFETY: column blocks are inside `out` and disjoint.
        let out = unsafe { pointer.slice(start, len) };
        dispatch(isa, SumRows { x, cols, start, out });
    });
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn elementwise_operations() {
        for len in [0, 1, 17, 16 * 1024 + 3] {
            let (a, b) = (random(1, len), random(2, len));
            let pairs = || a.iter().zip(&b).map(|(&a, &b)| (a as f64, b as f64));
            type Body<'a> = Box<dyn Fn(Isa, &Pool, &mut [f32]) + 'a>;
            let cases: Vec<(Body, Vec<f64>)> = vec![
                (
                    Box::new(|i, p, o| add(i, p, &a, &b, o)),
                    pairs().map(|(a, b)| a + b).collect(),
                ),
                (
                    Box::new(|i, p, o| mul(i, p, &a, &b, o)),
                    pairs().map(|(a, b)| a * b).collect(),
                ),
                (
                    Box::new(|i, p, o| {
                        let away: Vec<f32> = b.iter().map(|b| b + 2.0).collect();
                        div(i, p, &a, &away, o);
                    }),
                    pairs().map(|(a, b)| a / (b + 2.0)).collect(),
                ),
                (
                    Box::new(|i, p, o| scale(i, p, &a, -2.5, o)),
                    pairs().map(|(a, _)| -2.5 * a).collect(),
                ),
                (Box::new(|i, p, o| copy(i, p, &a, o)), wide(&a)),
                (
                    Box::new(|i, p, o| {
                        o.copy_from_slice(&a);
                        add_in_place(i, p, o, &b, 3.0);
                    }),
                    pairs().map(|(a, b)| a + 3.0 * b).collect(),
                ),
            ];
            for (body, right) in &cases {
                for out in everywhere(|isa, pool| {
                    let mut out = vec![0.0; len];
                    body(isa, pool, &mut out);
                    out
                }) {
                    close(&out, right, 1e-6);
                }
            }
            everywhere(|isa, pool| {
                let total = sum(isa, pool, &a);
                assert!((total - wide(&a).iter().sum::<f64>()).abs() < 1e-9);
                vec![total as f32]
            });
        }
    }

    #[test]
    fn rows_are_summed() {
        for (rows, cols) in [(1, 1), (5, 3), (48, 64), (97, 131), (130, 77), (0, 4)] {
            let x = random(9, rows * cols);
            let naive: Vec<f64> = (0..cols)
                .map(|c| (0..rows).map(|r| x[r * cols + c] as f64).sum())
                .collect();
            for out in everywhere(|isa, pool| {
                let mut out = vec![7.0; cols];
                sum_rows(isa, pool, &x, cols, &mut out);
                out
            }) {
                close(&out, &naive, 1e-5);
            }
            let row = random(3, cols);
            let right: Vec<f64> = (0..rows * cols)
                .map(|i| x[i] as f64 + 2.0 * row[i % cols] as f64)
                .collect();
            for out in everywhere(|isa, pool| {
                let mut y = x.clone();
                add_row(isa, pool, &mut y, 2.0, &row);
                y
            }) {
                close(&out, &right, 1e-6);
            }
        }
    }
}

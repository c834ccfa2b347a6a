//! Small matrices in scratch memory of a thread: products by register tiles, copies in and out.

use super::super::{load, store};
use crate::simd::Simd;
use std::cell::Cell;

/// Rows of one register tile.
pub(super) const MR: usize = 4;

thread_local! {
    pub(super) static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// At least `len` floats of scratch memory of this thread, contents arbitrary; give it back with `SCRATCH.set`.
/// (Not a function that takes a closure: a closure is not compiled for the kernel's instruction set.)
pub(super) fn take_scratch(len: usize) -> Vec<f32> {
    let mut scratch = SCRATCH.take();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    scratch
}

/// Splits `len` floats off the front of `rest`.
#[inline(always)]
pub(super) fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (front, back) = std::mem::take(rest).split_at_mut(len);
    *rest = back;
    front
}

pub(super) fn round_up(n: usize, to: usize) -> usize {
    n.div_ceil(to) * to
}

/// An operand of [`product`]: element (row, column) is at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub data: *const f32,
    pub row_stride: usize,
    pub column_stride: usize,
}

/// C[0..MR, 0..NV vectors] (+)= A[0..MR, 0..depth] B[0..depth, ..].
/// # Safety
/// The elements named above are inside A, B and C.
#[inline(always)]
unsafe fn tile<S: Simd, const NV: usize>(
    s: S,
    depth: usize,
    a: Left,
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
) {
    let mut sums = [[s.zero(); NV]; MR];
    // SAFETY: the caller's promise.
    unsafe {
        if accumulate {
            for r in 0..MR {
                for v in 0..NV {
                    sums[r][v] = s.load(c.add(r * c_stride + v * S::LANES));
                }
            }
        }
        for d in 0..depth {
            let mut row = [s.zero(); NV];
            for v in 0..NV {
                row[v] = s.load(b.add(d * b_stride + v * S::LANES));
            }
            for r in 0..MR {
                let left = s.splat(*a.data.add(r * a.row_stride + d * a.column_stride));
                for v in 0..NV {
                    sums[r][v] = s.mul_add(left, row[v], sums[r][v]);
                }
            }
        }
        for r in 0..MR {
            for v in 0..NV {
                s.store(c.add(r * c_stride + v * S::LANES), sums[r][v]);
            }
        }
    }
}

/// C (+)= A B; C `[rows, columns]`, A `[rows, depth]`, B `[depth, columns]`; rows in whole tiles, columns in whole vectors.
/// # Safety
/// The matrices are as large as this says; `rows % MR == 0` and `columns % LANES == 0`.
#[inline(always)]
pub(super) unsafe fn product<S: Simd>(
    s: S,
    (rows, columns, depth): (usize, usize, usize),
    a: Left,
    (b, b_stride): (*const f32, usize),
    (c, c_stride): (*mut f32, usize),
    accumulate: bool,
) {
    let mut column = 0;
    while column < columns {
        let pair = columns - column >= 2 * S::LANES;
        let mut row = 0;
        while row < rows {
            // SAFETY: the tile is inside the matrices, whose size the caller vouches for.
            unsafe {
                let a = Left {
                    data: a.data.add(row * a.row_stride),
                    ..a
                };
                let (b, c) = (b.add(column), c.add(row * c_stride + column));
                if pair {
                    tile::<S, 2>(s, depth, a, b, b_stride, c, c_stride, accumulate);
                } else {
                    tile::<S, 1>(s, depth, a, b, b_stride, c, c_stride, accumulate);
                }
            }
            row += MR;
        }
        column += if pair { 2 * S::LANES } else { S::LANES };
    }
}

/// Copies `rows` rows of `cols` from `from` (every `stride`) to `to` (every `padded`), times `scale`, zeros behind each row.
/// # Safety
/// `from` has these rows, `to` has `rows * padded`, and `padded` is `cols` rounded up to whole vectors.
#[inline(always)]
pub(super) unsafe fn copy_rows<S: Simd>(
    s: S,
    (from, stride): (*const f32, usize),
    (rows, cols): (usize, usize),
    scale: f32,
    (to, padded): (*mut f32, usize),
) {
    let scale = s.splat(scale);
    for r in 0..rows {
        let mut c = 0;
        while c < cols {
            let n = S::LANES.min(cols - c);
            // SAFETY: the caller's promise.
            unsafe {
                let from = from.add(r * stride + c);
                let x = if n == S::LANES {
                    s.load(from)
                } else {
                    s.load_partial(from, n)
                };
                s.store(to.add(r * padded + c), s.mul(x, scale));
            }
            c += n;
        }
    }
}

/// The reverse of [`copy_rows`]: the first `cols` columns, times `scale`.
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn write_rows<S: Simd>(
    s: S,
    (from, padded): (*const f32, usize),
    (rows, cols): (usize, usize),
    scale: f32,
    (to, stride): (*mut f32, usize),
) {
    let scale = s.splat(scale);
    for r in 0..rows {
        let mut c = 0;
        while c < cols {
            let n = S::LANES.min(cols - c);
            // SAFETY: the caller's promise.
            unsafe {
                let x = s.mul(s.load(from.add(r * padded + c)), scale);
                let to = to.add(r * stride + c);
                if n == S::LANES {
                    s.store(to, x)
                } else {
                    s.store_partial(to, x, n)
                }
            }
            c += n;
        }
    }
}

/// y[0..n] += x[0..n].
/// # Safety
/// Both have n elements.
#[inline(always)]
pub(super) unsafe fn add_to<S: Simd>(s: S, y: *mut f32, x: *const f32, n: usize) {
    let mut c = 0;
    while c < n {
        let lanes = S::LANES.min(n - c);
        // SAFETY: the caller's promise.
        unsafe {
            store(
                s,
                y.add(c),
                s.add(load(s, y.add(c), lanes), load(s, x.add(c), lanes)),
                lanes,
            )
        };
        c += lanes;
    }
}

/// `to[c, r] = from[r, c]` for `rows` rows of `cols`; `to` has rows of `padded >= rows`, zeros behind each.
pub(super) fn transpose(from: &[f32], stride: usize, rows: usize, cols: usize, to: &mut [f32], padded: usize) {
    // 16 rows at a time stay in the first-level cache while their columns are collected.
    for start in (0..rows).step_by(16) {
        let end = (start + 16).min(rows);
        for c in 0..cols {
            for r in start..end {
                to[c * padded + r] = from[r * stride + c];
            }
        }
    }
    for c in 0..cols {
        to[c * padded + rows..(c + 1) * padded].fill(0.0);
    }
}

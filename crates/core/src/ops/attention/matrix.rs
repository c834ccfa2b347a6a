//! Small matrices: products by register tiles, transposes, scratch memory of a thread.
//!
//! Each is a kernel of its own behind [`dispatch`]: inlined into the forward and the backward pass, the products would be there eight times.

use super::super::{load, store};
use crate::matmul::{Shape, unrolled};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use std::cell::Cell;

/// A cache line: a vector of AVX-512 that crosses one costs two reads.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    static SCRATCH: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// Calls `body` with `len` floats of scratch memory of this thread, which start on a cache line; contents arbitrary.
/// (A closure is not compiled for a kernel's instruction set: `body` is to call kernels, not to compute.)
pub(super) fn with_scratch(len: usize, body: impl FnOnce(&mut [f32])) {
    let mut scratch = SCRATCH.take();
    let lines = len.div_ceil(16);
    if scratch.len() < lines {
        scratch.resize(lines, Line([0.0; 16]));
    }
    // SAFETY: so many lines are there, each is 16 floats.
    body(unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), len) });
    SCRATCH.set(scratch);
}

/// Columns of a block of `queries` in scratch memory: whole vectors.
pub(super) fn padded(isa: Isa, queries: usize) -> usize {
    queries.next_multiple_of(isa.lanes())
}

/// Distance between rows of `dim` values in scratch memory: an odd number of cache lines, so that as many rows as possible are in the caches at once.
/// With 4 lines the columns of a tile, read down 256 rows, are in a quarter of the sets.
pub(super) fn spread(dim: usize) -> usize {
    (dim.div_ceil(16) | 1) * 16
}

/// Rows of `dim` values, `from.1` apart, to `to`, `to.1` apart.
/// # Safety
/// Both have `rows` of them, and do not overlap.
pub(super) unsafe fn copy_rows(from: (*const f32, usize), to: (*mut f32, usize), rows: usize, dim: usize) {
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(from.0.add(row * from.1), to.0.add(row * to.1), dim) }
    }
}

/// The left matrix of a product.
#[derive(Clone, Copy)]
pub(super) enum Left {
    /// Row by row, each `.1` behind the one before.
    Rows(*const f32, usize),
    /// Column by column.
    Columns(*const f32, usize),
}

/// C (+)= factor A B; C `[rows, columns]`, A `[rows, depth]`, B `[depth, columns]`.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub rows: usize,
    pub columns: usize,
    pub depth: usize,
    pub a: Left,
    /// B and the distance between its rows.
    pub b: (*const f32, usize),
    /// C and the distance between its rows.
    pub c: (*mut f32, usize),
    /// A factor for each row of C, this far from each other (0: one for all).
    pub factors: (*const f32, usize),
    /// Add to what C holds.
    pub add: bool,
}

impl Product {
    /// # Safety
    /// The matrices and factors are as large as the fields say, and nobody else touches C.
    #[inline(never)]
    pub unsafe fn run(self, isa: Isa) {
        dispatch(isa, self);
    }
}

impl Kernel for Product {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: as `Product::run` asks for.
        unsafe {
            match self.a {
                Left::Rows(a, stride) => by_columns::<S, false>(s, &self, a, stride),
                Left::Columns(a, stride) => by_columns::<S, true>(s, &self, a, stride),
            }
        }
    }
}

/// A tile of C: `ROWS` rows of `NV` vectors, or (`PARTIAL`) of one that has `n` lanes.
#[derive(Clone, Copy)]
struct Tile {
    depth: usize,
    a: *const f32,
    a_stride: usize,
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    factors: *const f32,
    factor_stride: usize,
    n: usize,
    add: bool,
}

/// Rows of a tile at most: those of matrix products, fewer in WebAssembly, where every size of tile adds to what pages load.
const fn most_rows<S: Simd>() -> usize {
    let rows = Shape::of::<S>().mr;
    if cfg!(target_arch = "wasm32") && rows > 3 {
        3
    } else {
        rows
    }
}

/// The tiles of matrix products (see [`Shape`]), rows shared out evenly among the fewest: 25 rows are 9 + 8 + 8 and not 12 + 12 + 1, since
/// a tile of one row waits for its additions.
#[inline(always)]
unsafe fn by_columns<S: Simd, const COLUMNS: bool>(s: S, p: &Product, a: *const f32, a_stride: usize) {
    let most = const { Shape::of::<S>().nv };
    let tiles = p.rows.div_ceil(const { most_rows::<S>() });
    let mut column = 0;
    while column < p.columns {
        let left = p.columns - column;
        let vectors = (left / S::LANES).clamp(1, most);
        let n = S::LANES.min(left);
        let mut row = 0;
        for at in 1..=tiles {
            let rows = at * p.rows / tiles - row;
            // SAFETY: rows and columns of the matrices.
            unsafe {
                let tile = Tile {
                    depth: p.depth,
                    a: a.add(if COLUMNS { row } else { row * a_stride }),
                    a_stride,
                    b: p.b.0.add(column),
                    b_stride: p.b.1,
                    c: p.c.0.add(row * p.c.1 + column),
                    c_stride: p.c.1,
                    factors: p.factors.0.add(row * p.factors.1),
                    factor_stride: p.factors.1,
                    n,
                    add: p.add,
                };
                match (most, vectors) {
                    (2.., 2) => by_rows::<S, 2, COLUMNS, false>(s, &tile, rows),
                    (3.., 3) => by_rows::<S, 3, COLUMNS, false>(s, &tile, rows),
                    (4.., 4) => by_rows::<S, 4, COLUMNS, false>(s, &tile, rows),
                    _ if n == S::LANES => by_rows::<S, 1, COLUMNS, false>(s, &tile, rows),
                    _ => by_rows::<S, 1, COLUMNS, true>(s, &tile, rows),
                }
            }
            row += rows;
        }
        column += if vectors == 1 { n } else { vectors * S::LANES };
    }
}

#[inline(always)]
unsafe fn by_rows<S: Simd, const NV: usize, const COLUMNS: bool, const PARTIAL: bool>(s: S, tile: &Tile, rows: usize) {
    // SAFETY: the caller's promise, for each variant.
    unsafe {
        match (const { most_rows::<S>() }, rows) {
            (_, 1) => micro::<S, 1, NV, COLUMNS, PARTIAL>(s, tile),
            (_, 2) => micro::<S, 2, NV, COLUMNS, PARTIAL>(s, tile),
            (3.., 3) => micro::<S, 3, NV, COLUMNS, PARTIAL>(s, tile),
            (4.., 4) => micro::<S, 4, NV, COLUMNS, PARTIAL>(s, tile),
            (5.., 5) => micro::<S, 5, NV, COLUMNS, PARTIAL>(s, tile),
            (6.., 6) => micro::<S, 6, NV, COLUMNS, PARTIAL>(s, tile),
            (7.., 7) => micro::<S, 7, NV, COLUMNS, PARTIAL>(s, tile),
            (8.., 8) => micro::<S, 8, NV, COLUMNS, PARTIAL>(s, tile),
            (9.., 9) => micro::<S, 9, NV, COLUMNS, PARTIAL>(s, tile),
            (10.., 10) => micro::<S, 10, NV, COLUMNS, PARTIAL>(s, tile),
            (11.., 11) => micro::<S, 11, NV, COLUMNS, PARTIAL>(s, tile),
            (12.., 12) => micro::<S, 12, NV, COLUMNS, PARTIAL>(s, tile),
            _ => unreachable!("a tile of {rows} rows"),
        }
    }
}

/// Steps of the depth a turn of the loop where A comes by rows and these are few. With more than 6 rows LLVM reads several steps before it
/// multiplies and spills them: 60 % of the peak for 12 x 2 with AVX-512, fences or not.
/// In WebAssembly not at all, for the size.
const UNROLL: usize = if cfg!(target_arch = "wasm32") { 1 } else { 4 };

// As in matrix products: functions of their own in WebAssembly.
#[cfg_attr(target_arch = "wasm32", inline(never))]
#[cfg_attr(not(target_arch = "wasm32"), inline(always))]
unsafe fn micro<S: Simd, const ROWS: usize, const NV: usize, const COLUMNS: bool, const PARTIAL: bool>(
    s: S,
    tile: &Tile,
) {
    let mut sums = [[s.zero(); NV]; ROWS];
    // SAFETY: the extents of the tile, which the caller vouches for.
    unsafe {
        let mut at = *tile;
        let mut left = tile.depth;
        if UNROLL > 1 && !COLUMNS && ROWS <= 6 {
            while left >= UNROLL {
                unrolled!(
                    UNROLL,
                    turn,
                    step::<S, ROWS, NV, COLUMNS, PARTIAL>(s, &at, turn, &mut sums)
                );
                at.a = at.a.add(UNROLL);
                at.b = at.b.add(UNROLL * at.b_stride);
                left -= UNROLL;
            }
        }
        for _ in 0..left {
            step::<S, ROWS, NV, COLUMNS, PARTIAL>(s, &at, 0, &mut sums);
            at.a = at.a.add(if COLUMNS { at.a_stride } else { 1 });
            at.b = at.b.add(at.b_stride);
        }
        unrolled!(ROWS, r, {
            let factor = s.splat(*tile.factors.add(r * tile.factor_stride));
            let c = tile.c.add(r * tile.c_stride);
            unrolled!(NV, v, {
                let c = c.add(v * S::LANES);
                let n = if PARTIAL { tile.n } else { S::LANES };
                let sum = if tile.add {
                    s.mul_add(sums[r][v], factor, load(s, c, n))
                } else {
                    s.mul(sums[r][v], factor)
                };
                store(s, c, sum, n);
            });
        });
    }
}

/// sums += column k of A x row k of B.
#[inline(always)]
unsafe fn step<S: Simd, const ROWS: usize, const NV: usize, const COLUMNS: bool, const PARTIAL: bool>(
    s: S,
    tile: &Tile,
    k: usize,
    sums: &mut [[S::F; NV]; ROWS],
) {
    // SAFETY: as in `micro`.
    unsafe {
        let row = tile.b.add(k * tile.b_stride);
        let n = if PARTIAL { tile.n } else { S::LANES };
        let mut b = [s.zero(); NV];
        unrolled!(NV, v, b[v] = load(s, row.add(v * S::LANES), n));
        unrolled!(ROWS, r, {
            let at = if COLUMNS { r } else { r * tile.a_stride + k };
            let a = s.splat(*tile.a.add(at));
            unrolled!(NV, v, sums[r][v] = s.mul_add(a, b[v], sums[r][v]));
        });
    }
}

/// `to[c, r] = from[r, c]` for `rows` rows of `cols`, every `stride`; `to` has rows of `padded`, zeros behind the `rows` of each.
#[derive(Clone, Copy)]
pub(super) struct Transpose {
    pub from: *const f32,
    pub stride: usize,
    pub rows: usize,
    pub cols: usize,
    pub to: *mut f32,
    pub padded: usize,
}

impl Transpose {
    /// # Safety
    /// `from` has these rows, `to` has `cols * padded`, and `padded` is `rows` rounded up to whole vectors.
    #[inline(never)]
    pub unsafe fn run(self, isa: Isa) {
        dispatch(isa, self);
    }
}

impl Kernel for Transpose {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut row = 0;
        while row < self.padded {
            let rows = S::LANES.min(self.rows - row);
            let mut col = 0;
            while col < self.cols {
                let cols = S::LANES.min(self.cols - col);
                // SAFETY: as `Transpose::run` asks for.
                unsafe {
                    let (from, to) = (
                        self.from.add(row * self.stride + col),
                        self.to.add(col * self.padded + row),
                    );
                    let mut square = [s.zero(); 16];
                    if rows == S::LANES && cols == S::LANES {
                        for r in 0..S::LANES {
                            square[r] = s.load(from.add(r * self.stride));
                        }
                        s.transpose(&mut square);
                        for c in 0..S::LANES {
                            s.store(to.add(c * self.padded), square[c]);
                        }
                    } else {
                        for r in 0..rows {
                            square[r] = load(s, from.add(r * self.stride), cols);
                        }
                        s.transpose(&mut square);
                        for c in 0..cols {
                            s.store(to.add(c * self.padded), square[c]);
                        }
                    }
                }
                col += S::LANES;
            }
            row += S::LANES;
        }
    }
}

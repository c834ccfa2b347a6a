//! One task: a block of rows times a range of panels (BLIS loops `pc`, `jr`, `ir`).

use super::narrow::NarrowRows;
use super::pack::PackedB;
use super::pairs;
use super::stored::{Stored, StoredBuf};
use super::tile::{self, TILES_AHEAD, Target, Tile};
use super::{Accumulate, with_scratch};
use crate::memory::l1_ways;
use crate::simd::{Isa, Kernel, Simd, dispatch};
use std::ops::Range;

/// BLIS `KC`: 1536 x NR f32 of B are 196 KB at most and the same K of a row block 295 KB: both stay in L2. Longer K is cut even. Measured
/// on Zen 2 at 512 x 768 x 768: 192, 256 and 384 lose 5, 3.5 and 1.5 %, from 768 on there is no difference; on Emerald Rapids (AVX-512) at
/// 512 x 3072 x 768: 768 loses 5 %, 3072 2 %.
const KC: usize = 1536;

/// The rows of A in the precision that they are multiplied in.
#[derive(Clone, Copy)]
pub(super) enum RowsOfA<'a> {
    /// [rows, k]
    F32(&'a [f32]),
    /// [rows and padding, stride], whose rows begin with K and its padding.
    Bf16 { values: &'a [u16], stride: usize },
}

impl<'a> RowsOfA<'a> {
    /// Block `index` of A, which is `a` [rows, k].
    pub fn new(a: &'a [f32], narrow: Option<&'a NarrowRows>, index: usize) -> RowsOfA<'a> {
        narrow.map_or(RowsOfA::F32(a), |narrow| {
            let (values, stride) = narrow.block(index);
            RowsOfA::Bf16 { values, stride }
        })
    }
}

/// `out[rows, n] (+)= a · b (+ bias)` for the columns of `panels`.
pub(crate) struct Block<'a> {
    pub a: RowsOfA<'a>,
    pub rows: usize,
    /// Row tiles to cut `rows` into, evenly.
    pub tiles: usize,
    pub b: &'a PackedB,
    pub panels: Range<usize>,
    /// The panel that the thread's next task probably begins with: what is asked for from memory meanwhile.
    pub next: usize,
    /// Column of the result that the first of all panels of `b` begins with.
    pub column: usize,
    pub bias: Option<&'a [f32]>,
    pub accumulate: Accumulate,
    /// First of the rows of the result, at column 0.
    pub out: *mut f32,
    /// Distance between rows of the result.
    pub ldo: usize,
}

impl Block<'_> {
    pub fn run(self, isa: Isa) {
        let a = match self.a {
            RowsOfA::F32(a) => a,
            RowsOfA::Bf16 { values, stride } => return pairs::run(isa, &self, values, stride),
        };
        let k = self.b.k;
        // Rows a multiple of 4 KB apart share one set of the L1: where it has 8 ways, a tile of 12 would throw out its own lines. Then, and
        // if the rows are used often enough to pay for it, they are copied to a stride that spreads them. Where they fit, the copy loses: six rows
        // in 8 ways 1.5 % at 512 x 3072 x 768 and 12 % at 32 rows, twelve rows in 12 ways 6 % at 805 rows, and 10 to 20 % where panels are turned.
        let aliased = k > 0 && (k * size_of::<f32>()).is_multiple_of(4096);
        if aliased && self.b.shape.mr > l1_ways() && self.rows > 4 && self.panels.len() > 1 {
            let stride = k + 16;
            with_scratch(self.rows * stride, |copy| {
                for (row, target) in a.chunks_exact(k).zip(copy.chunks_exact_mut(stride)) {
                    target[..k].copy_from_slice(row);
                }
                dispatch(
                    isa,
                    Run {
                        block: &self,
                        a: copy.as_ptr(),
                        lda: stride,
                    },
                );
            });
        } else {
            dispatch(
                isa,
                Run {
                    block: &self,
                    a: a.as_ptr(),
                    lda: k,
                },
            );
        }
    }
}

struct Run<'a> {
    block: &'a Block<'a>,
    a: *const f32,
    lda: usize,
}

impl Kernel for Run<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match &self.block.b.values {
            StoredBuf::F32(values) => self.tiles(s, values),
            StoredBuf::Bf16(values) => self.tiles(s, values),
        }
    }
}

impl Run<'_> {
    #[inline(always)]
    fn tiles<S: Simd, T: Stored>(&self, s: S, values: &[T]) {
        let Block {
            rows,
            tiles,
            b,
            ref panels,
            bias,
            accumulate,
            out,
            column: start,
            next: next_task,
            ldo,
            ..
        } = *self.block;
        let (scale, add) = accumulate.scale_and_add();
        let passes = b.k.div_ceil(KC).max(1);
        // Fewer tiles than it takes ask for what they can, two rows a turn.
        let askers = tiles.min(TILES_AHEAD);
        for pass in 0..passes {
            let (k0, k1) = (pass * b.k / passes, (pass + 1) * b.k / passes);
            for index in panels.clone() {
                let panel = b.panel(values, index);
                let column = start + index * b.shape.nr();
                let ldb = b.stride(panel.nv);
                // What is read next: at the end of a pass the first panel of the next, or of the next task.
                let (next, k) = match index + 1 < panels.end {
                    true => (index + 1, k0),
                    false if k1 < b.k => (panels.start, k1),
                    false => (next_task, 0),
                };
                let next = b.panel(values, next);
                let ahead = next.values[k * b.stride(next.nv)..].as_ptr();
                for tile in 0..tiles {
                    let (row, end) = (tile * rows / tiles, (tile + 1) * rows / tiles);
                    // SAFETY: rows, columns and k are in range of the slices they index (checked by the callers' asserts);
                    // this task alone writes these columns of these rows of `out`.
                    unsafe {
                        let tile = Tile {
                            a: self.a.add(row * self.lda + k0),
                            lda: self.lda,
                            b: panel.values.as_ptr().add(k0 * ldb),
                            ldb,
                            k: k1 - k0,
                            ahead: ahead.wrapping_add(tile % askers * (k1 - k0) / askers * ldb),
                            two_ahead: tiles <= TILES_AHEAD / 2,
                            to: Target {
                                out: out.add(row * ldo + column),
                                ldo,
                                width: panel.width,
                                bias: match bias {
                                    Some(bias) if pass == 0 => bias[column..].as_ptr(),
                                    _ => std::ptr::null(),
                                },
                                add: add || pass > 0,
                                scale,
                            },
                        };
                        tile::run(s, &tile, end - row, panel.nv);
                    }
                }
            }
        }
    }
}

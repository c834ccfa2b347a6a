//! The right-hand side of a product, shared out by columns.

use super::Accumulate;
use super::block::{Block, RowsOfA};
use super::narrow::NarrowRows;
use super::pack::PackedB;
use crate::simd::Isa;
use crate::threads::Pool;
use std::ops::Range;

/// B of a product, as it is there.
#[derive(Clone, Copy, Debug)]
pub enum Rhs<'a> {
    Packed(&'a PackedB),
    /// It is the transpose of what is packed. Each task turns its panels in the cache before it multiplies by them, so that a weight needs one pack
    /// for x · Wᵀ and dy · W.
    TransposeOf(&'a PackedB),
}

impl<'a> From<&'a PackedB> for Rhs<'a> {
    fn from(b: &'a PackedB) -> Rhs<'a> {
        Rhs::Packed(b)
    }
}

/// Bytes of panels that a task turns at most. More are more often read from the L3, fewer read the rows of A more often: at 805 x 3072 x 768, 400 KB (one
/// panel) loses a fifth against 1.2 MB (three).
const TURNED: usize = 1280 << 10;

/// Rows of A and where their results go.
pub(crate) struct RowBlock<'a> {
    /// [rows, k]
    pub a: &'a [f32],
    pub rows: usize,
    /// Row tiles to cut `rows` into, evenly.
    pub tiles: usize,
    /// The first row of results.
    pub out: *mut f32,
}

impl Rhs<'_> {
    pub fn k(self) -> usize {
        match self {
            Rhs::Packed(b) => b.k,
            Rhs::TransposeOf(b) => b.n,
        }
    }

    pub fn n(self) -> usize {
        match self {
            Rhs::Packed(b) => b.n,
            Rhs::TransposeOf(b) => b.k,
        }
    }

    /// What is packed, whichever way.
    pub(crate) fn pack(&self) -> &PackedB {
        match self {
            Rhs::Packed(b) | Rhs::TransposeOf(b) => b,
        }
    }

    /// The product of `count` blocks of rows, each [rows, n] of its own. `then` gets each part when it is finished: the number of its block, its columns.
    ///
    /// # Safety
    /// `block(i).out` has `rows` rows of `n` values that nothing else touches meanwhile.
    ///
    /// # Panics
    /// Where there is no memory for a task's panels.
    #[allow(clippy::too_many_arguments)]
    pub(crate) unsafe fn multiply<'a>(
        self,
        isa: Isa,
        pool: &Pool,
        bias: Option<&[f32]>,
        accumulate: Accumulate,
        count: usize,
        block: &(dyn Fn(usize) -> RowBlock<'a> + Sync),
        then: &(dyn Fn(usize, Range<usize>) + Sync),
    ) {
        let ldo = self.n();
        let nr = self.pack().shape.nr();
        let all = ldo.div_ceil(nr);
        let rows = |index: usize| {
            let RowBlock { a, rows, .. } = block(index);
            (rows, a)
        };
        let narrow = NarrowRows::new(isa, pool, self.pack(), self.k(), count, &rows);
        let run = |index: usize, b: &PackedB, panels: Range<usize>, next: usize, column: usize| {
            let RowBlock { a, rows, tiles, out } = block(index);
            let columns = column + panels.start * nr..ldo.min(column + panels.end * nr);
            Block {
                a: RowsOfA::new(a, narrow.as_ref(), index),
                rows,
                tiles,
                b,
                panels,
                next,
                column,
                bias,
                accumulate,
                out,
                ldo,
            }
            .run(isa);
            then(index, columns);
        };
        match self {
            Rhs::Packed(b) => {
                let panels = b.panels_in(b.task_columns(count));
                pool.run(count * all.div_ceil(panels), &|task| {
                    // Neighbouring tasks share the chunk of B: it is read from memory once, and from L3 by the second thread.
                    let (chunk, index) = (task / count, task % count);
                    let first = chunk * panels;
                    let next = pool.likely_after(task) / count * panels;
                    let next = if next < all { next } else { first };
                    run(index, b, first..all.min(first + panels), next, 0);
                });
            }
            Rhs::TransposeOf(b) => {
                let wanted = pool.wanted_tasks();
                let panels = (TURNED / (b.n * nr * b.precision().bytes()).max(1))
                    .min(all / wanted)
                    .max(1);
                let chunks = all.div_ceil(panels);
                // Rows are shared out only where columns do not make enough tasks: each share turns the panels again.
                let shares = match pool.threads() {
                    1 => 1,
                    _ => wanted.div_ceil(chunks.max(1)).clamp(1, count.max(1)),
                };
                pool.run(chunks * shares, &|task| {
                    let (chunk, share) = (task / shares, task % shares);
                    let first = chunk * panels;
                    let turned = b
                        .transposed_part(isa, first..all.min(first + panels))
                        .unwrap_or_else(|error| panic!("{error}"));
                    for index in share * count / shares..(share + 1) * count / shares {
                        run(index, &turned, 0..turned.panels(), 0, first * nr);
                    }
                });
            }
        }
    }
}

//! Dense matrix products on B packed in panels.
//!
//! BLIS names for the loops: `jc` (column chunks) and `ic` (row blocks) are the tasks of the thread pool, `pc` cuts K, `jr` walks
//! the panels of B, `ir` the row tiles of A, and the micro-kernel runs along K. Each element of the result is the sum over K in
//! an order that depends on the shapes alone, so it has the same bits whatever the number of threads.

mod at_b;
mod block;
mod narrow;
mod pack;
mod pairs;
#[cfg(test)]
pub(crate) mod reference;
mod rhs;
mod stored;
#[cfg(test)]
mod tests;
mod tile;
mod transpose;

pub use at_b::matmul_at_b;
pub use pack::PackedB;
pub use rhs::Rhs;
pub(crate) use rhs::RowBlock;
pub use stored::{Precision, from_bf16, to_bf16};
pub(crate) use stored::{Stored, StoredBuf};
pub(crate) use tile::{Shape, unrolled};

use crate::memory::AlignedBuf;
use crate::simd::Isa;
use crate::threads::{Pool, SendPtr};
use block::{Block, RowsOfA};
use narrow::NarrowRows;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What becomes of the values that `out` holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Accumulate {
    /// They are replaced.
    Overwrite,
    /// `out += scale * product` (and + bias, which is not scaled).
    Add(f32),
}

impl Accumulate {
    /// Factor of the product, and whether it is added to what `out` holds.
    fn scale_and_add(self) -> (f32, bool) {
        match self {
            Accumulate::Overwrite => (1.0, false),
            Accumulate::Add(scale) => (scale, true),
        }
    }
}

/// Rows of a block (BLIS `MC`): 48 x 768 f32 of A are 147 KB, which stay in L2 beside the panel of B (98 KB at most). Divisible
/// by the tile of every instruction set.
pub const ROW_BLOCK: usize = 48;

/// Rows of a task for weights of `precision`: [`ROW_BLOCK`], or more where the CPU multiplies bf16 itself.
pub fn block_rows(isa: Isa, precision: Precision) -> usize {
    if pairs::are_used(isa, precision) {
        pairs::TASK_ROWS
    } else {
        ROW_BLOCK
    }
}

/// Columns of a task (BLIS `NC`) for many rows. More make a task use its copy of A longer, fewer share out better: of 256, 384 and
/// 768, 384 was the fastest (2-4 % over 256) at both K = 768 and K = 3072.
const COLUMNS_MANY: usize = 384;

/// Columns for each row block where the rows are few, so that columns make the tasks.
const COLUMNS_FEW: usize = 64;

/// Row blocks for each thread from which on whole blocks are shared out: the last round then idles 1/16 of the time at most.
const MANY_BLOCKS: usize = 16;

/// `out [m, n] = a [m, k] · B (+ bias [n])`; a and out are row-major.
///
/// # Panics
/// When a length does not fit the shapes.
#[allow(clippy::too_many_arguments)]
pub fn matmul<'b>(
    isa: Isa,
    pool: &Pool,
    a: &[f32],
    m: usize,
    b: impl Into<Rhs<'b>>,
    bias: Option<&[f32]>,
    accumulate: Accumulate,
    out: &mut [f32],
) {
    matmul_parts(isa, pool, a, m, b, bias, accumulate, out, &|_| {});
}

/// One finished part of a product: a block of its rows in some of its columns.
pub struct Part<'a> {
    /// Number of the block of rows, below [`PackedB::row_blocks`].
    pub block: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    out: SendPtr<f32>,
    /// Values in a row of `out`.
    stride: usize,
    own: PhantomData<&'a mut [f32]>,
}

impl Part<'_> {
    /// The part's columns of row `row`, one of `rows`.
    ///
    /// # Panics
    /// When it is none of them.
    pub fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(self.rows.contains(&row), "Part::row");
        // SAFETY: in range of `out`, and the part's alone.
        unsafe {
            self.out
                .slice(row * self.stride + self.columns.start, self.columns.len())
        }
    }
}

/// As [`matmul`]; `then` gets each part of `out` when it is finished, while it is in the cache.
///
/// # Panics
/// When a length does not fit the shapes.
#[allow(clippy::too_many_arguments)]
pub fn matmul_parts<'b>(
    isa: Isa,
    pool: &Pool,
    a: &[f32],
    m: usize,
    b: impl Into<Rhs<'b>>,
    bias: Option<&[f32]>,
    accumulate: Accumulate,
    out: &mut [f32],
    then: &(dyn Fn(Part<'_>) + Sync),
) {
    let b = b.into();
    let (pack, k, n) = (b.pack(), b.k(), b.n());
    assert_eq!(a.len(), m * k, "matmul: a");
    assert_eq!(out.len(), m * n, "matmul: out");
    assert!(bias.is_none_or(|bias| bias.len() == n), "matmul: bias");
    // Tiles are cut even (25 rows of 6 at most are 5 x 5, not 4 x 6 + 1): at 8 rows worth 80 -> 94 GFLOP/s on AVX2.
    let tiles = pack.tiles(m);
    let tiles_per_block = pack.task_tiles();
    let blocks = pack.row_blocks(m);
    let target = SendPtr::new(out);
    let rows = |block: usize| {
        let first_tile = block * tiles_per_block;
        let last_tile = tiles.min(first_tile + tiles_per_block);
        (first_tile * m / tiles..last_tile * m / tiles, last_tile - first_tile)
    };
    let row_block = |block: usize| {
        let (rows, tiles) = rows(block);
        RowBlock {
            a: &a[rows.start * k..rows.end * k],
            rows: rows.len(),
            tiles,
            // SAFETY: in range.
            out: unsafe { target.at(rows.start * n) },
        }
    };
    // SAFETY: blocks own disjoint rows of `out`, which are in range.
    unsafe {
        b.multiply(isa, pool, bias, accumulate, blocks, &row_block, &|block, columns| {
            then(Part {
                block,
                rows: rows(block).0,
                columns,
                out: target,
                stride: n,
                own: PhantomData,
            });
        });
    }
}

/// As [`matmul`] in blocks of [`PackedB::block_rows`] rows: each finished block [rows, n], bias added, goes to `sink(its number, block)` while
/// it is in the cache, and is not stored elsewhere. `sink` may change it in place.
///
/// # Panics
/// When a length does not fit the shapes.
pub fn matmul_row_blocks(
    isa: Isa,
    pool: &Pool,
    a: &[f32],
    m: usize,
    b: &PackedB,
    bias: Option<&[f32]>,
    sink: &(dyn Fn(usize, &mut [f32]) + Sync),
) {
    assert_eq!(a.len(), m * b.k, "matmul_row_blocks: a");
    assert!(bias.is_none_or(|bias| bias.len() == b.n), "matmul_row_blocks: bias");
    let block_rows = b.block_rows();
    let blocks = m.div_ceil(block_rows);
    let rows = |index: usize| {
        let rows = index * block_rows..m.min((index + 1) * block_rows);
        (rows.len(), &a[rows.start * b.k..rows.end * b.k])
    };
    let narrow = NarrowRows::new(isa, pool, b, b.k, blocks, &rows);
    let task = |index: usize, panels: Range<usize>, out: *mut f32| {
        let (rows, a) = rows(index);
        Block {
            a: RowsOfA::new(a, narrow.as_ref(), index),
            rows,
            tiles: b.tiles(rows),
            b,
            next: panels.start,
            panels,
            column: 0,
            bias,
            accumulate: Accumulate::Overwrite,
            out,
            ldo: b.n,
        }
        .run(isa);
    };
    if pool.threads() == 1 || blocks >= MANY_BLOCKS * pool.threads() {
        return pool.run(blocks, &|index| {
            with_scratch(rows(index).0 * b.n, |scratch| {
                task(index, 0..b.panels(), scratch.as_mut_ptr());
                sink(index, scratch);
            });
        });
    }
    // Too few blocks to share out evenly: their columns are tasks too, and who finishes the last columns of a block calls `sink`. A block has memory
    // from its first task to its last: the threads are at few blocks at a time, whose memory stays in their caches.
    let panels = b.panels_in(b.task_columns(blocks));
    let chunks = b.panels().div_ceil(panels);
    let unfinished: Vec<AtomicUsize> = (0..blocks).map(|_| AtomicUsize::new(chunks)).collect();
    let buffers: Vec<Mutex<Option<(AlignedBuf, SendPtr<f32>)>>> = (0..blocks).map(|_| Mutex::new(None)).collect();
    let buffer = |block: usize| buffers[block].lock().unwrap_or_else(PoisonError::into_inner);
    pool.run(blocks * chunks, &|index| {
        let (block, chunk) = (index / chunks, index % chunks);
        let first = chunk * panels;
        let (_, out) = *buffer(block).get_or_insert_with(|| {
            let mut values = AlignedBuf::uninit_in_task(rows(block).0 * b.n);
            let target = SendPtr::new(&mut values);
            (values, target)
        });
        // SAFETY: in range; the block's tasks write disjoint columns.
        task(block, first..b.panels().min(first + panels), unsafe { out.at(0) });
        if unfinished[block].fetch_sub(1, Ordering::AcqRel) == 1 {
            // The count says that every task of the block is done with it.
            let finished = buffer(block).take();
            finished
                .into_iter()
                .for_each(|(mut values, _)| sink(block, &mut values));
        }
    });
}

/// A thread's scratch, kept between calls: a fresh block of this size costs page faults.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static SCRATCH: std::cell::RefCell<AlignedBuf> = const { std::cell::RefCell::new(AlignedBuf::empty()) };
    }
    // Taken out, so that `work` may use the scratch in turn.
    let mut buffer = SCRATCH.take();
    if buffer.len() < len {
        drop(std::mem::take(&mut buffer));
        buffer = AlignedBuf::new_zeroed(len).unwrap_or_else(|error| panic!("{error}"));
    }
    let result = work(&mut buffer[..len]);
    SCRATCH.set(buffer);
    result
}

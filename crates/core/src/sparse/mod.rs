//! MLP activations that keep only their non-zeros, and the products that read nothing else.
//!
//! They read the panels of the dense product, in which a neuron's row is contiguous: a weight has one form for both. [`zero_skip()`] is
//! `o · N`, [`sampled()`] is `(dy · Nᵀ)` where `o` is not zero, [`sparse_at_b`] is `oᵀ · x`. Blocks denser than the crossover go through the
//! dense kernels instead: the choice follows each block's own measured density.

mod at_b;
mod compact;
mod elementwise;
mod panels;
#[cfg(test)]
mod reference;
mod sampled;
#[cfg(test)]
mod tests;
mod zero_skip;

pub use at_b::sparse_at_b;
pub(crate) use compact::compact_counted;
pub use compact::{compact_block, count_nonzeros};
pub use panels::Weight;
pub use sampled::sampled;
pub use zero_skip::zero_skip;

use crate::Result;
use crate::matmul::{Precision, block_rows};
use crate::memory::AlignedBuf;
use crate::simd::{Bf16Unit, Isa};
use crate::threads::{Pool, SendPtr};

/// Density above which a block stays dense: where the dense product of weights in `precision` becomes the faster one. Measured at 800 x 3072 x
/// 768 (zero-skip, sampled): Zen 2 38 and 33 %, Zen 3 34 to 38 and 29 to 31 %, Emerald Rapids (AVX-512) 29 to 35 and 27 to 32 %, with bf16 in the
/// tiles of AMX 9 to 14 and 7 to 9 %, Zen 4 46 and 34 %, with bf16 by `vdpbf16ps` 34 and 27 %; WebAssembly in Chromium 33 % (zero-skip).
fn crossover(isa: Isa, precision: Precision) -> f32 {
    match (precision, isa.bf16_unit()) {
        (Precision::Bf16, Some(Bf16Unit::Tiles)) => 0.06,
        (Precision::Bf16, Some(Bf16Unit::Dot)) => 0.22,
        _ => 0.29,
    }
}

/// A crossover that leaves every block dense.
pub const NEVER: f32 = -1.0;

/// How activations are cut in blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// Rows of a block. A dense one is a task of the dense product: 48 rows instead of 96 cost it a fifth of its time with AMX.
    pub rows: usize,
    /// Density above which a block stays dense.
    pub crossover: f32,
}

impl Blocking {
    /// The fastest for products with weights in `precision`.
    pub fn of(isa: Isa, precision: Precision) -> Blocking {
        Blocking {
            rows: block_rows(isa, precision),
            crossover: crossover(isa, precision),
        }
    }
}

/// MLP activations o [rows, cols], cut in blocks of rows; each block dense or compact by its own measured density.
#[derive(Debug)]
pub struct Activations {
    pub rows: usize,
    /// At most 65,535.
    pub cols: usize,
    /// Rows of each block but the last, which may have fewer.
    pub block_rows: usize,
    pub blocks: Vec<Block>,
    /// Exact number of non-zeros, where whoever made them has counted; see [`Activations::nonzeros`].
    pub counted: Option<usize>,
}

#[derive(Debug)]
pub enum Block {
    /// [rows in block, cols]
    Dense { values: AlignedBuf },
    /// Row r holds entries `row_starts[r]..row_starts[r + 1]`; its indices rise.
    Compact {
        row_starts: Vec<u32>,
        indices: Vec<u16>,
        values: Vec<f32>,
    },
}

/// Which kinds of blocks there are.
#[derive(Clone, Copy, Debug)]
pub struct BlockKinds {
    pub compact: bool,
    pub dense: bool,
}

/// One row of [`Activations`].
#[derive(Clone, Copy, Debug)]
pub enum RowRef<'a> {
    Dense(&'a [f32]),
    Compact { indices: &'a [u16], values: &'a [f32] },
}

impl Activations {
    /// Of blocks whose non-zeros were not counted.
    pub fn new(rows: usize, cols: usize, block_rows: usize, blocks: Vec<Block>) -> Activations {
        Activations {
            rows,
            cols,
            block_rows,
            blocks,
            counted: None,
        }
    }

    /// Cuts `o` [rows, cols] in blocks.
    ///
    /// # Errors
    /// No memory.
    ///
    /// # Panics
    /// When `o` is not [rows, cols] or `cols` is over 65,535.
    pub fn from_dense(
        isa: Isa,
        pool: &Pool,
        o: &[f32],
        rows: usize,
        cols: usize,
        blocking: Blocking,
    ) -> Result<Activations> {
        assert_eq!(o.len(), rows * cols, "Activations::from_dense: o");
        assert!(cols <= u16::MAX as usize, "Activations::from_dense: cols");
        let blocks = pool.collect(rows.div_ceil(blocking.rows), &|index| {
            let first = index * blocking.rows;
            let part = &o[first * cols..(first + blocking.rows).min(rows) * cols];
            compact_block(isa, part, cols, blocking.crossover)
        });
        Ok(Activations::new(rows, cols, blocking.rows, blocks))
    }

    /// [rows, cols] with the zeros back in place.
    ///
    /// # Errors
    /// No memory.
    pub fn to_dense(&self, pool: &Pool) -> Result<AlignedBuf> {
        self.check();
        let mut out = AlignedBuf::new_zeroed(self.rows * self.cols)?;
        let target = SendPtr::new(&mut out);
        pool.run(self.blocks.len(), &|index| {
            let rows = self.rows_in(index);
            // SAFETY: blocks are disjoint ranges of rows that together make up the buffer.
            let part = unsafe { target.slice(index * self.block_rows * self.cols, rows * self.cols) };
            match &self.blocks[index] {
                Block::Dense { values } => part.copy_from_slice(values),
                block => {
                    for (row, part) in part.chunks_exact_mut(self.cols.max(1)).enumerate() {
                        if let RowRef::Compact { indices, values } = block.row(row, self.cols) {
                            indices
                                .iter()
                                .zip(values)
                                .for_each(|(&index, &value)| part[index as usize] = value);
                        }
                    }
                }
            }
        });
        Ok(out)
    }

    /// Exact number of non-zeros (as stored: a compact gradient may store a zero).
    pub fn nonzeros(&self, isa: Isa, pool: &Pool) -> usize {
        if let Some(count) = self.counted {
            return count;
        }
        let counts = pool.collect(self.blocks.len(), &|index| match &self.blocks[index] {
            Block::Dense { values } => compact::count_nonzeros(isa, values),
            Block::Compact { values, .. } => values.len(),
        });
        counts.into_iter().sum()
    }

    /// Whether `other` has the same shape, the same blocks compact, and entries at the same places in them.
    pub fn has_pattern_of(&self, other: &Activations) -> bool {
        let same = |pair: (&Block, &Block)| match pair {
            (Block::Dense { .. }, Block::Dense { .. }) => true,
            (
                Block::Compact {
                    row_starts, indices, ..
                },
                Block::Compact {
                    row_starts: other_starts,
                    indices: other_indices,
                    ..
                },
            ) => row_starts == other_starts && indices == other_indices,
            _ => false,
        };
        (self.rows, self.cols, self.block_rows) == (other.rows, other.cols, other.block_rows)
            && self.blocks.iter().zip(&other.blocks).all(same)
    }

    pub fn kinds(&self) -> BlockKinds {
        let is_dense = |block: &Block| matches!(block, Block::Dense { .. });
        BlockKinds {
            compact: !self.blocks.iter().all(is_dense),
            dense: self.blocks.iter().any(is_dense),
        }
    }

    pub fn bytes(&self) -> usize {
        let bytes = |block: &Block| match block {
            Block::Dense { values } => values.bytes(),
            Block::Compact {
                row_starts,
                indices,
                values,
            } => 4 * row_starts.len() + 2 * indices.len() + 4 * values.len(),
        };
        self.blocks.iter().map(bytes).sum()
    }

    /// Rows of block `index`.
    pub fn rows_in(&self, index: usize) -> usize {
        self.block_rows.min(self.rows - index * self.block_rows)
    }

    /// Calls `visit(row, its values)` for every row, in order.
    pub fn for_each_row(&self, mut visit: impl FnMut(usize, RowRef<'_>)) {
        for (index, block) in self.blocks.iter().enumerate() {
            for row in 0..self.rows_in(index) {
                visit(index * self.block_rows + row, block.row(row, self.cols));
            }
        }
    }

    /// Calls `change(row, indices (None: every column), values)` for every row, on all threads.
    pub fn par_rows_mut(&mut self, pool: &Pool, change: &(dyn Fn(usize, Option<&[u16]>, &mut [f32]) + Sync)) {
        let (rows, cols, block_rows) = (self.rows, self.cols, self.block_rows);
        self.counted = None;
        let blocks = SendPtr::new(&mut self.blocks);
        pool.run(rows.div_ceil(block_rows), &|index| {
            // SAFETY: each task changes the block of its own index (`rows` gave the number of blocks, see `check`).
            let block = unsafe { &mut blocks.slice(index, 1)[0] };
            for row in 0..block_rows.min(rows - index * block_rows) {
                match block {
                    Block::Dense { values } => {
                        change(index * block_rows + row, None, &mut values[row * cols..][..cols]);
                    }
                    Block::Compact {
                        row_starts,
                        indices,
                        values,
                    } => {
                        let range = row_starts[row] as usize..row_starts[row + 1] as usize;
                        change(
                            index * block_rows + row,
                            Some(&indices[range.clone()]),
                            &mut values[range],
                        );
                    }
                }
            }
        });
    }

    /// The kernels index by what the blocks hold without further checks; the fields are public, so this comes first. Its cost is
    /// one pass over the indices.
    ///
    /// # Panics
    /// When a block does not fit the shape.
    fn check(&self) {
        assert!(self.block_rows > 0, "Activations: rows of a block");
        assert_eq!(
            self.blocks.len(),
            self.rows.div_ceil(self.block_rows),
            "Activations: blocks"
        );
        for (index, block) in self.blocks.iter().enumerate() {
            let rows = self.rows_in(index);
            match block {
                Block::Dense { values } => assert_eq!(values.len(), rows * self.cols, "Activations: a dense block"),
                Block::Compact {
                    row_starts,
                    indices,
                    values,
                } => {
                    assert_eq!(row_starts.len(), rows + 1, "Activations: row starts");
                    assert!(row_starts[0] == 0 && row_starts.is_sorted(), "Activations: row starts");
                    assert_eq!(row_starts[rows] as usize, indices.len(), "Activations: indices");
                    assert_eq!(indices.len(), values.len(), "Activations: values");
                    let last = indices.iter().fold(0, |last, &index| last.max(index));
                    assert!(
                        indices.is_empty() || (last as usize) < self.cols,
                        "Activations: an index"
                    );
                }
            }
        }
    }
}

impl Block {
    /// The stored values: all of a dense block, the entries of a compact one.
    pub fn values(&self) -> &[f32] {
        match self {
            Block::Dense { values } => values,
            Block::Compact { values, .. } => values,
        }
    }

    pub fn values_mut(&mut self) -> &mut [f32] {
        match self {
            Block::Dense { values } => values,
            Block::Compact { values, .. } => values,
        }
    }

    /// Row `row` of the block; `cols` is the width of its activations.
    pub fn row(&self, row: usize, cols: usize) -> RowRef<'_> {
        match self {
            Block::Dense { values } => RowRef::Dense(&values[row * cols..][..cols]),
            Block::Compact {
                row_starts,
                indices,
                values,
            } => {
                let range = row_starts[row] as usize..row_starts[row + 1] as usize;
                RowRef::Compact {
                    indices: &indices[range.clone()],
                    values: &values[range],
                }
            }
        }
    }
}

/// Blocks of rows that pass over one tile (or group) of the weight while it is in L2. Long chunks fetch each tile from L3 fewer times:
/// against 384 rows, 816 were 4-10 % faster at every density. They are cut shorter only where `tiles` alone give the threads too few
/// tasks; a row's result does not depend on its chunk.
fn blocks_per_chunk(pool: &Pool, o: &Activations, tiles: usize) -> usize {
    const MOST_ROWS: usize = 960;
    let wanted = pool.wanted_tasks().div_ceil(tiles.max(1));
    let blocks = o.blocks.len();
    let chunks = o
        .rows
        .div_ceil(MOST_ROWS)
        .max(if pool.threads() > 1 { wanted } else { 1 });
    blocks.div_ceil(chunks.max(1)).max(1)
}

/// Indices of the dense blocks.
fn dense_blocks(o: &Activations) -> Vec<usize> {
    (0..o.blocks.len())
        .filter(|&index| matches!(o.blocks[index], Block::Dense { .. }))
        .collect()
}

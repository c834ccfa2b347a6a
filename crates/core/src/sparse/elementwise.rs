//! Elementwise operations that keep the pattern of MLP activations.

use super::{Activations, Block};
use crate::memory::AlignedBuf;
use crate::ops::{columns, dropout, elementwise};
use crate::rng::Stream;
use crate::simd::Isa;
use crate::threads::{Pool, SendPtr};

impl Activations {
    /// `self += scale · other`, which has the same pattern (see [`Activations::has_pattern_of`]).
    ///
    /// # Panics
    /// When a block has other entries.
    pub fn add(&mut self, isa: Isa, pool: &Pool, other: &Activations, scale: f32) {
        assert_eq!(self.blocks.len(), other.blocks.len(), "Activations::add: blocks");
        self.counted = None;
        let blocks = SendPtr::new(&mut self.blocks);
        pool.run(other.blocks.len(), &|index| {
            // SAFETY: each task changes the block of its own index.
            let block = unsafe { &mut blocks.slice(index, 1)[0] };
            elementwise::add_scaled_slice(isa, block.values_mut(), other.blocks[index].values(), scale);
        });
    }

    /// Every column times its factor, in the same pattern (a factor 0 leaves zeros in it).
    ///
    /// # Panics
    /// When there are not `cols` factors.
    pub fn scale_cols(&self, isa: Isa, pool: &Pool, factors: &[f32]) -> Activations {
        assert_eq!(factors.len(), self.cols, "Activations::scale_cols: factors");
        let blocks = pool.collect(self.blocks.len(), &|index| match &self.blocks[index] {
            Block::Dense { values } => {
                let mut scaled = AlignedBuf::from(&values[..]);
                columns::scale_rows(isa, values, factors, &mut scaled);
                Block::Dense { values: scaled }
            }
            Block::Compact {
                row_starts,
                indices,
                values,
            } => Block::Compact {
                row_starts: row_starts.clone(),
                indices: indices.clone(),
                values: values
                    .iter()
                    .zip(indices)
                    .map(|(value, &neuron)| value * factors[neuron as usize])
                    .collect(),
            },
        });
        Activations::new(self.rows, self.cols, self.block_rows, blocks)
    }

    /// [`dropout::dropout`] of the dense values, in the same pattern (what is dropped stays in it as a zero).
    pub fn dropout(&self, isa: Isa, pool: &Pool, p: f32, stream: Stream) -> Activations {
        let blocks = pool.collect(self.blocks.len(), &|index| {
            // Elements are numbered as in [rows, cols], modulo 2^32 as there.
            let first = index * self.block_rows * self.cols;
            match &self.blocks[index] {
                Block::Dense { values } => {
                    let mut out = AlignedBuf::from(&values[..]);
                    dropout::dropout_slice(isa, values, p, stream, first as u32, &mut out);
                    Block::Dense { values: out }
                }
                Block::Compact {
                    row_starts,
                    indices,
                    values,
                } => {
                    let mut out = values.clone();
                    for (row, bounds) in row_starts.windows(2).enumerate() {
                        let range = bounds[0] as usize..bounds[1] as usize;
                        let start = (first + row * self.cols) as u32;
                        dropout::dropout_at(isa, &mut out[range.clone()], &indices[range], p, stream, start);
                    }
                    Block::Compact {
                        row_starts: row_starts.clone(),
                        indices: indices.clone(),
                        values: out,
                    }
                }
            }
        });
        Activations::new(self.rows, self.cols, self.block_rows, blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matmul::{Precision, ROW_BLOCK};
    use crate::ops::testing::{everywhere, random};
    use crate::sparse::Blocking;

    /// Sparse in the first block, dense in the second.
    fn mixed(rows: usize, cols: usize) -> Vec<f32> {
        let mut o = random(1, rows * cols);
        for (index, value) in o.iter_mut().enumerate() {
            let kept = if index < ROW_BLOCK * cols {
                index % 7 == 0
            } else {
                index % 7 != 0
            };
            *value = if kept { value.abs() } else { 0.0 };
        }
        o
    }

    #[test]
    fn dropout_and_factors_are_those_of_dense_values() {
        let (rows, cols) = (ROW_BLOCK + 5, 37);
        let (o, factors) = (mixed(rows, cols), random(2, cols));
        let stream = Stream { seed: 3, stream: 4 };
        everywhere(|isa, pool| {
            let blocking = Blocking::of(isa, Precision::F32);
            let compact = Activations::from_dense(isa, pool, &o, rows, cols, blocking).unwrap();
            assert!(matches!(compact.blocks[0], Block::Compact { .. }));
            assert!(matches!(compact.blocks[1], Block::Dense { .. }));
            let dropped = compact.dropout(isa, pool, 0.3, stream).to_dense(pool).unwrap();
            let mut right = vec![0.0; o.len()];
            dropout::dropout(isa, pool, &o, 0.3, stream, &mut right);
            assert_eq!(&dropped[..], &right[..]);
            let scaled = compact.scale_cols(isa, pool, &factors).to_dense(pool).unwrap();
            let mut right = vec![0.0; o.len()];
            columns::scale(isa, pool, &o, &factors, None, &mut right);
            // -0 where a negative factor meets a zero that is not stored.
            assert!(scaled.iter().zip(&right).all(|(a, b)| a == b));
            scaled.to_vec()
        });
    }
}

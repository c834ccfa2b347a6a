//! oᵀ · x: the weight gradient of a layer whose input (or whose output gradient) is sparse.

use super::neurons::tile_vectors;
use super::{Activations, Block};
use crate::matmul::{Accumulate, ROW_BLOCK, matmul_at_b};
use crate::memory::AlignedBuf;
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// out [cols, d] = oᵀ · x, with x [rows, d].
///
/// # Errors
/// Shapes that do not fit, or no memory.
pub fn sparse_at_b(
    isa: Isa,
    pool: &Pool,
    o: &Activations,
    x: &[f32],
    d: usize,
    accumulate: Accumulate,
    out: &mut [f32],
) -> Result<()> {
    if x.len() != o.rows * d || out.len() != o.cols * d {
        return Err(Error::Shape {
            op: "sparse_at_b",
            what: "x or out",
            found: format!("{} and {} values", x.len(), out.len()),
            expected: format!("[{}, {d}] and [{}, {d}]", o.rows, o.cols),
        });
    }
    o.check();
    let scale = match accumulate {
        Accumulate::Add(scale) => scale,
        Accumulate::Overwrite => {
            out.fill(0.0);
            1.0
        }
    };
    let dense: Vec<usize> = (0..o.blocks.len())
        .filter(|&index| matches!(o.blocks[index], Block::Dense { .. }))
        .collect();
    if !dense.is_empty() {
        dense_blocks(isa, pool, o, &dense, x, d, scale, out)?;
    }
    if dense.len() < o.blocks.len() {
        let tile = dispatch(isa, TileWidth);
        let target = SendPtr::new(out);
        pool.run(d.div_ceil(tile), &|index| {
            dispatch(
                isa,
                Strip {
                    o,
                    x,
                    d,
                    first: index * tile,
                    scale,
                    out: target,
                },
            );
        });
    }
    Ok(())
}

/// The dense blocks as one product: their rows are gathered, so that `out` is passed over once and not once a block.
#[allow(clippy::too_many_arguments)]
fn dense_blocks(
    isa: Isa,
    pool: &Pool,
    o: &Activations,
    dense: &[usize],
    x: &[f32],
    d: usize,
    scale: f32,
    out: &mut [f32],
) -> Result<()> {
    let rows: usize = dense.iter().map(|&index| o.rows_in(index)).sum();
    let mut left = AlignedBuf::uninit(rows * o.cols)?;
    let mut right = AlignedBuf::uninit(rows * d)?;
    let mut at = 0;
    for &index in dense {
        let Block::Dense { values } = &o.blocks[index] else {
            continue;
        };
        let count = o.rows_in(index);
        left[at * o.cols..][..values.len()].copy_from_slice(values);
        right[at * d..][..count * d].copy_from_slice(&x[index * ROW_BLOCK * d..][..count * d]);
        at += count;
    }
    matmul_at_b(isa, pool, &left, o.cols, &right, d, rows, Accumulate::Add(scale), out)
}

struct TileWidth;

impl Kernel for TileWidth {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> usize {
        tile_vectors::<S>() * S::LANES
    }
}

/// Columns `first..first + TILE` of `out` for all compact blocks: a strip of every neuron, which fits in L2.
struct Strip<'a> {
    o: &'a Activations,
    x: &'a [f32],
    d: usize,
    first: usize,
    scale: f32,
    out: SendPtr<f32>,
}

impl Kernel for Strip<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match const { tile_vectors::<S>() } {
            2 => self.rows::<S, 2>(s),
            4 => self.rows::<S, 4>(s),
            _ => self.rows::<S, 8>(s),
        }
    }
}

impl Strip<'_> {
    #[inline(always)]
    fn rows<S: Simd, const NV: usize>(&self, s: S) {
        let lanes = S::LANES;
        let valid = (NV * lanes).min(self.d - self.first);
        let count = |v: usize| lanes.min(valid.saturating_sub(v * lanes));
        for (index, block) in self.o.blocks.iter().enumerate() {
            let Block::Compact {
                row_starts,
                indices,
                values,
            } = block
            else {
                continue;
            };
            for row in 0..self.o.rows_in(index) {
                let x = self.x[(index * ROW_BLOCK + row) * self.d + self.first..][..valid].as_ptr();
                let mut part = [s.zero(); NV];
                for (v, part) in part.iter_mut().enumerate() {
                    // SAFETY: `count` values of the row are left there (none: nothing is read).
                    let loaded = unsafe { s.load_partial(x.wrapping_add(v * lanes), count(v)) };
                    *part = s.mul(loaded, s.splat(self.scale));
                }
                let range = row_starts[row] as usize..row_starts[row + 1] as usize;
                for (&neuron, &value) in indices[range.clone()].iter().zip(&values[range]) {
                    let value = s.splat(value);
                    // SAFETY: `Activations::check` saw that indices are below `cols`; this task alone writes these columns.
                    unsafe {
                        let out = self.out.at(neuron as usize * self.d + self.first);
                        for (v, part) in part.iter().enumerate() {
                            let at = out.wrapping_add(v * lanes);
                            if count(v) == lanes {
                                s.store(at, s.mul_add(value, *part, s.load(at)));
                            } else {
                                let sum = s.mul_add(value, *part, s.load_partial(at, count(v)));
                                s.store_partial(at, sum, count(v));
                            }
                        }
                    }
                }
            }
        }
    }
}

//! Weights neuron-major in tiles `[d / TILE][neurons][TILE]`: what one non-zero activation reads is contiguous, and a tile of all
//! neurons stays in L2 while a chunk of tokens passes over it.

use crate::matmul::{Precision, Stored, StoredBuf, with_scratch};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// The weight of a sparse product: `neurons` vectors of `d` values.
#[derive(Debug)]
pub struct PackedNeurons {
    pub neurons: usize,
    pub d: usize,
    /// f32 of a neuron in one tile.
    pub(super) tile: usize,
    pub(super) values: StoredBuf,
}

/// Vectors in a tile. A non-zero then costs one broadcast and `TILE_VECTORS` multiply-adds; with two sets of accumulators they fill
/// half the registers of each instruction set.
pub(super) const fn tile_vectors<S: Simd>() -> usize {
    match S::LANES {
        16 => 4,
        8 => 4,
        4 if cfg!(target_arch = "aarch64") => 8,
        4 => 4,
        _ => 8,
    }
}

impl PackedNeurons {
    /// From row-major [neurons, d]: the [out, in] weight of an up-projection.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_neuron_rows(isa: Isa, pool: &Pool, w: &[f32], neurons: usize, d: usize) -> Result<PackedNeurons> {
        PackedNeurons::from_neuron_rows_in(isa, pool, Precision::F32, w, neurons, d)
    }

    /// [`PackedNeurons::from_neuron_rows`] stored in `precision`.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_neuron_rows_in(
        isa: Isa,
        pool: &Pool,
        precision: Precision,
        w: &[f32],
        neurons: usize,
        d: usize,
    ) -> Result<PackedNeurons> {
        PackedNeurons::build(
            isa,
            pool,
            precision,
            w,
            neurons,
            d,
            "PackedNeurons::from_neuron_rows",
            |part, first, width, tile| {
                for (neuron, target) in part.chunks_exact_mut(tile).enumerate() {
                    target[..width].copy_from_slice(&w[neuron * d + first..][..width]);
                }
            },
        )
    }

    /// From row-major [d, neurons]: the [out, in] weight of a down-projection.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_neuron_columns(isa: Isa, pool: &Pool, w: &[f32], d: usize, neurons: usize) -> Result<PackedNeurons> {
        PackedNeurons::from_neuron_columns_in(isa, pool, Precision::F32, w, d, neurons)
    }

    /// [`PackedNeurons::from_neuron_columns`] stored in `precision`.
    ///
    /// # Errors
    /// A wrong length, or no memory.
    pub fn from_neuron_columns_in(
        isa: Isa,
        pool: &Pool,
        precision: Precision,
        w: &[f32],
        d: usize,
        neurons: usize,
    ) -> Result<PackedNeurons> {
        PackedNeurons::build(
            isa,
            pool,
            precision,
            w,
            neurons,
            d,
            "PackedNeurons::from_neuron_columns",
            |part, first, width, tile| {
                // 16 neurons at a time: a cache line of every row of `w`.
                for (strip, target) in part.chunks_mut(16 * tile).enumerate() {
                    for column in 0..width {
                        let row = &w[(first + column) * neurons + strip * 16..];
                        for (neuron, target) in target.chunks_exact_mut(tile).enumerate() {
                            target[column] = row[neuron];
                        }
                    }
                }
            },
        )
    }

    pub fn bytes(&self) -> usize {
        self.values.bytes()
    }

    pub(super) fn tiles(&self) -> usize {
        self.d.div_ceil(self.tile)
    }

    /// f32 from one tile to the next.
    pub(super) fn stride(&self) -> usize {
        self.neurons * self.tile
    }

    /// `fill(tile's values, first of its dimensions, how many, TILE)`; padding is zero already.
    #[allow(clippy::too_many_arguments)]
    fn build(
        isa: Isa,
        pool: &Pool,
        precision: Precision,
        w: &[f32],
        neurons: usize,
        d: usize,
        op: &'static str,
        fill: impl Fn(&mut [f32], usize, usize, usize) + Sync,
    ) -> Result<PackedNeurons> {
        if neurons.checked_mul(d) != Some(w.len()) {
            let (found, expected) = (format!("{} values", w.len()), format!("{neurons} neurons of {d}"));
            return Err(Error::Shape {
                op,
                what: "the weight",
                found,
                expected,
            });
        }
        let (tile, lanes) = dispatch(isa, TileWidth);
        let mut values = StoredBuf::uninit(precision, d.div_ceil(tile) * neurons * tile)?;
        let shape = (neurons, d, tile, lanes);
        match &mut values {
            StoredBuf::F32(values) => fill_tiles(pool, values, shape, fill),
            StoredBuf::Bf16(values) => fill_tiles(pool, values, shape, fill),
        }
        Ok(PackedNeurons {
            neurons,
            d,
            tile,
            values,
        })
    }
}

fn fill_tiles<T: Stored>(
    pool: &Pool,
    values: &mut [T],
    (neurons, d, tile, lanes): (usize, usize, usize, usize),
    fill: impl Fn(&mut [f32], usize, usize, usize) + Sync,
) {
    if neurons == 0 {
        return;
    }
    let target = SendPtr::new(values);
    pool.run(d.div_ceil(tile), &|index| {
        // SAFETY: tiles are disjoint ranges that together make up the buffer.
        let part = unsafe { target.slice(index * neurons * tile, neurons * tile) };
        let width = tile.min(d - index * tile);
        with_scratch(neurons * tile, |scratch| {
            if width < tile {
                scratch.fill(0.0);
            }
            fill(scratch, index * tile, width, tile);
            for (row, target) in scratch.chunks_exact(tile).zip(part.chunks_exact_mut(tile)) {
                T::store_row(row, lanes, target);
            }
        });
    });
}

struct TileWidth;

impl Kernel for TileWidth {
    /// (values of a neuron in a tile, lanes)
    type Output = (usize, usize);
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (tile_vectors::<S>() * S::LANES, S::LANES)
    }
}

//! o · N, reading only the neurons that fired.

use super::neurons::tile_vectors;
use super::{Activations, Block, PackedNeurons, blocks_per_chunk, dense_blocks};
use crate::matmul::{self, Accumulate, PackedB, ROW_BLOCK, Stored, StoredBuf};
use crate::memory::prefetch;
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// Non-zeros ahead of the one in use whose weights are asked for: their addresses are data, which no prefetcher guesses. 12 to 32 are
/// alike, 8 and fewer up to 7 % slower.
const AHEAD: usize = 16;

/// out [rows, d] (+)= o · N (+ bias). Compact blocks skip the zeros; dense blocks go through `dense` (k = neurons, n = d).
///
/// # Panics
/// When the shapes do not fit.
#[allow(clippy::too_many_arguments)]
pub fn zero_skip(
    isa: Isa,
    pool: &Pool,
    o: &Activations,
    w: &PackedNeurons,
    dense: &PackedB,
    bias: Option<&[f32]>,
    accumulate: Accumulate,
    out: &mut [f32],
) {
    assert_eq!(
        (o.cols, dense.k, dense.n),
        (w.neurons, w.neurons, w.d),
        "zero_skip: shapes"
    );
    assert_eq!(out.len(), o.rows * w.d, "zero_skip: out");
    assert!(bias.is_none_or(|bias| bias.len() == w.d), "zero_skip: bias");
    o.check();
    multiply(isa, pool, o, w, Some(dense), bias, accumulate, out);
}

/// [`zero_skip`] after its checks. Without `dense`, no block of `o` is dense.
#[allow(clippy::too_many_arguments)]
pub(super) fn multiply(
    isa: Isa,
    pool: &Pool,
    o: &Activations,
    w: &PackedNeurons,
    dense: Option<&PackedB>,
    bias: Option<&[f32]>,
    accumulate: Accumulate,
    out: &mut [f32],
) {
    let dense_blocks = dense_blocks(o);
    let tiles = w.tiles();
    let chunk = blocks_per_chunk(pool, o.blocks.len(), tiles);
    let chunks = if dense_blocks.len() == o.blocks.len() {
        0
    } else {
        o.blocks.len().div_ceil(chunk)
    };
    let (panels, column_chunks) = dense.map_or((1, 0), |dense| {
        let panels = dense.panels_in(dense.task_columns());
        (panels, dense.panels().div_ceil(panels))
    });
    let target = SendPtr::new(out);
    pool.run(chunks * tiles + dense_blocks.len() * column_chunks, &|task| {
        let Some(task) = task.checked_sub(chunks * tiles) else {
            // Neighbouring tasks share a tile: the second thread finds it in L3.
            let (tile, first) = (task / chunks, task % chunks * chunk);
            let blocks = first..o.blocks.len().min(first + chunk);
            return dispatch(
                isa,
                Tile {
                    o,
                    blocks,
                    w,
                    tile,
                    bias,
                    accumulate,
                    out: target,
                },
            );
        };
        let (column_chunk, index) = (task / dense_blocks.len(), dense_blocks[task % dense_blocks.len()]);
        let (Block::Dense { values }, Some(dense)) = (&o.blocks[index], dense) else {
            return;
        };
        let rows = o.rows_in(index);
        matmul::Block {
            a: values,
            rows,
            tiles: dense.tiles(rows),
            b: dense,
            panels: column_chunk * panels..dense.panels().min((column_chunk + 1) * panels),
            bias,
            accumulate,
            // SAFETY: in range; tasks own disjoint rows x columns of `out`.
            out: unsafe { target.at(index * ROW_BLOCK * w.d) },
        }
        .run(isa);
    });
}

/// One tile of columns for the compact blocks of a chunk.
struct Tile<'a> {
    o: &'a Activations,
    blocks: std::ops::Range<usize>,
    w: &'a PackedNeurons,
    tile: usize,
    bias: Option<&'a [f32]>,
    accumulate: Accumulate,
    out: SendPtr<f32>,
}

impl Kernel for Tile<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match &self.w.values {
            StoredBuf::F32(values) => self.tile(s, values),
            StoredBuf::Bf16(values) => self.tile(s, values),
        }
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn tile<S: Simd, T: Stored>(&self, s: S, values: &[T]) {
        match const { tile_vectors::<S>() } {
            2 => self.rows::<S, T, 2>(s, values),
            4 => self.rows::<S, T, 4>(s, values),
            _ => self.rows::<S, T, 8>(s, values),
        }
    }

    #[inline(always)]
    fn rows<S: Simd, T: Stored, const NV: usize>(&self, s: S, values: &[T]) {
        let width = NV * S::LANES;
        let first = self.tile * width;
        let valid = width.min(self.w.d - first);
        let weights = values[self.tile * self.w.stride()..][..self.w.stride()].as_ptr();
        for index in self.blocks.clone() {
            let Block::Compact {
                row_starts,
                indices,
                values,
            } = &self.o.blocks[index]
            else {
                continue;
            };
            for row in 0..self.o.rows_in(index) {
                let range = row_starts[row] as usize..row_starts[row + 1] as usize;
                // SAFETY: `Activations::check` saw that row starts and indices are in range; this task alone writes these
                // columns of these rows.
                unsafe {
                    let sum = gather::<S, T, NV>(s, weights, indices, values, range);
                    self.finish::<S, NV>(s, sum, (index * ROW_BLOCK + row) * self.w.d + first, first, valid);
                }
            }
        }
    }

    /// # Safety
    /// `at` is the place of `valid` columns from `first` on in a row of `out` that is this task's.
    #[inline(always)]
    unsafe fn finish<S: Simd, const NV: usize>(&self, s: S, sum: [S::F; NV], at: usize, first: usize, valid: usize) {
        let (scale, add) = match self.accumulate {
            Accumulate::Overwrite => (1.0, false),
            Accumulate::Add(scale) => (scale, true),
        };
        for (v, sum) in sum.into_iter().enumerate() {
            let column = v * S::LANES;
            if column >= valid {
                break;
            }
            let lanes = S::LANES.min(valid - column);
            // SAFETY: `lanes` columns from `first + column` on are in range of bias and out.
            unsafe {
                let out = self.out.at(at + column);
                let mut base = match self.bias {
                    Some(bias) => s.load_partial(bias[first + column..].as_ptr(), lanes),
                    None => s.zero(),
                };
                if add {
                    base = s.add(base, s.load_partial(out, lanes));
                }
                let value = s.mul_add(sum, s.splat(scale), base);
                if lanes == S::LANES {
                    s.store(out, value)
                } else {
                    s.store_partial(out, value, lanes)
                }
            }
        }
    }
}

/// The sum of `values[i] * weights[indices[i]]` over `range`. Two sets of accumulators, for even and odd positions: a multiply-add
/// waits 4 cycles for the one before it, and one set of 4 vectors has only 2 cycles of work.
///
/// # Safety
/// `range` is in range of both slices, and every index below the number of rows at `weights`.
#[inline(always)]
unsafe fn gather<S: Simd, T: Stored, const NV: usize>(
    s: S,
    weights: *const T,
    indices: &[u16],
    values: &[f32],
    range: std::ops::Range<usize>,
) -> [S::F; NV] {
    let width = NV * S::LANES;
    let mut even = [s.zero(); NV];
    let mut odd = [s.zero(); NV];
    // SAFETY: the caller's promise.
    unsafe {
        let mut i = range.start;
        // Looks past the end of the row into the next, whose turn comes.
        while i + 2 <= range.end && i + AHEAD + 2 <= indices.len() {
            for next in [i + AHEAD, i + AHEAD + 1] {
                prefetch(
                    weights.wrapping_add(*indices.get_unchecked(next) as usize * width),
                    width,
                );
            }
            add_neuron(s, weights, indices, values, i, &mut even);
            add_neuron(s, weights, indices, values, i + 1, &mut odd);
            i += 2;
        }
        while i + 2 <= range.end {
            add_neuron(s, weights, indices, values, i, &mut even);
            add_neuron(s, weights, indices, values, i + 1, &mut odd);
            i += 2;
        }
        if i < range.end {
            add_neuron(s, weights, indices, values, i, &mut even);
        }
    }
    for v in 0..NV {
        even[v] = s.add(even[v], odd[v]);
    }
    even
}

/// `sum += values[i] * weights[indices[i]]`. A function, as a closure that is not inlined would be compiled without the instruction set (bf16 with
/// AVX-512: 70 times slower).
///
/// # Safety
/// `i` is in range of both slices, and its index below the number of rows at `weights`.
#[inline(always)]
unsafe fn add_neuron<S: Simd, T: Stored, const NV: usize>(
    s: S,
    weights: *const T,
    indices: &[u16],
    values: &[f32],
    i: usize,
    sum: &mut [S::F; NV],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let row = weights.add(*indices.get_unchecked(i) as usize * NV * S::LANES);
        let value = s.splat(*values.get_unchecked(i));
        for (v, sum) in sum.iter_mut().enumerate() {
            *sum = s.mul_add(value, T::vector(s, row, v), *sum);
        }
    }
}

//! o · N, reading only the neurons that fired.

use super::panels::{PANELS, PanelRows, TilePanels, stride};
use super::{Activations, Block, Weight, blocks_per_chunk, dense_blocks};
use crate::matmul::{Accumulate, Precision, RowBlock, Shape, Stored, StoredBuf};
use crate::memory::{Cache, prefetch};
use crate::ops::{load, store};
use crate::simd::{Isa, Kernel, Simd, dispatch, is_intel};
use crate::threads::{Pool, SendPtr};

/// Non-zeros ahead of the one in use whose weights are asked for: their addresses are data, which no prefetcher guesses. Against 16, 32 take a sixth
/// less time at 1 % of non-zeros and 4 % less at 3 % (Zen 3); 40 are as good, 8 and fewer up to 7 % slower than 12.
///
/// None where the core itself reads that far ahead: an Intel core with AVX-512 has 512 instructions in flight, those of 50 non-zeros of f32. Asking takes
/// up to 13 % more time there at 1 to 20 % (Emerald Rapids, medians; with AVX2 it makes no difference), with bf16, which takes more instructions, 11 %
/// less at 1 %.
fn ahead(isa: Isa, precision: Precision) -> usize {
    const NONE: usize = usize::MAX / 2;
    let reads_ahead = isa.lanes() == 16 && is_intel() && precision == Precision::F32;
    if reads_ahead { NONE } else { 32 }
}

/// out [rows, d] (+)= o · N (+ bias), N [neurons, d]. Compact blocks skip the zeros, dense blocks take the dense product.
///
/// # Panics
/// When the shapes do not fit, or the weight lacks a form that a block needs.
pub fn zero_skip(
    isa: Isa,
    pool: &Pool,
    o: &Activations,
    w: Weight<'_>,
    bias: Option<&[f32]>,
    accumulate: Accumulate,
    out: &mut [f32],
) {
    o.check();
    if o.blocks.is_empty() {
        return assert!(out.is_empty(), "zero_skip: out");
    }
    let dense_blocks = dense_blocks(o);
    let is_compact = dense_blocks.len() < o.blocks.len();
    // Checked here once: the kernels read by what the blocks hold.
    let rows = w.rows.filter(|_| is_compact);
    let dense = w.dense.filter(|_| !dense_blocks.is_empty());
    assert!(rows.is_some() == is_compact, "zero_skip: no rows of the weight");
    assert!(dense.is_none() == dense_blocks.is_empty(), "zero_skip: no dense weight");
    let shapes = [rows.map(|w| (w.k, w.n)), dense.map(|w| (w.k(), w.n()))];
    let d = shapes.into_iter().flatten().map(|(_, d)| d).next().unwrap_or(0);
    for shape in shapes.into_iter().flatten() {
        assert_eq!(shape, (o.cols, d), "zero_skip: shapes");
    }
    assert!(
        rows.is_none_or(|rows| rows.pairs().is_none()),
        "zero_skip: rows in pairs"
    );
    assert_eq!(out.len(), o.rows * d, "zero_skip: out");
    assert!(bias.is_none_or(|bias| bias.len() == d), "zero_skip: bias");
    let tiles = rows.map_or(0, |rows| rows.panels().div_ceil(PANELS));
    let chunk = blocks_per_chunk(pool, o, tiles);
    let chunks = if is_compact { o.blocks.len().div_ceil(chunk) } else { 0 };
    let target = SendPtr::new(out);
    if let Some(w) = rows {
        let ahead = ahead(isa, w.precision());
        pool.run(chunks * tiles, &|task| {
            // Neighbouring tasks share a tile: the second thread finds it in L3.
            let (tile, first) = (task / chunks, task % chunks * chunk);
            let blocks = first..o.blocks.len().min(first + chunk);
            let panels = tile * PANELS..w.panels().min((tile + 1) * PANELS);
            dispatch(
                isa,
                Tile {
                    o,
                    blocks,
                    panels: TilePanels { w, panels },
                    ahead,
                    bias,
                    accumulate,
                    out: target,
                },
            );
        });
    }
    if let Some(dense) = dense {
        // SAFETY: blocks own disjoint rows of `out`, which are in range.
        unsafe {
            dense.multiply(
                isa,
                pool,
                bias,
                accumulate,
                dense_blocks.len(),
                &|dense_block| {
                    let index = dense_blocks[dense_block];
                    let rows = o.rows_in(index);
                    RowBlock {
                        a: o.blocks[index].values(),
                        rows,
                        tiles: dense.pack().tiles(rows),
                        out: target.at(index * o.block_rows * d),
                    }
                },
                &|_, _| {},
            );
        }
    }
}

/// One tile of columns for the compact blocks of a chunk.
struct Tile<'a> {
    o: &'a Activations,
    blocks: std::ops::Range<usize>,
    panels: TilePanels<'a>,
    /// See [`ahead`].
    ahead: usize,
    bias: Option<&'a [f32]>,
    accumulate: Accumulate,
    out: SendPtr<f32>,
}

impl Kernel for Tile<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.panels.w.values() {
            StoredBuf::F32(values) => self.tile(s, values),
            StoredBuf::Bf16(values) => self.tile(s, values),
        }
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn tile<S: Simd, T: Stored>(&self, s: S, values: &[T]) {
        if let Some(whole) = self.panels.whole(values) {
            return match (const { Shape::of::<S>().nv }, whole.vectors) {
                (2.., 2) => self.rows::<S, T, PANELS, 2>(s, whole),
                (3.., 3) => self.rows::<S, T, PANELS, 3>(s, whole),
                (4.., 4) => self.rows::<S, T, PANELS, 4>(s, whole),
                (_, vectors) => unreachable!("a panel of {vectors} vectors"),
            };
        }
        for panel in self.panels.each(values) {
            match (const { Shape::of::<S>().nv }, panel.vectors) {
                (2.., 2) => self.rows::<S, T, 1, 2>(s, panel),
                (3.., 3) => self.rows::<S, T, 1, 3>(s, panel),
                (4.., 4) => self.rows::<S, T, 1, 4>(s, panel),
                _ => self.rows::<S, T, 1, 1>(s, panel),
            }
        }
    }

    /// The columns of `P` panels with `NV` vectors in a row.
    #[inline(always)]
    fn rows<S: Simd, T: Stored, const P: usize, const NV: usize>(&self, s: S, panels: PanelRows<T>) {
        let d = self.panels.w.n;
        if cfg!(target_arch = "wasm32") {
            self.read_through::<S, T, P, NV>(s, &panels);
        }
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
                    let sums = gather::<S, T, P, NV>(s, &panels, indices, values, range, self.ahead);
                    for (p, sum) in sums.into_iter().enumerate() {
                        let first = panels.column + p * NV * S::LANES;
                        let valid = (NV * S::LANES).min(d - first);
                        self.finish::<S, NV>(s, sum, (index * self.o.block_rows + row) * d + first, first, valid);
                    }
                }
            }
        }
    }

    /// Reads the panels from end to end where most of their rows will be wanted: WebAssembly can't ask for a row ahead, and one by one they come
    /// from memory slowly.
    #[inline(always)]
    fn read_through<S: Simd, T: Stored, const P: usize, const NV: usize>(&self, s: S, panels: &PanelRows<T>) {
        let stride = const { stride::<S, T, NV>() };
        let nonzeros: usize = self
            .blocks
            .clone()
            .map(|block| match &self.o.blocks[block] {
                Block::Compact { values, .. } => values.len(),
                Block::Dense { .. } => 0,
            })
            .sum();
        if nonzeros < self.panels.w.k {
            return;
        }
        let mut sum = s.zero();
        for p in 0..P {
            for neuron in 0..self.panels.w.k {
                // SAFETY: the panels have a row for each neuron.
                sum = s.add(sum, unsafe {
                    T::vector(s, panels.first.add(p * panels.apart + neuron * stride), 0)
                });
            }
        }
        std::hint::black_box(s.reduce_add(sum));
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
                    Some(bias) => load(s, bias[first + column..].as_ptr(), lanes),
                    None => s.zero(),
                };
                if add {
                    base = s.add(base, load(s, out, lanes));
                }
                store(s, out, s.mul_add(sum, s.splat(scale), base), lanes);
            }
        }
    }
}

/// The sums of `values[i] * weights[indices[i]]` over `range` for the columns of each panel. Two sets of accumulators, for even and odd
/// positions: a multiply-add waits 4 cycles for the one before it, and one set of 4 vectors has only 2 cycles of work.
///
/// # Safety
/// `range` is in range of both slices, and every index below the number of rows of the panels.
#[inline(always)]
unsafe fn gather<S: Simd, T: Stored, const P: usize, const NV: usize>(
    s: S,
    panels: &PanelRows<T>,
    indices: &[u16],
    values: &[f32],
    range: std::ops::Range<usize>,
    ahead: usize,
) -> [[S::F; NV]; P] {
    let mut even = [[s.zero(); NV]; P];
    let mut odd = [[s.zero(); NV]; P];
    // SAFETY: the caller's promise.
    unsafe {
        let mut i = range.start;
        // Looks past the end of the row into the next, whose turn comes.
        while i + 2 <= range.end && i + ahead + 2 <= indices.len() {
            for next in [i + ahead, i + ahead + 1] {
                let row = panels
                    .first
                    .wrapping_add(*indices.get_unchecked(next) as usize * stride::<S, T, NV>());
                for p in 0..P {
                    prefetch(Cache::L1, row.wrapping_add(p * panels.apart), NV * S::LANES);
                }
            }
            add_neuron(s, panels, indices, values, i, &mut even);
            add_neuron(s, panels, indices, values, i + 1, &mut odd);
            i += 2;
        }
        while i + 2 <= range.end {
            add_neuron(s, panels, indices, values, i, &mut even);
            add_neuron(s, panels, indices, values, i + 1, &mut odd);
            i += 2;
        }
        if i < range.end {
            add_neuron(s, panels, indices, values, i, &mut even);
        }
    }
    for p in 0..P {
        for v in 0..NV {
            even[p][v] = s.add(even[p][v], odd[p][v]);
        }
    }
    even
}

/// `sums += values[i] * weights[indices[i]]`. A function, as a closure that is not inlined would be compiled without the instruction set (bf16
/// with AVX-512: 70 times slower).
///
/// # Safety
/// `i` is in range of both slices, and its index below the number of rows of the panels.
#[inline(always)]
unsafe fn add_neuron<S: Simd, T: Stored, const P: usize, const NV: usize>(
    s: S,
    panels: &PanelRows<T>,
    indices: &[u16],
    values: &[f32],
    i: usize,
    sums: &mut [[S::F; NV]; P],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let row = panels
            .first
            .add(*indices.get_unchecked(i) as usize * stride::<S, T, NV>());
        let value = s.splat(*values.get_unchecked(i));
        for (p, sum) in sums.iter_mut().enumerate() {
            let row = row.wrapping_add(p * panels.apart);
            for (v, sum) in sum.iter_mut().enumerate() {
                *sum = s.mul_add(value, T::vector(s, row, v), *sum);
            }
        }
    }
}

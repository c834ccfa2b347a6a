//! (dy · Nᵀ) at the positions of a pattern: the gradient of activations, computed only where they are active.

use super::neurons::tile_vectors;
use super::{Activations, Block, PackedNeurons, blocks_per_chunk, dense_blocks};
use crate::matmul::{self, Accumulate, PackedB, ROW_BLOCK, Stored, StoredBuf};
use crate::memory::AlignedBuf;
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// Neurons of a group: as many as a tile of the weight for [`super::zero_skip`] holds bytes (AVX2 on a core with 512 KB of L2: 512 KB,
/// AVX-512, whose cores have 1 MB: 768 KB). A larger group reads the gradient fewer times: 768 KB against 512 is worth 15 % at 1 and 3 %.
fn group_of(isa: Isa, d: usize) -> usize {
    let values = if isa.name() == "avx512" { 196_608 } else { 131_072 };
    (values / d.max(1)).max(16)
}

/// g = dy [rows, d] · Nᵀ at the non-zeros of `pattern`; the result has the pattern's blocks. Dense blocks are the full product through
/// `dense` (k = d, n = neurons).
///
/// # Errors
/// Shapes that do not fit, or no memory.
pub fn sampled(
    isa: Isa,
    pool: &Pool,
    dy: &[f32],
    pattern: &Activations,
    w: &PackedNeurons,
    dense: &PackedB,
) -> Result<Activations> {
    let (rows, cols) = (pattern.rows, pattern.cols);
    if dy.len() != rows * w.d || cols != w.neurons || (dense.k, dense.n) != (w.d, w.neurons) {
        return Err(Error::Shape {
            op: "sampled",
            what: "the weight",
            found: format!(
                "{} neurons of {} and a dense twin [{}, {}]",
                w.neurons, w.d, dense.k, dense.n
            ),
            expected: format!("{cols} neurons for {rows} rows of a gradient with {} values", dy.len()),
        });
    }
    pattern.check();
    let mut blocks = Vec::with_capacity(pattern.blocks.len());
    for block in &pattern.blocks {
        blocks.push(match block {
            Block::Dense { values } => Block::Dense {
                values: AlignedBuf::uninit(values.len())?,
            },
            Block::Compact {
                row_starts,
                indices,
                values,
            } => Block::Compact {
                row_starts: row_starts.clone(),
                indices: indices.clone(),
                values: vec![0.0; values.len()],
            },
        });
    }
    let targets: Vec<SendPtr<f32>> = blocks
        .iter_mut()
        .map(|block| match block {
            Block::Dense { values } => SendPtr::new(values),
            Block::Compact { values, .. } => SendPtr::new(values),
        })
        .collect();
    let dense_blocks = dense_blocks(pattern);
    let group = group_of(isa, w.d);
    let groups = cols.div_ceil(group);
    let chunk = blocks_per_chunk(pool, blocks.len(), groups);
    let chunks = if dense_blocks.len() == blocks.len() {
        0
    } else {
        blocks.len().div_ceil(chunk)
    };
    let panels = dense.panels_in(dense.task_columns());
    let column_chunks = dense.panels().div_ceil(panels);
    pool.run(chunks * groups + dense_blocks.len() * column_chunks, &|task| {
        let Some(task) = task.checked_sub(chunks * groups) else {
            let (first, neuron) = (task % chunks * chunk, task / chunks * group);
            let blocks = first..pattern.blocks.len().min(first + chunk);
            let neurons = neuron..cols.min(neuron + group);
            return dispatch(
                isa,
                Group {
                    dy,
                    pattern,
                    blocks,
                    w,
                    neurons,
                    targets: &targets,
                },
            );
        };
        let (column_chunk, index) = (task / dense_blocks.len(), dense_blocks[task % dense_blocks.len()]);
        let rows = pattern.rows_in(index);
        matmul::Block {
            a: &dy[index * ROW_BLOCK * w.d..][..rows * w.d],
            rows,
            tiles: dense.tiles(rows),
            b: dense,
            panels: column_chunk * panels..dense.panels().min((column_chunk + 1) * panels),
            bias: None,
            accumulate: Accumulate::Overwrite,
            // SAFETY: in range; tasks own disjoint columns of the block.
            out: unsafe { targets[index].at(0) },
        }
        .run(isa);
    });
    Ok(Activations::new(rows, cols, blocks))
}

/// The compact blocks of a chunk at the neurons of a group.
struct Group<'a> {
    dy: &'a [f32],
    pattern: &'a Activations,
    blocks: std::ops::Range<usize>,
    w: &'a PackedNeurons,
    neurons: std::ops::Range<usize>,
    targets: &'a [SendPtr<f32>],
}

impl Kernel for Group<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match &self.w.values {
            StoredBuf::F32(values) => self.group(s, values),
            StoredBuf::Bf16(values) => self.group(s, values),
        }
    }
}

impl Group<'_> {
    #[inline(always)]
    fn group<S: Simd, T: Stored>(&self, s: S, values: &[T]) {
        match const { tile_vectors::<S>() } {
            2 => self.rows::<S, T, 2>(s, values),
            4 => self.rows::<S, T, 4>(s, values),
            _ => self.rows::<S, T, 8>(s, values),
        }
    }

    #[inline(always)]
    fn rows<S: Simd, T: Stored, const NV: usize>(&self, s: S, weights: &[T]) {
        for index in self.blocks.clone() {
            let Block::Compact {
                row_starts, indices, ..
            } = &self.pattern.blocks[index]
            else {
                continue;
            };
            for row in 0..self.pattern.rows_in(index) {
                let start = row_starts[row] as usize;
                let all = &indices[start..row_starts[row + 1] as usize];
                // Indices rise within a row.
                let low = all.partition_point(|&i| (i as usize) < self.neurons.start);
                let high = low + all[low..].partition_point(|&i| (i as usize) < self.neurons.end);
                let dy = &self.dy[(index * ROW_BLOCK + row) * self.w.d..][..self.w.d];
                let mut i = low;
                // SAFETY: `Activations::check` saw that the indices are in range; positions of a group in a row are written by
                // this task alone.
                unsafe {
                    let target = self.targets[index].at(start);
                    while i < high {
                        i += match high - i {
                            1 => dots::<S, T, NV, 1>(s, self.w, weights, dy, &all[i..], target.add(i)),
                            2 => dots::<S, T, NV, 2>(s, self.w, weights, dy, &all[i..], target.add(i)),
                            3 => dots::<S, T, NV, 3>(s, self.w, weights, dy, &all[i..], target.add(i)),
                            _ => dots::<S, T, NV, 4>(s, self.w, weights, dy, &all[i..], target.add(i)),
                        };
                    }
                }
            }
        }
    }
}

/// `N` dot products of `dy` with neurons, which share its loads; two accumulators each. Returns N.
///
/// # Safety
/// `indices` has N entries below the number of neurons, `dy` has `d` values, `out` room for N.
#[inline(always)]
unsafe fn dots<S: Simd, T: Stored, const NV: usize, const N: usize>(
    s: S,
    w: &PackedNeurons,
    weights: &[T],
    dy: &[f32],
    indices: &[u16],
    out: *mut f32,
) -> usize {
    let width = NV * S::LANES;
    let stride = w.stride();
    let mut sums = [[s.zero(); 2]; N];
    // SAFETY: the caller's promise; every tile of a neuron is `width` long, and `dy` is read below `d` only.
    unsafe {
        let mut rows = [weights.as_ptr(); N];
        for (j, row) in rows.iter_mut().enumerate() {
            *row = row.add(indices[j] as usize * width);
        }
        let mut first = 0;
        while first + width <= w.d {
            // In pairs, which bf16 reads together.
            for pair in 0..NV / 2 {
                let at = dy.as_ptr().add(first + 2 * pair * S::LANES);
                let x = [s.load(at), s.load(at.add(S::LANES))];
                for j in 0..N {
                    for (half, &x) in x.iter().enumerate() {
                        sums[j][half] = s.mul_add(x, T::vector(s, rows[j], 2 * pair + half), sums[j][half]);
                    }
                }
            }
            for row in &mut rows {
                *row = row.wrapping_add(stride);
            }
            first += width;
        }
        let mut v = 0;
        while first + v * S::LANES < w.d {
            let column = first + v * S::LANES;
            let x = s.load_partial(dy.as_ptr().add(column), S::LANES.min(w.d - column));
            for j in 0..N {
                sums[j][0] = s.mul_add(x, T::vector(s, rows[j], v), sums[j][0]);
            }
            v += 1;
        }
        for (j, [a, b]) in sums.into_iter().enumerate() {
            *out.add(j) = s.reduce_add(s.add(a, b));
        }
    }
    N
}

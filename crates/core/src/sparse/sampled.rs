//! (dy · Nᵀ) at the positions of a pattern: the gradient of activations, computed only where they are active.

use super::{Activations, Block, Weight, blocks_per_chunk, dense_blocks};
use crate::matmul::{Accumulate, PackedB, RowBlock, Shape, Stored, StoredBuf};
use crate::memory::{AlignedBuf, l2_bytes};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// Neurons of a group, whose part of the weight is to stay in the L2 while the gradient's rows pass: a larger group reads the gradient fewer times.
///
/// f32, bytes of the group: AVX2 on a core with 512 KB of L2 512 KB; AVX-512 with 1 MB 768 KB, against 512 worth 15 % at 1 and 3 %; with 2 MB
/// (Emerald Rapids, panels 86 lines apart) 1,152 KB, against 768 worth 13 % at 1 %, 16 % at 3 %, 2 % at 20 %, and in bf16 13 % at 3 %. 1,536 KB there
/// are 8 % slower at 3 %.
fn group_of(isa: Isa, d: usize) -> usize {
    let values = if l2_bytes() >= 2 << 20 {
        294_912
    } else if isa.lanes() == 16 {
        196_608
    } else {
        131_072
    };
    (values / d.max(1)).max(16)
}

/// g = dy [rows, d] · Nᵀ at the non-zeros of `pattern`; the result has the pattern's blocks. Dense blocks are the full product (`w.dense`: k = d,
/// n = neurons).
///
/// # Errors
/// Shapes that do not fit, a form of the weight that is missing, or no memory.
pub fn sampled(isa: Isa, pool: &Pool, dy: &[f32], pattern: &Activations, w: Weight<'_>) -> Result<Activations> {
    let (rows, cols) = (pattern.rows, pattern.cols);
    let dense_blocks = dense_blocks(pattern);
    let d = dy.len() / rows.max(1);
    let is_compact = dense_blocks.len() < pattern.blocks.len();
    let [in_rows, in_full] = [w.rows.map(|w| (w.k, w.n)), w.dense.map(|w| (w.k(), w.n()))];
    if dy.len() != rows * d
        || w.rows.is_some_and(|rows| rows.pairs().is_some())
        || (is_compact && in_rows != Some((cols, d)))
        || (!dense_blocks.is_empty() && in_full != Some((d, cols)))
    {
        let shape = |shape: Option<(usize, usize)>| shape.map_or("none".into(), |(k, n)| format!("[{k}, {n}]"));
        return Err(Error::Shape {
            op: "sampled",
            what: "the weight",
            found: format!("rows {} and a dense twin {}", shape(in_rows), shape(in_full)),
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
    let group = group_of(isa, d);
    let groups = cols.div_ceil(group);
    let chunk = blocks_per_chunk(pool, pattern, groups);
    let chunks = if is_compact { blocks.len().div_ceil(chunk) } else { 0 };
    if let Some(w) = w.rows {
        pool.run(chunks * groups, &|task| {
            let (first, neuron) = (task % chunks * chunk, task / chunks * group);
            let blocks = first..pattern.blocks.len().min(first + chunk);
            let neurons = neuron..cols.min(neuron + group);
            dispatch(
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
        });
    }
    if let Some(dense) = w.dense {
        // SAFETY: each block has its own results, of the pattern's size.
        unsafe {
            let overwrite = Accumulate::Overwrite;
            dense.multiply(
                isa,
                pool,
                None,
                overwrite,
                dense_blocks.len(),
                &|dense_block| {
                    let index = dense_blocks[dense_block];
                    let rows = pattern.rows_in(index);
                    RowBlock {
                        a: &dy[index * pattern.block_rows * d..][..rows * d],
                        rows,
                        tiles: dense.pack().tiles(rows),
                        out: targets[index].at(0),
                    }
                },
                &|_, _| {},
            );
        }
    }
    Ok(Activations::new(rows, cols, pattern.block_rows, blocks))
}

/// The compact blocks of a chunk at the neurons of a group.
struct Group<'a> {
    dy: &'a [f32],
    pattern: &'a Activations,
    blocks: std::ops::Range<usize>,
    w: &'a PackedB,
    neurons: std::ops::Range<usize>,
    targets: &'a [SendPtr<f32>],
}

impl Kernel for Group<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        match self.w.values() {
            StoredBuf::F32(values) => self.group(s, values),
            StoredBuf::Bf16(values) => self.group(s, values),
        }
    }
}

impl Group<'_> {
    #[inline(always)]
    fn group<S: Simd, T: Stored>(&self, s: S, values: &[T]) {
        match (const { Shape::of::<S>().nv }, self.w.shape().nv) {
            (2.., 2) => self.rows::<S, T, 2>(s, values),
            (3.., 3) => self.rows::<S, T, 3>(s, values),
            (4.., 4) => self.rows::<S, T, 4>(s, values),
            (_, vectors) => unreachable!("panels of {vectors} vectors"),
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
                let dy = &self.dy[(index * self.pattern.block_rows + row) * self.w.n..][..self.w.n];
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
                            8.. if const { S::LANES == 16 } => {
                                dots::<S, T, NV, 8>(s, self.w, weights, dy, &all[i..], target.add(i))
                            }
                            _ => dots::<S, T, NV, 4>(s, self.w, weights, dy, &all[i..], target.add(i)),
                        };
                    }
                }
            }
        }
    }
}

/// `N` dot products of `dy` with neurons, which share its loads; two accumulators each. Returns N. 8 at a time, where there are registers, take 4 % less
/// time than 4 with 3 % of non-zeros (Emerald Rapids, AVX-512; bf16 7 %), with 1 % as much.
///
/// # Safety
/// `weights` are those of `w`, whose whole panels have `NV` vectors; `indices` has N entries below the number of neurons, `dy` has n values, `out`
/// room for N.
#[inline(always)]
unsafe fn dots<S: Simd, T: Stored, const NV: usize, const N: usize>(
    s: S,
    w: &PackedB,
    weights: &[T],
    dy: &[f32],
    indices: &[u16],
    out: *mut f32,
) -> usize {
    let nr = NV * S::LANES;
    let whole = w.n / nr;
    let mut sums = [[s.zero(); 2]; N];
    // SAFETY: the caller's promise; rows of panels are read up to their vectors, and `dy` below n only.
    unsafe {
        let mut rows = [weights.as_ptr(); N];
        for (j, row) in rows.iter_mut().enumerate() {
            *row = row.add(indices[j] as usize * nr);
        }
        let mut at = dy.as_ptr();
        for _ in 0..whole {
            for v in 0..NV {
                let x = s.load(at.add(v * S::LANES));
                for j in 0..N {
                    sums[j][v % 2] = s.mul_add(x, T::vector(s, rows[j], v), sums[j][v % 2]);
                }
            }
            at = at.add(nr);
            for row in &mut rows {
                *row = row.wrapping_add(w.apart());
            }
        }
        // The last panel may be cut; its rows are shorter.
        let left = w.n - whole * nr;
        if left > 0 {
            let stride = w.stride(left.div_ceil(S::LANES));
            for (j, row) in rows.iter_mut().enumerate() {
                *row = weights.as_ptr().add(whole * w.apart() + indices[j] as usize * stride);
            }
            for v in 0..left.div_ceil(S::LANES) {
                let x = s.load_partial(at.add(v * S::LANES), S::LANES.min(left - v * S::LANES));
                for j in 0..N {
                    sums[j][0] = s.mul_add(x, T::vector(s, rows[j], v), sums[j][0]);
                }
            }
        }
        for (j, [a, b]) in sums.into_iter().enumerate() {
            *out.add(j) = s.reduce_add(s.add(a, b));
        }
    }
    N
}

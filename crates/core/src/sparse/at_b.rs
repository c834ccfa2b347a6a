//! oᵀ · x: the weight gradient of a layer whose input (or whose output gradient) is sparse.
//!
//! The non-zeros are sorted by neuron, which makes the product a zero-skip one: row n of the result gathers the rows of x in which
//! neuron n fired. Adding to the rows of the result in the order of the tokens instead stores as much as it loads: twice as slow.

use super::{Activations, Block, Weight, dense_blocks, zero_skip};
use crate::matmul::{Accumulate, PackedB, matmul_at_b};
use crate::memory::AlignedBuf;
use crate::simd::Isa;
use crate::threads::Pool;
use crate::{Error, Result};
use std::ops::Range;

/// Rows of o that one transposed pattern holds at most, so that its columns fit in u16.
const MOST_ROWS: usize = u16::MAX as usize;

/// Neurons in a block of the transposed pattern.
const NEURONS: usize = 48;

/// Blocks of neurons that one task sorts: each task looks up its range in every row, so there are few.
const SORTED: usize = 8;

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
    mut accumulate: Accumulate,
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
    let dense = dense_blocks(o);
    if !dense.is_empty() || o.blocks.is_empty() {
        dense_product(isa, pool, o, &dense, x, d, accumulate, out)?;
        accumulate = later(accumulate);
    }
    if dense.len() == o.blocks.len() {
        return Ok(());
    }
    let pass = (MOST_ROWS / o.block_rows).max(1);
    for first in (0..o.blocks.len()).step_by(pass) {
        let blocks = first..o.blocks.len().min(first + pass);
        let rows = first * o.block_rows..o.rows.min(blocks.end * o.block_rows);
        let x = PackedB::from_columns(isa, pool, &x[rows.start * d..rows.end * d], rows.len(), d)?;
        let x = Weight {
            rows: Some(&x),
            dense: None,
        };
        let transposed = transpose(pool, o, blocks, rows.len());
        zero_skip(isa, pool, &transposed, x, None, accumulate, out);
        accumulate = later(accumulate);
    }
    Ok(())
}

/// What the second of several products into one `out` does.
fn later(accumulate: Accumulate) -> Accumulate {
    match accumulate {
        Accumulate::Overwrite => Accumulate::Add(1.0),
        add => add,
    }
}

/// The dense blocks as one product: their rows are gathered, so that `out` is passed over once and not once a block.
#[allow(clippy::too_many_arguments)]
fn dense_product(
    isa: Isa,
    pool: &Pool,
    o: &Activations,
    dense: &[usize],
    x: &[f32],
    d: usize,
    accumulate: Accumulate,
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
        right[at * d..][..count * d].copy_from_slice(&x[index * o.block_rows * d..][..count * d]);
        at += count;
    }
    matmul_at_b(isa, pool, &left, o.cols, &right, d, rows, accumulate, out)
}

/// The compact blocks of `blocks`, transposed: [o.cols, rows], all compact.
fn transpose(pool: &Pool, o: &Activations, blocks: Range<usize>, rows: usize) -> Activations {
    let neurons_per_task = SORTED * NEURONS;
    let sorted = pool.collect(o.cols.div_ceil(neurons_per_task), &|task| {
        let first = task * neurons_per_task;
        sort(o, blocks.clone(), first..o.cols.min(first + neurons_per_task))
    });
    Activations::new(o.cols, rows, NEURONS, sorted.into_iter().flatten().collect())
}

/// The blocks of the transposed pattern for a range of neurons: a counting sort, which keeps the order of the rows.
fn sort(o: &Activations, blocks: Range<usize>, neurons: Range<usize>) -> Vec<Block> {
    // (row in the pass, its indices and values of these neurons), for each row that has any.
    let mut parts: Vec<(u16, &[u16], &[f32])> = Vec::new();
    let mut counts = vec![0u32; neurons.len()];
    for index in blocks.clone() {
        let Block::Compact {
            row_starts,
            indices,
            values,
        } = &o.blocks[index]
        else {
            continue;
        };
        for (row, range) in row_starts.windows(2).enumerate() {
            let (start, end) = (range[0] as usize, range[1] as usize);
            let all = &indices[start..end];
            let low = start + all.partition_point(|&i| (i as usize) < neurons.start);
            let high = start + all.partition_point(|&i| (i as usize) < neurons.end);
            if low < high {
                let row = ((index - blocks.start) * o.block_rows + row) as u16;
                parts.push((row, &indices[low..high], &values[low..high]));
                indices[low..high]
                    .iter()
                    .for_each(|&i| counts[i as usize - neurons.start] += 1);
            }
        }
    }
    let mut made: Vec<(Vec<u32>, Vec<u16>, Vec<f32>)> = counts
        .chunks(NEURONS)
        .map(|counts| {
            let mut starts = Vec::with_capacity(counts.len() + 1);
            let mut sum = 0;
            starts.push(0);
            for count in counts {
                sum += count;
                starts.push(sum);
            }
            (starts, vec![0; sum as usize], vec![0.0; sum as usize])
        })
        .collect();
    // `counts` becomes the place of each neuron's next entry.
    for (counts, (starts, ..)) in counts.chunks_mut(NEURONS).zip(&made) {
        counts.copy_from_slice(&starts[..counts.len()]);
    }
    for (row, indices, values) in parts {
        for (&index, &value) in indices.iter().zip(values) {
            let neuron = index as usize - neurons.start;
            let (_, rows, sorted) = &mut made[neuron / NEURONS];
            let at = counts[neuron] as usize;
            counts[neuron] += 1;
            rows[at] = row;
            sorted[at] = value;
        }
    }
    made.into_iter()
        .map(|(row_starts, indices, values)| Block::Compact {
            row_starts,
            indices,
            values,
        })
        .collect()
}

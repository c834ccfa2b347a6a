//! Compaction: a dense block to its non-zeros, by compare, mask and in-register packing.

use super::Block;
use crate::memory::AlignedBuf;
use crate::simd::{Isa, Kernel, Simd, dispatch};

/// `compress_nonzero` writes up to this many elements beyond what it counts.
const SLACK: usize = 16;

/// Compaction of one block o [rows, cols]; it stays dense where its density is over `crossover`.
///
/// # Panics
/// When `cols` is over 65,535, or `o` is not whole rows.
pub fn compact_block(isa: Isa, o: &[f32], cols: usize, crossover: f32) -> Block {
    // Counted first: the second pass over a block in L2 costs less than a copy out of an over-sized buffer would.
    // SAFETY: they were counted.
    unsafe { compact_counted(isa, o, cols, crossover, count_nonzeros(isa, o)) }
}

/// [`compact_block`] of a block whose non-zeros were counted before.
///
/// # Safety
/// `o` has `count` non-zeros.
pub(crate) unsafe fn compact_counted(isa: Isa, o: &[f32], cols: usize, crossover: f32, count: usize) -> Block {
    if count as f32 > crossover * o.len() as f32 {
        return Block::Dense {
            values: AlignedBuf::from(o),
        };
    }
    assert!(
        cols <= u16::MAX as usize && (cols == 0 || o.len().is_multiple_of(cols)),
        "compact_block"
    );
    let (row_starts, indices, values) = dispatch(isa, Compact { o, cols, count });
    Block::Compact {
        row_starts,
        indices,
        values,
    }
}

/// How many values are not zero.
pub fn count_nonzeros(isa: Isa, o: &[f32]) -> usize {
    dispatch(isa, Count(o))
}

struct Count<'a>(&'a [f32]);

impl Kernel for Count<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let mut vectors = self.0.chunks_exact(S::LANES);
        let mut count = 0;
        for vector in &mut vectors {
            // SAFETY: LANES values.
            let v = unsafe { s.load(vector.as_ptr()) };
            count += s.mask_bits(s.ne_zero(v)).count_ones() as usize;
        }
        count + vectors.remainder().iter().filter(|&&x| x != 0.0).count()
    }
}

struct Compact<'a> {
    o: &'a [f32],
    cols: usize,
    count: usize,
}

impl Kernel for Compact<'_> {
    type Output = (Vec<u32>, Vec<u16>, Vec<f32>);
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let mut row_starts = Vec::with_capacity(self.o.len() / self.cols.max(1) + 1);
        let mut indices: Vec<u16> = Vec::with_capacity(self.count + SLACK);
        let mut values: Vec<f32> = Vec::with_capacity(self.count + SLACK);
        row_starts.push(0);
        let mut n = 0;
        for row in self.o.chunks_exact(self.cols.max(1)) {
            let mut column = 0;
            while column < self.cols {
                let valid = S::LANES.min(self.cols - column);
                // SAFETY: `valid` values follow `column`; lanes beyond them are 0 and not counted. `n` never exceeds `count`,
                // so LANES <= SLACK elements fit at both ends.
                unsafe {
                    let at = row.as_ptr().add(column);
                    let v = if valid == S::LANES {
                        s.load(at)
                    } else {
                        s.load_partial(at, valid)
                    };
                    let (values, indices) = (values.as_mut_ptr().add(n), indices.as_mut_ptr().add(n));
                    n += s.compress_nonzero(v, column as u16, values, indices);
                }
                column += S::LANES;
            }
            row_starts.push(n as u32);
        }
        assert_eq!(n, self.count);
        // SAFETY: `n` elements of each were written.
        unsafe {
            indices.set_len(n);
            values.set_len(n);
        }
        (row_starts, indices, values)
    }
}

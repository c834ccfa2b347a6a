//! Rows of A rounded to bf16, for the CPU's own bf16 arithmetic: once for a product, before its tasks.

use super::pack::PackedB;
use super::pairs;
use crate::memory::AlignedBuf;
use crate::simd::Isa;
use crate::threads::{Pool, SendPtr};

/// Rows that are rounded together. Blocks are padded to as many: the rows of a tile of AMX.
const ROWS: usize = 16;

/// Values between two rows beyond K: rows then start in different sets of the L1 whatever K is.
const SKEW: usize = 32;

/// Blocks of rows of A in bf16, [rows, K with its padding] each.
pub(super) struct NarrowRows {
    values: AlignedBuf<u16>,
    /// Distance between rows.
    stride: usize,
    /// The first row of each block, and the end.
    starts: Vec<usize>,
}

impl NarrowRows {
    /// `block(i)` for i below `count`: its rows, and their values [rows, k]. None where `b`, or what is turned of it, is not multiplied in bf16.
    ///
    /// # Panics
    /// Where there is no memory.
    pub fn new<'a>(
        isa: Isa,
        pool: &Pool,
        b: &PackedB,
        k: usize,
        count: usize,
        block: &(dyn Fn(usize) -> (usize, &'a [f32]) + Sync),
    ) -> Option<NarrowRows> {
        if !b.is_in_pairs() {
            return None;
        }
        let stride = pairs::padded(k) + SKEW;
        let mut starts = vec![0];
        for index in 0..count {
            starts.push(starts[index] + block(index).0.next_multiple_of(ROWS));
        }
        let mut values = AlignedBuf::uninit_in_task(starts[count] * stride);
        let target = SendPtr::new(&mut values);
        pool.run(starts[count] / ROWS, &|piece| {
            let index = starts.partition_point(|&start| start <= piece * ROWS) - 1;
            let rows = block(index).1.chunks_exact(k.max(1)).skip(piece * ROWS - starts[index]);
            // SAFETY: pieces are disjoint ranges that together make up the buffer.
            let to = unsafe { target.slice(piece * ROWS * stride, ROWS * stride) };
            narrow(isa, rows, to, stride);
        });
        Some(NarrowRows { values, stride, starts })
    }

    /// Block `index`, and the distance between its rows.
    pub fn block(&self, index: usize) -> (&[u16], usize) {
        let rows = self.starts[index]..self.starts[index + 1];
        (
            &self.values[rows.start * self.stride..rows.end * self.stride],
            self.stride,
        )
    }
}

/// Rounds `rows` to the rows of `to`; what is left of it becomes 0.
fn narrow<'a>(isa: Isa, rows: impl Iterator<Item = &'a [f32]>, to: &mut [u16], stride: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::simd::{Bf16Kernel, avx512_bf16::Avx512Bf16, dispatch_bf16};
        struct Narrow<'a, I>(I, &'a mut [u16], usize);
        impl<'a, I: Iterator<Item = &'a [f32]>> Bf16Kernel for Narrow<'_, I> {
            #[inline(always)]
            fn run(mut self, s: Avx512Bf16) {
                for to in self.1.chunks_exact_mut(self.2) {
                    s.narrow(self.0.next().unwrap_or_default(), to);
                }
            }
        }
        dispatch_bf16(isa, Narrow(rows, to, stride));
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!(
        "{} has no unit for bf16: {} rows, {} values, {stride}",
        isa.name(),
        rows.count(),
        to.len()
    );
}

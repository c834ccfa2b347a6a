//! From the pack of a weight for x · Wᵀ to that for dy · W, and back.

use super::pack::PackedB;
use super::stored::StoredBuf;
use crate::Result;
use crate::memory::Plain;
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};
use std::ops::Range;

impl PackedB {
    /// The pack of Bᵀ [n, k], value for value. Squares of a panel's width go from one to the other, each some KB in a row.
    ///
    /// # Errors
    /// No memory.
    pub fn transposed(&self, isa: Isa, pool: &Pool) -> Result<PackedB> {
        self.transposed_panels(isa, 0..self.k.div_ceil(self.shape.nr()), |panels, make| {
            pool.run(panels, &|panel| make(panel..panel + 1))
        })
    }

    /// Some panels of [`PackedB::transposed`] as a pack of their own, made by the calling thread.
    ///
    /// # Errors
    /// No memory.
    pub(super) fn transposed_part(&self, isa: Isa, panels: Range<usize>) -> Result<PackedB> {
        self.transposed_panels(isa, panels, |panels, make| make(0..panels))
    }

    fn transposed_panels(
        &self,
        isa: Isa,
        panels: Range<usize>,
        run: impl FnOnce(usize, &(dyn Fn(Range<usize>) + Sync)),
    ) -> Result<PackedB> {
        let nr = self.shape.nr();
        let (first, end) = (panels.start * nr, self.k.min(panels.end * nr));
        let mut out = PackedB::uninit(self.shape, self.precision(), self.is_in_pairs(), self.n, end - first)?;
        // Taken out while the panels' places are asked for.
        let mut values = std::mem::replace(&mut out.values, StoredBuf::empty(self.precision()));
        match (&self.values, &mut values) {
            (StoredBuf::F32(from), StoredBuf::F32(to)) => {
                let to = SendPtr::new(to);
                run(panels.len(), &|panels| {
                    self.transpose::<_, Plainly>(isa, first, &out, panels, from, to)
                });
            }
            (StoredBuf::Bf16(from), StoredBuf::Bf16(to)) if self.is_in_pairs() => {
                let to = SendPtr::new(to);
                run(panels.len(), &|panels| {
                    self.transpose::<_, InPairs>(isa, first, &out, panels, from, to)
                });
            }
            (StoredBuf::Bf16(from), StoredBuf::Bf16(to)) => {
                let to = SendPtr::new(to);
                run(panels.len(), &|panels| {
                    self.transpose::<_, Interleaved>(isa, first, &out, panels, from, to)
                });
            }
            _ => unreachable!("both have one precision"),
        }
        out.values = values;
        Ok(out)
    }

    /// Makes `panels` of `out`, whose first column is row `first` of this one.
    fn transpose<T: Plain, L: Layout<T>>(
        &self,
        isa: Isa,
        first: usize,
        out: &PackedB,
        panels: Range<usize>,
        from: &[T],
        to: SendPtr<T>,
    ) {
        let (nr, lanes) = (self.shape.nr(), self.shape.lanes);
        let range = out.panel_range(panels.start).start..out.panel_range(panels.end - 1).end;
        // SAFETY: panels are disjoint ranges of the buffer.
        let made = unsafe { to.slice(range.start, range.len()) };
        if out.n < (out.panels() - 1) * nr + out.panel_stride(out.panels() - 1) || out.padded_k() > out.k {
            made.fill(T::default());
        }
        // Neighbouring panels side by side: what they read of a panel here lies in a row.
        for source in 0..self.panels() {
            let values = &from[self.panel_range(source)];
            let at = self.panel_stride(source);
            let rows = nr.min(self.n - source * nr);
            for index in panels.clone() {
                let columns = nr.min(out.n - index * nr);
                let to = out.panel_stride(index);
                let first = first + index * nr;
                let panel = &mut made[out.panel_range(index).start - range.start..];
                if (rows, columns, at, to) == (nr, nr, nr, nr) && L::is_square(nr, lanes) {
                    let panel = &mut panel[source * nr * nr..][..nr * nr];
                    L::square(isa, &values[first * nr..][..nr * nr], panel, nr);
                    continue;
                }
                for column in 0..columns {
                    for row in 0..rows {
                        panel[L::place(source * nr + row, column, to, lanes)] =
                            values[L::place(first + column, row, at, lanes)];
                    }
                }
            }
        }
    }
}

/// How a panel holds its rows.
trait Layout<T> {
    /// Where the element of a row and a column is, in a panel with `stride` values in a row.
    fn place(row: usize, column: usize, stride: usize, lanes: usize) -> usize;

    /// Whether [`Layout::square`] takes this size.
    fn is_square(size: usize, lanes: usize) -> bool;

    /// `to` = the transpose of `from`, both `size` rows of a panel with as many columns.
    fn square(isa: Isa, from: &[T], to: &mut [T], size: usize);
}

/// f32: in order.
struct Plainly;

impl Layout<f32> for Plainly {
    fn place(row: usize, column: usize, stride: usize, _: usize) -> usize {
        row * stride + column
    }

    fn is_square(_: usize, _: usize) -> bool {
        true
    }

    fn square(isa: Isa, from: &[f32], to: &mut [f32], size: usize) {
        dispatch(isa, Square { from, to, size });
    }
}

struct Square<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
    size: usize,
}

impl Kernel for Square<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (size, lanes) = (self.size, S::LANES);
        assert!(size.is_multiple_of(lanes) && self.from.len() == size * size && self.to.len() == size * size);
        for row in (0..size).step_by(lanes) {
            for column in (0..size).step_by(lanes) {
                let mut square = [s.zero(); 16];
                // SAFETY: LANES rows and columns from these on are in both squares.
                unsafe {
                    for (r, vector) in square[..lanes].iter_mut().enumerate() {
                        *vector = s.load(self.from.as_ptr().add((row + r) * size + column));
                    }
                    s.transpose(&mut square);
                    for (c, &vector) in square[..lanes].iter().enumerate() {
                        s.store(self.to.as_mut_ptr().add((column + c) * size + row), vector);
                    }
                }
            }
        }
    }
}

/// bf16 whose pairs of vectors share 32-bit words, see [`super::Stored`].
struct Interleaved;

impl Layout<u16> for Interleaved {
    fn place(row: usize, column: usize, stride: usize, lanes: usize) -> usize {
        let (pair, within) = (column / (2 * lanes), column % (2 * lanes));
        row * stride + pair * 2 * lanes + within % lanes * 2 + within / lanes
    }

    /// A row is one pair of vectors everywhere but in scalar code.
    fn is_square(size: usize, lanes: usize) -> bool {
        size == 2 * lanes
    }

    fn square(_: Isa, from: &[u16], to: &mut [u16], size: usize) {
        let lanes = size / 2;
        let (low, high) = to.split_at_mut(lanes * size);
        for (row, from) in from.chunks_exact(size).enumerate() {
            let at = row % lanes * 2 + row / lanes;
            let rows = low.chunks_exact_mut(size).zip(high.chunks_exact_mut(size));
            for (pair, (low, high)) in from.chunks_exact(2).zip(rows) {
                (low[at], high[at]) = (pair[0], pair[1]);
            }
        }
    }
}

/// bf16 whose pairs of rows share 32-bit words, see [`super::pairs`].
struct InPairs;

impl Layout<u16> for InPairs {
    fn place(row: usize, column: usize, stride: usize, _: usize) -> usize {
        row / 2 * 2 * stride + 2 * column + row % 2
    }

    /// Where the CPU has arithmetic for them.
    fn is_square(size: usize, _: usize) -> bool {
        cfg!(target_arch = "x86_64") && size.is_multiple_of(16)
    }

    fn square(isa: Isa, from: &[u16], to: &mut [u16], size: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use crate::simd::{Bf16Kernel, avx512_bf16::Avx512Bf16, dispatch_bf16};
            struct Square<'a>(&'a [u16], &'a mut [u16], usize);
            impl Bf16Kernel for Square<'_> {
                #[inline(always)]
                fn run(self, s: Avx512Bf16) {
                    s.transpose_pairs(self.0, self.1, self.2);
                }
            }
            dispatch_bf16(isa, Square(from, to, size));
        }
        #[cfg(not(target_arch = "x86_64"))]
        unreachable!(
            "{}: {} values to {} in squares of {size}",
            isa.name(),
            from.len(),
            to.len()
        );
    }
}

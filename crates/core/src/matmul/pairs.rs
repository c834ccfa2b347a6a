//! Products on bf16 weights by the CPU's own bf16 arithmetic. The rows of A are rounded to bf16 too; sums are f32.
//!
//! A panel of B is `[k / 2][column][2]`: the values 2p and 2p + 1 of a column lie beside each other, as both `vdpbf16ps` and `tdpbf16ps`
//! read them. K is padded with zeros to the depth of a tile, the last panel to whole ones.

use super::block::Block;
use super::pack::PackedB;
use super::stored::{Precision, StoredBuf, from_bf16, to_bf16};
use super::tile::{self, Target};
use super::with_scratch;
use crate::simd::Isa;
use crate::threads::{Pool, SendPtr};

/// Columns of a task for many rows.
pub(super) const COLUMNS_MANY: usize = 1536;

/// Rows of a task: the more, the less often the panels are read from the L2. 48 lose up to 25 % with AMX at 3072 columns.
pub(super) const TASK_ROWS: usize = 96;

/// K is a multiple of this: the depth of AMX's tiles.
const DEPTH: usize = 32;

/// Whether a weight of `precision` is stored in pairs.
pub(super) fn are_used(isa: Isa, precision: Precision) -> bool {
    precision == Precision::Bf16 && isa.bf16_unit().is_some()
}

/// K with the padding of pairs.
pub(super) fn padded(k: usize) -> usize {
    k.next_multiple_of(DEPTH)
}

impl PackedB {
    /// The values, where they are in pairs.
    pub(crate) fn pairs(&self) -> Option<&[u16]> {
        match &self.values {
            StoredBuf::Bf16(values) if self.is_in_pairs() => Some(values),
            _ => None,
        }
    }

    /// Values of panel `index`, and its columns that are not padding.
    #[cfg(target_arch = "x86_64")]
    fn pairs_panel<'a>(&self, values: &'a [u16], index: usize) -> (&'a [u16], usize) {
        (
            &values[self.panel_range(index)],
            self.shape.nr().min(self.n - index * self.shape.nr()),
        )
    }

    /// [`PackedB`]'s `fill`, in pairs.
    pub(super) fn fill_pairs(
        &self,
        pool: &Pool,
        values: &mut [u16],
        fill: impl Fn(&mut [f32], usize, usize, usize) + Sync,
    ) {
        let (k, nr) = (self.k, self.shape.nr());
        let target = SendPtr::new(values);
        pool.run(self.panels(), &|index| {
            let first = index * nr;
            let width = nr.min(self.n - first);
            let range = self.panel_range(index);
            // SAFETY: panels are disjoint ranges of the buffer.
            let panel = unsafe { target.slice(range.start, range.len()) };
            with_scratch(nr * k, |scratch| {
                if width < nr {
                    scratch.fill(0.0);
                }
                fill(scratch, first, width, nr);
                for (pair, target) in panel.chunks_exact_mut(2 * nr).enumerate() {
                    for half in 0..2 {
                        let row = scratch.get((2 * pair + half) * nr..(2 * pair + half + 1) * nr);
                        for (column, target) in target[half..].iter_mut().step_by(2).enumerate() {
                            *target = row.map_or(0, |row| to_bf16(row[column]));
                        }
                    }
                }
            });
        });
    }

    /// Row-major [n, k].
    pub(super) fn unpack_pairs(&self, pool: &Pool, values: &[u16], out: &mut [f32]) {
        let nr = self.shape.nr();
        let target = SendPtr::new(out);
        pool.run(self.panels(), &|index| {
            let panel = &values[self.panel_range(index)];
            let width = nr.min(self.n - index * nr);
            // SAFETY: panels are disjoint ranges of rows of `out`.
            let rows = unsafe { target.slice(index * nr * self.k, width * self.k) };
            for (column, row) in rows.chunks_exact_mut(self.k.max(1)).enumerate() {
                for (at, value) in row.iter_mut().enumerate() {
                    *value = from_bf16(panel[at / 2 * 2 * nr + 2 * column + at % 2]);
                }
            }
        });
    }
}

/// A block of rows times a range of panels. `a`: the rows in bf16, as of [`super::narrow`], `lda` apart.
pub(super) fn run(isa: Isa, block: &Block, a: &[u16], lda: usize) {
    #[cfg(target_arch = "x86_64")]
    x86::run(isa, block, a, lda);
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!(
        "{} has no unit for bf16: {} values of {} rows, {lda} apart",
        isa.name(),
        a.len(),
        block.rows
    );
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use crate::matmul::tile::{TILES_AHEAD, unrolled};
    use crate::memory::{Cache, prefetch};
    use crate::simd::avx512_bf16::Avx512Bf16;
    use crate::simd::{Bf16Kernel, Bf16Unit, Simd, amx, dispatch_bf16};
    use std::ops::Range;
    use std::sync::atomic::{Ordering, compiler_fence};

    const _: () = assert!(DEPTH == amx::DEPTH);

    pub fn run(isa: Isa, block: &Block, a: &[u16], lda: usize) {
        let values = block.b.pairs().unwrap_or_default();
        let tiles = isa.bf16_unit() == Some(Bf16Unit::Tiles);
        let run = Run {
            block,
            values,
            tiles,
            a,
            lda,
        };
        dispatch_bf16(isa, run);
    }

    struct Run<'a> {
        block: &'a Block<'a>,
        values: &'a [u16],
        tiles: bool,
        a: &'a [u16],
        lda: usize,
    }

    impl Bf16Kernel for Run<'_> {
        #[inline(always)]
        fn run(self, s: Avx512Bf16) {
            if self.tiles {
                self.by_tiles(s);
            } else {
                self.by_dots(s);
            }
        }
    }

    impl Run<'_> {
        /// Where the sums of rows from `row` on, columns of panel `index`, go.
        #[inline(always)]
        fn target(&self, row: usize, index: usize, width: usize) -> Target {
            let Block {
                b,
                bias,
                accumulate,
                out,
                ldo,
                ..
            } = *self.block;
            let (scale, add) = accumulate.scale_and_add();
            let column = self.block.column + index * b.shape.nr();
            Target {
                // SAFETY: row and column are inside of the block's part of `out`.
                out: unsafe { out.add(row * ldo + column) },
                ldo,
                width,
                bias: bias.map_or(std::ptr::null(), |bias| bias[column..].as_ptr()),
                add,
                scale,
            }
        }

        /// What is read after panel `index`: the next one, or the first of the thread's next task.
        #[inline(always)]
        fn after(&self, index: usize) -> *const u16 {
            let Block {
                b, ref panels, next, ..
            } = *self.block;
            let next = if index + 1 < panels.end { index + 1 } else { next };
            b.pairs_panel(self.values, next).0.as_ptr()
        }

        #[inline(always)]
        fn by_dots(&self, s: Avx512Bf16) {
            let (a, lda) = (self.a, self.lda);
            let Block {
                rows,
                tiles,
                b,
                ref panels,
                ..
            } = *self.block;
            for index in panels.clone() {
                let (panel, width) = b.pairs_panel(self.values, index);
                let ahead = self.after(index);
                for tile in 0..tiles {
                    let (row, end) = (tile * rows / tiles, (tile + 1) * rows / tiles);
                    let dots = Dots {
                        a: &a[row * lda..],
                        lda,
                        panel,
                        ahead,
                        to: self.target(row, index, width),
                    };
                    // As below; the first tile of few asks for the whole panel.
                    if tile == 0 && tiles <= TILES_AHEAD {
                        dots.run_rows::<true>(s, end - row);
                    } else {
                        dots.run_rows::<false>(s, end - row);
                    }
                }
            }
        }

        #[inline(always)]
        fn by_tiles(&self, s: Avx512Bf16) {
            let (a, lda) = (self.a, self.lda);
            let Block {
                rows, b, ref panels, ..
            } = *self.block;
            let steps = b.padded_k() / amx::DEPTH;
            // Few rows wait for memory, which idles unless it is asked for the next panel, as with f32: the linear layers of BERT-base with 8 and 40
            // tokens 13.1 -> 10.3 and 20.5 -> 16.9 ms (Emerald Rapids, medians).
            let few = rows <= MOST * amx::ROWS;
            let mut sums = [const { Sums([0.0; MOST * amx::ROWS * NR]) }; 2];
            // Sums are stored while the next are made: 3 to 9 % faster than before these are begun.
            let mut before: Option<(usize, Target, usize)> = None;
            let mut at = 0;
            // SAFETY: the unit was detected.
            let unit = unsafe { amx::Tiles::configure() };
            for index in panels.clone() {
                let (panel, width) = b.pairs_panel(self.values, index);
                let ahead = self.after(index);
                let mut row = 0;
                while row < rows {
                    let left = (rows - row).div_ceil(amx::ROWS);
                    let tiles = if left <= MOST { left } else { 2 };
                    let here = (rows - row).min(tiles * amx::ROWS);
                    let first = a[row * lda..].as_ptr();
                    unit.zero();
                    // SAFETY: A has whole tiles of rows, padded in K as the panel is; a panel has the columns of two tiles; the rows of sums
                    // of `before` are in `out`.
                    unsafe {
                        let mut stored = 0;
                        for step in 0..steps {
                            let by = step * amx::DEPTH;
                            if few {
                                prefetch(Cache::L2, ahead.wrapping_add(by * NR), amx::DEPTH * NR);
                            }
                            unit.step(tiles, first.wrapping_add(by), lda, panel.as_ptr().wrapping_add(by * NR));
                            if let Some((of, to, rows)) = &before
                                && stored < *rows
                            {
                                store(s, &sums[*of], to, stored..(stored + 2).min(*rows));
                                stored = (stored + 2).min(*rows);
                            }
                        }
                        if let Some((of, to, rows)) = &before {
                            store(s, &sums[*of], to, stored..*rows);
                        }
                        unit.store(tiles, sums[at].0.as_mut_ptr());
                    }
                    before = Some((at, self.target(row, index, width), here));
                    at = 1 - at;
                    row += here;
                }
            }
            if let Some((of, to, rows)) = &before {
                // SAFETY: as above.
                unsafe { store(s, &sums[*of], to, 0..*rows) };
            }
        }
    }

    /// Columns of a panel.
    const NR: usize = 2 * amx::COLUMNS;

    /// Tiles of rows at a time at most. Two are faster than three, but three faster than two and one: blocks of 48 rows are dense blocks of
    /// activations.
    const MOST: usize = 3;

    /// The sums of some tiles of rows.
    #[repr(align(64))]
    struct Sums([f32; MOST * amx::ROWS * NR]);

    /// # Safety
    /// `rows` of `to.width` columns are valid in `to.out`.
    #[inline(always)]
    unsafe fn store(s: Avx512Bf16, sums: &Sums, to: &Target, rows: Range<usize>) {
        let s = s.base;
        for row in rows {
            let sums = sums.0[row * NR..][..NR].as_ptr();
            // SAFETY: a row of sums has two vectors; the caller vouches for `out`.
            unsafe {
                let acc = [[s.load(sums), s.load(sums.add(amx::COLUMNS))]];
                let to = Target {
                    out: to.out.add(row * to.ldo),
                    ..*to
                };
                if to.width == NR {
                    tile::finish::<_, 1, 2>(s, &to, &acc);
                } else {
                    tile::finish_partial::<_, 1, 2>(s, &to, &acc);
                }
            }
        }
    }

    /// A tile of rows by dot products of pairs.
    struct Dots<'a> {
        a: &'a [u16],
        lda: usize,
        panel: &'a [u16],
        /// What is asked for from the L2 meanwhile, with `FEW`: as much as the panel has.
        ahead: *const u16,
        to: Target,
    }

    impl Dots<'_> {
        /// `rows`: at most 12. As with f32, short tiles split K over several accumulators.
        #[inline(always)]
        fn run_rows<const FEW: bool>(&self, s: Avx512Bf16, rows: usize) {
            match rows {
                1 => self.run::<1, 4, FEW>(s),
                2 => self.run::<2, 2, FEW>(s),
                3 => self.run::<3, 2, FEW>(s),
                4 => self.run::<4, 1, FEW>(s),
                5 => self.run::<5, 1, FEW>(s),
                6 => self.run::<6, 1, FEW>(s),
                7 => self.run::<7, 1, FEW>(s),
                8 => self.run::<8, 1, FEW>(s),
                9 => self.run::<9, 1, FEW>(s),
                10 => self.run::<10, 1, FEW>(s),
                11 => self.run::<11, 1, FEW>(s),
                12 => self.run::<12, 1, FEW>(s),
                _ => unreachable!("a tile of {rows} rows"),
            }
        }

        #[inline(always)]
        fn run<const MR: usize, const SETS: usize, const FEW: bool>(&self, s: Avx512Bf16) {
            let mut acc = [[[s.base.zero(); 2]; MR]; SETS];
            let (mut a, mut b, mut ahead) = (self.a.as_ptr(), self.panel.as_ptr(), self.ahead);
            assert!(self.a.len() >= (MR - 1) * self.lda + self.panel.len() / NR, "dots: a");
            // K's padding makes the pairs of a panel a multiple of any number of sets.
            for _ in 0..self.panel.len() / (2 * NR) / SETS {
                // SAFETY: the pairs are inside of MR rows of A and of the panel: the lengths were compared.
                unsafe {
                    unrolled!(SETS, set, {
                        let row = b.add(2 * NR * set);
                        let columns = [s.load_pairs(row), s.load_pairs(row.add(NR))];
                        unrolled!(MR, r, {
                            let pair = a.add(r * self.lda + 2 * set);
                            acc[set][r][0] = s.dot(acc[set][r][0], pair, columns[0]);
                            acc[set][r][1] = s.dot(acc[set][r][1], pair, columns[1]);
                        });
                        // As in f32's tile.
                        compiler_fence(Ordering::SeqCst);
                    });
                }
                if FEW {
                    prefetch(Cache::L2, ahead, 2 * NR * SETS);
                    ahead = ahead.wrapping_add(2 * NR * SETS);
                }
                a = a.wrapping_add(2 * SETS);
                b = b.wrapping_add(2 * NR * SETS);
            }
            unrolled!(SETS - 1, set, {
                unrolled!(
                    MR,
                    r,
                    unrolled!(2, v, acc[0][r][v] = s.base.add(acc[0][r][v], acc[set + 1][r][v]))
                )
            });
            let mut sums = [[s.base.zero(); 2]; MR];
            unrolled!(MR, r, unrolled!(2, v, sums[r][v] = acc[0][r][v]));
            // SAFETY: `to` is valid for MR rows of its width (see `target`).
            unsafe {
                if self.to.width == NR {
                    tile::finish::<_, MR, 2>(s.base, &self.to, &sums);
                } else {
                    tile::finish_partial::<_, MR, 2>(s.base, &self.to, &sums);
                }
            }
        }
    }
}

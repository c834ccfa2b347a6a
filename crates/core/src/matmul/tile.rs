//! The micro-kernel: a register tile of `MR` rows x `NV` vectors, and its choice by instruction set.

use super::stored::{Precision, Stored};
use crate::memory::{Cache, prefetch};
use crate::simd::{Bf16Unit, Isa, Kernel, Scalar, Simd};
use std::sync::atomic::{Ordering, compiler_fence};

/// The largest register tile of an instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// f32 lanes of a vector.
    pub lanes: usize,
    /// BLIS `MR`: rows of the tile.
    pub mr: usize,
    /// Vectors in a row of the tile; BLIS `NR` = `nv * lanes`.
    pub nv: usize,
}

impl Shape {
    pub const fn nr(self) -> usize {
        self.nv * self.lanes
    }

    /// `MR x NV` accumulators plus `NV` vectors of B and one broadcast of A fill the registers without spilling:
    /// - AVX-512 (32 registers): 12 x 2. 14 x 2 fits too, but 12 divides a row block of 48, and both are bound by FMA alone.
    /// - AVX2 (16): 6 x 2.
    /// - NEON (32): 8 x 3.
    /// - simd128 (engines give 15): 5 x 2, as a product needs a register before it is added: 6 x 2 loses 40 %. With relaxed SIMD, which adds it at
    ///   once, 6 x 2.
    /// - scalar: 4 x 4, which the compiler may vectorise with what the target has.
    pub const fn of<S: Simd>() -> Shape {
        match S::LANES {
            16 => Shape {
                lanes: 16,
                mr: 12,
                nv: 2,
            },
            8 => Shape { lanes: 8, mr: 6, nv: 2 },
            4 if cfg!(target_arch = "aarch64") => Shape { lanes: 4, mr: 8, nv: 3 },
            4 if cfg!(target_feature = "relaxed-simd") => Shape { lanes: 4, mr: 6, nv: 2 },
            4 => Shape { lanes: 4, mr: 5, nv: 2 },
            lanes => Shape { lanes, mr: 4, nv: 4 },
        }
    }

    /// For weights of a precision: bf16 comes in pairs of vectors, and the tiles of AMX have 16 rows.
    pub fn stored(isa: Isa, precision: Precision) -> Shape {
        let shape = Shape::for_isa(isa);
        match precision {
            Precision::Bf16 if isa.bf16_unit() == Some(Bf16Unit::Tiles) => Shape { mr: 16, ..shape },
            Precision::Bf16 if shape.nv > 1 => Shape {
                nv: shape.nv / 2 * 2,
                ..shape
            },
            _ => shape,
        }
    }

    pub fn for_isa(isa: Isa) -> Shape {
        struct Ask;
        impl Kernel for Ask {
            type Output = Shape;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> Shape {
                Shape::of::<S>()
            }
        }
        crate::simd::dispatch(isa, Ask)
    }
}

/// One call of the micro-kernel: `out[rows, width] (+)= scale * a[rows, k] · b[k, nv * lanes] (+ bias)`.
#[derive(Clone, Copy)]
pub struct Tile<T> {
    pub a: *const f32,
    /// Distance between rows of A.
    pub lda: usize,
    pub b: *const T,
    /// Distance between rows of B: the panel's width, or a whole row of an unpacked B.
    pub ldb: usize,
    pub k: usize,
    /// What is asked for from the L2 meanwhile, a row of B for each turn of the loop. Any address is fine.
    pub ahead: *const T,
    /// Ask for two rows a turn, where the tile is small enough.
    pub two_ahead: bool,
    pub to: Target,
}

/// Where a tile of sums goes: `out[rows, width] (+)= scale * sums (+ bias)`.
#[derive(Clone, Copy)]
pub struct Target {
    pub out: *mut f32,
    pub ldo: usize,
    /// Columns to store, at most `nv * lanes`.
    pub width: usize,
    /// `width` values to add, or null.
    pub bias: *const f32,
    /// Add to what `out` holds.
    pub add: bool,
    pub scale: f32,
}

/// Runs a tile of `rows <= MR` and `nv <= NV`.
///
/// # Safety
/// The pointers of `tile` are valid for the shape it states; `out` overlaps neither input.
#[inline(always)]
pub unsafe fn run<S: Simd, T: Stored>(s: S, tile: &Tile<T>, rows: usize, nv: usize) {
    // SAFETY: passed on to `run_rows`.
    unsafe {
        match (const { Shape::of::<S>().nv }, nv) {
            (2.., 2) => run_rows::<S, T, 2>(s, tile, rows),
            (3.., 3) => run_rows::<S, T, 3>(s, tile, rows),
            (4.., 4) => run_rows::<S, T, 4>(s, tile, rows),
            _ => run_rows::<S, T, 1>(s, tile, rows),
        }
    }
}

/// The third parameter is the number of accumulator sets: short tiles split K over several, since one FMA waits 4 cycles for
/// the one before it in its chain and two start every cycle: at least 8 chains are needed.
#[inline(always)]
unsafe fn run_rows<S: Simd, T: Stored, const NV: usize>(s: S, tile: &Tile<T>, rows: usize) {
    match (const { Shape::of::<S>().mr }, rows) {
        (_, 1) if NV == 1 => s.apart(Micro::<T, 1, NV, 8>(tile)),
        (_, 1) => s.apart(Micro::<T, 1, NV, 4>(tile)),
        (_, 2) if NV == 1 => s.apart(Micro::<T, 2, NV, 4>(tile)),
        (_, 2) => s.apart(Micro::<T, 2, NV, 2>(tile)),
        (_, 3) => s.apart(Micro::<T, 3, NV, 2>(tile)),
        (_, 4) if NV == 1 => s.apart(Micro::<T, 4, NV, 2>(tile)),
        (_, 4) => s.apart(Micro::<T, 4, NV, 1>(tile)),
        (5.., 5) => s.apart(Micro::<T, 5, NV, 1>(tile)),
        (6.., 6) => s.apart(Micro::<T, 6, NV, 1>(tile)),
        (7.., 7) => s.apart(Micro::<T, 7, NV, 1>(tile)),
        (8.., 8) => s.apart(Micro::<T, 8, NV, 1>(tile)),
        (9.., 9) => s.apart(Micro::<T, 9, NV, 1>(tile)),
        (10.., 10) => s.apart(Micro::<T, 10, NV, 1>(tile)),
        (11.., 11) => s.apart(Micro::<T, 11, NV, 1>(tile)),
        (12.., 12) => s.apart(Micro::<T, 12, NV, 1>(tile)),
        _ => unreachable!("a tile of {rows} rows"),
    }
}

/// `body` with `i` = 0, 1, ... below `limit` (at most 12), written out. Loops would be left to the compiler's unrolling, which comes too
/// late or not at all for some sizes of tile: the accumulators then live in memory, at 2 % of the speed.
macro_rules! unrolled {
    ($limit:expr, $i:ident, $body:expr) => {
        unrolled!(@ $limit, $i, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $limit:expr, $i:ident, $body:expr, $($n:literal)*) => {
        {$(if $n < $limit {
            let $i: usize = $n;
            $body;
        })*}
    };
}

pub(crate) use unrolled;

/// Steps of K a turn of the loop (for each set of accumulators). 2 is as fast; a prefetch of B each step lost 6 %.
const UNROLL: usize = 4;

/// This many tiles together ask for as many rows ahead as one of them multiplies by; half as many where each asks for two a turn.
pub const TILES_AHEAD: usize = UNROLL;

/// Steps of K that B is fetched ahead into the L1, across the pages of 4 KB at which the hardware's own prefetching stops.
const PREFETCH: usize = 64;

/// A size of tile, as a function of its own: with all in one, the distance between A's rows can end up in memory, 56 % of the peak at 805 x 3072 x 768
/// instead of 84 % (Zen 3), and so by chance, with any change to the code around it.
struct Micro<'a, T, const MR: usize, const NV: usize, const SETS: usize>(&'a Tile<T>);

impl<T: Stored, const MR: usize, const NV: usize, const SETS: usize> Kernel for Micro<'_, T, MR, NV, SETS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: [`run`]'s caller vouches for the tile.
        unsafe { micro::<S, T, MR, NV, SETS>(s, self.0) }
    }
}

#[inline(always)]
unsafe fn micro<S: Simd, T: Stored, const MR: usize, const NV: usize, const SETS: usize>(s: S, tile: &Tile<T>) {
    let lanes = S::LANES;
    let mut acc = [[[s.zero(); NV]; MR]; SETS];
    // SAFETY: k indices stay below `k`, rows below MR, columns below NV * lanes: the extents the caller vouches for.
    unsafe {
        if cfg!(target_arch = "wasm32") {
            sum_by_turns(s, tile, &mut acc);
        } else {
            sum(s, tile, &mut acc);
        }
        if SETS > 1 {
            unrolled!(SETS - 1, set, {
                unrolled!(
                    MR,
                    r,
                    unrolled!(NV, v, acc[0][r][v] = s.add(acc[0][r][v], acc[set + 1][r][v]))
                )
            });
        }
        if tile.to.width == NV * lanes {
            finish::<S, MR, NV>(s, &tile.to, &acc[0]);
        } else {
            // The copy keeps the accumulators themselves out of memory: only it is indexed by a variable.
            let mut copy = [[s.zero(); NV]; MR];
            unrolled!(MR, r, unrolled!(NV, v, copy[r][v] = acc[0][r][v]));
            finish_partial(s, &tile.to, &copy);
        }
    }
}

/// acc += a · b, step by step of K.
#[inline(always)]
unsafe fn sum<S: Simd, T: Stored, const MR: usize, const NV: usize, const SETS: usize>(
    s: S,
    tile: &Tile<T>,
    acc: &mut [[[S::F; NV]; MR]; SETS],
) {
    // SAFETY: as in `micro`.
    unsafe {
        // The addresses of a turn's steps are constants, so that the loop has few instructions beside loads and multiply-adds: with one
        // step a turn their computing cost 8 % (88.7 % of the peak at 512 x 768 x 768 instead of 96.6 %).
        let mut at = *tile;
        let mut left = tile.k;
        // A variable offset instead of a branch in the loop: nothing is asked for twice but the same line.
        let second = if tile.two_ahead { tile.ldb } else { 0 };
        while left >= UNROLL * SETS {
            unrolled!(UNROLL, turn, {
                unrolled!(SETS, set, {
                    step::<S, T, MR, NV>(s, &at, turn * SETS + set, &mut acc[set]);
                    // LLVM would read what several steps need of 9 and more rows first, row by row, and keep it in memory: 60 % of the peak
                    // of AVX-512 instead of 96 %.
                    if MR > 6 {
                        compiler_fence(Ordering::SeqCst);
                    }
                })
            });
            // The L3 of a Xeon gives a core 25 GB/s, less than the first tile of a panel takes: 78 -> 86 % of the peak at 805 x 3072 x 768 (Emerald
            // Rapids, AVX-512); 87 -> 91 % at 512 x 3072 x 768 and 512 x 768 x 3072 with AVX2 (Zen 3). With few rows the weight comes from memory,
            // which idles unless every tile asks: the linear layers of BERT-base with 8, 12, 25, 64 tokens 23.1 -> 18.5, 24.5 -> 22.5,
            // 39.6 -> 31.0, 87 -> 79 ms (Zen 3, medians).
            prefetch(Cache::L2, at.ahead, NV * S::LANES);
            if MR <= 8 {
                prefetch(Cache::L2, at.ahead.wrapping_add(second), NV * S::LANES);
                at.ahead = at.ahead.wrapping_add(second);
            }
            at.ahead = at.ahead.wrapping_add(at.ldb);
            at.a = at.a.add(UNROLL * SETS);
            at.b = at.b.add(UNROLL * SETS * at.ldb);
            left -= UNROLL * SETS;
        }
        for _ in 0..left {
            step::<S, T, MR, NV>(s, &at, 0, &mut acc[0]);
            at.a = at.a.add(1);
            at.b = at.b.add(at.ldb);
        }
    }
}

/// Steps of K a turn in WebAssembly. With simd128, 4 were 10 % slower while a turn computed how far it advances; since then as fast on Emerald Rapids, not
/// asked elsewhere.
const TURN: usize = if cfg!(target_feature = "relaxed-simd") { 4 } else { 8 };

/// The same for WebAssembly, whose backend in LLVM otherwise puts each sum's multiply-adds of all steps side by side, behind the loads of all
/// steps: an engine has no registers for these and keeps them in memory, at 40 % of the speed. It moves nothing across a branch, so that every
/// step begins with one. How far the pointers advance is read anew in each turn, so that LLVM does not see that they do so evenly: it would compute
/// them from one another, an addition for each load instead of its constant offset. (Computed from how much of K is left it cost an engine a
/// multiplication, for which the first loads of a turn waited: relaxed SIMD 33 -> 38 GFLOP/s, simd128 27 -> 28, Emerald Rapids, node 24.)
#[inline(always)]
unsafe fn sum_by_turns<S: Simd, T: Stored, const MR: usize, const NV: usize, const SETS: usize>(
    s: S,
    tile: &Tile<T>,
    acc: &mut [[[S::F; NV]; MR]; SETS],
) {
    // SAFETY: as in `micro`.
    unsafe {
        let mut rows = [tile.a; MR];
        unrolled!(MR, r, rows[r] = tile.a.add(r * tile.lda));
        let mut b = tile.b;
        let mut left = tile.k;
        let advance = [TURN, TURN * tile.ldb];
        'k: while left > 0 {
            let mut row = b;
            unrolled!(TURN, at, {
                if at > 0 {
                    if at == left {
                        break 'k;
                    }
                    row = row.add(tile.ldb);
                }
                let mut vectors = [s.zero(); NV];
                unrolled!(NV, v, vectors[v] = T::vector(s, row, v));
                unrolled!(MR, r, {
                    let a = s.splat(*rows[r].add(at));
                    let acc = &mut acc[at % SETS][r];
                    unrolled!(NV, v, acc[v] = s.mul_add(a, vectors[v], acc[v]));
                });
            });
            let [of_a, of_b] = (&raw const advance).read_volatile();
            // After the last turn behind what is read.
            unrolled!(MR, r, rows[r] = rows[r].wrapping_add(of_a));
            b = b.wrapping_add(of_b);
            left -= TURN;
        }
    }
}

/// acc += column k of A x row k of B.
#[inline(always)]
unsafe fn step<S: Simd, T: Stored, const MR: usize, const NV: usize>(
    s: S,
    tile: &Tile<T>,
    k: usize,
    acc: &mut [[S::F; NV]; MR],
) {
    // SAFETY: as in `micro`.
    unsafe {
        let row = tile.b.add(k * tile.ldb);
        // BERT-base's forward pass in f32 is 7 to 10 % faster with 8 tokens and 17 % with 25 (AVX-512, before a panel was asked for ahead; 2 to 6 %
        // slower with AVX2, since).
        if MR <= 8 && S::LANES == 16 {
            prefetch(Cache::L1, row.wrapping_add(PREFETCH * tile.ldb), NV * S::LANES);
        }
        let mut b = [s.zero(); NV];
        unrolled!(NV, v, b[v] = T::vector(s, row, v));
        unrolled!(MR, r, {
            let a = s.splat(*tile.a.add(r * tile.lda + k));
            unrolled!(NV, v, acc[r][v] = s.mul_add(a, b[v], acc[r][v]));
        });
    }
}

/// Stores a tile of whole vectors.
#[inline(always)]
pub(super) unsafe fn finish<S: Simd, const MR: usize, const NV: usize>(s: S, tile: &Target, acc: &[[S::F; NV]; MR]) {
    let scale = s.splat(tile.scale);
    let mut bias = [s.zero(); NV];
    // SAFETY: NV vectors of MR rows are valid in `out`, and NV vectors in `bias`.
    unsafe {
        if !tile.bias.is_null() {
            unrolled!(NV, v, bias[v] = s.load(tile.bias.add(v * S::LANES)));
        }
        if tile.add {
            unrolled!(MR, r, {
                let out = tile.out.add(r * tile.ldo);
                unrolled!(NV, v, {
                    let at = out.add(v * S::LANES);
                    s.store(at, s.mul_add(acc[r][v], scale, s.add(bias[v], s.load(at))));
                });
            });
        } else {
            unrolled!(MR, r, {
                let out = tile.out.add(r * tile.ldo);
                unrolled!(
                    NV,
                    v,
                    s.store(out.add(v * S::LANES), s.mul_add(acc[r][v], scale, bias[v]))
                );
            });
        }
    }
}

/// Stores a tile whose last vector is cut by the edge of the matrix.
#[inline(always)]
pub(super) unsafe fn finish_partial<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    tile: &Target,
    acc: &[[S::F; NV]; MR],
) {
    let scale = s.splat(tile.scale);
    for (r, acc) in acc.iter().enumerate() {
        for (v, &sum) in acc.iter().enumerate() {
            let column = v * S::LANES;
            let valid = S::LANES.min(tile.width.saturating_sub(column));
            // SAFETY: `valid` columns from `column` on are inside the tile's width (none: nothing is touched).
            unsafe {
                let out = tile.out.add(r * tile.ldo).wrapping_add(column);
                let mut base = s.zero();
                if !tile.bias.is_null() {
                    base = s.load_partial(tile.bias.wrapping_add(column), valid);
                }
                if tile.add {
                    base = s.add(base, s.load_partial(out, valid));
                }
                s.store_partial(out, s.mul_add(sum, scale, base), valid);
            }
        }
    }
}

// The scalar shape is the one that tests compare the others against: keep it reachable without detection.
const _: () = assert!(Shape::of::<Scalar>().lanes == 1);

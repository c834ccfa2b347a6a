//! The micro-kernel: a register tile of `MR` rows x `NV` vectors, and its choice by instruction set.

use crate::simd::{Isa, Scalar, Simd};

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
    /// - simd128 (engines give 16): 4 x 2; 8 x 2 and unrolling spill and lose a third of the speed.
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
            4 => Shape { lanes: 4, mr: 4, nv: 2 },
            lanes => Shape { lanes, mr: 4, nv: 4 },
        }
    }

    pub fn for_isa(isa: Isa) -> Shape {
        struct Ask;
        impl crate::simd::Kernel for Ask {
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
pub struct Tile {
    pub a: *const f32,
    /// Distance between rows of A.
    pub lda: usize,
    pub b: *const f32,
    /// Distance between rows of B: the panel's width, or a whole row of an unpacked B.
    pub ldb: usize,
    pub k: usize,
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
pub unsafe fn run<S: Simd>(s: S, tile: &Tile, rows: usize, nv: usize) {
    // SAFETY: passed on to `run_rows`.
    unsafe {
        match (const { Shape::of::<S>().nv }, nv) {
            (2.., 2) => run_rows::<S, 2>(s, tile, rows),
            (3.., 3) => run_rows::<S, 3>(s, tile, rows),
            (4.., 4) => run_rows::<S, 4>(s, tile, rows),
            _ => run_rows::<S, 1>(s, tile, rows),
        }
    }
}

/// The third parameter is the number of accumulator sets: short tiles split K over several, since one FMA waits 4 cycles for
/// the one before it in its chain and two start every cycle: at least 8 chains are needed.
#[inline(always)]
unsafe fn run_rows<S: Simd, const NV: usize>(s: S, tile: &Tile, rows: usize) {
    // SAFETY: the caller's promise, for each variant.
    unsafe {
        match (const { Shape::of::<S>().mr }, rows) {
            (_, 1) if NV == 1 => micro::<S, 1, NV, 8>(s, tile),
            (_, 1) => micro::<S, 1, NV, 4>(s, tile),
            (_, 2) if NV == 1 => micro::<S, 2, NV, 4>(s, tile),
            (_, 2) => micro::<S, 2, NV, 2>(s, tile),
            (_, 3) => micro::<S, 3, NV, 2>(s, tile),
            (_, 4) if NV == 1 => micro::<S, 4, NV, 2>(s, tile),
            (_, 4) => micro::<S, 4, NV, 1>(s, tile),
            (5.., 5) => micro::<S, 5, NV, 1>(s, tile),
            (6.., 6) => micro::<S, 6, NV, 1>(s, tile),
            (7.., 7) => micro::<S, 7, NV, 1>(s, tile),
            (8.., 8) => micro::<S, 8, NV, 1>(s, tile),
            (9.., 9) => micro::<S, 9, NV, 1>(s, tile),
            (10.., 10) => micro::<S, 10, NV, 1>(s, tile),
            (11.., 11) => micro::<S, 11, NV, 1>(s, tile),
            (12.., 12) => micro::<S, 12, NV, 1>(s, tile),
            _ => unreachable!("a tile of {rows} rows"),
        }
    }
}

#[inline(always)]
unsafe fn micro<S: Simd, const MR: usize, const NV: usize, const SETS: usize>(s: S, tile: &Tile) {
    let lanes = S::LANES;
    let mut acc = [[[s.zero(); NV]; MR]; SETS];
    // SAFETY: k indices stay below `k`, rows below MR, columns below NV * lanes: the extents the caller vouches for.
    unsafe {
        let step = |acc: &mut [[S::F; NV]; MR], k: usize| {
            let row = tile.b.add(k * tile.ldb);
            let mut b = [s.zero(); NV];
            for (v, b) in b.iter_mut().enumerate() {
                *b = s.load(row.add(v * lanes));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let a = s.splat(*tile.a.add(r * tile.lda + k));
                for v in 0..NV {
                    acc[v] = s.mul_add(a, b[v], acc[v]);
                }
            }
        };
        // One step of K a turn (for each set): 24 or 12 multiply-adds hide the loop's own instructions, and with more in the body the
        // compiler gives up unrolling the loops over rows and vectors, which leaves the accumulators in memory.
        let mut k = 0;
        while k + SETS <= tile.k {
            for (set, acc) in acc.iter_mut().enumerate() {
                step(acc, k + set);
            }
            k += SETS;
        }
        while k < tile.k {
            step(&mut acc[0], k);
            k += 1;
        }
        let (first, others) = acc.split_at_mut(1);
        for other in others {
            for r in 0..MR {
                for v in 0..NV {
                    first[0][r][v] = s.add(first[0][r][v], other[r][v]);
                }
            }
        }
        finish(s, tile, &first[0]);
    }
}

#[inline(always)]
unsafe fn finish<S: Simd, const MR: usize, const NV: usize>(s: S, tile: &Tile, acc: &[[S::F; NV]; MR]) {
    let lanes = S::LANES;
    let scale = s.splat(tile.scale);
    // SAFETY: columns below `width` of MR rows are valid in `out`, and `width` values in `bias`.
    unsafe {
        for (v, column) in (0..NV).map(|v| (v, v * lanes)) {
            if column >= tile.width {
                break;
            }
            let valid = lanes.min(tile.width - column);
            let whole = valid == lanes;
            let bias = match tile.bias.is_null() {
                true => s.zero(),
                false => s.load_partial(tile.bias.add(column), valid),
            };
            for (r, acc) in acc.iter().enumerate() {
                let out = tile.out.add(r * tile.ldo + column);
                let mut base = bias;
                if tile.add {
                    let old = if whole { s.load(out) } else { s.load_partial(out, valid) };
                    base = s.add(base, old);
                }
                let value = s.mul_add(acc[v], scale, base);
                if whole {
                    s.store(out, value)
                } else {
                    s.store_partial(out, value, valid)
                }
            }
        }
    }
}

// The scalar shape is the one that tests compare the others against: keep it reachable without detection.
const _: () = assert!(Shape::of::<Scalar>().lanes == 1);

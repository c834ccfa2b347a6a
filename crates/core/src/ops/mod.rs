//! Transformer operations other than matrix products, forward and backward, as pure functions on row-major f32 slices.
//!
//! Work is cut into tasks by shape alone, and every reduction has a fixed order, so results are the same bits for any number of
//! threads. The caller (the engine) validates shapes: slices of the wrong length are a bug of the caller and panic. Indices that come
//! as data (ids, labels, offsets) are validated here.

// Loops over lanes and register tiles are by index; the functions take (isa, pool) and then what the formula has.
#![allow(clippy::needless_range_loop, clippy::too_many_arguments)]

pub mod activation;
pub mod attention;
pub mod columns;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod layer_norm;
pub mod mse;
pub mod optimizer;
pub mod relative_bias;
pub mod rms_norm;
pub mod sequence_cross_entropy;
pub mod sequences;
pub mod softmax_cross_entropy;

use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// Elements of one elementwise task: 64 KiB of f32, some microseconds of work.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Columns of one task of a reduction over rows: four cache lines.
pub(crate) const COLUMN_BLOCK: usize = 64;

/// Ones, to make lanes past the end of a row vanish: `load_partial(ONES, n)`.
pub(crate) const ONES: [f32; 16] = [1.0; 16];

/// Loads `n` values, by the faster instruction when that is a whole vector.
/// # Safety
/// `p` is valid for reading `n` f32.
#[inline(always)]
pub(crate) unsafe fn load<S: Simd>(s: S, p: *const f32, n: usize) -> S::F {
    // SAFETY: the caller's promise.
    unsafe { if n == S::LANES { s.load(p) } else { s.load_partial(p, n) } }
}

/// Stores the first `n` lanes.
/// # Safety
/// `p` is valid for writing `n` f32.
#[inline(always)]
pub(crate) unsafe fn store<S: Simd>(s: S, p: *mut f32, v: S::F, n: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        if n == S::LANES {
            s.store(p, v)
        } else {
            s.store_partial(p, v, n)
        }
    }
}

/// Rows of one task, so that it has about [`CHUNK`] elements.
pub(crate) fn rows_per_task(cols: usize) -> usize {
    (CHUNK / cols.max(1)).max(1)
}

/// Calls `task(start, len)` for the pieces of `0..total` of at most `chunk`.
pub(crate) fn for_chunks(pool: &Pool, total: usize, chunk: usize, task: impl Fn(usize, usize) + Sync) {
    pool.run(total.div_ceil(chunk), &|index| {
        let start = index * chunk;
        task(start, chunk.min(total - start));
    });
}

/// An elementwise function of N inputs. Mark `map` `#[inline(always)]`.
pub(crate) trait Map<const N: usize>: Copy + Send + Sync {
    fn map<S: Simd>(self, s: S, x: [S::F; N]) -> S::F;
}

struct MapKernel<M, const N: usize> {
    map: M,
    inputs: [*const f32; N],
    out: *mut f32,
    len: usize,
}

impl<M: Map<N>, const N: usize> Kernel for MapKernel<M, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut x = [s.zero(); N];
        let mut i = 0;
        // SAFETY: whoever built the kernel promises `len` readable elements behind each input and `len` writable ones behind `out`;
        // an input may be the output itself, since each vector is read before it is written.
        unsafe {
            while i + S::LANES <= self.len {
                for n in 0..N {
                    x[n] = s.load(self.inputs[n].add(i));
                }
                s.store(self.out.add(i), self.map.map(s, x));
                i += S::LANES;
            }
            let rest = self.len - i;
            if rest > 0 {
                for n in 0..N {
                    x[n] = s.load_partial(self.inputs[n].add(i), rest);
                }
                s.store_partial(self.out.add(i), self.map.map(s, x), rest);
            }
        }
    }
}

/// `out[i] = map(inputs[..][i])`, in parallel.
pub(crate) fn map<M: Map<N>, const N: usize>(isa: Isa, pool: &Pool, map: M, inputs: [&[f32]; N], out: &mut [f32]) {
    for input in inputs {
        assert_eq!(
            input.len(),
            out.len(),
            "elementwise operation on slices of different length"
        );
    }
    let pointer = SendPtr::new(out);
    for_chunks(pool, out.len(), CHUNK, |start, len| {
        let inputs = inputs.map(|input| input[start..start + len].as_ptr());
        // SAFETY: chunks are inside `out` and disjoint.
        let out = unsafe { pointer.at(start) };
        dispatch(isa, MapKernel { map, inputs, out, len });
    });
}

/// `y[i] = map(y[i], x[i])`, in parallel.
pub(crate) fn map_in_place<M: Map<2>>(isa: Isa, pool: &Pool, map: M, y: &mut [f32], x: &[f32]) {
    assert_eq!(x.len(), y.len(), "elementwise operation on slices of different length");
    let pointer = SendPtr::new(y);
    for_chunks(pool, x.len(), CHUNK, |start, len| {
        // SAFETY: chunks are inside `y` and disjoint.
        let out = unsafe { pointer.at(start) };
        dispatch(
            isa,
            MapKernel {
                map,
                inputs: [out.cast_const(), x[start..start + len].as_ptr()],
                out,
                len,
            },
        );
    });
}

/// `out[i] = map(inputs[..][i])` on the calling thread.
pub(crate) fn map_into<M: Map<N>, const N: usize>(isa: Isa, map: M, inputs: [&[f32]; N], out: &mut [f32]) {
    for input in inputs {
        assert_eq!(
            input.len(),
            out.len(),
            "elementwise operation on slices of different length"
        );
    }
    let (inputs, len, out) = (inputs.map(<[f32]>::as_ptr), out.len(), out.as_mut_ptr());
    dispatch(isa, MapKernel { map, inputs, out, len });
}

/// `y[i] = map(y[i])` on the calling thread.
pub(crate) fn map_slice<M: Map<1>>(isa: Isa, map: M, y: &mut [f32]) {
    let out = y.as_mut_ptr();
    dispatch(
        isa,
        MapKernel {
            map,
            inputs: [out.cast_const()],
            out,
            len: y.len(),
        },
    );
}

/// `y[i] = map(y[i], x[i])` on the calling thread.
pub(crate) fn map_slice2<M: Map<2>>(isa: Isa, map: M, y: &mut [f32], x: &[f32]) {
    assert_eq!(x.len(), y.len(), "elementwise operation on slices of different length");
    let out = y.as_mut_ptr();
    dispatch(
        isa,
        MapKernel {
            map,
            inputs: [out.cast_const(), x.as_ptr()],
            out,
            len: x.len(),
        },
    );
}

/// `y[i] = map(x[i], y[i])` on the calling thread.
pub(crate) fn map_onto_slice<M: Map<2>>(isa: Isa, map: M, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "elementwise operation on slices of different length");
    let out = y.as_mut_ptr();
    dispatch(
        isa,
        MapKernel {
            map,
            inputs: [x.as_ptr(), out.cast_const()],
            out,
            len: x.len(),
        },
    );
}

struct SumKernel<'a, M, const N: usize> {
    map: M,
    inputs: [&'a [f32]; N],
}

impl<M: Map<N>, const N: usize> Kernel for SumKernel<'_, M, N> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let len = self.inputs[0].len();
        let mut sums = [0.0f64; 16];
        let mut lanes = [0.0f32; 16];
        let mut x = [s.zero(); N];
        let mut i = 0;
        // SAFETY: all inputs have `len` elements (asserted by `sum_map`); `lanes` holds 16 >= LANES.
        unsafe {
            while i + S::LANES <= len {
                for n in 0..N {
                    x[n] = s.load(self.inputs[n].as_ptr().add(i));
                }
                s.store(lanes.as_mut_ptr(), self.map.map(s, x));
                for l in 0..S::LANES {
                    sums[l] += lanes[l] as f64;
                }
                i += S::LANES;
            }
            let rest = len - i;
            if rest > 0 {
                for n in 0..N {
                    x[n] = s.load_partial(self.inputs[n].as_ptr().add(i), rest);
                }
                s.store_partial(lanes.as_mut_ptr(), self.map.map(s, x), rest);
                for l in 0..rest {
                    sums[l] += lanes[l] as f64;
                }
            }
        }
        sums.iter().sum()
    }
}

/// `Σ map(inputs[..][i])` on the calling thread; map in f32, sum in f64.
pub(crate) fn sum_map<M: Map<N>, const N: usize>(isa: Isa, map: M, inputs: [&[f32]; N]) -> f64 {
    for input in inputs {
        assert_eq!(input.len(), inputs[0].len(), "reduction of slices of different length");
    }
    dispatch(isa, SumKernel { map, inputs })
}

/// Sums `part(start, len)` over chunks of [`CHUNK`], in parallel, added up in order.
pub(crate) fn sum_chunks(pool: &Pool, total: usize, part: impl Fn(usize, usize) -> f64 + Sync) -> f64 {
    let mut parts = vec![0.0f64; total.div_ceil(CHUNK)];
    let pointer = SendPtr::new(&mut parts);
    for_chunks(pool, total, CHUNK, |start, len| {
        let value = part(start, len);
        // SAFETY: one element per chunk, each written by one task.
        unsafe { *pointer.at(start / CHUNK) = value };
    });
    parts.iter().sum()
}

#[cfg(test)]
pub(crate) mod testing {
    use crate::simd::Isa;
    use crate::threads::Pool;

    /// Uniform in (-1, 1), from a 64-bit linear congruential generator.
    pub fn random(seed: u64, len: usize) -> Vec<f32> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
        (0..len)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                ((state >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
            })
            .collect()
    }

    #[track_caller]
    pub fn close(left: &[f32], right: &[f64], tolerance: f64) {
        assert_eq!(left.len(), right.len());
        for (i, (&l, &r)) in left.iter().zip(right).enumerate() {
            assert!(
                (l as f64 - r).abs() <= tolerance * (1.0 + r.abs()),
                "element {i}: {l} and {r}"
            );
        }
    }

    /// Runs `body` on every instruction set with one thread and with three, and asserts that the thread count changes no bit.
    #[track_caller]
    pub fn everywhere(body: impl Fn(Isa, &Pool) -> Vec<f32>) -> Vec<Vec<f32>> {
        let (one, three) = (Pool::new(1), Pool::new(3));
        Isa::available()
            .into_iter()
            .map(|isa| {
                let result = body(isa, &one);
                let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                assert_eq!(
                    bits(&result),
                    bits(&body(isa, &three)),
                    "threads changed the result on {}",
                    isa.name()
                );
                result
            })
            .collect()
    }

    /// Central differences of `f` at `x`, in f64.
    pub fn numeric_gradient(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let mut x = x.to_vec();
        (0..x.len())
            .map(|i| {
                let (old, h) = (x[i], 1e-5);
                x[i] = old + h;
                let up = f(&x);
                x[i] = old - h;
                let down = f(&x);
                x[i] = old;
                (up - down) / (2.0 * h)
            })
            .collect()
    }

    pub fn wide(x: &[f32]) -> Vec<f64> {
        x.iter().map(|&x| x as f64).collect()
    }
}

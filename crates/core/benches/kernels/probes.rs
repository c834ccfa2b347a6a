//! The machine's limits: what no kernel can beat.

use crate::Bench;
use crate::numbers::numbers;
use crate::timing::best;
use deftune_core::memory::AlignedBuf;
#[cfg(target_arch = "x86_64")]
use deftune_core::simd::{Bf16Unit, amx, avx512_bf16};
use deftune_core::simd::{Kernel, Simd, dispatch};
use std::hint::black_box;

/// A stream of FMAs that the registers feed: what no kernel can beat.
struct Probe(usize);

impl Kernel for Probe {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        // 10 chains cover the latency of two FMA units; they and their two operands fit in 16 registers.
        let mut acc = [s.splat(black_box(1.0)); 10];
        let (a, b) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
        for _ in 0..self.0 {
            for acc in &mut acc {
                *acc = s.mul_add(*acc, a, b);
            }
        }
        for acc in acc {
            black_box(s.reduce_add(acc));
        }
        (self.0 * 10 * S::LANES * 2) as f64
    }
}

/// Reads a slice once, in vectors, into eight sums.
struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut sums = [s.zero(); 8];
        for part in self.0.chunks_exact(8 * S::LANES) {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 8 vectors are in the chunk.
                *sum = s.add(*sum, unsafe { s.load(part.as_ptr().add(v * S::LANES)) });
            }
        }
        sums.into_iter().map(|sum| s.reduce_add(sum)).sum()
    }
}

impl Bench {
    /// GFLOP/s of all threads together.
    pub fn peak(&mut self, threads: usize) -> f64 {
        const LENGTH: usize = 400_000;
        let (isa, pool) = (self.isa, self.pool(threads));
        let flops = dispatch(isa, Probe(LENGTH)) * threads as f64;
        let seconds = best(&mut || {
            pool.run(threads, &|_| {
                black_box(dispatch(isa, Probe(LENGTH)));
            })
        });
        flops / seconds / 1e9
    }

    /// GFLOP/s of all threads together on bf16; an error where the CPU has no unit for it.
    #[cfg(target_arch = "x86_64")]
    pub fn peak_bf16(&mut self, threads: usize) -> Result<f64, String> {
        const LENGTH: usize = 100_000;
        let (isa, pool) = (self.isa, self.pool(threads));
        let run = move || match isa.bf16_unit() {
            // SAFETY: the instruction set was detected.
            Some(Bf16Unit::Tiles) => unsafe { amx::probe(LENGTH) },
            Some(Bf16Unit::Dot) => avx512_bf16::probe(isa, LENGTH),
            None => f64::NAN,
        };
        let flops = run() * threads as f64;
        if flops.is_nan() {
            return Err(format!("{} has no unit for bf16", isa.name()));
        }
        let seconds = best(&mut || {
            pool.run(threads, &|_| {
                black_box(run());
            })
        });
        Ok(flops / seconds / 1e9)
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn peak_bf16(&mut self, _: usize) -> Result<f64, String> {
        Err(format!("{} has no unit for bf16", self.isa.name()))
    }

    /// GB/s of all threads together, each reading `bytes` of its own.
    pub fn bandwidth(&mut self, threads: usize, bytes: usize) -> f64 {
        let (isa, pool) = (self.isa, self.pool(threads));
        // Aligned: a vector of AVX-512 that crosses a cache line costs two reads.
        let sources = (0..threads).map(|i| AlignedBuf::from_slice(&numbers(bytes / 4, i as u64 + 1)));
        let sources = sources
            .collect::<Result<Vec<_>, _>>()
            .unwrap_or_else(|error| panic!("{error}"));
        let passes = (16_000_000 / bytes).max(1);
        let seconds = best(&mut || {
            pool.run(threads, &|index| {
                for _ in 0..passes {
                    black_box(dispatch(isa, Read(black_box(&sources[index]))));
                }
            })
        });
        (threads * bytes * passes) as f64 / seconds / 1e9
    }
}

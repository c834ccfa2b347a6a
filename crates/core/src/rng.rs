//! Counter-based random numbers: element i of stream (seed, stream) is a function of its number alone, so a backward pass makes a
//! dropout mask again instead of keeping it, and the mask does not depend on the number of threads.

use crate::simd::Simd;

/// Identifies one use of random numbers: the run's seed and the number of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    pub seed: u32,
    pub stream: u32,
}

impl Stream {
    /// The 32-bit key of the stream; two rounds of the finaliser separate neighbouring seeds and streams.
    #[inline(always)]
    fn key(self) -> u32 {
        mix(mix(self.seed ^ 0x9e37_79b9).wrapping_add(self.stream.wrapping_mul(0x85eb_ca6b)))
    }

    /// 32 random bits for element `index`.
    #[inline(always)]
    pub fn bits(self, index: u32) -> u32 {
        mix(mix(index.wrapping_add(self.key())) ^ self.key().rotate_left(16))
    }

    /// The same for LANES elements.
    #[inline(always)]
    pub fn bits_simd<S: Simd>(self, s: S, indices: S::I) -> S::I {
        let key = self.key();
        let first = mix_simd(s, s.add_i(indices, s.splat_i(key)));
        mix_simd(s, s.xor_i(first, s.splat_i(key.rotate_left(16))))
    }

    /// Uniform in [0, 1) with 24 bits.
    #[inline(always)]
    pub fn uniform(self, index: u32) -> f32 {
        (self.bits(index) >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [0, 1) for elements `index .. index + LANES`.
    #[inline(always)]
    pub fn uniform_simd<S: Simd>(self, s: S, index: u32) -> S::F {
        self.uniform_at(s, s.iota(index))
    }

    /// Uniform in [0, 1) for LANES elements.
    #[inline(always)]
    pub fn uniform_at<S: Simd>(self, s: S, indices: S::I) -> S::F {
        s.mul(
            s.to_f(s.shr_i::<8>(self.bits_simd(s, indices))),
            s.splat(1.0 / 16_777_216.0),
        )
    }
}

/// 32-bit finaliser "lowbias32" (Chris Wellons' hash prospector; bias 0.17).
#[inline(always)]
fn mix(mut x: u32) -> u32 {
    x ^= x >> 16;
    x = x.wrapping_mul(0x7feb_352d);
    x ^= x >> 15;
    x = x.wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

#[inline(always)]
fn mix_simd<S: Simd>(s: S, x: S::I) -> S::I {
    let x = s.xor_i(x, s.shr_i::<16>(x));
    let x = s.mul_i(x, s.splat_i(0x7feb_352d));
    let x = s.xor_i(x, s.shr_i::<15>(x));
    let x = s.mul_i(x, s.splat_i(0x846c_a68b));
    s.xor_i(x, s.shr_i::<16>(x))
}

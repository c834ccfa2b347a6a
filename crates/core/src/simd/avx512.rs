//! AVX-512 (F, VL, BW, DQ): 16 lanes.

use super::{Kernel, Simd};
use core::arch::x86_64::*;

/// Proof that the CPU has AVX-512 F, VL, BW and DQ.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The CPU has avx512f, avx512vl, avx512bw, avx512dq, avx2, fma and popcnt.
    #[inline(always)]
    pub unsafe fn new() -> Avx512 {
        Avx512(())
    }
}

/// An intrinsic in a method that has `self` as its proof.
macro_rules! op {
    ($call:expr) => {{
        // SAFETY: a value of the type exists only where the CPU has the instruction set (see `new`).
        unsafe { $call }
    }};
}

/// Mask of the first `n <= 16` lanes.
#[inline(always)]
fn first(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

// SAFETY: `new` asks its caller for the instruction set.
unsafe impl Simd for Avx512 {
    const NAME: &'static str = "avx512";
    const LANES: usize = 16;
    type F = __m512;
    type I = __m512i;
    type M = __mmask16;

    #[inline(always)]
    fn apart<K: Kernel>(self, kernel: K) -> K::Output {
        op!(super::run_avx512(kernel))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        op!(_mm512_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: the caller's promise about `p`.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: the caller's promise about `p`.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> __m512 {
        // SAFETY: masked lanes are not read; the caller vouches for the others.
        unsafe { _mm512_maskz_loadu_ps(first(n), p) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: __m512, n: usize) {
        // SAFETY: masked lanes are not written; the caller vouches for the others.
        unsafe { _mm512_mask_storeu_ps(p, first(n), v) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_div_ps(a, b))
    }
    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        op!(_mm512_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_min_ps(a, b))
    }
    #[inline(always)]
    fn abs(self, a: __m512) -> __m512 {
        op!(_mm512_abs_ps(a))
    }
    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        op!(_mm512_sqrt_ps(a))
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        op!(_mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn lt(self, a: __m512, b: __m512) -> __mmask16 {
        op!(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn gt(self, a: __m512, b: __m512) -> __mmask16 {
        op!(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b))
    }
    #[inline(always)]
    fn ne_zero(self, a: __m512) -> __mmask16 {
        op!(_mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(a, _mm512_setzero_ps()))
    }
    #[inline(always)]
    fn select(self, m: __mmask16, a: __m512, b: __m512) -> __m512 {
        op!(_mm512_mask_blend_ps(m, b, a))
    }
    #[inline(always)]
    fn mask_bits(self, m: __mmask16) -> u32 {
        m as u32
    }
    #[inline(always)]
    fn reduce_add(self, a: __m512) -> f32 {
        op!(_mm512_reduce_add_ps(a))
    }
    #[inline(always)]
    fn reduce_max(self, a: __m512) -> f32 {
        op!(_mm512_reduce_max_ps(a))
    }

    #[inline(always)]
    fn splat_i(self, x: u32) -> __m512i {
        op!(_mm512_set1_epi32(x as i32))
    }
    #[inline(always)]
    fn iota(self, start: u32) -> __m512i {
        op!(_mm512_add_epi32(
            _mm512_set1_epi32(start as i32),
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
        ))
    }
    #[inline(always)]
    fn add_i(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_add_epi32(a, b))
    }
    #[inline(always)]
    fn mul_i(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_mullo_epi32(a, b))
    }
    #[inline(always)]
    fn xor_i(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_xor_si512(a, b))
    }
    #[inline(always)]
    fn and_i(self, a: __m512i, b: __m512i) -> __m512i {
        op!(_mm512_and_si512(a, b))
    }
    // The immediate forms take a `const u32`, which the trait's `const i32` cannot become on stable Rust; a constant vector of
    // counts folds to the same instruction.
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: __m512i) -> __m512i {
        op!(_mm512_sllv_epi32(a, _mm512_set1_epi32(N)))
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: __m512i) -> __m512i {
        op!(_mm512_srlv_epi32(a, _mm512_set1_epi32(N)))
    }
    #[inline(always)]
    fn to_i(self, a: __m512) -> __m512i {
        op!(_mm512_cvttps_epi32(a))
    }
    #[inline(always)]
    fn to_f(self, a: __m512i) -> __m512 {
        op!(_mm512_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn bits(self, a: __m512) -> __m512i {
        op!(_mm512_castps_si512(a))
    }
    #[inline(always)]
    fn from_bits(self, a: __m512i) -> __m512 {
        op!(_mm512_castsi512_ps(a))
    }
    #[inline(always)]
    fn scale(self, a: __m512, n: __m512) -> __m512 {
        op!(_mm512_scalef_ps(a, n))
    }

    #[inline(always)]
    fn transpose(self, x: &mut [__m512; 16]) {
        // Lane group L of column[group][m]: column 4 L + m of the four rows of the group.
        let mut column = [[self.zero(); 4]; 4];
        for group in 0..4 {
            let [a, b, c, d] = [x[4 * group], x[4 * group + 1], x[4 * group + 2], x[4 * group + 3]];
            let (low, high) = op!((_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)));
            let (low2, high2) = op!((_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d)));
            let (low, high) = op!((_mm512_castps_pd(low), _mm512_castps_pd(high)));
            let (low2, high2) = op!((_mm512_castps_pd(low2), _mm512_castps_pd(high2)));
            column[group] = op!([
                _mm512_castpd_ps(_mm512_unpacklo_pd(low, low2)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(low, low2)),
                _mm512_castpd_ps(_mm512_unpacklo_pd(high, high2)),
                _mm512_castpd_ps(_mm512_unpackhi_pd(high, high2)),
            ]);
        }
        for m in 0..4 {
            let [a, b, c, d] = [column[0][m], column[1][m], column[2][m], column[3][m]];
            op!({
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (even2, odd2) = (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                x[m] = _mm512_shuffle_f32x4::<0x88>(even, even2);
                x[4 + m] = _mm512_shuffle_f32x4::<0x88>(odd, odd2);
                x[8 + m] = _mm512_shuffle_f32x4::<0xdd>(even, even2);
                x[12 + m] = _mm512_shuffle_f32x4::<0xdd>(odd, odd2);
            });
        }
    }

    /// Packs in registers and stores whole vectors: `vpcompress` to memory is microcoded on Zen 4 (over 100 cycles).
    #[inline(always)]
    unsafe fn compress_nonzero(self, v: __m512, base: u16, values: *mut f32, indices: *mut u16) -> usize {
        let mask = self.ne_zero(v);
        let numbers = self.iota(base as u32);
        // SAFETY: the caller vouches for 16 elements at both pointers.
        unsafe {
            _mm512_storeu_ps(values, _mm512_maskz_compress_ps(mask, v));
            let packed = _mm512_maskz_compress_epi32(mask, numbers);
            _mm256_storeu_si256(indices.cast(), _mm512_cvtepi32_epi16(packed));
        }
        mask.count_ones() as usize
    }
}

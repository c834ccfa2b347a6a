//! AVX2 + FMA: 8 lanes.

use super::{Kernel, Simd};
use core::arch::x86_64::*;

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU has avx2, fma and popcnt.
    #[inline(always)]
    pub unsafe fn new() -> Avx2 {
        Avx2(())
    }
}

/// An intrinsic in a method that has `self` as its proof.
macro_rules! op {
    ($call:expr) => {{
        // SAFETY: a value of the type exists only where the CPU has the instruction set (see `new`).
        unsafe { $call }
    }};
}

/// `PACK[mask]` lists the lanes whose bit is set, in order, then zeros: the permutation that packs them to the front.
/// One byte a lane, so that the table is 2 KB and leaves most of L1 to the data.
static PACK: [[u8; 8]; 256] = {
    let mut table = [[0u8; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let mut lane = 0;
        let mut n = 0;
        while lane < 8 {
            if mask >> lane & 1 == 1 {
                table[mask][n] = lane as u8;
                n += 1;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// Eight ones then eight zeros: the mask of the first n lanes starts at 8 - n.
static FIRST: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Avx2 {
    #[inline(always)]
    fn first(self, n: usize) -> __m256i {
        debug_assert!(n <= 8);
        // SAFETY: n <= 8 keeps the 8 entries inside the 16; the intrinsic by `self`.
        unsafe { _mm256_loadu_si256(FIRST.as_ptr().add(8 - n).cast()) }
    }
}

// SAFETY: `new` asks its caller for the instruction set.
unsafe impl Simd for Avx2 {
    const NAME: &'static str = "avx2";
    const LANES: usize = 8;
    type F = __m256;
    type I = __m256i;
    type M = __m256;

    #[inline(always)]
    fn apart<K: Kernel>(self, kernel: K) -> K::Output {
        op!(super::run_avx2(kernel))
    }

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        op!(_mm256_set1_ps(x))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: the caller's promise about `p`.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: the caller's promise about `p`.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> __m256 {
        // SAFETY: masked lanes are not read; the caller vouches for the others.
        unsafe { _mm256_maskload_ps(p, self.first(n)) }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: __m256, n: usize) {
        // SAFETY: masked lanes are not written; the caller vouches for the others.
        unsafe { _mm256_maskstore_ps(p, self.first(n), v) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_add_ps(a, b))
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_sub_ps(a, b))
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_div_ps(a, b))
    }
    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        op!(_mm256_fmadd_ps(a, b, c))
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_min_ps(a, b))
    }
    #[inline(always)]
    fn abs(self, a: __m256) -> __m256 {
        op!(_mm256_andnot_ps(_mm256_set1_ps(-0.0), a))
    }
    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        op!(_mm256_sqrt_ps(a))
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        op!(_mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a))
    }
    #[inline(always)]
    fn lt(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_cmp_ps::<_CMP_LT_OQ>(a, b))
    }
    #[inline(always)]
    fn gt(self, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_cmp_ps::<_CMP_GT_OQ>(a, b))
    }
    #[inline(always)]
    fn ne_zero(self, a: __m256) -> __m256 {
        op!(_mm256_cmp_ps::<_CMP_NEQ_UQ>(a, _mm256_setzero_ps()))
    }
    #[inline(always)]
    fn select(self, m: __m256, a: __m256, b: __m256) -> __m256 {
        op!(_mm256_blendv_ps(b, a, m))
    }
    #[inline(always)]
    fn mask_bits(self, m: __m256) -> u32 {
        op!(_mm256_movemask_ps(m) as u32)
    }
    #[inline(always)]
    fn reduce_add(self, a: __m256) -> f32 {
        op!({
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        })
    }
    #[inline(always)]
    fn reduce_max(self, a: __m256) -> f32 {
        op!({
            let four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        })
    }

    #[inline(always)]
    fn splat_i(self, x: u32) -> __m256i {
        op!(_mm256_set1_epi32(x as i32))
    }
    #[inline(always)]
    fn iota(self, start: u32) -> __m256i {
        op!(_mm256_add_epi32(
            _mm256_set1_epi32(start as i32),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
        ))
    }
    #[inline(always)]
    fn add_i(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_add_epi32(a, b))
    }
    #[inline(always)]
    fn mul_i(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_mullo_epi32(a, b))
    }
    #[inline(always)]
    fn xor_i(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_xor_si256(a, b))
    }
    #[inline(always)]
    fn and_i(self, a: __m256i, b: __m256i) -> __m256i {
        op!(_mm256_and_si256(a, b))
    }
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: __m256i) -> __m256i {
        op!(_mm256_slli_epi32::<N>(a))
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: __m256i) -> __m256i {
        op!(_mm256_srli_epi32::<N>(a))
    }
    #[inline(always)]
    fn to_i(self, a: __m256) -> __m256i {
        op!(_mm256_cvttps_epi32(a))
    }
    #[inline(always)]
    fn to_f(self, a: __m256i) -> __m256 {
        op!(_mm256_cvtepi32_ps(a))
    }
    #[inline(always)]
    fn bits(self, a: __m256) -> __m256i {
        op!(_mm256_castps_si256(a))
    }
    #[inline(always)]
    fn from_bits(self, a: __m256i) -> __m256 {
        op!(_mm256_castsi256_ps(a))
    }

    #[inline(always)]
    fn transpose(self, x: &mut [__m256; 16]) {
        // Half L of column[group][m]: column 4 L + m of the four rows of the group.
        let mut column = [[self.zero(); 4]; 2];
        for group in 0..2 {
            let [a, b, c, d] = [x[4 * group], x[4 * group + 1], x[4 * group + 2], x[4 * group + 3]];
            let (low, high) = op!((_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)));
            let (low2, high2) = op!((_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d)));
            let (low, high) = op!((_mm256_castps_pd(low), _mm256_castps_pd(high)));
            let (low2, high2) = op!((_mm256_castps_pd(low2), _mm256_castps_pd(high2)));
            column[group] = op!([
                _mm256_castpd_ps(_mm256_unpacklo_pd(low, low2)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(low, low2)),
                _mm256_castpd_ps(_mm256_unpacklo_pd(high, high2)),
                _mm256_castpd_ps(_mm256_unpackhi_pd(high, high2)),
            ]);
        }
        for m in 0..4 {
            x[m] = op!(_mm256_permute2f128_ps::<0x20>(column[0][m], column[1][m]));
            x[4 + m] = op!(_mm256_permute2f128_ps::<0x31>(column[0][m], column[1][m]));
        }
    }

    #[inline(always)]
    unsafe fn compress_nonzero(self, v: __m256, base: u16, values: *mut f32, indices: *mut u16) -> usize {
        let bits = self.mask_bits(self.ne_zero(v)) as usize;
        // SAFETY: `bits` has 8 bits; the caller vouches for 8 elements at both pointers.
        unsafe {
            let lanes = _mm_loadl_epi64(PACK.as_ptr().add(bits).cast());
            _mm256_storeu_ps(values, _mm256_permutevar8x32_ps(v, _mm256_cvtepu8_epi32(lanes)));
            // The permutation doubles as the list of lane numbers.
            let numbers = _mm_add_epi16(_mm_cvtepu8_epi16(lanes), _mm_set1_epi16(base as i16));
            _mm_storeu_si128(indices.cast(), numbers);
        }
        bits.count_ones() as usize
    }
}

//! AVX-512 with dot products of bf16 pairs (AVX512_BF16).

use super::avx512::Avx512;
use super::{Bf16Kernel, Isa, Simd, dispatch_bf16};
use core::arch::x86_64::*;

/// Proof that the CPU has AVX512_BF16 beside what `Avx512` asks for.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Bf16 {
    /// The rest of the instruction set.
    pub base: Avx512,
}

impl Avx512Bf16 {
    /// # Safety
    /// The CPU has avx512bf16 and what `Avx512::new` asks for.
    #[inline(always)]
    pub unsafe fn new() -> Avx512Bf16 {
        Avx512Bf16 {
            // SAFETY: the caller's promise.
            base: unsafe { Avx512::new() },
        }
    }

    /// `acc + a[2i] * b[2i] + a[2i + 1] * b[2i + 1]` in lane i, for the pair of bf16 at `a` and 16 pairs at `b`. Denormals count as 0.
    ///
    /// # Safety
    /// `a` is valid for reading 2 values, `b` for 32.
    #[inline(always)]
    pub unsafe fn dot(self, acc: __m512, a: *const u16, b: __m512i) -> __m512 {
        // SAFETY: a value of the type exists only where the CPU has the instruction set; the caller vouches for `a`. `__m512bh` holds
        // the same bits as `__m512i`.
        unsafe {
            let pair = _mm512_set1_epi32(a.cast::<i32>().read_unaligned());
            _mm512_dpbf16_ps(
                acc,
                core::mem::transmute::<__m512i, __m512bh>(pair),
                core::mem::transmute::<__m512i, __m512bh>(b),
            )
        }
    }

    /// 16 pairs.
    ///
    /// # Safety
    /// `b` is valid for reading 32 values.
    #[inline(always)]
    pub unsafe fn load_pairs(self, b: *const u16) -> __m512i {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_si512(b.cast()) }
    }

    /// Rounds `values` to bf16 (nearest, ties to even; denormals become 0); what is left of `to` becomes 0.
    ///
    /// # Panics
    /// When `to` is shorter than `values`.
    #[inline(always)]
    pub fn narrow(self, values: &[f32], to: &mut [u16]) {
        let (to, rest) = to.split_at_mut(values.len());
        for (values, to) in values.chunks(16).zip(to.chunks_mut(16)) {
            // SAFETY: the mask covers the values of this chunk alone.
            unsafe {
                let mask = ((1u32 << values.len()) - 1) as __mmask16;
                let bits = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, values.as_ptr()));
                _mm256_mask_storeu_epi16(
                    to.as_mut_ptr().cast(),
                    mask,
                    core::mem::transmute::<__m256bh, __m256i>(bits),
                );
            }
        }
        rest.fill(0);
    }

    /// `to` = the transpose of `from`, both `size` rows of `size` columns whose pairs of rows share 32-bit words. Four values at a time, in registers for
    /// integers, products of panels turned so took up to 35 % more time (25 and 32 rows, AMX; 2 to 4 % with 805).
    ///
    /// # Panics
    /// Where the lengths are others, or `size` is no multiple of 16.
    #[inline(always)]
    pub fn transpose_pairs(self, from: &[u16], to: &mut [u16], size: usize) {
        assert!(size.is_multiple_of(16) && from.len() == size * size && to.len() == size * size);
        // Two columns of a pair of rows are 64 bits, which become two columns of a pair of rows.
        for pair in (0..size / 2).step_by(8) {
            for column in (0..size / 2).step_by(8) {
                // SAFETY: both have `size / 2` pairs of `size / 2` such words, 8 of each from these on; a value of the type exists only where the CPU has
                // the instruction set.
                unsafe {
                    let within = _mm512_set4_epi32(0x0f0e_0b0a, 0x0d0c_0908, 0x0706_0302, 0x0504_0100);
                    let mut words = [_mm512_setzero_si512(); 8];
                    for (i, word) in words.iter_mut().enumerate() {
                        let at = from.as_ptr().add((pair + i) * 2 * size + 4 * column);
                        *word = _mm512_shuffle_epi8(_mm512_loadu_si512(at.cast()), within);
                    }
                    // 128 bits of low[i]: an even word of the rows 2 i and 2 i + 1, of high[i] the odd one behind it.
                    let (mut low, mut high) = ([_mm512_setzero_si512(); 4], [_mm512_setzero_si512(); 4]);
                    for i in 0..4 {
                        low[i] = _mm512_unpacklo_epi64(words[2 * i], words[2 * i + 1]);
                        high[i] = _mm512_unpackhi_epi64(words[2 * i], words[2 * i + 1]);
                    }
                    for (odd, [a, b, c, d]) in [low, high].into_iter().enumerate() {
                        let (ab, ab2) = (_mm512_shuffle_i64x2::<0x88>(a, b), _mm512_shuffle_i64x2::<0xdd>(a, b));
                        let (cd, cd2) = (_mm512_shuffle_i64x2::<0x88>(c, d), _mm512_shuffle_i64x2::<0xdd>(c, d));
                        let rows = [
                            _mm512_shuffle_i64x2::<0x88>(ab, cd),
                            _mm512_shuffle_i64x2::<0x88>(ab2, cd2),
                            _mm512_shuffle_i64x2::<0xdd>(ab, cd),
                            _mm512_shuffle_i64x2::<0xdd>(ab2, cd2),
                        ];
                        for (i, row) in rows.into_iter().enumerate() {
                            let at = to.as_mut_ptr().add((column + 2 * i + odd) * 2 * size + 4 * pair);
                            _mm512_storeu_si512(at.cast(), row);
                        }
                    }
                }
            }
        }
    }
}

/// FLOPs of `turns` turns of dot products whose operands stay in registers: what no kernel can beat.
///
/// # Panics
/// Where `isa` has no unit for bf16.
pub fn probe(isa: Isa, turns: usize) -> f64 {
    struct Probe(usize);
    impl Bf16Kernel for Probe {
        #[inline(always)]
        fn run(self, s: Avx512Bf16) {
            let mut acc = [s.base.zero(); 10];
            let values = std::hint::black_box([0u16; 32]);
            // SAFETY: 32 values.
            let b = unsafe { s.load_pairs(values.as_ptr()) };
            for _ in 0..self.0 {
                for acc in &mut acc {
                    // SAFETY: 2 values.
                    *acc = unsafe { s.dot(*acc, values.as_ptr(), b) };
                }
            }
            for acc in acc {
                std::hint::black_box(s.base.reduce_add(acc));
            }
        }
    }
    dispatch_bf16(isa, Probe(turns));
    (turns * 10 * 16 * 4) as f64
}

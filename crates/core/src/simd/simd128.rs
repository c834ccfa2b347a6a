//! WebAssembly simd128: 4 lanes; fused multiply-add where the module is built with relaxed SIMD.

use super::Simd;
use core::arch::wasm32::*;

/// Proof that the engine has simd128 (a module that uses it does not load otherwise).
#[derive(Clone, Copy, Debug)]
pub struct Simd128(());

impl Simd128 {
    /// # Safety
    /// The engine has simd128.
    #[inline(always)]
    pub unsafe fn new() -> Simd128 {
        Simd128(())
    }
}

// SAFETY: `new` asks its caller for the instruction set.
unsafe impl Simd for Simd128 {
    const NAME: &'static str = if cfg!(target_feature = "relaxed-simd") {
        "relaxed-simd"
    } else {
        "simd128"
    };
    const LANES: usize = 4;
    type F = v128;
    type I = v128;
    type M = v128;

    #[inline(always)]
    fn splat(self, x: f32) -> v128 {
        f32x4_splat(x)
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> v128 {
        // SAFETY: the caller's promise about `p`.
        unsafe { v128_load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: v128) {
        // SAFETY: the caller's promise about `p`.
        unsafe { v128_store(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> v128 {
        let mut lanes = [0.0f32; 4];
        // SAFETY: the caller's promise: n <= 4 readable values.
        unsafe {
            core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(4));
            v128_load(lanes.as_ptr().cast())
        }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: v128, n: usize) {
        let mut lanes = [0.0f32; 4];
        // SAFETY: the caller's promise: n <= 4 writable values.
        unsafe {
            v128_store(lanes.as_mut_ptr().cast(), v);
            core::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n.min(4));
        }
    }

    #[inline(always)]
    fn add(self, a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    fn sub(self, a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    fn mul(self, a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    #[inline(always)]
    fn div(self, a: v128, b: v128) -> v128 {
        f32x4_div(a, b)
    }
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    fn mul_add(self, a: v128, b: v128, c: v128) -> v128 {
        f32x4_relaxed_madd(a, b, c)
    }
    #[cfg(not(target_feature = "relaxed-simd"))]
    #[inline(always)]
    fn mul_add(self, a: v128, b: v128, c: v128) -> v128 {
        f32x4_add(f32x4_mul(a, b), c)
    }
    // pmax(x, y) is `x < y ? y : x`: with the operands swapped, NaN gives `b` as the trait wants.
    #[inline(always)]
    fn max(self, a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    fn min(self, a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a)
    }
    #[inline(always)]
    fn abs(self, a: v128) -> v128 {
        f32x4_abs(a)
    }
    #[inline(always)]
    fn sqrt(self, a: v128) -> v128 {
        f32x4_sqrt(a)
    }
    #[inline(always)]
    fn round(self, a: v128) -> v128 {
        f32x4_nearest(a)
    }
    #[inline(always)]
    fn lt(self, a: v128, b: v128) -> v128 {
        f32x4_lt(a, b)
    }
    #[inline(always)]
    fn gt(self, a: v128, b: v128) -> v128 {
        f32x4_gt(a, b)
    }
    #[inline(always)]
    fn ne_zero(self, a: v128) -> v128 {
        f32x4_ne(a, f32x4_splat(0.0))
    }
    #[inline(always)]
    fn select(self, m: v128, a: v128, b: v128) -> v128 {
        v128_bitselect(a, b, m)
    }
    #[inline(always)]
    fn mask_bits(self, m: v128) -> u32 {
        u32x4_bitmask(m) as u32
    }
    #[inline(always)]
    fn reduce_add(self, a: v128) -> f32 {
        let two = f32x4_add(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
        f32x4_extract_lane::<0>(two) + f32x4_extract_lane::<1>(two)
    }
    #[inline(always)]
    fn reduce_max(self, a: v128) -> f32 {
        let two = f32x4_pmax(a, i32x4_shuffle::<2, 3, 0, 1>(a, a));
        let (x, y) = (f32x4_extract_lane::<0>(two), f32x4_extract_lane::<1>(two));
        if x > y { x } else { y }
    }

    #[inline(always)]
    fn splat_i(self, x: u32) -> v128 {
        u32x4_splat(x)
    }
    #[inline(always)]
    fn iota(self, start: u32) -> v128 {
        u32x4_add(u32x4_splat(start), u32x4(0, 1, 2, 3))
    }
    #[inline(always)]
    fn add_i(self, a: v128, b: v128) -> v128 {
        u32x4_add(a, b)
    }
    #[inline(always)]
    fn mul_i(self, a: v128, b: v128) -> v128 {
        u32x4_mul(a, b)
    }
    #[inline(always)]
    fn xor_i(self, a: v128, b: v128) -> v128 {
        v128_xor(a, b)
    }
    #[inline(always)]
    fn and_i(self, a: v128, b: v128) -> v128 {
        v128_and(a, b)
    }
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: v128) -> v128 {
        u32x4_shl(a, N as u32)
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: v128) -> v128 {
        u32x4_shr(a, N as u32)
    }
    #[inline(always)]
    fn to_i(self, a: v128) -> v128 {
        i32x4_trunc_sat_f32x4(a)
    }
    #[inline(always)]
    fn to_f(self, a: v128) -> v128 {
        f32x4_convert_i32x4(a)
    }
    #[inline(always)]
    fn bits(self, a: v128) -> v128 {
        a
    }
    #[inline(always)]
    fn from_bits(self, a: v128) -> v128 {
        a
    }

    #[inline(always)]
    fn transpose(self, x: &mut [v128; 16]) {
        let [a, b, c, d] = [x[0], x[1], x[2], x[3]];
        let (low, high) = (i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<2, 6, 3, 7>(a, b));
        let (low2, high2) = (i32x4_shuffle::<0, 4, 1, 5>(c, d), i32x4_shuffle::<2, 6, 3, 7>(c, d));
        x[0] = i64x2_shuffle::<0, 2>(low, low2);
        x[1] = i64x2_shuffle::<1, 3>(low, low2);
        x[2] = i64x2_shuffle::<0, 2>(high, high2);
        x[3] = i64x2_shuffle::<1, 3>(high, high2);
    }
}

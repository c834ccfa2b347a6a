//! One lane: the portable fallback, and the twin the vector instruction sets are tested against.

use super::Simd;

/// Plain Rust; exists on every CPU.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

// SAFETY: needs no instruction set.
unsafe impl Simd for Scalar {
    const NAME: &'static str = "scalar";
    const LANES: usize = 1;
    type F = f32;
    type I = u32;
    type M = bool;

    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *p }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32) {
        // SAFETY: the caller's promise.
        unsafe { *p = v }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> f32 {
        // SAFETY: the caller's promise: `p` is readable when n is 1.
        if n == 0 { 0.0 } else { unsafe { *p } }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: f32, n: usize) {
        if n != 0 {
            // SAFETY: the caller's promise: `p` is writable when n is 1.
            unsafe { *p = v }
        }
    }

    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    /// Two roundings: `f32::mul_add` would call libm where the target has no FMA.
    #[inline(always)]
    fn mul_add(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn abs(self, a: f32) -> f32 {
        a.abs()
    }
    #[inline(always)]
    fn sqrt(self, a: f32) -> f32 {
        a.sqrt()
    }
    /// Adding 2^23 leaves no room for a fraction, so the addition itself rounds (ties to even); no libm call.
    #[inline(always)]
    fn round(self, a: f32) -> f32 {
        const SHIFT: f32 = 8_388_608.0;
        let magnitude = a.abs();
        if magnitude < SHIFT {
            ((magnitude + SHIFT) - SHIFT).copysign(a)
        } else {
            a
        }
    }
    #[inline(always)]
    fn lt(self, a: f32, b: f32) -> bool {
        a < b
    }
    #[inline(always)]
    fn gt(self, a: f32, b: f32) -> bool {
        a > b
    }
    #[inline(always)]
    fn ne_zero(self, a: f32) -> bool {
        a != 0.0
    }
    #[inline(always)]
    fn select(self, m: bool, a: f32, b: f32) -> f32 {
        if m { a } else { b }
    }
    #[inline(always)]
    fn mask_bits(self, m: bool) -> u32 {
        m as u32
    }
    #[inline(always)]
    fn reduce_add(self, a: f32) -> f32 {
        a
    }
    #[inline(always)]
    fn reduce_max(self, a: f32) -> f32 {
        a
    }

    #[inline(always)]
    fn splat_i(self, x: u32) -> u32 {
        x
    }
    #[inline(always)]
    fn iota(self, start: u32) -> u32 {
        start
    }
    #[inline(always)]
    fn add_i(self, a: u32, b: u32) -> u32 {
        a.wrapping_add(b)
    }
    #[inline(always)]
    fn mul_i(self, a: u32, b: u32) -> u32 {
        a.wrapping_mul(b)
    }
    #[inline(always)]
    fn xor_i(self, a: u32, b: u32) -> u32 {
        a ^ b
    }
    #[inline(always)]
    fn and_i(self, a: u32, b: u32) -> u32 {
        a & b
    }
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: u32) -> u32 {
        a << N
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: u32) -> u32 {
        a >> N
    }
    #[inline(always)]
    fn to_i(self, a: f32) -> u32 {
        a as i32 as u32
    }
    #[inline(always)]
    fn to_f(self, a: u32) -> f32 {
        a as i32 as f32
    }
    #[inline(always)]
    fn bits(self, a: f32) -> u32 {
        a.to_bits()
    }
    #[inline(always)]
    fn from_bits(self, a: u32) -> f32 {
        f32::from_bits(a)
    }

    #[inline(always)]
    fn transpose(self, _: &mut [f32; 16]) {}

    /// Writes always and counts by the comparison: no branch to mispredict.
    #[inline(always)]
    unsafe fn compress_nonzero(self, v: f32, base: u16, values: *mut f32, indices: *mut u16) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            *values = v;
            *indices = base;
        }
        (v != 0.0) as usize
    }
}

//! NEON (aarch64): 4 lanes. Compile-checked and emulated only; not timed.

use super::Simd;
use core::arch::aarch64::*;

/// Proof that the CPU has NEON (every aarch64 has).
#[derive(Clone, Copy, Debug)]
pub struct Neon(());

impl Neon {
    /// # Safety
    /// The CPU has NEON.
    #[inline(always)]
    pub unsafe fn new() -> Neon {
        Neon(())
    }
}

/// An intrinsic in a method that has `self` as its proof.
macro_rules! op {
    ($call:expr) => {{
        // SAFETY: a value of the type exists only where the CPU has the instruction set (see `new`).
        #[allow(unused_unsafe)] // many NEON intrinsics are safe functions where the target has NEON
        unsafe {
            $call
        }
    }};
}

// SAFETY: `new` asks its caller for the instruction set.
unsafe impl Simd for Neon {
    const NAME: &'static str = "neon";
    const LANES: usize = 4;
    type F = float32x4_t;
    type I = uint32x4_t;
    type M = uint32x4_t;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        op!(vdupq_n_f32(x))
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> float32x4_t {
        // SAFETY: the caller's promise about `p`.
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: float32x4_t) {
        // SAFETY: the caller's promise about `p`.
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn load_partial(self, p: *const f32, n: usize) -> float32x4_t {
        let mut lanes = [0.0f32; 4];
        // SAFETY: the caller's promise: n <= 4 readable values.
        unsafe {
            core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n.min(4));
            vld1q_f32(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_partial(self, p: *mut f32, v: float32x4_t, n: usize) {
        let mut lanes = [0.0f32; 4];
        // SAFETY: the caller's promise: n <= 4 writable values.
        unsafe {
            vst1q_f32(lanes.as_mut_ptr(), v);
            core::ptr::copy_nonoverlapping(lanes.as_ptr(), p, n.min(4));
        }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vaddq_f32(a, b))
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vsubq_f32(a, b))
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vmulq_f32(a, b))
    }
    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vdivq_f32(a, b))
    }
    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        op!(vfmaq_f32(c, a, b))
    }
    // FMAX and FMIN return NaN where either operand is; the trait wants `b`.
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(vcgtq_f32(a, b), a, b))
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(vcltq_f32(a, b), a, b))
    }
    #[inline(always)]
    fn abs(self, a: float32x4_t) -> float32x4_t {
        op!(vabsq_f32(a))
    }
    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        op!(vsqrtq_f32(a))
    }
    #[inline(always)]
    fn round(self, a: float32x4_t) -> float32x4_t {
        op!(vrndnq_f32(a))
    }
    #[inline(always)]
    fn lt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        op!(vcltq_f32(a, b))
    }
    #[inline(always)]
    fn gt(self, a: float32x4_t, b: float32x4_t) -> uint32x4_t {
        op!(vcgtq_f32(a, b))
    }
    #[inline(always)]
    fn ne_zero(self, a: float32x4_t) -> uint32x4_t {
        op!(vmvnq_u32(vceqzq_f32(a)))
    }
    #[inline(always)]
    fn select(self, m: uint32x4_t, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        op!(vbslq_f32(m, a, b))
    }
    #[inline(always)]
    fn mask_bits(self, m: uint32x4_t) -> u32 {
        const BITS: [u32; 4] = [1, 2, 4, 8];
        op!(vaddvq_u32(vandq_u32(m, vld1q_u32(BITS.as_ptr()))))
    }
    #[inline(always)]
    fn reduce_add(self, a: float32x4_t) -> f32 {
        op!(vaddvq_f32(a))
    }
    #[inline(always)]
    fn reduce_max(self, a: float32x4_t) -> f32 {
        op!(vmaxvq_f32(a))
    }

    #[inline(always)]
    fn splat_i(self, x: u32) -> uint32x4_t {
        op!(vdupq_n_u32(x))
    }
    #[inline(always)]
    fn iota(self, start: u32) -> uint32x4_t {
        const LANE: [u32; 4] = [0, 1, 2, 3];
        op!(vaddq_u32(vdupq_n_u32(start), vld1q_u32(LANE.as_ptr())))
    }
    #[inline(always)]
    fn add_i(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        op!(vaddq_u32(a, b))
    }
    #[inline(always)]
    fn mul_i(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        op!(vmulq_u32(a, b))
    }
    #[inline(always)]
    fn xor_i(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        op!(veorq_u32(a, b))
    }
    #[inline(always)]
    fn and_i(self, a: uint32x4_t, b: uint32x4_t) -> uint32x4_t {
        op!(vandq_u32(a, b))
    }
    #[inline(always)]
    fn shl_i<const N: i32>(self, a: uint32x4_t) -> uint32x4_t {
        op!(vshlq_n_u32::<N>(a))
    }
    #[inline(always)]
    fn shr_i<const N: i32>(self, a: uint32x4_t) -> uint32x4_t {
        op!(vshrq_n_u32::<N>(a))
    }
    #[inline(always)]
    fn to_i(self, a: float32x4_t) -> uint32x4_t {
        op!(vreinterpretq_u32_s32(vcvtq_s32_f32(a)))
    }
    #[inline(always)]
    fn to_f(self, a: uint32x4_t) -> float32x4_t {
        op!(vcvtq_f32_s32(vreinterpretq_s32_u32(a)))
    }
    #[inline(always)]
    fn bits(self, a: float32x4_t) -> uint32x4_t {
        op!(vreinterpretq_u32_f32(a))
    }
    #[inline(always)]
    fn from_bits(self, a: uint32x4_t) -> float32x4_t {
        op!(vreinterpretq_f32_u32(a))
    }

    #[inline(always)]
    fn transpose(self, x: &mut [float32x4_t; 16]) {
        let [a, b, c, d] = [x[0], x[1], x[2], x[3]];
        op!({
            let (low, high) = (
                vreinterpretq_f64_f32(vzip1q_f32(a, b)),
                vreinterpretq_f64_f32(vzip2q_f32(a, b)),
            );
            let (low2, high2) = (
                vreinterpretq_f64_f32(vzip1q_f32(c, d)),
                vreinterpretq_f64_f32(vzip2q_f32(c, d)),
            );
            x[0] = vreinterpretq_f32_f64(vzip1q_f64(low, low2));
            x[1] = vreinterpretq_f32_f64(vzip2q_f64(low, low2));
            x[2] = vreinterpretq_f32_f64(vzip1q_f64(high, high2));
            x[3] = vreinterpretq_f32_f64(vzip2q_f64(high, high2));
        });
    }
}

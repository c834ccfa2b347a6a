//! The `Simd` trait: what a kernel may ask of an instruction set.
//!
//! Kernels are written once, generic over `S: Simd`, and marked `#[inline(always)]`; [`super::dispatch`] instantiates them inside a
//! function that enables the instruction set. A value of an implementing type can only be obtained through run-time detection
//! (see [`super::Isa`]), which is what makes the intrinsics behind the methods sound to call.

use super::Kernel;

/// One instruction set. `F` holds [`Simd::LANES`] f32, `I` as many u32 (wrapping arithmetic), `M` a lane mask.
///
/// # Safety
/// Implementors promise that a value of the type exists only where the CPU supports the instruction set.
pub unsafe trait Simd: Copy + Send + Sync + 'static {
    /// Name as printed by `deftune info`.
    const NAME: &'static str;
    /// f32 lanes in one vector.
    const LANES: usize;
    type F: Copy;
    type I: Copy;
    type M: Copy;

    /// Runs `kernel` as a function of its own, compiled for the instruction set: for an inner loop whose pointers the compiler would otherwise
    /// keep in memory, as the kernel around it uses all registers.
    #[inline(never)]
    fn apart<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    fn splat(self, x: f32) -> Self::F;
    #[inline(always)]
    fn zero(self) -> Self::F {
        self.splat(0.0)
    }
    /// # Safety
    /// `p` is valid for reading `LANES` f32 (no alignment needed).
    unsafe fn load(self, p: *const f32) -> Self::F;
    /// # Safety
    /// `p` is valid for writing `LANES` f32.
    unsafe fn store(self, p: *mut f32, v: Self::F);
    /// Loads `n <= LANES` values, the other lanes are 0.
    /// # Safety
    /// `p` is valid for reading `n` f32.
    unsafe fn load_partial(self, p: *const f32, n: usize) -> Self::F;
    /// Stores the first `n <= LANES` lanes.
    /// # Safety
    /// `p` is valid for writing `n` f32.
    unsafe fn store_partial(self, p: *mut f32, v: Self::F, n: usize);

    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`; fused where the instruction set has it.
    fn mul_add(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `max(a, b)`; returns `b` where either is NaN (so `max(0, x)` keeps a NaN in x).
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `min(a, b)`; returns `b` where either is NaN.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// Nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// `a < b`, false where either is NaN.
    fn lt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a > b`, false where either is NaN.
    fn gt(self, a: Self::F, b: Self::F) -> Self::M;
    /// `a != 0`, true for NaN.
    fn ne_zero(self, a: Self::F) -> Self::M;
    /// `m ? a : b`.
    fn select(self, m: Self::M, a: Self::F, b: Self::F) -> Self::F;
    /// Lane mask as bits, lane 0 in bit 0.
    fn mask_bits(self, m: Self::M) -> u32;
    fn reduce_add(self, a: Self::F) -> f32;
    fn reduce_max(self, a: Self::F) -> f32;

    fn splat_i(self, x: u32) -> Self::I;
    /// `start, start + 1, ...`
    fn iota(self, start: u32) -> Self::I;
    fn add_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn mul_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn xor_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn and_i(self, a: Self::I, b: Self::I) -> Self::I;
    fn shl_i<const N: i32>(self, a: Self::I) -> Self::I;
    /// Logical shift right.
    fn shr_i<const N: i32>(self, a: Self::I) -> Self::I;
    /// Truncating conversion of values in i32's range; others give anything.
    fn to_i(self, a: Self::F) -> Self::I;
    /// From signed 32-bit integers.
    fn to_f(self, a: Self::I) -> Self::F;
    fn bits(self, a: Self::F) -> Self::I;
    #[allow(clippy::wrong_self_convention)] // `self` is the instruction set, not what is converted
    fn from_bits(self, a: Self::I) -> Self::F;

    /// `a * 2^n` for whole numbers n from -125 to 128; other n give anything.
    #[inline(always)]
    fn scale(self, a: Self::F, n: Self::F) -> Self::F {
        // 2^(n-1), then doubled: 128 is one more than an exponent holds.
        let half = self.from_bits(self.shl_i::<23>(self.add_i(self.to_i(n), self.splat_i(126))));
        let a = self.mul(a, half);
        self.add(a, a)
    }

    /// Transposes the square of the first LANES vectors; the others stay.
    fn transpose(self, x: &mut [Self::F; 16]);

    /// Writes the lanes that are not zero, and their indices `base + lane`, at `values` and `indices`; returns how many.
    /// # Safety
    /// Both pointers are valid for writing `LANES` elements (more than the count may be written).
    #[inline(always)]
    unsafe fn compress_nonzero(self, v: Self::F, base: u16, values: *mut f32, indices: *mut u16) -> usize {
        let mut bits = self.mask_bits(self.ne_zero(v));
        let mut lanes = [0.0f32; 16];
        // SAFETY: LANES <= 16, and the caller vouches for the output pointers.
        unsafe {
            self.store(lanes.as_mut_ptr(), v);
            let mut n = 0;
            while bits != 0 {
                let lane = bits.trailing_zeros() as usize;
                *values.add(n) = lanes[lane];
                *indices.add(n) = base + lane as u16;
                n += 1;
                bits &= bits - 1;
            }
            n
        }
    }
}

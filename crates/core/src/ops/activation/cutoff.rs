//! Small activations made exact zeros, and the gradient of that.

use crate::ops::{self, Map};
use crate::simd::{Isa, Simd};

#[derive(Clone, Copy)]
pub(super) struct Cut(pub f32);
impl Map<1> for Cut {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [o]: [S::F; 1]) -> S::F {
        // Not `gt`: NaN stays.
        s.select(s.lt(s.splat(self.0), s.abs(o)), o, s.mul(o, s.zero()))
    }
}

/// `o[i] = 0` where `|o[i]| <= cutoff`: ReLU becomes FATReLU (Kurtz et al. 2020); NaN stays.
pub fn cut_slice(isa: Isa, cutoff: f32, o: &mut [f32]) {
    ops::map_slice(isa, Cut(cutoff), o);
}

#[derive(Clone, Copy)]
struct Mask;
impl Map<2> for Mask {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [g, o]: [S::F; 2]) -> S::F {
        s.select(s.ne_zero(o), g, s.zero())
    }
}

/// `g[i] = 0` where `o[i]` is: the derivative of [`cut_slice`].
pub fn mask_slice(isa: Isa, o: &[f32], g: &mut [f32]) {
    ops::map_slice2(isa, Mask, g, o);
}

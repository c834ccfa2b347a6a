//! The L0 stand-in of every element, `Σ o² / (o² + eps)` (the form of DEFT's authors' code).

use crate::density::loss::{L0Value, l0_slope};
use crate::ops::{self, Map};
use crate::simd::{Isa, Simd};

#[derive(Clone, Copy)]
struct AddGradient {
    scale: f32,
    eps: f32,
}
impl Map<2> for AddGradient {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [g, o]: [S::F; 2]) -> S::F {
        s.mul_add(s.splat(self.scale), l0_slope(s, o, self.eps), g)
    }
}

/// `Σ o² / (o² + eps)` over o `[n]`: terms in f32, their sum in f64.
pub fn value_sum(isa: Isa, o: &[f32], eps: f32) -> f64 {
    ops::sum_map(isa, L0Value(eps), [o])
}

/// `g += scale * 2 o eps / (o² + eps)²`; both `[n]`.
pub fn add_gradient(isa: Isa, o: &[f32], scale: f32, eps: f32, g: &mut [f32]) {
    ops::map_slice2(isa, AddGradient { scale, eps }, g, o);
}

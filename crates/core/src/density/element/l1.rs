//! `Σ |o|`: the usual penalty on activations (Georgiadis 2019, "Accelerating Convolutional Neural Networks via Activation Map Compression").

use crate::ops::{self, Map};
use crate::simd::{Isa, Simd};

#[derive(Clone, Copy)]
pub(super) struct Abs;
impl Map<1> for Abs {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [o]: [S::F; 1]) -> S::F {
        s.abs(o)
    }
}

#[derive(Clone, Copy)]
struct AddSign(f32);
impl Map<2> for AddSign {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [g, o]: [S::F; 2]) -> S::F {
        s.add(g, signed(s, o, s.splat(self.0)))
    }
}

/// `sign(o) · x`, 0 at 0.
#[inline(always)]
pub(super) fn signed<S: Simd>(s: S, o: S::F, x: S::F) -> S::F {
    let negative = s.select(s.lt(o, s.zero()), s.sub(s.zero(), x), s.zero());
    s.select(s.gt(o, s.zero()), x, negative)
}

/// Terms in f32, their sum in f64.
pub fn value_sum(isa: Isa, o: &[f32]) -> f64 {
    ops::sum_map(isa, Abs, [o])
}

/// `g += scale · sign(o)`.
pub fn add_gradient(isa: Isa, o: &[f32], scale: f32, g: &mut [f32]) {
    ops::map_slice2(isa, AddSign(scale), g, o);
}

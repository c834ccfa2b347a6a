//! A hinge on pre-activations, `Σ clamp((z + margin) / (margin + top), 0, 1)`: for GELU and its like, whose outputs are exact zeros only far
//! below 0 and whose derivative vanishes there, so that no loss on outputs can bring them about.
//!
//! Elements between -margin and top are pushed down with one force; those above top count as active and are left to the task.

use crate::ops::{self, Map};
use crate::simd::{Isa, Simd};

#[derive(Clone, Copy)]
struct Value {
    margin: f32,
    per_width: f32,
}
impl Map<1> for Value {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [z]: [S::F; 1]) -> S::F {
        let way = s.mul(s.add(z, s.splat(self.margin)), s.splat(self.per_width));
        s.min(s.splat(1.0), s.max(s.zero(), way))
    }
}

#[derive(Clone, Copy)]
struct AddGradient {
    margin: f32,
    top: f32,
    force: f32,
}
impl Map<2> for AddGradient {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [g, z]: [S::F; 2]) -> S::F {
        let below = s.select(s.lt(z, s.splat(self.top)), s.splat(self.force), s.zero());
        s.add(g, s.select(s.gt(z, s.splat(-self.margin)), below, s.zero()))
    }
}

/// Terms in f32, their sum in f64.
pub fn value_sum(isa: Isa, z: &[f32], margin: f32, top: f32) -> f64 {
    let per_width = 1.0 / (margin + top);
    ops::sum_map(isa, Value { margin, per_width }, [z])
}

/// `g += scale / (margin + top)` where -margin < z < top.
pub fn add_gradient(isa: Isa, z: &[f32], scale: f32, margin: f32, top: f32, g: &mut [f32]) {
    let force = scale / (margin + top);
    ops::map_slice2(isa, AddGradient { margin, top, force }, g, z);
}

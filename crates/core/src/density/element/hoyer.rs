//! Hoyer's measure of a row, `(Σ|o|)² / Σo²`: the number of equal elements with this ratio of norms, n times the share of them (Hoyer 2004;
//! as a penalty on activations: Kurtz et al. 2020, "Inducing and Exploiting Activation Sparsity for Fast Neural Network Inference").

use super::l1::{Abs, signed};
use crate::ops::{self, Map};
use crate::simd::{Isa, Simd};

#[derive(Clone, Copy)]
struct Square;
impl Map<1> for Square {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [o]: [S::F; 1]) -> S::F {
        s.mul(o, o)
    }
}

#[derive(Clone, Copy)]
struct AddGradient {
    sign: f32,
    value: f32,
}
impl Map<2> for AddGradient {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [g, o]: [S::F; 2]) -> S::F {
        let g = s.add(g, signed(s, o, s.splat(self.sign)));
        s.mul_add(o, s.splat(self.value), g)
    }
}

fn norms(isa: Isa, o: &[f32]) -> (f64, f64) {
    (ops::sum_map(isa, Abs, [o]), ops::sum_map(isa, Square, [o]))
}

/// 0 for a row of zeros.
pub fn value_sum(isa: Isa, o: &[f32]) -> f64 {
    let (sum, squares) = norms(isa, o);
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

/// `g += scale · (2 S sign(o) / Q - 2 S² o / Q²)` with S = Σ|o| and Q = Σo².
pub fn add_gradient(isa: Isa, o: &[f32], scale: f32, g: &mut [f32]) {
    let (sum, squares) = norms(isa, o);
    if squares > 0.0 {
        let ratio = sum / squares;
        let map = AddGradient {
            sign: (2.0 * scale as f64 * ratio) as f32,
            value: (-2.0 * scale as f64 * ratio * ratio) as f32,
        };
        ops::map_slice2(isa, map, g, o);
    }
}

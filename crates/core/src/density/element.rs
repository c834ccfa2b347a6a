//! The L0 stand-in applied to every element of an activation, `Σ o² / (o² + eps)`, per slice: for use inside a task.

use super::loss::{L0Value, l0_slope};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::*;

    #[test]
    fn matches_naive() {
        for len in [1, 13, 100] {
            let (o, start, eps) = (random(1, len), random(2, len), 0.01f32);
            let naive = |o: &[f64]| o.iter().map(|o| o * o / (o * o + eps as f64)).sum::<f64>();
            let slopes = numeric_gradient(&wide(&o), naive);
            let right: Vec<f64> = start.iter().zip(&slopes).map(|(&g, d)| g as f64 + 0.5 * d).collect();
            for isa in Isa::available() {
                assert!((value_sum(isa, &o, eps) - naive(&wide(&o))).abs() < 1e-6 * len as f64);
                let mut g = start.clone();
                add_gradient(isa, &o, 0.5, eps, &mut g);
                close(&g, &right, 1e-5);
            }
        }
    }

    #[test]
    fn by_hand() {
        for isa in Isa::available() {
            // 1/(1+1) + 9/(9+1) = 1.4
            assert!((value_sum(isa, &[1.0, 0.0, 3.0, 0.0], 1.0) - 1.4).abs() < 1e-6);
        }
    }
}

//! Mean squared error.

use super::Map;
use crate::simd::{Isa, Simd};
use crate::threads::Pool;

#[derive(Clone, Copy)]
struct Difference(f32);
impl Map<2> for Difference {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [a, b]: [S::F; 2]) -> S::F {
        s.mul(s.sub(a, b), s.splat(self.0))
    }
}

/// `mean((pred - target)²)`, NaN for no elements; `dpred = 2 (pred - target) / n`. All `[n]`.
pub fn forward(isa: Isa, pool: &Pool, pred: &[f32], target: &[f32], dpred: &mut [f32]) -> f64 {
    let n = pred.len() as f64;
    super::map(isa, pool, Difference((2.0 / n) as f32), [pred, target], dpred);
    let sum = super::sum_chunks(pool, pred.len(), |start, len| {
        let part = start..start + len;
        pred[part.clone()]
            .iter()
            .zip(&target[part])
            .map(|(&p, &t)| (p as f64 - t as f64).powi(2))
            .sum()
    });
    sum / n
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn matches_naive() {
        for len in [1, 5, 37, 16 * 1024 + 1] {
            let (pred, target) = (random(1, len), random(2, len));
            let right = pred
                .iter()
                .zip(&target)
                .map(|(&p, &t)| (p as f64 - t as f64).powi(2))
                .sum::<f64>()
                / len as f64;
            let gradient: Vec<f64> = pred
                .iter()
                .zip(&target)
                .map(|(&p, &t)| 2.0 * (p as f64 - t as f64) / len as f64)
                .collect();
            for d in everywhere(|isa, pool| {
                let mut d = vec![0.0; len];
                assert!((forward(isa, pool, &pred, &target, &mut d) - right).abs() < 1e-12);
                d
            }) {
                close(&d, &gradient, 1e-6);
            }
        }
        assert_eq!(
            forward(
                Isa::available()[0],
                &Pool::new(1),
                &[3.0, 1.0],
                &[1.0, 1.0],
                &mut [0.0; 2]
            ),
            2.0
        );
    }
}

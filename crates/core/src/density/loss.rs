//! Density losses on a feature map: s `[d_ff]`, the sums of an intermediate activation over tokens (eq. 3 to 5 of Runwal, Pedapati
//! and Chen). Both are smooth stand-ins for the number of entries that are not zero.

use crate::ops::{self, Map};
use crate::simd::{Isa, Simd, math};

/// |s| beyond this is treated as this: s² must not overflow, and both losses are constant to f32 precision there.
const LARGEST: f32 = 1e18;

/// The stand-in for the count of nonzeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DensityLoss {
    /// `Σ tanh(beta s_i)`
    Tanh { beta: f32 },
    /// `Σ s_i² / (s_i² + eps)`
    L0 { eps: f32 },
}

#[derive(Clone, Copy)]
struct TanhValue(f32);
impl Map<1> for TanhValue {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        math::tanh(s, s.mul(x, s.splat(self.0)))
    }
}

/// `scale beta (1 - tanh²(beta s))`, as `4 e / (1 + e)²` with `e = exp(-2 |beta s|)`: no cancellation where tanh is near 1.
#[derive(Clone, Copy)]
struct TanhGradient {
    beta: f32,
    factor: f32,
}
impl Map<1> for TanhGradient {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        let y = s.abs(s.mul(x, s.splat(self.beta)));
        let e = math::exp(s, s.mul(y, s.splat(-2.0)));
        let d = s.add(s.splat(1.0), e);
        s.div(s.mul(s.splat(self.factor), e), s.mul(d, d))
    }
}

/// `x² / (x² + eps)`
#[derive(Clone, Copy)]
pub(in crate::density) struct L0Value(pub f32);
impl Map<1> for L0Value {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        let x = math::clamp(s, x, LARGEST);
        let square = s.mul(x, x);
        s.div(square, s.add(square, s.splat(self.0)))
    }
}

/// `2 x eps / (x² + eps)²` as `(2 x / d) (eps / d)`, d = x² + eps: d² would underflow for a small eps.
#[inline(always)]
pub(in crate::density) fn l0_slope<S: Simd>(s: S, x: S::F, eps: f32) -> S::F {
    let x = math::clamp(s, x, LARGEST);
    let d = s.mul_add(x, x, s.splat(eps));
    s.mul(s.div(s.add(x, x), d), s.div(s.splat(eps), d))
}

#[derive(Clone, Copy)]
struct L0Gradient {
    eps: f32,
    scale: f32,
}
impl Map<1> for L0Gradient {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(s.splat(self.scale), l0_slope(s, x, self.eps))
    }
}

impl DensityLoss {
    /// The loss summed over s `[n]`: terms in f32, their sum in f64. For the mean, divide by n.
    pub fn value_sum(self, isa: Isa, s: &[f32]) -> f64 {
        match self {
            DensityLoss::Tanh { beta } => ops::sum_map(isa, TanhValue(beta), [s]),
            DensityLoss::L0 { eps } => ops::sum_map(isa, L0Value(eps), [s]),
        }
    }

    /// `ds = scale * d(value_sum)/ds`: `beta (1 - tanh²(beta s))` or `2 s eps / (s² + eps)²`; both `[n]`.
    pub fn gradient(self, isa: Isa, s: &[f32], scale: f32, ds: &mut [f32]) {
        ds.copy_from_slice(s);
        match self {
            DensityLoss::Tanh { beta } => {
                ops::map_slice(
                    isa,
                    TanhGradient {
                        beta,
                        factor: 4.0 * beta * scale,
                    },
                    ds,
                );
            }
            DensityLoss::L0 { eps } => ops::map_slice(isa, L0Gradient { eps, scale }, ds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::*;

    fn naive(loss: DensityLoss, s: &[f64]) -> f64 {
        match loss {
            DensityLoss::Tanh { beta } => s.iter().map(|s| (beta as f64 * s).tanh()).sum(),
            DensityLoss::L0 { eps } => s.iter().map(|s| s * s / (s * s + eps as f64)).sum(),
        }
    }

    fn naive_gradient(loss: DensityLoss, s: f64) -> f64 {
        match loss {
            DensityLoss::Tanh { beta } => beta as f64 / (beta as f64 * s).cosh().powi(2),
            DensityLoss::L0 { eps } => 2.0 * s * eps as f64 / (s * s + eps as f64).powi(2),
        }
    }

    #[test]
    fn by_hand() {
        // o = [[1, 0], [3, 0]]; the mean over its two tokens is s = [2, 0].
        for isa in Isa::available() {
            let loss = DensityLoss::Tanh { beta: 20.0 };
            assert_eq!(loss.value_sum(isa, &[2.0, 0.0]), 1.0);
            let mut ds = [0.0; 2];
            loss.gradient(isa, &[2.0, 0.0], 1.0, &mut ds);
            // 20 · 4 e^-80 at 2, 20 at 0.
            assert!(
                (ds[0] as f64 / (80.0 * (-80.0f64).exp()) - 1.0).abs() < 1e-5 && ds[1] == 20.0,
                "{ds:?}"
            );
            let loss = DensityLoss::L0 { eps: 1.0 };
            assert!((loss.value_sum(isa, &[2.0, 0.0]) - 0.8).abs() < 1e-7);
            loss.gradient(isa, &[2.0, 0.0], 0.5, &mut ds);
            assert!((ds[0] - 0.08).abs() < 1e-7 && ds[1] == 0.0);
        }
    }

    #[test]
    fn matches_naive_and_differences() {
        for len in [1, 7, 50, 333] {
            for (loss, spread) in [
                (DensityLoss::Tanh { beta: 20.0 }, 0.3),
                (DensityLoss::Tanh { beta: 1.0 }, 4.0),
                (DensityLoss::L0 { eps: 0.1 }, 2.0),
                (DensityLoss::L0 { eps: 1e-7 }, 1e-2),
            ] {
                let s: Vec<f32> = random(8, len).iter().map(|x| x * spread).collect();
                let right = naive(loss, &wide(&s));
                let gradient: Vec<f64> = s.iter().map(|&s| 0.25 * naive_gradient(loss, s as f64)).collect();
                if !matches!(loss, DensityLoss::L0 { eps } if eps < 1e-3) {
                    let differences = numeric_gradient(&wide(&s), |s| 0.25 * naive(loss, s));
                    for (g, d) in gradient.iter().zip(&differences) {
                        assert!((g - d).abs() < 1e-5 * (1.0 + g.abs()));
                    }
                }
                for isa in Isa::available() {
                    assert!((loss.value_sum(isa, &s) - right).abs() < 1e-6 * len as f64);
                    let mut ds = vec![0.0; len];
                    loss.gradient(isa, &s, 0.25, &mut ds);
                    for (d, g) in ds.iter().zip(&gradient) {
                        assert!((*d as f64 - g).abs() <= 1e-5 * g.abs(), "{loss:?}: {d} and {g}");
                    }
                }
            }
        }
    }

    #[test]
    fn extreme_inputs_stay_finite() {
        let s = [f32::INFINITY, -1e30, 1e-30, 0.0, 1e20];
        for isa in Isa::available() {
            for loss in [
                DensityLoss::Tanh { beta: 20.0 },
                DensityLoss::L0 { eps: 1e-7 },
                DensityLoss::L0 { eps: 1e-30 },
            ] {
                let mut ds = [0.0; 5];
                loss.gradient(isa, &s, 1.0, &mut ds);
                assert!(
                    ds.iter().all(|d| d.is_finite()) && loss.value_sum(isa, &s).is_finite(),
                    "{loss:?} {ds:?}"
                );
            }
            assert!((DensityLoss::L0 { eps: 1e-7 }.value_sum(isa, &s) - 3.0).abs() < 1e-6);
        }
    }
}

//! Activation functions and their derivatives.

use super::Map;
use crate::simd::{Isa, Simd, math};
use crate::threads::Pool;

/// The activations of the supported models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKind {
    /// max(0, x).
    Relu,
    /// x Φ(x), with Φ from erf (Hendrycks and Gimpel 2016).
    Gelu,
    /// The tanh approximation of GELU (GPT-2).
    GeluNew,
    /// x σ(x).
    Silu,
    Tanh,
    Identity,
}

impl ActivationKind {
    /// From the name in a Hugging Face configuration.
    pub fn from_name(name: &str) -> Option<ActivationKind> {
        Some(match name {
            "relu" => ActivationKind::Relu,
            "gelu" => ActivationKind::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => ActivationKind::GeluNew,
            "silu" | "swish" => ActivationKind::Silu,
            "tanh" => ActivationKind::Tanh,
            "identity" => ActivationKind::Identity,
            _ => return None,
        })
    }

    /// From its position in this enum, the number that the bindings pass.
    pub fn from_index(index: u32) -> Option<ActivationKind> {
        use ActivationKind::{Gelu, GeluNew, Identity, Relu, Silu, Tanh};
        [Relu, Gelu, GeluNew, Silu, Tanh, Identity].get(index as usize).copied()
    }

    /// Whether outputs are exact zeros for half of the inputs.
    pub fn is_relu_family(self) -> bool {
        self == ActivationKind::Relu
    }
}

#[derive(Clone, Copy)]
struct Relu;
#[derive(Clone, Copy)]
struct Gelu;
#[derive(Clone, Copy)]
struct GeluNew;
#[derive(Clone, Copy)]
struct Silu;
#[derive(Clone, Copy)]
struct Tanh;
#[derive(Clone, Copy)]
struct Identity;

const SQRT_HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
/// 1/sqrt(2 pi)
const NORMAL: f32 = 0.398_942_3;
/// sqrt(2/pi)
const GELU_NEW: f32 = 0.797_884_6;
const GELU_NEW_CUBE: f32 = 0.044715;

impl Map<1> for Relu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.max(s.zero(), x)
    }
}

impl Map<1> for Gelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        let half = s.mul(x, s.splat(0.5));
        s.mul_add(half, math::erf(s, s.mul(x, s.splat(SQRT_HALF))), half)
    }
}

/// `(1 + tanh u) / 2 = σ(2 u)` with `u = sqrt(2/pi) (x + 0.044715 x³)`; the sigmoid keeps its precision where tanh is near -1.
#[inline(always)]
fn gelu_new_gate<S: Simd>(s: S, x: S::F) -> S::F {
    let cube = s.mul(s.mul(x, x), s.splat(GELU_NEW_CUBE));
    math::sigmoid(s, s.mul(s.mul_add(cube, x, x), s.splat(2.0 * GELU_NEW)))
}

impl Map<1> for GeluNew {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, gelu_new_gate(s, x))
    }
}

impl Map<1> for Silu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, math::sigmoid(s, x))
    }
}

impl Map<1> for Tanh {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        math::tanh(s, x)
    }
}

impl Map<1> for Identity {
    #[inline(always)]
    fn map<S: Simd>(self, _: S, [x]: [S::F; 1]) -> S::F {
        x
    }
}

// Derivatives: map(x, dy). Where a derivative is constant in the tails, x is limited first so that x² cannot overflow.

impl Map<2> for Relu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        // Positive or NaN, as in torch.
        s.select(s.ne_zero(s.max(s.zero(), x)), dy, s.zero())
    }
}

impl Map<2> for Gelu {
    /// Φ(x) + x φ(x)
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let x = math::clamp(s, x, 15.0);
        let half = s.splat(0.5);
        let phi = s.mul(math::exp(s, s.mul(s.mul(x, x), s.splat(-0.5))), s.splat(NORMAL));
        let cdf = s.mul_add(half, math::erf(s, s.mul(x, s.splat(SQRT_HALF))), half);
        s.mul(dy, s.mul_add(x, phi, cdf))
    }
}

impl Map<2> for GeluNew {
    /// With g = σ(2 u): `g + x g (1 - g) 2 u'`, `u' = sqrt(2/pi) (1 + 3·0.044715 x²)`.
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let x = math::clamp(s, x, 15.0);
        let one = s.splat(1.0);
        let g = gelu_new_gate(s, x);
        let slope = s.mul(
            s.mul_add(s.mul(x, x), s.splat(3.0 * GELU_NEW_CUBE), one),
            s.splat(2.0 * GELU_NEW),
        );
        s.mul(dy, s.mul(g, s.mul_add(s.mul(x, slope), s.sub(one, g), one)))
    }
}

impl Map<2> for Silu {
    /// σ (1 + x (1 - σ))
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let x = math::clamp(s, x, 100.0);
        let one = s.splat(1.0);
        let sigmoid = math::sigmoid(s, x);
        s.mul(dy, s.mul(sigmoid, s.mul_add(x, s.sub(one, sigmoid), one)))
    }
}

impl Map<2> for Tanh {
    /// 1 - t²
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let t = math::tanh(s, x);
        let one = s.splat(1.0);
        s.mul(dy, s.mul(s.add(one, t), s.sub(one, t)))
    }
}

impl Map<2> for Identity {
    #[inline(always)]
    fn map<S: Simd>(self, _: S, [_, dy]: [S::F; 2]) -> S::F {
        dy
    }
}

/// `out = f(x)`; both `[n]`. ReLU keeps a NaN.
pub fn forward(isa: Isa, pool: &Pool, kind: ActivationKind, x: &[f32], out: &mut [f32]) {
    match kind {
        ActivationKind::Relu => super::map(isa, pool, Relu, [x], out),
        ActivationKind::Gelu => super::map(isa, pool, Gelu, [x], out),
        ActivationKind::GeluNew => super::map(isa, pool, GeluNew, [x], out),
        ActivationKind::Silu => super::map(isa, pool, Silu, [x], out),
        ActivationKind::Tanh => super::map(isa, pool, Tanh, [x], out),
        ActivationKind::Identity => super::map(isa, pool, Identity, [x], out),
    }
}

/// `dx = dy f'(x)` from the input `x` of the forward pass; all `[n]`. ReLU's derivative at 0 is 0.
pub fn backward(isa: Isa, pool: &Pool, kind: ActivationKind, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    match kind {
        ActivationKind::Relu => super::map(isa, pool, Relu, [x, dy], dx),
        ActivationKind::Gelu => super::map(isa, pool, Gelu, [x, dy], dx),
        ActivationKind::GeluNew => super::map(isa, pool, GeluNew, [x, dy], dx),
        ActivationKind::Silu => super::map(isa, pool, Silu, [x, dy], dx),
        ActivationKind::Tanh => super::map(isa, pool, Tanh, [x, dy], dx),
        ActivationKind::Identity => super::map(isa, pool, Identity, [x, dy], dx),
    }
}

/// `x = f(x)` on the calling thread (for use inside a task).
pub fn forward_slice(isa: Isa, kind: ActivationKind, x: &mut [f32]) {
    match kind {
        ActivationKind::Relu => super::map_slice(isa, Relu, x),
        ActivationKind::Gelu => super::map_slice(isa, Gelu, x),
        ActivationKind::GeluNew => super::map_slice(isa, GeluNew, x),
        ActivationKind::Silu => super::map_slice(isa, Silu, x),
        ActivationKind::Tanh => super::map_slice(isa, Tanh, x),
        ActivationKind::Identity => {}
    }
}

/// `g *= f'(x)` on the calling thread; x is the input of the forward pass, both `[n]`.
pub fn backward_slice(isa: Isa, kind: ActivationKind, x: &[f32], g: &mut [f32]) {
    match kind {
        ActivationKind::Relu => super::map_onto_slice(isa, Relu, x, g),
        ActivationKind::Gelu => super::map_onto_slice(isa, Gelu, x, g),
        ActivationKind::GeluNew => super::map_onto_slice(isa, GeluNew, x, g),
        ActivationKind::Silu => super::map_onto_slice(isa, Silu, x, g),
        ActivationKind::Tanh => super::map_onto_slice(isa, Tanh, x, g),
        ActivationKind::Identity => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    const ALL: [ActivationKind; 6] = [
        ActivationKind::Relu,
        ActivationKind::Gelu,
        ActivationKind::GeluNew,
        ActivationKind::Silu,
        ActivationKind::Tanh,
        ActivationKind::Identity,
    ];

    fn naive_erf(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn naive(kind: ActivationKind, x: f64) -> f64 {
        match kind {
            ActivationKind::Relu => x.max(0.0),
            ActivationKind::Gelu => 0.5 * x * (1.0 + naive_erf(x / 2f64.sqrt())),
            ActivationKind::GeluNew => {
                0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
            }
            ActivationKind::Silu => x / (1.0 + (-x).exp()),
            ActivationKind::Tanh => x.tanh(),
            ActivationKind::Identity => x,
        }
    }

    #[test]
    fn matches_naive_and_differences() {
        for kind in ALL {
            for len in [1, 7, 33, 16 * 1024 + 5] {
                let x: Vec<f32> = random(3, len).iter().map(|x| x * 6.0).collect();
                let dy = random(4, len);
                let right: Vec<f64> = x.iter().map(|&x| naive(kind, x as f64)).collect();
                let slope: Vec<f64> = x
                    .iter()
                    .zip(&dy)
                    .map(|(&x, &dy)| {
                        let (x, h) = (x as f64, 1e-6);
                        dy as f64 * (naive(kind, x + h) - naive(kind, x - h)) / (2.0 * h)
                    })
                    .collect();
                for y in everywhere(|isa, pool| {
                    let mut y = vec![0.0; len];
                    forward(isa, pool, kind, &x, &mut y);
                    let mut z = x.clone();
                    forward_slice(isa, kind, &mut z);
                    assert_eq!(y, z);
                    y
                }) {
                    close(&y, &right, 2e-6);
                }
                for dx in everywhere(|isa, pool| {
                    let mut dx = vec![0.0; len];
                    backward(isa, pool, kind, &x, &dy, &mut dx);
                    let mut g = dy.clone();
                    backward_slice(isa, kind, &x, &mut g);
                    assert_eq!(dx, g);
                    dx
                }) {
                    close(&dx, &slope, 3e-6);
                }
            }
        }
    }

    #[test]
    fn edges() {
        everywhere(|isa, pool| {
            let mut y = [0.0; 3];
            forward(
                isa,
                pool,
                ActivationKind::Relu,
                &[f32::NAN, -0.0, f32::INFINITY],
                &mut y,
            );
            assert!(y[0].is_nan() && y[1] == 0.0 && y[2] == f32::INFINITY);
            backward(
                isa,
                pool,
                ActivationKind::Relu,
                &[0.0, -1.0, 1.0],
                &[5.0, 5.0, 5.0],
                &mut y,
            );
            assert_eq!(y, [0.0, 0.0, 5.0]);
            for kind in [ActivationKind::Gelu, ActivationKind::GeluNew, ActivationKind::Silu] {
                backward(isa, pool, kind, &[1e30, -1e30, 0.0], &[1.0, 1.0, 1.0], &mut y);
                assert!(
                    (y[0] - 1.0).abs() < 1e-6 && y[1].abs() < 1e-6 && (y[2] - 0.5).abs() < 1e-6,
                    "{kind:?} {y:?}"
                );
            }
            vec![]
        });
        assert_eq!(ActivationKind::from_name("swish"), Some(ActivationKind::Silu));
        assert_eq!(
            ActivationKind::from_name("gelu_pytorch_tanh"),
            Some(ActivationKind::GeluNew)
        );
        assert_eq!(ActivationKind::from_name("mish"), None);
        for (index, kind) in ALL.into_iter().enumerate() {
            assert_eq!(
                (ActivationKind::from_index(index as u32), kind as usize),
                (Some(kind), index)
            );
        }
        assert_eq!(ActivationKind::from_index(6), None);
        assert!(ActivationKind::Relu.is_relu_family() && !ActivationKind::Gelu.is_relu_family());
    }
}

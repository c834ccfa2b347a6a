//! What each kind computes, a struct a kind: `Map<1>` is its value, `map(x)`, `Map<2>` the derivative times the gradient, `map(x, dy)`.
//!
//! Where a derivative is constant in the tails, x is limited first so that x² cannot overflow.

use crate::ops::Map;
use crate::simd::{Simd, math};

#[derive(Clone, Copy)]
pub(super) struct Relu;

impl Map<1> for Relu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.max(s.zero(), x)
    }
}

impl Map<2> for Relu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        // Positive or NaN, as in torch.
        s.select(s.ne_zero(s.max(s.zero(), x)), dy, s.zero())
    }
}

#[derive(Clone, Copy)]
pub(super) struct Gelu;

impl Map<1> for Gelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        math::gelu(s, x)
    }
}

impl Map<2> for Gelu {
    /// Φ(x) + x φ(x)
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        s.mul(dy, math::gelu_slope(s, x))
    }
}

/// sqrt(2/pi)
const GELU_NEW: f32 = 0.797_884_6;
const GELU_NEW_CUBE: f32 = 0.044715;
/// Below it `1 + tanh u` is 0 in f32, and so is transformers' `gelu_new` (measured: 0 at -5.157840, not at -5.157830). Density counts
/// exact zeros, hence ours are where theirs are.
const GELU_NEW_ZERO: f32 = -5.157_835;

/// `(1 + tanh u) / 2 = σ(2 u)` with `u = sqrt(2/pi) (x + 0.044715 x³)`; the sigmoid keeps its precision where tanh is near -1.
#[inline(always)]
fn gelu_new_gate<S: Simd>(s: S, x: S::F) -> S::F {
    let cube = s.mul(s.mul(x, x), s.splat(GELU_NEW_CUBE));
    math::sigmoid(s, s.mul(s.mul_add(cube, x, x), s.splat(2.0 * GELU_NEW)))
}

#[derive(Clone, Copy)]
pub(super) struct GeluNew;

impl Map<1> for GeluNew {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        let zero = s.lt(x, s.splat(GELU_NEW_ZERO));
        s.select(zero, s.zero(), s.mul(x, gelu_new_gate(s, x)))
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

#[derive(Clone, Copy)]
pub(super) struct Silu;

impl Map<1> for Silu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, math::sigmoid(s, x))
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

#[derive(Clone, Copy)]
pub(super) struct Tanh;

impl Map<1> for Tanh {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        math::tanh(s, x)
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

#[derive(Clone, Copy)]
pub(super) struct Identity;

impl Map<1> for Identity {
    #[inline(always)]
    fn map<S: Simd>(self, _: S, [x]: [S::F; 1]) -> S::F {
        x
    }
}

impl Map<2> for Identity {
    #[inline(always)]
    fn map<S: Simd>(self, _: S, [_, dy]: [S::F; 2]) -> S::F {
        dy
    }
}

const QUICK_GELU: f32 = 1.702;

#[derive(Clone, Copy)]
pub(super) struct QuickGelu;

impl Map<1> for QuickGelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, math::sigmoid(s, s.mul(x, s.splat(QUICK_GELU))))
    }
}

impl Map<2> for QuickGelu {
    /// With g = σ(1.702 x): `g (1 + 1.702 x (1 - g))`.
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let scaled = math::clamp(s, s.mul(x, s.splat(QUICK_GELU)), 100.0);
        let one = s.splat(1.0);
        let gate = math::sigmoid(s, scaled);
        s.mul(dy, s.mul(gate, s.mul_add(scaled, s.sub(one, gate), one)))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Sigmoid;

impl Map<1> for Sigmoid {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        math::sigmoid(s, x)
    }
}

impl Map<2> for Sigmoid {
    /// σ (1 - σ)
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let sigmoid = math::sigmoid(s, x);
        s.mul(dy, s.mul(sigmoid, s.sub(s.splat(1.0), sigmoid)))
    }
}

/// PyTorch's default.
const LEAKY_SLOPE: f32 = 0.01;

#[derive(Clone, Copy)]
pub(super) struct LeakyRelu;

impl Map<1> for LeakyRelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.select(s.gt(x, s.zero()), x, s.mul(x, s.splat(LEAKY_SLOPE)))
    }
}

impl Map<2> for LeakyRelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        s.select(s.gt(x, s.zero()), dy, s.mul(dy, s.splat(LEAKY_SLOPE)))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Relu2;

impl Map<1> for Relu2 {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        let positive = s.max(s.zero(), x);
        s.mul(positive, positive)
    }
}

impl Map<2> for Relu2 {
    /// 2 max(0, x)
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let positive = s.max(s.zero(), x);
        s.mul(dy, s.add(positive, positive))
    }
}

#[derive(Clone, Copy)]
pub(super) struct Relu6;

impl Map<1> for Relu6 {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.min(s.splat(6.0), s.max(s.zero(), x))
    }
}

impl Map<2> for Relu6 {
    /// 1 between 0 and 6, 0 at both ends, as in torch.
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let below = s.select(s.lt(x, s.splat(6.0)), dy, s.zero());
        s.select(s.gt(x, s.zero()), below, s.zero())
    }
}

/// tanh(ln(1 + e^x)) = w / (w + 2) with w = e^x (e^x + 2): no logarithm, and nothing cancels. 1 in f32 from x = 10 on.
#[inline(always)]
fn mish_gate<S: Simd>(s: S, x: S::F) -> S::F {
    let e = math::exp(s, s.min(s.splat(20.0), x));
    let two = s.splat(2.0);
    let w = s.mul(e, s.add(e, two));
    s.div(w, s.add(w, two))
}

#[derive(Clone, Copy)]
pub(super) struct Mish;

impl Map<1> for Mish {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, mish_gate(s, x))
    }
}

impl Map<2> for Mish {
    /// With t = tanh(ln(1 + e^x)): `t + x (1 - t²) σ(x)`.
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let x = math::clamp(s, x, 80.0);
        let one = s.splat(1.0);
        let t = mish_gate(s, x);
        let slope = s.mul(s.mul(s.sub(one, t), s.add(one, t)), math::sigmoid(s, x));
        s.mul(dy, s.mul_add(x, slope, t))
    }
}

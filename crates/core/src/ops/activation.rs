//! Activation functions and their derivatives.

use super::{Map, load, store};
use crate::simd::{Isa, Kernel, Simd, dispatch, math};
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
    /// x σ(1.702 x).
    QuickGelu,
    /// σ(x).
    Sigmoid,
    /// x where positive, else 0.01 x.
    LeakyRelu,
    /// max(0, x)² (So et al. 2021).
    Relu2,
    /// max(0, x), at most 6.
    Relu6,
    /// x tanh(ln(1 + e^x)) (Misra 2019).
    Mish,
}

/// Every kind, in the order of their numbers.
const ALL: [ActivationKind; 12] = {
    use ActivationKind::{
        Gelu, GeluNew, Identity, LeakyRelu, Mish, QuickGelu, Relu, Relu2, Relu6, Sigmoid, Silu, Tanh,
    };
    [
        Relu, Gelu, GeluNew, Silu, Tanh, Identity, QuickGelu, Sigmoid, LeakyRelu, Relu2, Relu6, Mish,
    ]
};

/// `$body` with `$f` bound to the unit struct of the kind.
macro_rules! with_kind {
    ($kind:expr, $f:ident => $body:expr) => {
        with_kind!(@ $kind, $f, $body, Relu Gelu GeluNew Silu Tanh Identity QuickGelu Sigmoid LeakyRelu Relu2 Relu6 Mish)
    };
    (@ $kind:expr, $f:ident, $body:expr, $($name:ident)*) => {
        match $kind {
            $(ActivationKind::$name => {
                let $f = $name;
                $body
            })*
        }
    };
}

impl ActivationKind {
    /// From its position in this enum, the number that the bindings pass.
    pub fn from_index(index: u32) -> Option<ActivationKind> {
        ALL.get(index as usize).copied()
    }

    /// Whether outputs are exact zeros for half of the inputs and the derivative is 1 at all others, so that it can be read off the output.
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
#[derive(Clone, Copy)]
struct QuickGelu;
#[derive(Clone, Copy)]
struct Sigmoid;
#[derive(Clone, Copy)]
struct LeakyRelu;
#[derive(Clone, Copy)]
struct Relu2;
#[derive(Clone, Copy)]
struct Relu6;
#[derive(Clone, Copy)]
struct Mish;

/// sqrt(2/pi)
const GELU_NEW: f32 = 0.797_884_6;
const GELU_NEW_CUBE: f32 = 0.044715;
const QUICK_GELU: f32 = 1.702;
/// PyTorch's default.
const LEAKY_SLOPE: f32 = 0.01;
/// Below it `1 + tanh u` is 0 in f32, and so is transformers' `gelu_new` (measured: 0 at -5.157840, not at -5.157830). Density counts
/// exact zeros, hence ours are where theirs are.
const GELU_NEW_ZERO: f32 = -5.157_835;

impl Map<1> for Relu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.max(s.zero(), x)
    }
}

impl Map<1> for Gelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        math::gelu(s, x)
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
        let zero = s.lt(x, s.splat(GELU_NEW_ZERO));
        s.select(zero, s.zero(), s.mul(x, gelu_new_gate(s, x)))
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

impl Map<1> for QuickGelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, math::sigmoid(s, s.mul(x, s.splat(QUICK_GELU))))
    }
}

impl Map<1> for Sigmoid {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        math::sigmoid(s, x)
    }
}

impl Map<1> for LeakyRelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.select(s.gt(x, s.zero()), x, s.mul(x, s.splat(LEAKY_SLOPE)))
    }
}

impl Map<1> for Relu2 {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        let positive = s.max(s.zero(), x);
        s.mul(positive, positive)
    }
}

impl Map<1> for Relu6 {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.min(s.splat(6.0), s.max(s.zero(), x))
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

impl Map<1> for Mish {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x]: [S::F; 1]) -> S::F {
        s.mul(x, mish_gate(s, x))
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
        s.mul(dy, math::gelu_slope(s, x))
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

impl Map<2> for Sigmoid {
    /// σ (1 - σ)
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let sigmoid = math::sigmoid(s, x);
        s.mul(dy, s.mul(sigmoid, s.sub(s.splat(1.0), sigmoid)))
    }
}

impl Map<2> for LeakyRelu {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        s.select(s.gt(x, s.zero()), dy, s.mul(dy, s.splat(LEAKY_SLOPE)))
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

impl Map<2> for Relu6 {
    /// 1 between 0 and 6, 0 at both ends, as in torch.
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [x, dy]: [S::F; 2]) -> S::F {
        let below = s.select(s.lt(x, s.splat(6.0)), dy, s.zero());
        s.select(s.gt(x, s.zero()), below, s.zero())
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

/// `out = f(x)`; both `[n]`. ReLU keeps a NaN.
pub fn forward(isa: Isa, pool: &Pool, kind: ActivationKind, x: &[f32], out: &mut [f32]) {
    with_kind!(kind, f => super::map(isa, pool, f, [x], out));
}

/// `dx = dy f'(x)` from the input `x` of the forward pass; all `[n]`. ReLU's derivative at 0 is 0.
pub fn backward(isa: Isa, pool: &Pool, kind: ActivationKind, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    with_kind!(kind, f => super::map(isa, pool, f, [x, dy], dx));
}

/// `x = f(x)` on the calling thread (for use inside a task).
pub fn forward_slice(isa: Isa, kind: ActivationKind, x: &mut [f32]) {
    if kind != ActivationKind::Identity {
        with_kind!(kind, f => super::map_slice(isa, f, x));
    }
}

struct Counted<'a, M> {
    map: M,
    cutoff: f32,
    x: *const f32,
    out: *mut f32,
    sums: &'a mut [f32],
}

impl<M: Map<1>> Kernel for Counted<'_, M> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let len = self.sums.len();
        let sums = self.sums.as_mut_ptr();
        let (mut count, mut i) = (0, 0);
        while i < len {
            let n = S::LANES.min(len - i);
            // SAFETY: whoever built the kernel promises `len` values at `x` and `out`, which may be the same; `sums` has as many.
            unsafe {
                let mut y = self.map.map(s, [load(s, self.x.add(i), n)]);
                if self.cutoff > 0.0 {
                    y = Cut(self.cutoff).map(s, [y]);
                }
                store(s, self.out.add(i), y, n);
                store(s, sums.add(i), s.add(load(s, sums.add(i), n), y), n);
                // Lanes past the end are not counted: f(0) may be anything.
                count += (s.mask_bits(s.ne_zero(y)) & (u32::MAX >> (32 - n))).count_ones() as usize;
            }
            i += n;
        }
        count
    }
}

/// `out = f(x)`, 0 where that is at most `cutoff` in magnitude, and `sums += out`, on the calling thread and in one pass; all `[n]`. Returns how
/// many of `out` are not 0.
pub fn forward_counted(
    isa: Isa,
    kind: ActivationKind,
    cutoff: f32,
    x: &[f32],
    out: &mut [f32],
    sums: &mut [f32],
) -> usize {
    assert!(x.len() == out.len() && sums.len() == out.len(), "activation: lengths");
    let (x, out) = (x.as_ptr(), out.as_mut_ptr());
    with_kind!(kind, map => dispatch(isa, Counted { map, cutoff, x, out, sums }))
}

/// [`forward_counted`] with `x` in the place of `out`.
pub fn forward_counted_in_place(isa: Isa, kind: ActivationKind, cutoff: f32, x: &mut [f32], sums: &mut [f32]) -> usize {
    assert_eq!(sums.len(), x.len(), "activation: lengths");
    let out = x.as_mut_ptr();
    let x = out.cast_const();
    with_kind!(kind, map => dispatch(isa, Counted { map, cutoff, x, out, sums }))
}

/// `dx = dy f'(x)` on the calling thread; all `[n]`.
pub fn backward_into(isa: Isa, kind: ActivationKind, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    with_kind!(kind, f => super::map_into(isa, f, [x, dy], dx));
}

/// `g *= f'(x)` on the calling thread; x is the input of the forward pass, both `[n]`.
pub fn backward_slice(isa: Isa, kind: ActivationKind, x: &[f32], g: &mut [f32]) {
    if kind != ActivationKind::Identity {
        with_kind!(kind, f => super::map_onto_slice(isa, f, x, g));
    }
}

#[derive(Clone, Copy)]
struct Cut(f32);
impl Map<1> for Cut {
    #[inline(always)]
    fn map<S: Simd>(self, s: S, [o]: [S::F; 1]) -> S::F {
        // Not `gt`: NaN stays.
        s.select(s.lt(s.splat(self.0), s.abs(o)), o, s.mul(o, s.zero()))
    }
}

/// `o[i] = 0` where `|o[i]| <= cutoff`: ReLU becomes FATReLU (Kurtz et al. 2020); NaN stays.
pub fn cut_slice(isa: Isa, cutoff: f32, o: &mut [f32]) {
    super::map_slice(isa, Cut(cutoff), o);
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
    super::map_slice2(isa, Mask, g, o);
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

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
            ActivationKind::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
            ActivationKind::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            ActivationKind::LeakyRelu => x.max(0.01 * x),
            ActivationKind::Relu2 => x.max(0.0).powi(2),
            ActivationKind::Relu6 => x.clamp(0.0, 6.0),
            ActivationKind::Mish => x * x.exp().ln_1p().tanh(),
        }
    }

    #[test]
    fn matches_naive_and_differences() {
        for kind in ALL {
            for len in [1, 7, 33, 16 * 1024 + 5] {
                let x: Vec<f32> = random(3, len).iter().map(|x| x * 7.0).collect();
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
                    for cutoff in [0.0, 0.25] {
                        cut_slice(isa, cutoff, &mut z);
                        let nonzeros = z.iter().filter(|&&z| z != 0.0).count();
                        let sums: Vec<f32> = dy.iter().zip(&z).map(|(d, z)| d + z).collect();
                        let (mut out, mut added) = (vec![9.0; len], dy.clone());
                        assert_eq!(forward_counted(isa, kind, cutoff, &x, &mut out, &mut added), nonzeros);
                        assert_eq!((&out, &added), (&z, &sums));
                        let (mut out, mut added) = (x.clone(), dy.clone());
                        assert_eq!(
                            forward_counted_in_place(isa, kind, cutoff, &mut out, &mut added),
                            nonzeros
                        );
                        assert_eq!((&out, &added), (&z, &sums));
                    }
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
                    backward_into(isa, kind, &x, &dy, &mut g);
                    assert_eq!(dx, g);
                    dx
                }) {
                    close(&dx, &slope, 3e-6);
                }
            }
        }
    }

    #[test]
    fn exact_zeros_are_where_pytorch_has_them() {
        everywhere(|isa, pool| {
            let mut y = [1.0; 3];
            forward(
                isa,
                pool,
                ActivationKind::GeluNew,
                &[-1e9, -5.157_84, -5.157_83],
                &mut y,
            );
            assert!(y[0] == 0.0 && y[1] == 0.0 && y[2] < 0.0, "gelu_new {y:?}");
            forward(isa, pool, ActivationKind::Gelu, &[-1e9, -5.56, -5.52], &mut y);
            assert!(y[0] == 0.0 && y[1] == 0.0 && y[2] < 0.0, "gelu {y:?}");
            forward(isa, pool, ActivationKind::Gelu, &[5.6, 8.0, 1e30], &mut y);
            assert_eq!(y, [5.6, 8.0, 1e30], "as x, and PyTorch's");
            vec![]
        });
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
            for kind in [
                ActivationKind::Gelu,
                ActivationKind::GeluNew,
                ActivationKind::Silu,
                ActivationKind::QuickGelu,
            ] {
                backward(isa, pool, kind, &[1e30, -1e30, 0.0], &[1.0, 1.0, 1.0], &mut y);
                assert!(
                    (y[0] - 1.0).abs() < 1e-6 && y[1].abs() < 1e-6 && (y[2] - 0.5).abs() < 1e-6,
                    "{kind:?} {y:?}"
                );
            }
            for kind in [ActivationKind::Mish, ActivationKind::Relu6, ActivationKind::LeakyRelu] {
                forward(isa, pool, kind, &[1e30, -1e30, f32::NAN], &mut y);
                let right = match kind {
                    ActivationKind::Mish => [1e30, 0.0],
                    ActivationKind::Relu6 => [6.0, 0.0],
                    _ => [1e30, -1e28],
                };
                assert!(
                    y[0] == right[0] && (y[1] - right[1]).abs() <= 1e22 && y[2].is_nan(),
                    "{kind:?} {y:?}"
                );
            }
            backward(isa, pool, ActivationKind::Mish, &[1e30, -1e30, 0.0], &[1.0; 3], &mut y);
            assert!(y[0] == 1.0 && y[1].abs() < 1e-6 && (y[2] - 0.6).abs() < 1e-6, "{y:?}");
            backward(isa, pool, ActivationKind::Relu6, &[0.0, 6.0, 3.0], &[1.0; 3], &mut y);
            assert_eq!(y, [0.0, 0.0, 1.0]);
            vec![]
        });
        for (index, kind) in ALL.into_iter().enumerate() {
            assert_eq!(
                (ActivationKind::from_index(index as u32), kind as usize),
                (Some(kind), index)
            );
        }
        assert_eq!(ActivationKind::from_index(12), None);
        assert!(ActivationKind::Relu.is_relu_family() && !ActivationKind::Gelu.is_relu_family());
    }
}

//! AdamW and the norm for gradient clipping.

use super::{CHUNK, for_chunks, sum_chunks};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// Settings of one step. Doubles, as in Python: `1 - beta2` would lose digits in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    pub lr: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u32,
    /// Factor on the gradient (gradient clipping, accumulation).
    pub grad_scale: f32,
}

struct Step<'a> {
    param: &'a mut [f32],
    grad: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
    grad_scale: f32,
    decay: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    root_correction: f32,
    eps: f32,
}

impl Kernel for Step<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let len = self.param.len();
        let mut i = 0;
        while i < len {
            let n = S::LANES.min(len - i);
            let full = n == S::LANES;
            // SAFETY: the four slices have `len` elements (asserted by `adamw_step`), n of them from i on.
            unsafe {
                let (param, m, v) = (
                    self.param.as_mut_ptr().add(i),
                    self.m.as_mut_ptr().add(i),
                    self.v.as_mut_ptr().add(i),
                );
                let grad = self.grad.as_ptr().add(i);
                let (p0, g0, m0, v0) = if full {
                    (s.load(param), s.load(grad), s.load(m), s.load(v))
                } else {
                    (
                        s.load_partial(param, n),
                        s.load_partial(grad, n),
                        s.load_partial(m, n),
                        s.load_partial(v, n),
                    )
                };
                let g = s.mul(g0, s.splat(self.grad_scale));
                let m1 = s.mul_add(s.sub(g, m0), s.splat(self.one_minus_beta1), m0);
                let v1 = s.mul_add(
                    s.mul(g, g),
                    s.splat(self.one_minus_beta2),
                    s.mul(v0, s.splat(self.beta2)),
                );
                let denominator = s.add(s.div(s.sqrt(v1), s.splat(self.root_correction)), s.splat(self.eps));
                let update = s.mul(s.splat(self.step_size), s.div(m1, denominator));
                let p1 = s.sub(s.mul(p0, s.splat(self.decay)), update);
                if full {
                    s.store(param, p1);
                    s.store(m, m1);
                    s.store(v, v1);
                } else {
                    s.store_partial(param, p1, n);
                    s.store_partial(m, m1, n);
                    s.store_partial(v, v1, n);
                }
            }
            i += n;
        }
    }
}

/// One step of `torch.optim.AdamW` (Loshchilov and Hutter 2019): decoupled decay, then
/// `param -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)`. All slices `[n]`.
pub fn adamw_step(
    isa: Isa,
    pool: &Pool,
    param: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    settings: &AdamW,
) {
    let len = param.len();
    assert!(grad.len() == len && m.len() == len && v.len() == len, "adamw: shapes");
    let a = *settings;
    let t = a.step.max(1) as f64;
    let (param, m, v) = (SendPtr::new(param), SendPtr::new(m), SendPtr::new(v));
    for_chunks(pool, len, CHUNK, |start, len| {
        // SAFETY: chunks are inside the slices and disjoint.
        let (param, m, v) = unsafe { (param.slice(start, len), m.slice(start, len), v.slice(start, len)) };
        dispatch(
            isa,
            Step {
                param,
                grad: &grad[start..start + len],
                m,
                v,
                grad_scale: a.grad_scale,
                decay: (1.0 - a.lr * a.weight_decay) as f32,
                one_minus_beta1: (1.0 - a.beta1) as f32,
                beta2: a.beta2 as f32,
                one_minus_beta2: (1.0 - a.beta2) as f32,
                step_size: (a.lr / (1.0 - a.beta1.powf(t))) as f32,
                root_correction: (1.0 - a.beta2.powf(t)).sqrt() as f32,
                eps: a.eps as f32,
            },
        );
    });
}

/// `Σ x²` in f64; the compiler vectorises the plain loop.
struct SumSquares<'a>(&'a [f32]);

impl Kernel for SumSquares<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        let mut sums = [0.0f64; 16];
        let (blocks, rest) = self.0.as_chunks::<16>();
        for block in blocks {
            for l in 0..16 {
                let x = block[l] as f64;
                sums[l] += x * x;
            }
        }
        for (l, &x) in rest.iter().enumerate() {
            sums[l] += x as f64 * x as f64;
        }
        let mut total = 0.0;
        for sum in sums {
            total += sum;
        }
        total
    }
}

/// `Σ x²` in f64, for the gradient norm.
pub fn sum_squares(isa: Isa, pool: &Pool, x: &[f32]) -> f64 {
    sum_chunks(pool, x.len(), |start, len| {
        dispatch(isa, SumSquares(&x[start..start + len]))
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn matches_naive() {
        for len in [1, 21, CHUNK + 7] {
            let start = random(1, len);
            let settings = AdamW {
                lr: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
                weight_decay: 0.01,
                step: 0,
                grad_scale: 0.5,
            };
            let mut right = wide(&start);
            let (mut m, mut v) = (vec![0.0f64; len], vec![0.0f64; len]);
            for t in 1..=3 {
                let grad = random(10 + t, len);
                for i in 0..len {
                    let g = grad[i] as f64 * 0.5;
                    right[i] -= 1e-2 * 0.01 * right[i];
                    m[i] = 0.9 * m[i] + 0.1 * g;
                    v[i] = 0.999 * v[i] + 0.001 * g * g;
                    let mh = m[i] / (1.0 - 0.9f64.powi(t as i32));
                    let vh = v[i] / (1.0 - 0.999f64.powi(t as i32));
                    right[i] -= 1e-2 * mh / (vh.sqrt() + 1e-8);
                }
            }
            for p in everywhere(|isa, pool| {
                let mut p = start.clone();
                let (mut m, mut v) = (vec![0.0; len], vec![0.0; len]);
                for t in 1..=3 {
                    let settings = AdamW {
                        step: t as u32,
                        ..settings
                    };
                    adamw_step(isa, pool, &mut p, &random(10 + t, len), &mut m, &mut v, &settings);
                }
                p
            }) {
                close(&p, &right, 1e-6);
            }
        }
    }

    #[test]
    fn squares() {
        for len in [0, 1, 18, 3 * CHUNK + 5] {
            let x = random(5, len);
            let naive: f64 = wide(&x).iter().map(|x| x * x).sum();
            everywhere(|isa, pool| {
                let sum = sum_squares(isa, pool, &x);
                assert!((sum - naive).abs() <= 1e-12 * (1.0 + naive));
                vec![sum as f32]
            });
        }
    }
}

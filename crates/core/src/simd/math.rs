//! Vector exp, tanh, erf and sigmoid. Error bounds are measured against f64 by the tests below, on every instruction set.

// Coefficients are written as their sources print them.
#![allow(clippy::excessive_precision, clippy::approx_constant)]

use super::Simd;

/// `Σ c[i] x^i`, coefficients from the highest power down (Horner).
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut sum = s.splat(coefficients[0]);
    let mut i = 1;
    while i < N {
        sum = s.mul_add(sum, x, s.splat(coefficients[i]));
        i += 1;
    }
    sum
}

/// Limits `x` to `[-bound, bound]`; a NaN stays.
#[inline(always)]
pub fn clamp<S: Simd>(s: S, x: S::F, bound: f32) -> S::F {
    s.min(s.splat(bound), s.max(s.splat(-bound), x))
}

/// Inputs below this give exactly 0 from [`exp`] (the true value is under 1.7e-38).
pub const EXP_FLUSH: f32 = -86.98;

/// e^x within 2 ULP; 0 below [`EXP_FLUSH`], inf where f32 overflows (above 88.72), NaN for NaN.
///
/// Range reduction by a two-part ln 2 and the degree-5 polynomial of Cephes `expf` (Moshier).
#[inline(always)]
pub fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    // The upper bound still overflows to inf; the lower one only keeps the exponent in range, see the select below.
    let clamped = s.min(s.splat(89.0), s.max(s.splat(EXP_FLUSH), x));
    let n = s.round(s.mul(clamped, s.splat(std::f32::consts::LOG2_E)));
    let r = s.mul_add(n, s.splat(-0.693_359_375), clamped);
    let r = s.mul_add(n, s.splat(2.121_944_4e-4), r);
    let p = polynomial(
        s,
        r,
        [
            1.987_569_2e-4,
            1.398_199_9e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            5.000_000_1e-1,
        ],
    );
    let y = s.add(s.mul_add(p, s.mul(r, r), r), s.splat(1.0));
    // 2^(n-1), then doubled: n reaches 128, one more than an exponent holds.
    let power = s.from_bits(s.shl_i::<23>(s.add_i(s.to_i(n), s.splat_i(126))));
    let half = s.mul(y, power);
    s.select(s.lt(x, s.splat(EXP_FLUSH)), s.zero(), s.add(half, half))
}

/// tanh within 7 ULP; exactly ±1 from |x| = 9 on, NaN for NaN.
///
/// The 13/6 rational approximation of Eigen (`generic_fast_tanh_float`).
#[inline(always)]
pub fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let c = clamp(s, x, 7.905_311);
    let x2 = s.mul(c, c);
    let p = polynomial(
        s,
        x2,
        [
            -2.760_768_5e-16,
            2.000_188e-13,
            -8.604_672e-11,
            5.122_297_1e-8,
            1.485_722_4e-5,
            6.372_619_3e-4,
            4.893_524_6e-3,
        ],
    );
    let q = polynomial(s, x2, [1.198_258_4e-6, 1.185_347_1e-4, 2.268_434_6e-3, 4.893_525e-3]);
    let ratio = clamp(s, s.div(s.mul(c, p), q), 1.0);
    // tanh x = x to f32 precision near 0; this also keeps subnormals and -0.
    let small = s.lt(s.abs(x), s.splat(4e-4));
    let saturated = s.gt(s.abs(x), s.splat(8.99));
    let sign = s.select(s.lt(x, s.zero()), s.splat(-1.0), s.splat(1.0));
    s.select(small, x, s.select(saturated, sign, ratio))
}

/// erf within 3e-7 absolute, and 5 ULP for |x| < 0.5; |result| <= 1, NaN for NaN.
///
/// The Taylor series below 0.5; `1 - t exp(-x² + P(t))`, `t = 1 / (1 + x / 2)` above (Numerical Recipes, `erfcc`).
#[inline(always)]
pub fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let c = clamp(s, x, 5.0);
    let x2 = s.mul(c, c);
    let series = s.mul(
        c,
        polynomial(
            s,
            x2,
            [
                1.205533298e-4,
                -8.548327e-4,
                5.223978e-3,
                -2.6866171e-2,
                1.1283792e-1,
                -3.7612639e-1,
                1.1283792,
            ],
        ),
    );
    let a = s.abs(c);
    let one = s.splat(1.0);
    let t = s.div(one, s.mul_add(a, s.splat(0.5), one));
    let p = polynomial(
        s,
        t,
        [
            1.7087277e-1,
            -8.2215223e-1,
            1.4885159,
            -1.135204,
            2.7886807e-1,
            -1.8628806e-1,
            9.678418e-2,
            3.7409196e-1,
            1.0000237,
            -1.2655122,
        ],
    );
    let tail = s.sub(one, s.mul(t, exp(s, s.sub(p, x2))));
    let signed = s.select(s.lt(x, s.zero()), s.sub(s.zero(), tail), tail);
    s.select(s.lt(a, s.splat(0.5)), series, signed)
}

/// 1 / (1 + e^-x) within 3 ULP for x > -87; 0 below -88.8, NaN for NaN.
#[inline(always)]
pub fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.zero(), x))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{Isa, Kernel, dispatch};

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Function {
        Exp,
        Tanh,
        Erf,
        Sigmoid,
    }

    struct Evaluate<'a>(Function, &'a [f32], &'a mut [f32]);
    impl Kernel for Evaluate<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let mut i = 0;
            while i < self.1.len() {
                let n = S::LANES.min(self.1.len() - i);
                // SAFETY: n elements remain in both slices, which have one length.
                unsafe {
                    let x = s.load_partial(self.1.as_ptr().add(i), n);
                    let y = match self.0 {
                        Function::Exp => exp(s, x),
                        Function::Tanh => tanh(s, x),
                        Function::Erf => erf(s, x),
                        Function::Sigmoid => sigmoid(s, x),
                    };
                    s.store_partial(self.2.as_mut_ptr().add(i), y, n);
                }
                i += n;
            }
        }
    }

    fn evaluate(isa: Isa, function: Function, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len()];
        dispatch(isa, Evaluate(function, x, &mut out));
        out
    }

    /// erf x = 2/sqrt(pi) e^(-x²) Σ 2^n x^(2n+1) / (2n+1)!! (all terms of one sign: no cancellation).
    fn erf_f64(x: f64) -> f64 {
        if x.abs() > 6.0 {
            return x.signum();
        }
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 * sum.abs() {
            n += 1.0;
            term *= 2.0 * x * x / (2.0 * n + 1.0);
            sum += term;
        }
        sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn ulp(value: f64) -> f64 {
        let v = (value.abs() as f32).max(f32::MIN_POSITIVE);
        (f32::from_bits(v.to_bits() + 1) - v) as f64
    }

    fn grid(low: f32, high: f32) -> Vec<f32> {
        let n = 400_001;
        (0..n)
            .map(|i| low + (high - low) * (i as f32 / (n - 1) as f32))
            .collect()
    }

    #[test]
    fn within_the_stated_error() {
        for isa in Isa::available() {
            for (function, low, high, ulps, absolute) in [
                (Function::Exp, -86.97f32, 88.7f32, 2.0, 0.0),
                (Function::Exp, -1.0, 1.0, 2.0, 0.0),
                (Function::Tanh, -10.0, 10.0, 7.0, 0.0),
                (Function::Tanh, -0.01, 0.01, 5.0, 0.0),
                (Function::Erf, -6.0, 6.0, 0.0, 3e-7),
                (Function::Erf, -0.499, 0.499, 5.0, 0.0),
                (Function::Sigmoid, -86.9, 100.0, 3.0, 0.0),
            ] {
                let x = grid(low, high);
                let y = evaluate(isa, function, &x);
                let (mut worst, mut worst_abs) = (0.0f64, 0.0f64);
                for (&x, &y) in x.iter().zip(&y) {
                    let x = x as f64;
                    let right = match function {
                        Function::Exp => x.exp(),
                        Function::Tanh => x.tanh(),
                        Function::Erf => erf_f64(x),
                        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
                    };
                    worst = worst.max((y as f64 - right).abs() / ulp(right));
                    worst_abs = worst_abs.max((y as f64 - right).abs());
                }
                println!(
                    "{} {function:?} [{low}, {high}]: {worst:.2} ULP, {worst_abs:.2e}",
                    isa.name()
                );
                if ulps > 0.0 {
                    assert!(worst <= ulps, "{} {function:?}: {worst} ULP", isa.name());
                } else {
                    assert!(worst_abs <= absolute, "{} {function:?}: {worst_abs:e}", isa.name());
                }
            }
        }
    }

    #[test]
    fn extreme_inputs() {
        let inf = f32::INFINITY;
        let x = [inf, -inf, f32::NAN, 1e30, -1e30, 89.5, -87.5, 0.0, 1e-40, 500.0, -500.0];
        for isa in Isa::available() {
            let e = evaluate(isa, Function::Exp, &x);
            assert_eq!(
                [e[0], e[1], e[3], e[4], e[5], e[6], e[7], e[8]],
                [inf, 0.0, inf, 0.0, inf, 0.0, 1.0, 1.0]
            );
            for function in [Function::Tanh, Function::Erf] {
                let t = evaluate(isa, function, &x);
                assert_eq!(
                    [t[0], t[1], t[3], t[4], t[7]],
                    [1.0, -1.0, 1.0, -1.0, 0.0],
                    "{function:?}"
                );
                assert!((0.0..2e-40).contains(&t[8]));
                assert!(t[2].is_nan());
            }
            let g = evaluate(isa, Function::Sigmoid, &x);
            assert_eq!(
                [g[0], g[1], g[3], g[4], g[7], g[9], g[10]],
                [1.0, 0.0, 1.0, 0.0, 0.5, 1.0, 0.0]
            );
            assert!(e[2].is_nan() && g[2].is_nan());
        }
    }
}

//! Root-mean-square normalisation (Zhang and Sennrich 2019), T5's layer norm: no mean is subtracted and there is no bias.

use super::{COLUMN_BLOCK, for_chunks, load, rows_per_task, store};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// Rows whose parameter gradients are added up in f32 before they join the total.
const ROW_CHUNK: usize = 48;

struct Forward<'a> {
    x: &'a [f32],
    cols: usize,
    gamma: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
    rstd: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cols = self.cols;
        let gamma = self.gamma.as_ptr();
        for row in 0..self.rstd.len() {
            // SAFETY: x and out have `cols` elements in this row, gamma has `cols`.
            unsafe {
                let x = self.x.as_ptr().add(row * cols);
                let out = self.out.as_mut_ptr().add(row * cols);
                let mut sum = s.zero();
                let mut c = 0;
                while c < cols {
                    let n = S::LANES.min(cols - c);
                    let v = load(s, x.add(c), n);
                    sum = s.mul_add(v, v, sum);
                    c += n;
                }
                let rstd = 1.0 / (s.reduce_add(sum) / cols as f32 + self.eps).sqrt();
                let rstd_v = s.splat(rstd);
                c = 0;
                while c < cols {
                    let n = S::LANES.min(cols - c);
                    let normal = s.mul(load(s, x.add(c), n), rstd_v);
                    store(s, out.add(c), s.mul(normal, load(s, gamma.add(c), n)), n);
                    c += n;
                }
                self.rstd[row] = rstd;
            }
        }
    }
}

/// `out = x / sqrt(mean(x²) + eps) * gamma` for each row.
///
/// x, out `[rows, cols]`; gamma `[cols]`; rstd `[rows]` receives 1/sqrt(mean(x²) + eps).
pub fn forward(
    isa: Isa,
    pool: &Pool,
    x: &[f32],
    cols: usize,
    gamma: &[f32],
    eps: f32,
    out: &mut [f32],
    rstd: &mut [f32],
) {
    let rows = rstd.len();
    assert!(x.len() == rows * cols && out.len() == x.len(), "rms_norm: shapes");
    assert_eq!(gamma.len(), cols, "rms_norm: gamma");
    let (out, rstd) = (SendPtr::new(out), SendPtr::new(rstd));
    for_chunks(pool, rows, rows_per_task(cols), |start, len| {
        // SAFETY: tasks have disjoint rows, inside the slices.
        let (out, rstd) = unsafe { (out.slice(start * cols, len * cols), rstd.slice(start, len)) };
        let x = &x[start * cols..(start + len) * cols];
        dispatch(
            isa,
            Forward {
                x,
                cols,
                gamma,
                eps,
                out,
                rstd,
            },
        );
    });
}

struct Backward<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    rstd: &'a [f32],
    gamma: &'a [f32],
    cols: usize,
    dx: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let cols = self.cols;
        let gamma = self.gamma.as_ptr();
        for (row, &rstd) in self.rstd.iter().enumerate() {
            // SAFETY: x, dy and dx have `cols` elements in this row, gamma has `cols`.
            unsafe {
                let x = self.x.as_ptr().add(row * cols);
                let dy = self.dy.as_ptr().add(row * cols);
                let dx = self.dx.as_mut_ptr().add(row * cols);
                let mut product = s.zero();
                let mut c = 0;
                while c < cols {
                    let n = S::LANES.min(cols - c);
                    let g = s.mul(load(s, dy.add(c), n), load(s, gamma.add(c), n));
                    product = s.mul_add(g, load(s, x.add(c), n), product);
                    c += n;
                }
                // mean(g n) rstd, with n = x rstd.
                let slope = s.splat(s.reduce_add(product) / cols as f32 * rstd * rstd);
                let rstd = s.splat(rstd);
                c = 0;
                while c < cols {
                    let n = S::LANES.min(cols - c);
                    let g = s.mul(load(s, dy.add(c), n), load(s, gamma.add(c), n));
                    let d = s.sub(g, s.mul(load(s, x.add(c), n), slope));
                    store(s, dx.add(c), s.mul(d, rstd), n);
                    c += n;
                }
            }
        }
    }
}

struct GammaGradient<'a> {
    dy: &'a [f32],
    x: &'a [f32],
    rstd: &'a [f32],
    cols: usize,
    start: usize,
    dgamma: &'a mut [f32],
}

impl Kernel for GammaGradient<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = self.dgamma.len();
        let mut c = 0;
        while c < width {
            let n = S::LANES.min(width - c);
            let mut total = s.zero();
            for (chunk, rstd) in self.rstd.chunks(ROW_CHUNK).enumerate() {
                let mut part = s.zero();
                for (row, &rstd) in rstd.iter().enumerate() {
                    let at = (chunk * ROW_CHUNK + row) * self.cols + self.start + c;
                    // SAFETY: columns start + c .. start + c + n are inside the row of dy and x.
                    let (dy, x) = unsafe {
                        (
                            load(s, self.dy.as_ptr().add(at), n),
                            load(s, self.x.as_ptr().add(at), n),
                        )
                    };
                    part = s.mul_add(dy, s.mul(x, s.splat(rstd)), part);
                }
                total = s.add(total, part);
            }
            // SAFETY: n columns are left from c.
            unsafe { store(s, self.dgamma.as_mut_ptr().add(c), total, n) };
            c += n;
        }
    }
}

/// Gradients of [`forward`]: with g = dy·gamma and n = x·rstd, `dx = rstd (g - n mean(g n))`, `dgamma = Σ_rows dy n`. Both are
/// overwritten; `dgamma` is made where it is asked for.
///
/// dy, x, dx `[rows, cols]`; rstd `[rows]` of the forward pass; gamma, dgamma `[cols]`.
pub fn backward(
    isa: Isa,
    pool: &Pool,
    dy: &[f32],
    x: &[f32],
    rstd: &[f32],
    gamma: &[f32],
    cols: usize,
    dx: &mut [f32],
    dgamma: Option<&mut [f32]>,
) {
    let rows = rstd.len();
    assert!(
        x.len() == rows * cols && dy.len() == x.len() && dx.len() == x.len(),
        "rms_norm: shapes"
    );
    assert_eq!(gamma.len(), cols, "rms_norm: gamma");
    let dx = SendPtr::new(dx);
    for_chunks(pool, rows, rows_per_task(cols), |start, len| {
        let part = start * cols..(start + len) * cols;
        // SAFETY: tasks have disjoint rows, inside dx.
        let dx = unsafe { dx.slice(start * cols, len * cols) };
        dispatch(
            isa,
            Backward {
                dy: &dy[part.clone()],
                x: &x[part],
                rstd: &rstd[start..start + len],
                gamma,
                cols,
                dx,
            },
        );
    });
    if let Some(dgamma) = dgamma {
        assert_eq!(dgamma.len(), cols, "rms_norm: dgamma");
        let dgamma = SendPtr::new(dgamma);
        for_chunks(pool, cols, COLUMN_BLOCK, |start, len| {
            // SAFETY: column blocks are inside the slice and disjoint.
            let dgamma = unsafe { dgamma.slice(start, len) };
            dispatch(
                isa,
                GammaGradient {
                    dy,
                    x,
                    rstd,
                    cols,
                    start,
                    dgamma,
                },
            );
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn naive(x: &[f64], gamma: &[f64], eps: f64) -> Vec<f64> {
        let cols = gamma.len();
        x.chunks(cols)
            .flat_map(|row| {
                let scale = (row.iter().map(|x| x * x).sum::<f64>() / cols as f64 + eps).sqrt();
                row.iter()
                    .zip(gamma)
                    .map(move |(x, g)| x / scale * g)
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn matches_naive_and_differences() {
        for (rows, cols) in [(1, 1), (3, 5), (7, 16), (101, 33), (2, 131)] {
            // Not centred, so that subtracting a mean would be seen.
            let x: Vec<f32> = random(1, rows * cols).iter().map(|x| x + 0.5).collect();
            let (gamma, dy, eps) = (random(2, cols), random(4, rows * cols), 1e-6f32);
            let (wx, wg, wdy) = (wide(&x), wide(&gamma), wide(&dy));
            let right = naive(&wx, &wg, eps as f64);
            let loss =
                |x: &[f64], g: &[f64]| -> f64 { naive(x, g, eps as f64).iter().zip(&wdy).map(|(y, d)| y * d).sum() };
            let differences = if rows * cols < 500 {
                numeric_gradient(&wx, |x| loss(x, &wg))
            } else {
                vec![]
            };
            let gamma_differences = numeric_gradient(&wg, |g| loss(&wx, g));
            let run = |isa: Isa, pool: &Pool| {
                let (mut y, mut rstd) = (vec![7.0; rows * cols], vec![7.0; rows]);
                forward(isa, pool, &x, cols, &gamma, eps, &mut y, &mut rstd);
                (y, rstd)
            };
            for y in everywhere(|isa, pool| run(isa, pool).0) {
                close(&y, &right, 1e-5);
            }
            for d in everywhere(|isa, pool| {
                let (_, rstd) = run(isa, pool);
                let (mut dx, mut dgamma) = (vec![7.0; rows * cols], vec![5.0; cols]);
                backward(isa, pool, &dy, &x, &rstd, &gamma, cols, &mut dx, Some(&mut dgamma));
                let mut again = vec![7.0; rows * cols];
                backward(isa, pool, &dy, &x, &rstd, &gamma, cols, &mut again, None);
                assert_eq!(dx, again);
                dx.extend(dgamma);
                dx
            }) {
                let (dx, dgamma) = d.split_at(rows * cols);
                if !differences.is_empty() {
                    close(dx, &differences, 1e-4);
                }
                close(dgamma, &gamma_differences, 1e-4);
            }
        }
    }
}

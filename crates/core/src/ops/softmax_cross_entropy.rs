//! Cross entropy of a softmax, with its gradient in the same pass.

use super::{for_chunks, rows_per_task};
use crate::simd::{Isa, Kernel, Simd, dispatch, math};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// One row: out = scale * softmax(logits); returns log Σ exp(logits).
struct SoftmaxRow<'a> {
    logits: &'a [f32],
    scale: f32,
    out: &'a mut [f32],
}

impl Kernel for SoftmaxRow<'_> {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        let len = self.logits.len();
        let x = self.logits.as_ptr();
        let out = self.out.as_mut_ptr();
        let whole = len - len % S::LANES;
        let mut top = s.splat(f32::NEG_INFINITY);
        let mut i = 0;
        // SAFETY: both slices have `len` elements (the caller cuts them so).
        unsafe {
            while i < whole {
                top = s.max(s.load(x.add(i)), top);
                i += S::LANES;
            }
            let mut max = s.reduce_max(top);
            for &value in &self.logits[whole..] {
                max = max.max(value);
            }
            let max_v = s.splat(max);
            let mut sum = 0.0f64;
            // Sums of 64 vectors in f32, those in f64: 50 000 classes lose nothing.
            i = 0;
            while i < whole {
                let end = (i + 64 * S::LANES).min(whole);
                let mut part = s.zero();
                while i < end {
                    let e = math::exp(s, s.sub(s.load(x.add(i)), max_v));
                    s.store(out.add(i), e);
                    part = s.add(part, e);
                    i += S::LANES;
                }
                sum += s.reduce_add(part) as f64;
            }
            let rest = len - whole;
            if rest > 0 {
                let e = math::exp(s, s.sub(s.load_partial(x.add(whole), rest), max_v));
                s.store_partial(out.add(whole), e, rest);
                for &e in &self.out[whole..] {
                    sum += e as f64;
                }
            }
            let factor = s.splat((self.scale as f64 / sum) as f32);
            i = 0;
            while i < whole {
                s.store(out.add(i), s.mul(s.load(out.add(i)), factor));
                i += S::LANES;
            }
            if rest > 0 {
                s.store_partial(
                    out.add(whole),
                    s.mul(s.load_partial(out.add(whole), rest), factor),
                    rest,
                );
            }
            max as f64 + sum.ln()
        }
    }
}

/// Mean over the rows with a label other than `ignore_index` of `log Σ_c exp(logits[r, c]) - logits[r, label]`, and their number;
/// `dlogits = (softmax(logits) - onehot(label)) / count`, 0 in ignored rows. Without a counted row the loss is NaN, as in torch.
///
/// logits, dlogits `[rows, classes]`; labels `[rows]`.
///
/// # Errors
/// [`Error::IndexRange`] for a label outside `0..classes` that is not `ignore_index`.
pub fn forward(
    isa: Isa,
    pool: &Pool,
    logits: &[f32],
    classes: usize,
    labels: &[i32],
    ignore_index: i32,
    dlogits: &mut [f32],
) -> Result<(f64, usize)> {
    let bad = |&label: &i32| label != ignore_index && (label < 0 || label as usize >= classes);
    if let Some(position) = labels.iter().position(bad) {
        return Err(Error::IndexRange {
            op: "softmax_cross_entropy",
            what: "label",
            value: labels[position] as i64,
            position,
            max: classes.saturating_sub(1),
        });
    }
    assert!(
        logits.len() == labels.len() * classes && dlogits.len() == logits.len(),
        "cross entropy: shapes"
    );
    let count = labels.iter().filter(|&&label| label != ignore_index).count();
    if count == 0 {
        dlogits.fill(0.0);
        return Ok((f64::NAN, 0));
    }
    let scale = (1.0 / count as f64) as f32;
    let mut losses = vec![0.0f64; labels.len()];
    let (losses_ptr, dlogits) = (SendPtr::new(&mut losses), SendPtr::new(dlogits));
    for_chunks(pool, labels.len(), rows_per_task(classes), |start, len| {
        for row in start..start + len {
            // SAFETY: row `row` of dlogits and element `row` of losses belong to this task.
            let (out, loss) = unsafe { (dlogits.slice(row * classes, classes), &mut *losses_ptr.at(row)) };
            if labels[row] == ignore_index {
                out.fill(0.0);
                continue;
            }
            let label = labels[row] as usize;
            let logits = &logits[row * classes..(row + 1) * classes];
            *loss = dispatch(isa, SoftmaxRow { logits, scale, out }) - logits[label] as f64;
            out[label] -= scale;
        }
    });
    Ok((losses.iter().sum::<f64>() / count as f64, count))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn naive(logits: &[f64], classes: usize, labels: &[i32]) -> f64 {
        let rows = logits.chunks(classes).zip(labels).filter(|(_, l)| **l != -100);
        let losses: Vec<f64> = rows
            .map(|(row, &l)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[l as usize])
            .collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    #[test]
    fn matches_naive_and_differences() {
        for (rows, classes) in [(1, 1), (4, 2), (9, 3), (5, 17), (3, 65)] {
            let logits: Vec<f32> = random(1, rows * classes).iter().map(|x| x * 5.0).collect();
            let labels: Vec<i32> = (0..rows)
                .map(|r| if r % 4 == 3 { -100 } else { (r * 5 % classes) as i32 })
                .collect();
            let right = naive(&wide(&logits), classes, &labels);
            let gradient = numeric_gradient(&wide(&logits), |x| naive(x, classes, &labels));
            for d in everywhere(|isa, pool| {
                let mut d = vec![3.0; rows * classes];
                let (loss, count) = forward(isa, pool, &logits, classes, &labels, -100, &mut d).unwrap();
                assert!((loss - right).abs() < 1e-6 * (1.0 + right.abs()), "{loss} and {right}");
                assert_eq!(count, labels.iter().filter(|l| **l >= 0).count());
                d
            }) {
                close(&d, &gradient, 1e-6);
            }
        }
    }

    #[test]
    fn edges() {
        everywhere(|isa, pool| {
            let mut d = [1.0; 4];
            let (loss, count) = forward(isa, pool, &[1.0; 4], 2, &[-100, -100], -100, &mut d).unwrap();
            assert!(loss.is_nan() && count == 0 && d == [0.0; 4]);
            let (loss, _) = forward(isa, pool, &[1e4, -1e4, 1e4, -1e4], 2, &[0, 1], -100, &mut d).unwrap();
            assert_eq!(loss, 1e4);
            assert_eq!(d, [0.0, 0.0, 0.5, -0.5]);
            let error = forward(isa, pool, &[1.0; 4], 2, &[0, 2], -100, &mut d).unwrap_err();
            let right = Error::IndexRange {
                op: "softmax_cross_entropy",
                what: "label",
                value: 2,
                position: 1,
                max: 1,
            };
            assert_eq!(error, right);
            let (loss, _) = forward(isa, pool, &[f32::NAN, 0.0], 2, &[0], -100, &mut d[..2]).unwrap();
            assert!(loss.is_nan());
            d.to_vec().iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect()
        });
    }
}

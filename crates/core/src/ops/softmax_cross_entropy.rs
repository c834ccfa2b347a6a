//! Cross entropy of a softmax, with its gradient in the same pass.

use super::{for_chunks, rows_per_task};
use crate::simd::{Isa, Kernel, Simd, dispatch, math};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

/// What the loss of a row is.
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropy {
    pub classes: usize,
    /// Rows with this label count for nothing.
    pub ignore_index: i32,
    /// e in `(1 - e) (-log p[label]) + e / classes Σ_c -log p[c]`, 0 to 1: torch's label smoothing.
    pub smoothing: f64,
}

/// What [`SoftmaxRow`] found out about its row.
struct RowSums {
    log_sum_exp: f64,
    /// Σ logits, where it was asked for.
    sum: f64,
}

/// One row, in place: logits become scale * softmax(logits) - shift.
struct SoftmaxRow<'a> {
    row: &'a mut [f32],
    scale: f32,
    shift: f32,
    want_sum: bool,
}

impl Kernel for SoftmaxRow<'_> {
    type Output = RowSums;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> RowSums {
        let len = self.row.len();
        let whole = len - len % S::LANES;
        let rest = len - whole;
        let mut max = f32::NEG_INFINITY;
        for &value in &self.row[whole..] {
            max = max.max(value);
        }
        let x = self.row.as_mut_ptr();
        let mut top = s.splat(f32::NEG_INFINITY);
        let mut i = 0;
        // SAFETY: the row has `len` elements.
        unsafe {
            while i < whole {
                top = s.max(s.load(x.add(i)), top);
                i += S::LANES;
            }
            max = max.max(s.reduce_max(top));
            let max_v = s.splat(max);
            let (mut total, mut logits) = (0.0f64, 0.0f64);
            // Sums of 64 vectors in f32, those in f64: 50 000 classes lose nothing.
            i = 0;
            while i < whole {
                let end = (i + 64 * S::LANES).min(whole);
                let (mut part, mut logit_part) = (s.zero(), s.zero());
                while i < end {
                    let v = s.load(x.add(i));
                    if self.want_sum {
                        logit_part = s.add(logit_part, v);
                    }
                    let e = math::exp(s, s.sub(v, max_v));
                    s.store(x.add(i), e);
                    part = s.add(part, e);
                    i += S::LANES;
                }
                total += f64::from(s.reduce_add(part));
                logits += f64::from(s.reduce_add(logit_part));
            }
            if rest > 0 {
                let v = s.load_partial(x.add(whole), rest);
                logits += f64::from(s.reduce_add(v));
                s.store_partial(x.add(whole), math::exp(s, s.sub(v, max_v)), rest);
                for i in whole..len {
                    total += f64::from(*x.add(i));
                }
            }
            let factor = s.splat((f64::from(self.scale) / total) as f32);
            let shift = s.splat(self.shift);
            i = 0;
            while i < len {
                let n = S::LANES.min(len - i);
                let p = super::load(s, x.add(i), n);
                super::store(s, x.add(i), s.sub(s.mul(p, factor), shift), n);
                i += n;
            }
            RowSums {
                log_sum_exp: f64::from(max) + total.ln(),
                sum: logits,
            }
        }
    }
}

impl CrossEntropy {
    /// Number of labels that count.
    ///
    /// # Errors
    /// [`Error::IndexRange`] for a label outside `0..classes` that is not `ignore_index`.
    pub fn count(&self, labels: &[i32]) -> Result<usize> {
        let bad = |&label: &i32| label != self.ignore_index && (label < 0 || label as usize >= self.classes);
        if let Some(position) = labels.iter().position(bad) {
            return Err(Error::IndexRange {
                op: "softmax_cross_entropy",
                what: "label",
                value: i64::from(labels[position]),
                position,
                max: self.classes.saturating_sub(1),
            });
        }
        Ok(labels.iter().filter(|&&label| label != self.ignore_index).count())
    }

    /// The loss of each row, 0 where it is ignored; `values` are the logits `[rows, classes]` and become `scale` times their gradient.
    /// The labels are those that [`CrossEntropy::count`] accepted.
    pub fn in_place(&self, isa: Isa, pool: &Pool, values: &mut [f32], labels: &[i32], scale: f32, losses: &mut [f64]) {
        let classes = self.classes;
        assert!(
            values.len() == labels.len() * classes && losses.len() == labels.len(),
            "cross entropy: shapes"
        );
        let smoothed = self.smoothing / classes.max(1) as f64;
        let (values, losses) = (SendPtr::new(values), SendPtr::new(losses));
        for_chunks(pool, labels.len(), rows_per_task(classes), |start, len| {
            for index in start..start + len {
                // SAFETY: this row and its loss belong to this task.
                let (row, loss) = unsafe { (values.slice(index * classes, classes), &mut *losses.at(index)) };
                *loss = 0.0;
                if labels[index] == self.ignore_index {
                    row.fill(0.0);
                    continue;
                }
                let label = labels[index] as usize;
                let logit = f64::from(row[label]);
                let sums = dispatch(
                    isa,
                    SoftmaxRow {
                        row: &mut *row,
                        scale,
                        shift: (f64::from(scale) * smoothed) as f32,
                        want_sum: self.smoothing > 0.0,
                    },
                );
                row[label] -= (f64::from(scale) * (1.0 - self.smoothing)) as f32;
                *loss = sums.log_sum_exp - (1.0 - self.smoothing) * logit;
                if self.smoothing > 0.0 {
                    *loss -= smoothed * sums.sum;
                }
            }
        });
    }

    /// Mean loss over the rows whose label counts, and their number; `dlogits` is its gradient. Without such a row the loss is NaN, as
    /// in torch.
    ///
    /// logits, dlogits `[rows, classes]`; labels `[rows]`.
    ///
    /// # Errors
    /// See [`CrossEntropy::count`].
    pub fn forward(
        &self,
        isa: Isa,
        pool: &Pool,
        logits: &[f32],
        labels: &[i32],
        dlogits: &mut [f32],
    ) -> Result<(f64, usize)> {
        let count = self.count(labels)?;
        assert_eq!(logits.len(), dlogits.len(), "cross entropy: shapes");
        if count == 0 {
            dlogits.fill(0.0);
            return Ok((f64::NAN, 0));
        }
        dlogits.copy_from_slice(logits);
        let mut losses = vec![0.0f64; labels.len()];
        self.in_place(isa, pool, dlogits, labels, (1.0 / count as f64) as f32, &mut losses);
        Ok((losses.iter().sum::<f64>() / count as f64, count))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    fn plain(classes: usize) -> CrossEntropy {
        CrossEntropy {
            classes,
            ignore_index: -100,
            smoothing: 0.0,
        }
    }

    fn naive(loss: &CrossEntropy, logits: &[f64], labels: &[i32]) -> f64 {
        let rows = logits.chunks(loss.classes).zip(labels).filter(|(_, l)| **l != -100);
        let losses: Vec<f64> = rows
            .map(|(row, &l)| {
                let log_sum = row.iter().map(|x| x.exp()).sum::<f64>().ln();
                let all: f64 = row.iter().map(|x| log_sum - x).sum();
                (1.0 - loss.smoothing) * (log_sum - row[l as usize]) + loss.smoothing / loss.classes as f64 * all
            })
            .collect();
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    #[test]
    fn matches_naive_and_differences() {
        for (rows, classes) in [(1, 1), (4, 2), (9, 3), (5, 17), (3, 65)] {
            for smoothing in [0.0, 0.1, 1.0] {
                let loss = CrossEntropy {
                    smoothing,
                    ..plain(classes)
                };
                let logits: Vec<f32> = random(1, rows * classes).iter().map(|x| x * 5.0).collect();
                let labels: Vec<i32> = (0..rows)
                    .map(|r| if r % 4 == 3 { -100 } else { (r * 5 % classes) as i32 })
                    .collect();
                let right = naive(&loss, &wide(&logits), &labels);
                let gradient = numeric_gradient(&wide(&logits), |x| naive(&loss, x, &labels));
                for d in everywhere(|isa, pool| {
                    let mut d = vec![3.0; rows * classes];
                    let (value, count) = loss.forward(isa, pool, &logits, &labels, &mut d).unwrap();
                    assert!(
                        (value - right).abs() < 1e-6 * (1.0 + right.abs()),
                        "{value} and {right}"
                    );
                    assert_eq!(count, labels.iter().filter(|l| **l >= 0).count());
                    d
                }) {
                    close(&d, &gradient, 1e-6);
                }
            }
        }
    }

    #[test]
    fn edges() {
        everywhere(|isa, pool| {
            let two = plain(2);
            let mut d = [1.0; 4];
            let (loss, count) = two.forward(isa, pool, &[1.0; 4], &[-100, -100], &mut d).unwrap();
            assert!(loss.is_nan() && count == 0 && d == [0.0; 4]);
            let (loss, _) = two
                .forward(isa, pool, &[1e4, -1e4, 1e4, -1e4], &[0, 1], &mut d)
                .unwrap();
            assert_eq!(loss, 1e4);
            assert_eq!(d, [0.0, 0.0, 0.5, -0.5]);
            let error = two.forward(isa, pool, &[1.0; 4], &[0, 2], &mut d).unwrap_err();
            let right = Error::IndexRange {
                op: "softmax_cross_entropy",
                what: "label",
                value: 2,
                position: 1,
                max: 1,
            };
            assert_eq!(error, right);
            let (loss, _) = two.forward(isa, pool, &[f32::NAN, 0.0], &[0], &mut d[..2]).unwrap();
            assert!(loss.is_nan());
            d.to_vec().iter().map(|x| if x.is_nan() { 0.0 } else { *x }).collect()
        });
    }
}

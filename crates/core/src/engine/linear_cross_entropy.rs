//! A language model's head with its loss: the logits of all rows never exist together.

use super::losses::{cross_entropy_settings, scalar_buffer};
use super::packs::Form;
use super::{Engine, Handles};
use crate::Result;
use crate::matmul::{Accumulate, ROW_BLOCK, matmul, matmul_at_b};
use crate::memory::AlignedBuf;
use crate::ops::{elementwise, embedding};

/// Logits of a chunk of rows: 32 MB. More rows read the weight from memory fewer times (at 50,000 words and d 768 a chunk of 144 rows
/// multiplies about five times as long as it reads).
const CHUNK_LOGITS: usize = 8 << 20;

/// Rows of a chunk, in whole row blocks of the product.
fn chunk_rows(vocabulary: usize) -> usize {
    (CHUNK_LOGITS / vocabulary.max(1) / ROW_BLOCK).clamp(1, 16) * ROW_BLOCK
}

impl Engine {
    /// Mean cross-entropy of logits = hidden · weightᵀ + bias over the rows whose label is not -100; other rows are left out of every
    /// product. `hidden [n, d]`, `weight [vocabulary, d]`, `bias [vocabulary]` or 0, `labels [n]`; `smoothing` is torch's label smoothing.
    ///
    /// Returns `[loss [1, 1], losses of the rows [n, 1] (0 where ignored), dhidden, dweight, dbias, hits]`, the gradients for a gradient
    /// of 1 of the loss, 0 where they are not wanted. Without any of them `hits` [n, 1] has a 1 where the label's logit is the largest
    /// (the first of equals), which is what an evaluation asks next; else it is 0.
    #[allow(clippy::too_many_arguments)] // one call a step; the binding has no structs
    pub fn linear_cross_entropy(
        &mut self,
        hidden: u32,
        weight: u32,
        bias: u32,
        labels: u32,
        smoothing: f64,
        want_hidden: bool,
        want_weight: bool,
        want_bias: bool,
    ) -> Result<Handles> {
        const OP: &str = "linearCrossEntropy";
        let (rows, d) = self.shape(hidden)?;
        let (vocabulary, _) = self.shape(weight)?;
        self.expect(OP, "weight", weight, vocabulary, d)?;
        if bias != 0 {
            self.expect_len(OP, "bias", bias, vocabulary)?;
        }
        self.expect_len(OP, "labels", labels, rows)?;
        let settings = cross_entropy_settings(OP, vocabulary, smoothing)?;
        let count = settings.count(self.i32(OP, labels)?)?;
        self.pack(OP, weight, Form::Forward)?;
        if want_hidden {
            self.pack(OP, weight, Form::Backward)?;
        }
        let (isa, pool) = (self.isa, &self.pool);
        let all_labels = self.i32(OP, labels)?;
        let kept: Vec<i32> = (0..rows as i32)
            .filter(|&row| all_labels[row as usize] != settings.ignore_index)
            .collect();
        let kept_labels: Vec<i32> = kept.iter().map(|&row| all_labels[row as usize]).collect();
        let mut x = AlignedBuf::uninit(count * d)?;
        embedding::gather_rows(isa, pool, self.f32(OP, hidden)?, rows, d, &kept, &mut x)?;
        let bias_values = if bias == 0 {
            None
        } else {
            Some(&self.f32(OP, bias)?[..])
        };
        let forward = self.panels(weight, Form::Forward)?;

        let mut losses = vec![0.0f64; count];
        let want_hits = !(want_hidden || want_weight || want_bias);
        let mut hits = AlignedBuf::new_zeroed(if want_hits { rows } else { 0 })?;
        let mut dx = AlignedBuf::uninit(if want_hidden { count * d } else { 0 })?;
        let mut dweight = AlignedBuf::new_zeroed(if want_weight { vocabulary * d } else { 0 })?;
        let mut dbias = AlignedBuf::new_zeroed(if want_bias { vocabulary } else { 0 })?;
        let mut part = AlignedBuf::uninit(if want_bias { vocabulary } else { 0 })?;
        let chunk = chunk_rows(vocabulary).min(count);
        let mut buffer = AlignedBuf::uninit(chunk * vocabulary)?;
        let scale = (1.0 / count as f64) as f32;
        let mut first = 0;
        while first < count {
            let n = chunk.min(count - first);
            let x = &x[first * d..][..n * d];
            let logits = &mut buffer[..n * vocabulary];
            matmul(isa, pool, x, n, forward, bias_values, Accumulate::Overwrite, logits);
            let labels = &kept_labels[first..][..n];
            if want_hits {
                for ((logits, &label), &row) in logits.chunks(vocabulary).zip(labels).zip(&kept[first..]) {
                    hits[row as usize] = f32::from(is_argmax(logits, label as usize));
                }
            }
            settings.in_place(isa, pool, logits, labels, scale, &mut losses[first..][..n]);
            if want_hidden {
                let backward = self.panels(weight, Form::Backward)?;
                let dx = &mut dx[first * d..][..n * d];
                matmul(isa, pool, logits, n, backward, None, Accumulate::Overwrite, dx);
            }
            if want_weight {
                let add = Accumulate::Add(1.0);
                matmul_at_b(isa, pool, logits, vocabulary, x, d, n, add, &mut dweight)?;
            }
            if want_bias {
                elementwise::sum_rows(isa, pool, logits, vocabulary, &mut part);
                elementwise::add_in_place(isa, pool, &mut dbias, &part, 1.0);
            }
            first += n;
        }

        let mean = losses.iter().sum::<f64>() / count as f64;
        let mut row_losses = AlignedBuf::new_zeroed(rows)?;
        for (&row, loss) in kept.iter().zip(&losses) {
            row_losses[row as usize] = *loss as f32;
        }
        let mut dhidden = AlignedBuf::new_zeroed(if want_hidden { rows * d } else { 0 })?;
        if want_hidden {
            embedding::scatter_add_rows(isa, pool, &dx, &kept, d, &mut dhidden)?;
        }
        let loss = scalar_buffer(mean)?;
        let optional = |engine: &mut Engine, wanted: bool, rows: usize, cols: usize, values: AlignedBuf| {
            if wanted { engine.new_f32(rows, cols, values) } else { 0 }
        };
        Ok(vec![
            self.new_f32(1, 1, loss),
            self.new_f32(rows, 1, row_losses),
            optional(self, want_hidden, rows, d, dhidden),
            optional(self, want_weight, vocabulary, d, dweight),
            optional(self, want_bias, 1, vocabulary, dbias),
            optional(self, want_hits, rows, 1, hits),
        ])
    }
}

/// Whether element `index` is the largest, and the first of equals.
fn is_argmax(values: &[f32], index: usize) -> bool {
    let largest = values[index];
    values[..index].iter().all(|&value| value < largest) && values[index..].iter().all(|&value| value <= largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::ops::testing::{close, numeric_gradient, random, wide};
    use crate::simd::Isa;

    /// The loss from the definition.
    fn naive(x: &[f64], w: &[f64], b: &[f64], labels: &[i32], d: usize, smoothing: f64) -> f64 {
        let vocabulary = w.len() / d;
        let mut total = 0.0;
        let mut count = 0;
        for (x, &label) in x.chunks(d).zip(labels).filter(|(_, label)| **label != -100) {
            let logits: Vec<f64> = (0..vocabulary)
                .map(|c| x.iter().zip(&w[c * d..]).map(|(x, w)| x * w).sum::<f64>() + b[c])
                .collect();
            let log_sum = logits.iter().map(|z| z.exp()).sum::<f64>().ln();
            let uniform = logits.iter().map(|z| log_sum - z).sum::<f64>() / vocabulary as f64;
            total += (1.0 - smoothing) * (log_sum - logits[label as usize]) + smoothing * uniform;
            count += 1;
        }
        total / f64::from(count)
    }

    #[test]
    fn matches_naive_and_differences_in_several_chunks() {
        // 60,000 words make chunks of 96 rows.
        let (d, vocabulary) = (3, 60_000);
        assert_eq!(chunk_rows(vocabulary), 96);
        for (rows, vocabulary, smoothing) in [(7, 5, 0.0), (7, 5, 0.2), (150, vocabulary, 0.1)] {
            let (x, w, b) = (random(1, rows * d), random(2, vocabulary * d), random(3, vocabulary));
            let labels: Vec<i32> = (0..rows)
                .map(|r| {
                    if r % 7 == 2 {
                        -100
                    } else {
                        (r * 7919 % vocabulary) as i32
                    }
                })
                .collect();
            let (wx, ww, wb) = (wide(&x), wide(&w), wide(&b));
            let right = naive(&wx, &ww, &wb, &labels, d, smoothing);
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::available() {
                let mut bits = None;
                for threads in [1, 2] {
                    let mut engine = Engine::new(threads, isa.name()).unwrap();
                    let hidden = engine.upload_f32(&x, rows as u32, d as u32).unwrap();
                    let weight = engine.upload_f32(&w, vocabulary as u32, d as u32).unwrap();
                    let bias = engine.upload_f32(&b, 1, vocabulary as u32).unwrap();
                    let ids = engine.upload_i32(&labels, 1, rows as u32).unwrap();
                    let results = engine
                        .linear_cross_entropy(hidden, weight, bias, ids, smoothing, true, true, true)
                        .unwrap();
                    let values: Vec<Vec<f32>> = results[..5].iter().map(|&r| engine.read_f32(r).unwrap()).collect();
                    assert!((f64::from(values[0][0]) - right).abs() < 1e-5 * right);
                    let mean = values[1].iter().map(|&loss| f64::from(loss)).sum::<f64>()
                        / labels.iter().filter(|label| **label >= 0).count() as f64;
                    assert!((mean - right).abs() < 1e-5 * right && values[1][2] == 0.0);
                    let flat: Vec<f32> = values[2..5].concat();
                    match &bits {
                        None => bits = Some(flat.clone()),
                        Some(bits) => assert!(*bits == flat, "threads changed the result"),
                    }
                    if vocabulary == 5 {
                        let joined = [&wx[..], &ww, &wb].concat();
                        let numeric = numeric_gradient(&joined, |p| {
                            let (x, rest) = p.split_at(wx.len());
                            let (w, b) = rest.split_at(ww.len());
                            naive(x, w, b, &labels, d, smoothing)
                        });
                        close(&flat, &numeric, 1e-5);
                    } else {
                        // The separate operations of the engine, which are checked against differences elsewhere.
                        let logits = engine.linear(hidden, weight, bias).unwrap();
                        let separate = engine.cross_entropy(logits, ids, smoothing).unwrap();
                        let dlogits = separate[1];
                        let dx = engine.linear_backward_input(dlogits, weight, 0).unwrap();
                        let dw = engine.linear_backward_weight(dlogits, hidden, 1.0).unwrap();
                        let db = engine.sum_rows(dlogits).unwrap();
                        let expected: Vec<f64> = [dx, dw, db]
                            .iter()
                            .flat_map(|&r| wide(&engine.read_f32(r).unwrap()))
                            .collect();
                        close(&flat, &expected, 1e-6);
                    }
                    if let Some(first) = &first {
                        close(&flat, &wide(first), 1e-5);
                    } else {
                        first = Some(flat);
                    }
                }
            }
        }
    }

    #[test]
    fn hits_are_the_rows_whose_label_is_largest() {
        let mut engine = Engine::new(2, "").unwrap();
        // Logits are the bias where a row is zero.
        let hidden = engine.upload_f32(&[0.0, 0.0, 0.0, 0.0, 2.0, f32::NAN], 6, 1).unwrap();
        let weight = engine.upload_f32(&[0.0, 0.0, 1.0], 3, 1).unwrap();
        let bias = engine.upload_f32(&[1.0, 1.0, 0.0], 1, 3).unwrap();
        let labels = engine.upload_i32(&[0, 1, 2, -100, 2, 2], 1, 6).unwrap();
        let results = engine
            .linear_cross_entropy(hidden, weight, bias, labels, 0.0, false, false, false)
            .unwrap();
        assert_eq!(engine.read_f32(results[5]).unwrap(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        let trained = engine
            .linear_cross_entropy(hidden, weight, bias, labels, 0.0, false, false, true)
            .unwrap();
        assert_eq!(trained[5], 0);
    }

    #[test]
    fn without_a_label_the_loss_is_nan_and_gradients_are_zero() {
        let mut engine = Engine::new(1, "").unwrap();
        let hidden = engine.upload_f32(&[1.0; 6], 2, 3).unwrap();
        let weight = engine.upload_f32(&[1.0; 12], 4, 3).unwrap();
        let ignored = engine.upload_i32(&[-100, -100], 1, 2).unwrap();
        let results = engine
            .linear_cross_entropy(hidden, weight, 0, ignored, 0.0, true, true, false)
            .unwrap();
        assert!(engine.read_f32(results[0]).unwrap()[0].is_nan());
        assert_eq!(engine.read_f32(results[2]).unwrap(), [0.0; 6]);
        assert_eq!(engine.read_f32(results[3]).unwrap(), [0.0; 12]);
        assert_eq!(results[4], 0);
        let wrong = engine.upload_i32(&[0, 4], 1, 2).unwrap();
        assert!(matches!(
            engine.linear_cross_entropy(hidden, weight, 0, wrong, 0.0, true, true, false),
            Err(Error::IndexRange { value: 4, .. })
        ));
        assert!(
            engine
                .linear_cross_entropy(hidden, weight, 0, ignored, 1.5, true, true, false)
                .is_err()
        );
    }
}

//! Cross entropy of a softmax over each sequence's own tokens, column by column: where an answer starts (column 0) and ends (1).

use crate::{Error, Result};

/// Mean over the labels that are not `ignore_index` of `log Σ_t exp(logits[t, c]) - logits[label, c]`, t over the tokens of the
/// label's sequence. `dlogits` is the gradient, 0 where there is no label. Without a label the loss is NaN, as in torch.
///
/// A row has a handful of columns, so this is far from being worth vectors or threads.
///
/// logits, dlogits `[tokens, cols]`; labels `[sequences, cols]`, counting from each sequence's first token; `cu` the offsets of the
/// sequences, valid (see [`super::attention::check_offsets`]).
///
/// # Errors
/// [`Error::IndexRange`] for a label that is not a token of its sequence.
pub fn forward(
    logits: &[f32],
    cols: usize,
    labels: &[i32],
    cu: &[i32],
    ignore_index: i32,
    dlogits: &mut [f32],
) -> Result<f64> {
    let length = |sequence: usize| (cu[sequence + 1] - cu[sequence]) as usize;
    for (position, &label) in labels.iter().enumerate() {
        let tokens = length(position / cols);
        if label != ignore_index && (label < 0 || label as usize >= tokens) {
            return Err(Error::IndexRange {
                op: "sequence_cross_entropy",
                what: "label",
                value: label as i64,
                position,
                max: tokens.saturating_sub(1),
            });
        }
    }
    dlogits.fill(0.0);
    let count = labels.iter().filter(|&&label| label != ignore_index).count() as f64;
    let mut total = 0.0f64;
    for (position, &label) in labels.iter().enumerate() {
        if label == ignore_index {
            continue;
        }
        let (sequence, col) = (position / cols, position % cols);
        let start = cu[sequence] as usize;
        let at = |token: usize| (start + token) * cols + col;
        let tokens = length(sequence);
        let top = (0..tokens).fold(f64::NEG_INFINITY, |top, token| top.max(logits[at(token)] as f64));
        let sum: f64 = (0..tokens).map(|token| (logits[at(token)] as f64 - top).exp()).sum();
        for token in 0..tokens {
            dlogits[at(token)] = ((logits[at(token)] as f64 - top).exp() / sum / count) as f32;
        }
        dlogits[at(label as usize)] -= (1.0 / count) as f32;
        total += sum.ln() + top - logits[at(label as usize)] as f64;
    }
    Ok(total / count)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// Each column of each sequence by itself, with the plain cross-entropy.
    fn naive(logits: &[f64], cols: usize, labels: &[i32], cu: &[i32]) -> f64 {
        let mut losses = Vec::new();
        for (sequence, labels) in labels.chunks(cols).enumerate() {
            for (col, &label) in labels.iter().enumerate().filter(|(_, label)| **label != -100) {
                let column: Vec<f64> = (cu[sequence]..cu[sequence + 1])
                    .map(|row| logits[row as usize * cols + col])
                    .collect();
                losses.push(column.iter().map(|x| x.exp()).sum::<f64>().ln() - column[label as usize]);
            }
        }
        losses.iter().sum::<f64>() / losses.len() as f64
    }

    #[test]
    fn matches_naive_and_differences() {
        let cu = [0, 4, 5, 14];
        for (cols, labels) in [(1, vec![2, 0, -100]), (2, vec![0, 3, 0, 0, -100, 8]), (3, vec![1; 9])] {
            let labels: Vec<i32> = labels
                .iter()
                .enumerate()
                .map(|(i, &l)| if i / cols == 1 { 0 } else { l })
                .collect();
            let logits: Vec<f32> = random(1, 14 * cols).iter().map(|x| x * 5.0).collect();
            let mut d = vec![3.0; logits.len()];
            let loss = forward(&logits, cols, &labels, &cu, -100, &mut d).unwrap();
            let right = naive(&wide(&logits), cols, &labels, &cu);
            assert!((loss - right).abs() < 1e-9 * (1.0 + right.abs()), "{loss} and {right}");
            let gradient = numeric_gradient(&wide(&logits), |x| naive(x, cols, &labels, &cu));
            close(&d, &gradient, 1e-6);
        }
    }

    #[test]
    fn edges() {
        let mut d = [1.0; 4];
        assert!(
            forward(&[1.0; 4], 2, &[-100, -100], &[0, 2], -100, &mut d)
                .unwrap()
                .is_nan()
        );
        assert_eq!(d, [0.0; 4]);
        assert_eq!(forward(&[1e4, -1e4], 1, &[0], &[0, 2], -100, &mut d[..2]).unwrap(), 0.0);
        assert_eq!(d[..2], [0.0, 0.0]);
        for label in [2, -1] {
            let error = forward(&[1.0; 4], 2, &[0, label], &[0, 2], -100, &mut d).unwrap_err();
            let right = Error::IndexRange {
                op: "sequence_cross_entropy",
                what: "label",
                value: label as i64,
                position: 1,
                max: 1,
            };
            assert_eq!(error, right);
        }
        assert!(
            forward(&[f32::NAN, 0.0], 1, &[0], &[0, 2], -100, &mut d[..2])
                .unwrap()
                .is_nan()
        );
    }
}

//! Multi-head attention over ragged sequences (no padding), forward and backward.
//!
//! Queries of sequence n are rows `cu_q[n]..cu_q[n+1]`, its keys and values rows `cu_k[n]..cu_k[n+1]`. A task works on one
//! (sequence, head) and at most [`QUERY_BLOCK`] queries at a time, so scores never exist for more than a block. They are
//! `[keys, queries]` there: see `Forward::run`. The backward pass
//! makes the probabilities again from the log-sum-exp of each row and uses `rowsum(P ∘ dP) = rowsum(dO ∘ O)`
//! (Dao et al. 2022, "FlashAttention", appendix B).

mod ahead;
mod backward;
mod forward;
mod matrix;
#[cfg(test)]
mod tests;

pub use backward::backward;
pub use forward::forward;

use super::relative_bias::{ByDistance, RelativeBias};
use crate::rng::Stream;
use crate::simd::Simd;
use crate::{Error, Result};

/// Queries that share one block of scores.
pub const QUERY_BLOCK: usize = 64;

/// What a call of attention works on, besides q, k and v.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape<'a> {
    /// `[sequences + 1]`: where the queries of each sequence start, then the number of queries.
    pub cu_q: &'a [i32],
    /// `[sequences + 1]`: the same for keys.
    pub cu_k: &'a [i32],
    pub heads: usize,
    pub head_dim: usize,
    /// Query i of a sequence sees keys up to `i + len_k - len_q` (the last query sees every key).
    pub causal: bool,
    /// Factor on the scores, usually 1/sqrt(head_dim).
    pub scale: f32,
    /// Probability with which an attention probability is dropped; 0 in evaluation.
    pub dropout: f32,
    pub stream: Stream,
    /// Added to the scores after their scale.
    pub bias: Option<RelativeBias<'a>>,
}

/// Checks that `cu` starts at 0, ends at `total` and has no empty sequence.
///
/// # Errors
/// [`Error::IndexRange`] at the first offset that breaks this, [`Error::Shape`] if there is none at all.
pub fn check_offsets(cu: &[i32], total: usize) -> Result<()> {
    let Some((&last, _)) = cu.split_last() else {
        return Err(Error::Shape {
            op: "attention",
            what: "number of offsets",
            found: "0".to_string(),
            expected: "sequences + 1".to_string(),
        });
    };
    let bad = |position: usize| Error::IndexRange {
        op: "attention",
        what: "offset",
        value: cu[position] as i64,
        position,
        max: total,
    };
    if cu[0] != 0 {
        return Err(bad(0));
    }
    if let Some(position) = cu.windows(2).position(|pair| pair[1] <= pair[0]) {
        return Err(bad(position + 1));
    }
    if last as usize != total {
        return Err(bad(cu.len() - 1));
    }
    Ok(())
}

/// One sequence: its rows and the number of its first (query, key) pair for dropout.
#[derive(Clone, Copy)]
struct Sequence {
    q_start: usize,
    q_len: usize,
    k_start: usize,
    k_len: usize,
    pair: u32,
}

impl AttentionShape<'_> {
    fn sequences(&self, op: &str, q: &[f32], k: &[f32], v: &[f32]) -> Result<Vec<Sequence>> {
        let width = self.heads * self.head_dim;
        assert!(
            width > 0 && q.len().is_multiple_of(width) && k.len().is_multiple_of(width) && v.len() == k.len(),
            "{op}: shapes"
        );
        check_offsets(self.cu_q, q.len() / width)?;
        check_offsets(self.cu_k, k.len() / width)?;
        if self.cu_q.len() != self.cu_k.len() {
            return Err(Error::Shape {
                op: "attention",
                what: "number of key offsets",
                found: self.cu_k.len().to_string(),
                expected: self.cu_q.len().to_string(),
            });
        }
        let mut pair = 0u32;
        let pairs = self.cu_q.windows(2).zip(self.cu_k.windows(2));
        Ok(pairs
            .map(|(q, k)| {
                let (q_len, k_len) = ((q[1] - q[0]) as usize, (k[1] - k[0]) as usize);
                let sequence = Sequence {
                    q_start: q[0] as usize,
                    q_len,
                    k_start: k[0] as usize,
                    k_len,
                    pair,
                };
                pair = pair.wrapping_add((q_len as u32).wrapping_mul(k_len as u32));
                sequence
            })
            .collect())
    }

    /// The biases by head and distance, for the longest of the sequences.
    fn biases(&self, sequences: &[Sequence]) -> Option<ByDistance> {
        let queries = sequences.iter().map(|sequence| sequence.q_len).max()?;
        let keys = sequences.iter().map(|sequence| sequence.k_len).max()?;
        Some(ByDistance::new(self.bias.as_ref()?, self.heads, queries, keys))
    }

    /// Leading keys of a sequence without a bias.
    fn unbiased(&self, sequence: &Sequence) -> usize {
        self.bias.map_or(0, |bias| bias.unbiased_keys).min(sequence.k_len)
    }

    /// Keys that query `i` of the sequence sees.
    #[inline(always)]
    fn visible(&self, sequence: &Sequence, i: usize) -> usize {
        if self.causal {
            (sequence.k_len + i + 1).saturating_sub(sequence.q_len)
        } else {
            sequence.k_len
        }
    }

    /// Every head has a stream of its own: pairs are numbered per head.
    #[inline(always)]
    fn head_stream(&self, head: usize) -> Stream {
        let stream = self
            .stream
            .stream
            .wrapping_add((head as u32 + 1).wrapping_mul(0x9e37_79b9));
        Stream {
            seed: self.stream.seed,
            stream,
        }
    }

    /// Factor of what dropout keeps.
    fn keep(&self) -> f32 {
        if self.dropout >= 1.0 {
            0.0
        } else {
            1.0 / (1.0 - self.dropout)
        }
    }

    /// Dropout of the block's queries, if there is any.
    fn dropout(&self, sequence: &Sequence, head: usize, block: usize) -> Option<Dropout> {
        let keys = sequence.k_len as u32;
        (self.dropout > 0.0).then(|| Dropout {
            probability: self.dropout,
            stream: self.head_stream(head),
            pair: sequence.pair.wrapping_add((block as u32).wrapping_mul(keys)),
            keys,
        })
    }

    /// Adds the biases to a block's scores, `[keys, columns]`.
    fn add_biases(
        &self,
        biases: Option<&ByDistance>,
        sequence: &Sequence,
        head: usize,
        block: usize,
        scores: &mut [f32],
        columns: usize,
    ) {
        let Some(biases) = biases else { return };
        let unbiased = self.unbiased(sequence);
        for (j, scores) in scores.chunks_exact_mut(columns).enumerate().skip(unbiased) {
            let biases = biases.column(head, j, sequence.q_len, sequence.k_len);
            for (score, bias) in scores.iter_mut().zip(&biases[block..]) {
                *score += bias;
            }
        }
    }

    /// Scores of a block, `[keys, columns]`, are -inf where a query does not see a key.
    fn hide(&self, sequence: &Sequence, block: usize, scores: &mut [f32], columns: usize) {
        if self.causal {
            for (j, scores) in scores.chunks_exact_mut(columns).enumerate() {
                // See `visible`: the first queries of the block do not.
                let hidden = (sequence.q_len + j).saturating_sub(sequence.k_len + block);
                scores[..hidden.min(columns)].fill(f32::NEG_INFINITY);
            }
        }
    }
}

/// Which (query, key) pairs of a block of queries are dropped.
#[derive(Clone, Copy)]
struct Dropout {
    probability: f32,
    stream: Stream,
    /// Number of the pair of the block's first query and the first key.
    pair: u32,
    keys: u32,
}

impl Dropout {
    /// Pairs of the first key and LANES queries from `column` of the block on.
    #[inline(always)]
    fn pairs<S: Simd>(&self, s: S, column: usize) -> S::I {
        let rows = s.mul_i(s.iota(column as u32), s.splat_i(self.keys));
        s.add_i(rows, s.splat_i(self.pair))
    }

    /// Whether key `j` is dropped for the queries of `pairs`.
    #[inline(always)]
    fn dropped<S: Simd>(&self, s: S, pairs: S::I, j: usize) -> S::M {
        let uniform = self.stream.uniform_at(s, s.add_i(pairs, s.splat_i(j as u32)));
        s.lt(uniform, s.splat(self.probability))
    }
}

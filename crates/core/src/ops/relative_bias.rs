//! T5's relative position bias (Raffel et al. 2020, section 2.1): a learned scalar for each head and bucket of distances, added to the
//! scores of attention.

use crate::{Error, Result};

/// How distances fall into buckets: `T5Attention._relative_position_bucket` of transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketRule {
    pub buckets: usize,
    /// Keys after the query have buckets of their own (encoders); otherwise they share bucket 0 with the query itself (decoders).
    pub bidirectional: bool,
    /// Distances from here on share the last bucket.
    pub max_distance: usize,
}

impl BucketRule {
    /// Buckets of one direction, and how many of them stand for a single distance.
    fn sizes(&self) -> (usize, usize) {
        let side = if self.bidirectional {
            self.buckets / 2
        } else {
            self.buckets
        };
        (side, side / 2)
    }

    /// # Errors
    /// [`Error::Value`] where a direction has fewer than two buckets, or the maximal distance is inside those of one distance each
    /// (the formula then divides by zero).
    pub fn check(&self, op: &'static str) -> Result<()> {
        let (_, exact) = self.sizes();
        if exact == 0 {
            return Err(Error::Value {
                op,
                what: "number of relative position buckets",
                value: self.buckets.to_string(),
                expected: "at least 2, or 4 where they are bidirectional",
            });
        }
        if self.max_distance <= exact {
            return Err(Error::Value {
                op,
                what: "maximal relative distance",
                value: self.max_distance.to_string(),
                expected: "more than half of the buckets of one direction",
            });
        }
        Ok(())
    }

    /// Bucket of `distance` = position of the key - position of the query. In f32 as transformers computes it: near the edges of
    /// buckets that decides.
    pub fn bucket(&self, distance: i64) -> usize {
        let (side, exact) = self.sizes();
        let (first, distance) = if self.bidirectional {
            (if distance > 0 { side } else { 0 }, distance.unsigned_abs() as usize)
        } else {
            (0, (-distance).max(0) as usize)
        };
        if distance < exact {
            return first + distance;
        }
        // The logarithm is rounded once, from f64: torch's vector logarithm of f32 is within an ULP of that.
        let log = f64::from(distance as f32 / exact as f32).ln() as f32;
        let whole = (self.max_distance as f64 / exact as f64).ln() as f32;
        let large = exact + (log / whole * (side - exact) as f32) as usize;
        first + large.min(side - 1)
    }
}

/// A table of biases and the rule that says which entry a (query, key) pair gets.
#[derive(Clone, Copy, Debug)]
pub struct RelativeBias<'a> {
    /// `[buckets, heads]`
    pub table: &'a [f32],
    pub rule: BucketRule,
    /// So many leading keys of every sequence (virtual ones) get no bias.
    pub unbiased_keys: usize,
}

/// The biases of one call, by head and distance.
#[derive(Debug)]
pub(crate) struct ByDistance {
    values: Vec<f32>,
    /// The same with each head's part from the largest distance to the smallest.
    reversed: Vec<f32>,
    /// Length of a head's part of `values`.
    span: usize,
    longest_queries: usize,
    longest_keys: usize,
}

impl ByDistance {
    /// For sequences of at most `queries` and `keys`: distances -(keys - 1) to queries - 1.
    pub fn new(bias: &RelativeBias, heads: usize, queries: usize, keys: usize) -> ByDistance {
        let span = queries + keys;
        let (mut values, mut reversed) = (vec![0.0; heads * span], vec![0.0; heads * span]);
        for index in 0..span {
            let bucket = bias.rule.bucket(index as i64 + 1 - keys as i64);
            for head in 0..heads {
                let value = bias.table[bucket * heads + head];
                values[head * span + index] = value;
                reversed[head * span + span - 1 - index] = value;
            }
        }
        ByDistance {
            values,
            reversed,
            span,
            longest_queries: queries,
            longest_keys: keys,
        }
    }

    /// Biases of query `i` of a sequence, for each of its keys.
    pub fn row(&self, head: usize, i: usize, q_len: usize, k_len: usize) -> &[f32] {
        // The last query stands at the last key: query i is at position k_len - q_len + i, which is also where causal attention and
        // a key/value cache put it.
        let start = self.longest_keys - k_len + q_len - 1 - i;
        &self.values[head * self.span + start..][..k_len]
    }

    /// Biases of key `j` of a sequence, for each of its queries.
    pub fn column(&self, head: usize, j: usize, q_len: usize, k_len: usize) -> &[f32] {
        let start = self.longest_queries - q_len + k_len - j;
        &self.reversed[head * self.span + start..][..q_len]
    }
}

/// Where the distances of key `j` to each query start in a list of distances from q_len - 1 down to -(k_len - 1).
pub(crate) fn column_start(j: usize, k_len: usize) -> usize {
    k_len - 1 - j
}

/// Gradient of the table: `by_distance` holds, for each sequence and then each head, the sums of score gradients by distance from
/// q_len - 1 down to -(k_len - 1) (see [`column_start`]). Adds in that order, in f64.
pub(crate) fn table_gradient(
    rule: BucketRule,
    heads: usize,
    lengths: impl Iterator<Item = (usize, usize)>,
    by_distance: &[f32],
    dtable: &mut [f32],
) {
    let mut sums = vec![0.0f64; dtable.len()];
    let mut rest = by_distance;
    for (q_len, k_len) in lengths {
        for head in 0..heads {
            let (part, others) = rest.split_at(q_len + k_len - 1);
            rest = others;
            for (index, value) in part.iter().enumerate() {
                let bucket = rule.bucket(q_len as i64 - 1 - index as i64);
                sums[bucket * heads + head] += f64::from(*value);
            }
        }
    }
    for (gradient, sum) in dtable.iter_mut().zip(sums) {
        *gradient = sum as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by `make_relative_buckets.py` beside it, from transformers. Each line: buckets, bidirectional (0 or 1), maximal
    /// distance, then `first:bucket` for every run of distances from -2000 to 2000.
    const RUNS: &str = include_str!("../../../../test/fixtures/relative_buckets.txt");

    #[test]
    fn buckets_are_those_of_transformers() {
        let mut lines = 0;
        for line in RUNS.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.split(' ');
            let mut number = || fields.next().unwrap().parse::<usize>().unwrap();
            let rule = BucketRule {
                buckets: number(),
                bidirectional: number() == 1,
                max_distance: number(),
            };
            rule.check("test").unwrap();
            let runs: Vec<(i64, usize)> = fields
                .map(|run| {
                    let (first, bucket) = run.split_once(':').unwrap();
                    (first.parse().unwrap(), bucket.parse().unwrap())
                })
                .collect();
            let mut run = 0;
            for distance in -2000..=2000 {
                if run + 1 < runs.len() && runs[run + 1].0 == distance {
                    run += 1;
                }
                assert_eq!(rule.bucket(distance), runs[run].1, "{rule:?} at {distance}");
            }
            assert_eq!(run + 1, runs.len());
            lines += 1;
        }
        assert!(lines >= 8);
    }

    #[test]
    fn impossible_rules_are_errors() {
        let check = |buckets, bidirectional, max_distance| {
            BucketRule {
                buckets,
                bidirectional,
                max_distance,
            }
            .check("test")
            .is_ok()
        };
        assert!(check(32, true, 128) && check(2, false, 2) && check(4, true, 2));
        assert!(!check(0, false, 128) && !check(1, false, 128) && !check(3, true, 128));
        assert!(!check(32, true, 8) && !check(32, false, 16));
    }
}

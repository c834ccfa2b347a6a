//! How dense an activation is: column sums, counts of nonzeros, and the paper's density change.

use crate::ops::{elementwise, for_chunks};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// Elements of one counting task.
const CHUNK: usize = 64 * 1024;

/// `out[c] = Σ_r o[r, c]`; o `[rows, cols]`, out `[cols]`. Chunks of 48 rows are summed, then their sums, in order.
pub fn column_sums_dense(isa: Isa, pool: &Pool, o: &[f32], cols: usize, out: &mut [f32]) {
    elementwise::sum_rows(isa, pool, o, cols, out);
}

struct CountNonzeros<'a>(&'a [f32]);

impl Kernel for CountNonzeros<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let mut count = 0;
        let mut i = 0;
        while i < self.0.len() {
            let n = S::LANES.min(self.0.len() - i);
            // SAFETY: n elements are left from i; the other lanes of a partial load are 0 and not counted.
            let x = unsafe {
                let from = self.0.as_ptr().add(i);
                if n == S::LANES {
                    s.load(from)
                } else {
                    s.load_partial(from, n)
                }
            };
            count += s.mask_bits(s.ne_zero(x)).count_ones() as usize;
            i += n;
        }
        count
    }
}

/// Elements that are not 0 (-0 is 0, NaN is not).
pub fn nonzeros(isa: Isa, pool: &Pool, o: &[f32]) -> usize {
    let mut counts = vec![0usize; o.len().div_ceil(CHUNK)];
    let pointer = SendPtr::new(&mut counts);
    for_chunks(pool, o.len(), CHUNK, |start, len| {
        let count = dispatch(isa, CountNonzeros(&o[start..start + len]));
        // SAFETY: one element per chunk, each written by one task.
        unsafe { *pointer.at(start / CHUNK) = count };
    });
    counts.iter().sum()
}

/// Density change in percent: how much lower the density is with DEFT than with PEFT, `100 (peft - deft) / peft`;
/// 0 when the PEFT density is 0.
pub fn density_change(peft: f64, deft: f64) -> f64 {
    if peft == 0.0 { 0.0 } else { 100.0 * (peft - deft) / peft }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::*;

    #[test]
    fn by_hand() {
        everywhere(|isa, pool| {
            let mut sums = vec![9.0; 2];
            column_sums_dense(isa, pool, &[1.0, 0.0, 3.0, 0.0], 2, &mut sums);
            assert_eq!(sums, [4.0, 0.0]);
            assert_eq!(nonzeros(isa, pool, &[1.0, -0.0, f32::NAN, 0.0, -1e-40]), 3);
            sums
        });
        assert_eq!(density_change(0.5, 0.25), 50.0);
        assert_eq!(density_change(0.0, 0.25), 0.0);
        assert!(density_change(0.1, 0.2) < 0.0);
    }

    #[test]
    fn matches_naive() {
        for len in [0, 1, 100, 2 * CHUNK + 11] {
            let o: Vec<f32> = random(6, len).iter().map(|x| x.max(0.0)).collect();
            let naive = o.iter().filter(|&&x| x != 0.0).count();
            everywhere(|isa, pool| {
                assert_eq!(nonzeros(isa, pool, &o), naive);
                vec![]
            });
        }
    }
}

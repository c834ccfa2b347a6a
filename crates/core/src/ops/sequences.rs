//! Joins ragged tensors sequence by sequence: virtual tokens before embeddings or keys, new keys behind cached ones.

use super::{for_chunks, load, rows_per_task, store};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};

/// The first part of each joined sequence.
#[derive(Clone, Copy, Debug)]
pub enum Front<'a> {
    /// The same rows before every sequence.
    Shared { rows: usize },
    /// Offsets `[sequences + 1]`; a sequence may be empty.
    Ragged { cu: &'a [i32] },
}

impl Front<'_> {
    /// Rows of sequence n's front in `a`.
    fn range(&self, n: usize) -> (usize, usize) {
        match self {
            Front::Shared { rows } => (0, *rows),
            Front::Ragged { cu } => (cu[n] as usize, (cu[n + 1] - cu[n]) as usize),
        }
    }
}

/// A run of rows: from row `source` of a or b to row `target` of the result.
#[derive(Clone, Copy)]
struct Run {
    from_front: bool,
    source: usize,
    target: usize,
    rows: usize,
}

/// Where the rows go. Long sequences are cut in runs of at most `limit` rows, so that threads can share them.
fn runs(front: Front, cu_b: &[i32], limit: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut target = 0;
    for n in 0..cu_b.len() - 1 {
        let (start, rows) = front.range(n);
        let back = (cu_b[n] as usize, (cu_b[n + 1] - cu_b[n]) as usize);
        for (from_front, (source, rows)) in [(true, (start, rows)), (false, back)] {
            for first in (0..rows).step_by(limit) {
                let rows = limit.min(rows - first);
                runs.push(Run {
                    from_front,
                    source: source + first,
                    target: target + first,
                    rows,
                });
            }
            target += rows;
        }
    }
    runs
}

/// Rows of the result; `usize::MAX` where they are more than that.
pub fn joined_rows(front: Front, cu_b: &[i32]) -> usize {
    (0..cu_b.len() - 1)
        .map(|n| front.range(n).1 + (cu_b[n + 1] - cu_b[n]) as usize)
        .fold(0, usize::saturating_add)
}

/// For each sequence its rows of `a` and then its rows of `b`. Offsets were checked by the caller.
///
/// a `[front rows, cols]`; b `[cu_b's last, cols]`; out `[joined_rows, cols]`.
pub fn concat(pool: &Pool, a: &[f32], front: Front, b: &[f32], cu_b: &[i32], cols: usize, out: &mut [f32]) {
    assert_eq!(out.len(), joined_rows(front, cu_b) * cols, "concat: shapes");
    let runs = runs(front, cu_b, rows_per_task(cols));
    let out = SendPtr::new(out);
    pool.run(runs.len(), &|index| {
        let run = runs[index];
        let source = if run.from_front { a } else { b };
        // SAFETY: runs are disjoint and inside the result.
        let part = unsafe { out.slice(run.target * cols, run.rows * cols) };
        part.copy_from_slice(&source[run.source * cols..][..run.rows * cols]);
    });
}

struct AddRow<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for AddRow<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (x, y) = (self.x.as_ptr(), self.y.as_mut_ptr());
        let mut c = 0;
        while c < self.x.len() {
            let n = S::LANES.min(self.x.len() - c);
            // SAFETY: both have the same length (asserted by the caller).
            unsafe { store(s, y.add(c), s.add(load(s, y.add(c), n), load(s, x.add(c), n)), n) };
            c += n;
        }
    }
}

/// Gradients of [`concat()`], overwritten: each row of `dout` goes back to where it came from; rows of a shared front are added up over
/// the sequences, in their order.
pub fn concat_backward(
    isa: Isa,
    pool: &Pool,
    dout: &[f32],
    front: Front,
    cu_b: &[i32],
    cols: usize,
    da: Option<&mut [f32]>,
    db: Option<&mut [f32]>,
) {
    assert_eq!(dout.len(), joined_rows(front, cu_b) * cols, "concat backward: shapes");
    let runs = runs(front, cu_b, rows_per_task(cols));
    let copy = |from_front: bool, grad: &mut [f32]| {
        let grad = SendPtr::new(grad);
        pool.run(runs.len(), &|index| {
            let run = runs[index];
            if run.from_front == from_front {
                // SAFETY: runs of a ragged part are disjoint and inside it.
                let part = unsafe { grad.slice(run.source * cols, run.rows * cols) };
                part.copy_from_slice(&dout[run.target * cols..][..run.rows * cols]);
            }
        });
    };
    if let Some(db) = db {
        copy(false, db);
    }
    match (da, front) {
        (None, _) => {}
        (Some(da), Front::Ragged { .. }) => copy(true, da),
        (Some(da), Front::Shared { rows }) => {
            assert_eq!(da.len(), rows * cols, "concat backward: front");
            // Where each sequence starts in `dout`.
            let starts: Vec<usize> = (0..cu_b.len() - 1).map(|n| cu_b[n] as usize + n * rows).collect();
            let grad = SendPtr::new(da);
            for_chunks(pool, rows, rows_per_task(cols * starts.len()), |first, count| {
                for row in first..first + count {
                    // SAFETY: a row of the front belongs to one task.
                    let y = unsafe { grad.slice(row * cols, cols) };
                    y.fill(0.0);
                    for start in &starts {
                        let x = &dout[(start + row) * cols..][..cols];
                        dispatch(isa, AddRow { x, y: &mut *y });
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// Rows of `a` and `b` in the order of the result, from the definition.
    fn naive(a: &[f64], front: Front, b: &[f64], cu_b: &[i32], cols: usize) -> Vec<f64> {
        let mut out = Vec::new();
        for n in 0..cu_b.len() - 1 {
            match front {
                Front::Shared { rows } => out.extend(&a[..rows * cols]),
                Front::Ragged { cu } => out.extend(&a[cu[n] as usize * cols..cu[n + 1] as usize * cols]),
            }
            out.extend(&b[cu_b[n] as usize * cols..cu_b[n + 1] as usize * cols]);
        }
        out
    }

    #[test]
    fn matches_naive_and_differences() {
        let cu_b = [0, 3, 4, 9];
        for cols in [1, 5, 37] {
            for front in [
                Front::Shared { rows: 1 },
                Front::Shared { rows: 4 },
                Front::Ragged { cu: &[0, 2, 2, 5] },
            ] {
                let front_rows = match front {
                    Front::Shared { rows } => rows,
                    Front::Ragged { cu } => cu[3] as usize,
                };
                let (a, b) = (random(1, front_rows * cols), random(2, 9 * cols));
                let (wa, wb) = (wide(&a), wide(&b));
                let right = naive(&wa, front, &wb, &cu_b, cols);
                let dout = random(3, right.len());
                let wd = wide(&dout);
                let joined: Vec<f64> = [&wa[..], &wb].concat();
                let differences = numeric_gradient(&joined, |x| {
                    let (a, b) = x.split_at(wa.len());
                    naive(a, front, b, &cu_b, cols)
                        .iter()
                        .zip(&wd)
                        .map(|(y, d)| y * d)
                        .sum()
                });
                for out in everywhere(|_, pool| {
                    let mut out = vec![7.0; joined_rows(front, &cu_b) * cols];
                    concat(pool, &a, front, &b, &cu_b, cols, &mut out);
                    out
                }) {
                    close(&out, &right, 0.0);
                }
                for gradient in everywhere(|isa, pool| {
                    let (mut da, mut db) = (vec![7.0; a.len()], vec![7.0; b.len()]);
                    concat_backward(isa, pool, &dout, front, &cu_b, cols, Some(&mut da), Some(&mut db));
                    da.extend(db);
                    da
                }) {
                    close(&gradient, &differences, 1e-6);
                }
            }
        }
    }

    #[test]
    fn long_sequences_are_cut() {
        // Several runs a sequence: more rows than a task takes.
        let (cols, cu_b) = (4000, [0, 30, 41]);
        let (a, b) = (random(1, 7 * cols), random(2, 41 * cols));
        let front = Front::Shared { rows: 7 };
        let right = naive(&wide(&a), front, &wide(&b), &cu_b, cols);
        for out in everywhere(|_, pool| {
            let mut out = vec![7.0; right.len()];
            concat(pool, &a, front, &b, &cu_b, cols, &mut out);
            out
        }) {
            close(&out, &right, 0.0);
        }
    }
}

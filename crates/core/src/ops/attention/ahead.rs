//! What a thread works on next, asked for while it works on something else.

use crate::memory::{Cache, prefetch};
use crate::threads::Pool;

/// Matrices of a task at most: q, k, v, out, dout and three gradients.
const MATRICES: usize = 8;

/// A head's columns of the rows of a sequence, in each matrix of the task that the thread probably gets next.
///
/// They lie a row of all heads apart, which no prefetcher follows. 32 sequences of 10 to 41 tokens, 12 heads of 64 columns, Emerald Rapids, two threads:
/// forward 1.6 -> 1.1 ms, backward 3.1 -> 2.0 (2.4 where all is asked for at once); 256 tokens: no difference.
pub(super) struct Ahead {
    /// The columns of the first row, and how many rows there are.
    matrices: [(*const f32, usize); MATRICES],
    /// Distance between rows, and the columns of a head.
    width: usize,
    dim: usize,
    /// Calls of [`Ahead::ask`] until now and in all.
    calls: (usize, usize),
}

impl Ahead {
    /// `matrices`: the columns of the first row and the number of rows, every `width`. All is asked for after `calls` calls.
    pub fn new(matrices: &[(*const f32, usize)], width: usize, dim: usize, calls: usize) -> Ahead {
        let mut all = [(std::ptr::null(), 0); MATRICES];
        all[..matrices.len()].copy_from_slice(matrices);
        Ahead {
            matrices: all,
            width,
            dim,
            calls: (0, calls),
        }
    }

    /// Nothing.
    pub fn none() -> Ahead {
        Ahead::new(&[], 0, 0, 1)
    }

    /// Asks for the next part.
    pub fn ask(&mut self) {
        if cfg!(not(target_arch = "x86_64")) {
            return; // `prefetch` does nothing there
        }
        let (call, of) = self.calls;
        self.calls.0 = of.min(call + 1);
        // Rows of all matrices, one after the other.
        let all: usize = self.matrices.iter().map(|&(_, rows)| rows).sum();
        let (from, until) = (all * call / of, all * self.calls.0 / of);
        let mut before = 0;
        for (first, rows) in self.matrices {
            let part = [from, until].map(|row| row.saturating_sub(before).min(rows));
            for row in part[0]..part[1] {
                prefetch(Cache::L2, first.wrapping_add(row * self.width), self.dim);
            }
            before += rows;
        }
    }
}

/// Heads that a thread takes at a time at most: 4 take 8 % less time than single ones, as what comes next is known then; 12 as much as 4.
const AT_A_TIME: usize = 4;

/// Calls `task` for each number below `count`, and the one that its thread probably gets next.
pub(super) fn run_tasks(pool: &Pool, count: usize, task: &(dyn Fn(usize, Option<usize>) + Sync)) {
    let group = (count / (4 * pool.wanted_tasks())).clamp(1, AT_A_TIME);
    pool.run(count.div_ceil(group), &|index| {
        let tasks = index * group..count.min((index + 1) * group);
        for at in tasks.clone() {
            let next = match at + 1 < tasks.end {
                true => at + 1,
                false => pool.likely_after(index) * group,
            };
            task(at, Some(next).filter(|&next| next < count));
        }
    });
}

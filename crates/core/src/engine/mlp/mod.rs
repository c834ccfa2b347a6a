//! The heart: up-projection, activation, compaction and the DEFT statistics as one operation, and its backward pass.
//!
//! Each block of rows is finished while it is in cache: bias, activation, column sums (the feature map), the element-wise loss and
//! the compaction of the non-zeros. Sums are kept per block and added in block order, so they do not depend on the threads.

mod backward;
mod dense;
mod finish;
mod forward;
mod out_gradient;
mod pattern;
mod settings;

pub(super) use finish::{Finished, measure};
pub(super) use pattern::gather_pattern;
pub(super) use settings::{MlpSettings, activation_kind, check_width};

use super::Engine;
use crate::memory::AlignedBuf;
use crate::threads::SendPtr;

impl Engine {
    /// `make(i)` for each block, in parallel, in order of i.
    pub(super) fn each_block<T>(&self, count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let mut blocks: Vec<Option<T>> = (0..count).map(|_| None).collect();
        let slots = SendPtr::new(&mut blocks);
        self.pool.run(count, &|index| {
            let block = make(index);
            // SAFETY: each task writes the slot of its own index.
            unsafe { *slots.at(index) = Some(block) };
        });
        blocks.into_iter().flatten().collect()
    }
}

/// Room for `len` values inside a task, where no error can be returned: without memory it ends as a `Vec` would.
fn buffer(len: usize) -> AlignedBuf {
    AlignedBuf::uninit(len).unwrap_or_else(|error| panic!("{error}"))
}

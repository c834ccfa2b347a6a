//! Activations that stay dense: any part of them can be made on its own, so tasks need not be blocks of whole rows.

use super::settings::MlpSettings;
use crate::Result;
use crate::engine::{Engine, Handles};
use crate::memory::AlignedBuf;
use crate::ops::activation;
use crate::ops::elementwise;
use crate::simd::Isa;
use crate::sparse::{Activations, Block};
use crate::threads::SendPtr;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Activations that stay dense, while tasks make parts of them.
pub(super) struct DenseActivations {
    isa: Isa,
    settings: MlpSettings,
    rows: usize,
    cols: usize,
    blocks: Vec<AlignedBuf>,
    /// Where `blocks` are.
    targets: Vec<SendPtr<f32>>,
    /// Sums of columns, [groups, cols]: in the order of a group's rows whatever the tasks, and added in the order of the groups.
    sums: Vec<f32>,
    sums_target: SendPtr<f32>,
    nonzeros: AtomicUsize,
}

impl DenseActivations {
    pub(super) fn new(
        isa: Isa,
        settings: MlpSettings,
        rows: usize,
        cols: usize,
        groups: usize,
    ) -> Result<DenseActivations> {
        let block_rows = settings.blocking.rows;
        let starts = (0..rows).step_by(block_rows);
        let mut blocks = starts
            .map(|first| AlignedBuf::uninit(block_rows.min(rows - first) * cols))
            .collect::<Result<Vec<_>>>()?;
        let mut sums = vec![0.0; groups * cols];
        Ok(DenseActivations {
            isa,
            settings,
            rows,
            cols,
            targets: blocks.iter_mut().map(|block| SendPtr::new(block)).collect(),
            blocks,
            sums_target: SendPtr::new(&mut sums),
            sums,
            nonzeros: AtomicUsize::new(0),
        })
    }

    /// f(pre) as `columns` of row `row`, which is in group `group`. The number of non-zeros among them, for [`DenseActivations::count`].
    ///
    /// # Safety
    /// They are there, and no other task has these columns of the row or of the group.
    pub(super) unsafe fn set(&self, group: usize, row: usize, columns: Range<usize>, pre: &[f32]) -> usize {
        let MlpSettings {
            kind, cutoff, blocking, ..
        } = self.settings;
        // SAFETY: the caller's promise.
        let (out, sums) = unsafe {
            let at = row % blocking.rows * self.cols + columns.start;
            (
                self.targets[row / blocking.rows].slice(at, columns.len()),
                self.sums_target.slice(group * self.cols + columns.start, columns.len()),
            )
        };
        activation::forward_counted(self.isa, kind, cutoff, pre, out, sums)
    }

    /// Once a task: threads wait for each other there.
    pub(super) fn count(&self, nonzeros: usize) {
        self.nonzeros.fetch_add(nonzeros, Ordering::Relaxed);
    }
}

impl Engine {
    pub(super) fn publish_dense(&mut self, dense: DenseActivations, pre: u32) -> Result<Handles> {
        let DenseActivations {
            rows, cols, settings, ..
        } = dense;
        let mut map = AlignedBuf::new_zeroed(cols)?;
        for sums in dense.sums.chunks_exact(cols) {
            elementwise::add_slice(self.isa, &mut map, sums);
        }
        let blocks = dense.blocks.into_iter().map(|values| Block::Dense { values });
        let o = Activations {
            counted: Some(dense.nonzeros.into_inner()),
            ..Activations::new(rows, cols, settings.blocking.rows, blocks.collect())
        };
        self.publish(o, map, 0.0, pre)
    }
}

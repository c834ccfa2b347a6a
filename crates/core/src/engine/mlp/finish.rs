//! What becomes of a block of rows while it is in cache, and of all blocks of an activation once they are finished.

use super::settings::MlpSettings;
use crate::density::element::ElementLoss;
use crate::engine::tensors::Data;
use crate::engine::{Engine, Handles};
use crate::memory::AlignedBuf;
use crate::ops::activation;
use crate::ops::elementwise;
use crate::simd::Isa;
use crate::sparse::{Activations, Block, NEVER, compact_block, compact_counted};
use crate::threads::SendPtr;
use crate::{Error, Result};

/// What a finished block leaves behind.
pub(in crate::engine) struct Finished {
    block: Block,
    column_sums: Vec<f32>,
    element_sum: f64,
    /// Where they were counted.
    nonzeros: Option<usize>,
}

/// Activation, statistics and compaction of one block of rows, in place in its scratch; for ReLU.
pub(super) fn finish(isa: Isa, settings: MlpSettings, scratch: &mut [f32], cols: usize) -> Finished {
    let (mut column_sums, mut element_sum, mut nonzeros) = (vec![0.0; cols], 0.0, 0);
    for row in scratch.chunks_exact_mut(cols) {
        nonzeros += activation::forward_counted_in_place(isa, settings.kind, settings.cutoff, row, &mut column_sums);
        element_sum += settings.element.row_sum(isa, row, None);
    }
    Finished {
        // SAFETY: every row was counted.
        block: unsafe { compact_counted(isa, scratch, cols, settings.blocking.crossover, nonzeros) },
        column_sums,
        element_sum,
        nonzeros: Some(nonzeros),
    }
}

/// [`finish`] of values that have to stay as they are.
pub(super) fn finish_copy(isa: Isa, settings: MlpSettings, pre: &[f32], cols: usize) -> Finished {
    let mut values = AlignedBuf::uninit_in_task(pre.len());
    let (mut column_sums, mut element_sum, mut nonzeros) = (vec![0.0; cols], 0.0, 0);
    for (pre, row) in pre.chunks_exact(cols).zip(values.chunks_exact_mut(cols)) {
        nonzeros += activation::forward_counted(isa, settings.kind, settings.cutoff, pre, row, &mut column_sums);
        element_sum += settings.element.row_sum(isa, row, Some(pre));
    }
    Finished {
        block: if settings.blocking.crossover != NEVER {
            // SAFETY: every row was counted.
            unsafe { compact_counted(isa, &values, cols, settings.blocking.crossover, nonzeros) }
        } else {
            Block::Dense { values }
        },
        column_sums,
        element_sum,
        nonzeros: Some(nonzeros),
    }
}

/// Statistics of one finished block o of a gated MLP, and its compaction up to a density of `crossover`.
pub(in crate::engine) fn measure(
    isa: Isa,
    o: &[f32],
    pre: &[f32],
    cols: usize,
    element: ElementLoss,
    crossover: f32,
) -> Finished {
    let (mut column_sums, mut element_sum) = (vec![0.0; cols], 0.0);
    for (o, pre) in o.chunks_exact(cols).zip(pre.chunks_exact(cols)) {
        elementwise::add_slice(isa, &mut column_sums, o);
        element_sum += element.row_sum(isa, o, Some(pre));
    }
    Finished {
        block: compact_block(isa, o, cols, crossover),
        column_sums,
        element_sum,
        nonzeros: None,
    }
}

pub(super) struct BlockSlots {
    slots: SendPtr<Option<Finished>>,
    count: usize,
}

impl BlockSlots {
    pub(super) fn set(&self, index: usize, finished: Finished) {
        assert!(index < self.count);
        // SAFETY: in range, and each block is finished by one task.
        unsafe { *self.slots.at(index) = Some(finished) };
    }
}

impl Engine {
    pub(super) fn finish_blocks(&self, count: usize, run: impl FnOnce(&BlockSlots)) -> Result<Vec<Finished>> {
        let mut slots: Vec<Option<Finished>> = (0..count).map(|_| None).collect();
        run(&BlockSlots {
            slots: SendPtr::new(&mut slots),
            count: slots.len(),
        });
        slots
            .into_iter()
            .map(|slot| slot.ok_or_else(|| Error::Internal("a row block was not finished".into())))
            .collect()
    }

    pub(in crate::engine) fn collect(
        &mut self,
        rows: usize,
        cols: usize,
        block_rows: usize,
        finished: Vec<Finished>,
        pre: u32,
    ) -> Result<Handles> {
        let mut map = AlignedBuf::new_zeroed(cols)?;
        let mut element_sum = 0.0;
        let mut counted = Some(0);
        let mut blocks = Vec::with_capacity(finished.len());
        for part in finished {
            elementwise::add_slice(self.isa, &mut map, &part.column_sums);
            element_sum += part.element_sum;
            counted = counted.zip(part.nonzeros).map(|(total, more)| total + more);
            blocks.push(part.block);
        }
        let o = Activations {
            counted,
            ..Activations::new(rows, cols, block_rows, blocks)
        };
        self.publish(o, map, element_sum, pre)
    }

    /// The handles of o, of its column sums as means, and of its element-wise sum as a mean.
    pub(super) fn publish(
        &mut self,
        o: Activations,
        mut map: AlignedBuf,
        element_sum: f64,
        pre: u32,
    ) -> Result<Handles> {
        let (rows, cols) = (o.rows, o.cols);
        map.iter_mut().for_each(|total| *total /= rows as f32);
        let mut element = AlignedBuf::new_zeroed(1)?;
        element[0] = (element_sum / (rows * cols) as f64) as f32;
        let o = self.tensors.insert(rows, cols, Data::Activations(o));
        let map = self.new_f32(1, cols, map);
        let element = self.new_f32(1, 1, element);
        Ok(vec![o, map, element, pre])
    }
}

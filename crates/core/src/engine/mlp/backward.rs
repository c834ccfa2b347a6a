//! The backward operation: the gradient before the activation.

use super::pattern::gather_pattern;
use crate::Result;
use crate::engine::Engine;
use crate::engine::tensors::Data;
use crate::memory::AlignedBuf;
use crate::ops::activation;
use crate::sparse::{Activations, Block};

impl Engine {
    /// Gradient before the activation: (grad + mapGrad / rows + elementGrad · d(elementMean)/do) · f'(pre), 0 where `cutoff` made o zero, and
    /// elementGrad · d(elementMean)/dpre of a loss on pre-activations; in the blocks of `out`.
    ///
    /// `grad` is the gradient of o (0: none; dense or in o's pattern), `map_grad` that of the feature map `[1, cols]` (0: none),
    /// `element_grad` that of the element-wise mean.
    #[allow(clippy::too_many_arguments)] // one call a backward pass; the binding has no structs
    pub fn activate_backward(
        &mut self,
        grad: u32,
        out: u32,
        pre: u32,
        map_grad: u32,
        element_grad: f64,
        kind: u32,
        element: u32,
        p: f64,
        q: f64,
        cutoff: f64,
    ) -> Result<u32> {
        const OP: &str = "activateBackward";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let kind = settings.kind;
        let (rows, cols) = self.shape(out)?;
        if !kind.needs_no_input() {
            self.expect(OP, "pre", pre, rows, cols)?;
        }
        let isa = self.isa;
        let o = self.activations(OP, out)?;
        let gradient = self.out_gradient(OP, out, grad, map_grad, element_grad, settings)?;
        let pre = if kind.needs_no_input() {
            None
        } else {
            Some(&self.f32(OP, pre)?[..])
        };
        let blocks = self.pool.collect(o.blocks.len(), &|index| {
            let first = index * o.block_rows * cols;
            match &o.blocks[index] {
                Block::Compact {
                    row_starts, indices, ..
                } => {
                    let mut values = gradient.compact(isa, o, index);
                    // ReLU's derivative at a non-zero is 1.
                    if let Some(pre) = pre {
                        let pre = gather_pattern(&pre[first..], row_starts, indices, cols);
                        activation::backward_slice(isa, kind, &pre, &mut values);
                    }
                    Block::Compact {
                        row_starts: row_starts.clone(),
                        indices: indices.clone(),
                        values,
                    }
                }
                Block::Dense { values } => {
                    let input = pre.map_or(&values[..], |pre| &pre[first..][..values.len()]);
                    if let (Some(grad), true) = (gradient.plain(o, index, values.len()), settings.cutoff == 0.0) {
                        let mut values = AlignedBuf::uninit_in_task(values.len());
                        activation::backward_into(isa, kind, input, grad, &mut values);
                        return Block::Dense { values };
                    }
                    let values = gradient.dense(isa, o, index, |at, g| {
                        let o = &values[at..][..g.len()];
                        let input = &input[at..][..g.len()];
                        activation::backward_slice(isa, kind, input, g);
                        if pre.is_none() {
                            return;
                        }
                        if settings.cutoff > 0.0 {
                            activation::mask_slice(isa, o, g);
                        }
                        settings.element.add_pre_gradient(isa, input, gradient.per_element, g);
                    });
                    Block::Dense { values }
                }
            }
        });
        let gradient = Activations::new(rows, cols, o.block_rows, blocks);
        Ok(self.tensors.insert(rows, cols, Data::Activations(gradient)))
    }
}

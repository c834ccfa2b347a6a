//! The gated MLP (Shazeer 2020; T5 v1.1): o = f(x W0) ∘ (x W1) is what the down-projection reads.
//!
//! The density and its losses are measured on this product, as it is the tensor between the activation and the down-projection, and
//! the one whose zeros are skipped. It is the same kind of tensor that [`Engine::activate`] makes.

use super::mlp::{Finished, activation_kind, check_width, gather_pattern, measure};
use super::tensors::Data;
use super::{Engine, Handles};
use crate::Result;
use crate::matmul::ROW_BLOCK;
use crate::memory::AlignedBuf;
use crate::ops::activation::{self, ActivationKind};
use crate::ops::elementwise;
use crate::simd::Isa;
use crate::sparse::{Activations, Block, NEVER, count_nonzeros};

impl Engine {
    /// o = f(pre) · up with its statistics, as [`Engine::activate`]. Returns `[o, featureMap [1, cols], elementMean [1, 1]]`.
    pub fn gated_activate(&mut self, pre: u32, up: u32, kind: u32, eps: f64) -> Result<Handles> {
        const OP: &str = "gatedActivate";
        let kind = activation_kind(OP, kind)?;
        let (rows, cols) = self.shape(pre)?;
        check_width(OP, cols)?;
        self.expect(OP, "up", up, rows, cols)?;
        let (isa, pre, up) = (self.isa, &self.f32(OP, pre)?[..], &self.f32(OP, up)?[..]);
        let crossover = if kind.is_relu_family() { self.crossover } else { NEVER };
        let finished = self.each_block(rows.div_ceil(ROW_BLOCK), |block| {
            let part = block * ROW_BLOCK * cols..((block + 1) * ROW_BLOCK).min(rows) * cols;
            finish(isa, kind, &pre[part.clone()], &up[part], cols, eps, crossover)
        });
        let mut results = self.collect(rows, cols, finished, 0)?;
        results.truncate(3);
        Ok(results)
    }

    /// Gradients `[dPre, dUp]` in the blocks of `out`: with g the gradient of o (see [`Engine::activate_backward`]),
    /// dPre = g · up · f'(pre) and dUp = g · f(pre).
    #[allow(clippy::too_many_arguments)] // one call a backward pass; the binding has no structs
    pub fn gated_activate_backward(
        &mut self,
        grad: u32,
        out: u32,
        pre: u32,
        up: u32,
        map_grad: u32,
        element_grad: f64,
        kind: u32,
        eps: f64,
    ) -> Result<Handles> {
        const OP: &str = "gatedActivateBackward";
        let kind = activation_kind(OP, kind)?;
        let (rows, cols) = self.shape(out)?;
        self.expect(OP, "pre", pre, rows, cols)?;
        self.expect(OP, "up", up, rows, cols)?;
        let (isa, o) = (self.isa, self.activations(OP, out)?);
        let gradient = self.out_gradient(OP, out, grad, map_grad, element_grad, eps)?;
        let (pre, up) = (&self.f32(OP, pre)?[..], &self.f32(OP, up)?[..]);
        let blocks = self.each_block(o.blocks.len(), |index| {
            let first = index * ROW_BLOCK * cols;
            match &o.blocks[index] {
                Block::Compact {
                    row_starts, indices, ..
                } => {
                    let gathered = |dense: &[f32]| gather_pattern(&dense[first..], row_starts, indices, cols);
                    let (d_pre, d_up) = gradients(
                        isa,
                        kind,
                        &gathered(pre),
                        &gathered(up),
                        &gradient.compact(isa, o, index),
                    );
                    [d_pre, d_up].map(|values| Block::Compact {
                        row_starts: row_starts.clone(),
                        indices: indices.clone(),
                        values,
                    })
                }
                Block::Dense { values } => {
                    let part = first..first + values.len();
                    let g = gradient.dense(isa, o, index, |_, _| {});
                    let (d_pre, d_up) = gradients(isa, kind, &pre[part.clone()], &up[part], &g);
                    [d_pre, d_up].map(|values| Block::Dense {
                        values: AlignedBuf::from(values),
                    })
                }
            }
        });
        let (d_pre, d_up) = blocks.into_iter().map(|[d_pre, d_up]| (d_pre, d_up)).unzip();
        let mut insert = |blocks| {
            self.tensors
                .insert(rows, cols, Data::Activations(Activations { rows, cols, blocks }))
        };
        Ok(vec![insert(d_pre), insert(d_up)])
    }
}

/// One block of o with its statistics.
fn finish(isa: Isa, kind: ActivationKind, pre: &[f32], up: &[f32], cols: usize, eps: f64, crossover: f32) -> Finished {
    let mut o = pre.to_vec();
    activation::forward_slice(isa, kind, &mut o);
    let open = count_nonzeros(isa, &o);
    elementwise::mul_slice(isa, &mut o, up);
    // A zero of `up` where the gate is open has a gradient (g · f(pre)) that a compact block would lose, so such a block stays dense.
    let lossless = count_nonzeros(isa, &o) == open;
    measure(isa, &o, cols, eps, if lossless { crossover } else { NEVER })
}

/// (g · up · f'(pre), g · f(pre)).
fn gradients(isa: Isa, kind: ActivationKind, pre: &[f32], up: &[f32], g: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut d_up = pre.to_vec();
    activation::forward_slice(isa, kind, &mut d_up);
    elementwise::mul_slice(isa, &mut d_up, g);
    let mut d_pre = g.to_vec();
    elementwise::mul_slice(isa, &mut d_pre, up);
    activation::backward_slice(isa, kind, pre, &mut d_pre);
    (d_pre, d_up)
}

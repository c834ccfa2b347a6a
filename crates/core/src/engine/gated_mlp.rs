//! The gated MLP (Shazeer 2020; T5 v1.1): o = f(x W0) ∘ (x W1) is what the down-projection reads.
//!
//! The density and its losses are measured on this product, as it is the tensor between the activation and the down-projection, and
//! the one whose zeros are skipped. It is the same kind of tensor that [`Engine::activate`] makes.

use super::mlp::{Finished, MlpSettings, check_width, gather_pattern, measure};
use super::tensors::Data;
use super::{Engine, Handles};
use crate::Result;
use crate::memory::AlignedBuf;
use crate::ops::activation::{self, ActivationKind};
use crate::ops::elementwise;
use crate::simd::Isa;
use crate::sparse::{Activations, Block, NEVER, count_nonzeros};

impl Engine {
    /// o = f(pre) · up with its statistics, as [`Engine::activate`]. Returns `[o, featureMap [1, cols], elementMean [1, 1]]`.
    #[allow(clippy::too_many_arguments)] // one call a forward pass; the binding has no structs
    pub fn gated_activate(
        &mut self,
        pre: u32,
        up: u32,
        kind: u32,
        element: u32,
        p: f64,
        q: f64,
        cutoff: f64,
    ) -> Result<Handles> {
        const OP: &str = "gatedActivate";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let (rows, cols) = self.shape(pre)?;
        check_width(OP, cols)?;
        self.expect(OP, "up", up, rows, cols)?;
        let (isa, pre, up) = (self.isa, &self.f32(OP, pre)?[..], &self.f32(OP, up)?[..]);
        let block_rows = settings.blocking.rows;
        let finished = self.pool.collect(rows.div_ceil(block_rows), &|block| {
            let part = block * block_rows * cols..((block + 1) * block_rows).min(rows) * cols;
            finish(isa, settings, &pre[part.clone()], &up[part], cols)
        });
        let mut results = self.collect(rows, cols, block_rows, finished, 0)?;
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
        element: u32,
        p: f64,
        q: f64,
        cutoff: f64,
    ) -> Result<Handles> {
        const OP: &str = "gatedActivateBackward";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let kind = settings.kind;
        let (rows, cols) = self.shape(out)?;
        self.expect(OP, "pre", pre, rows, cols)?;
        self.expect(OP, "up", up, rows, cols)?;
        let (isa, o) = (self.isa, self.activations(OP, out)?);
        let block_rows = o.block_rows;
        let gradient = self.out_gradient(OP, out, grad, map_grad, element_grad, settings)?;
        let (pre, up) = (&self.f32(OP, pre)?[..], &self.f32(OP, up)?[..]);
        let blocks = self.pool.collect(o.blocks.len(), &|index| {
            let first = index * block_rows * cols;
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
                    let g = gradient.dense(isa, o, index, |at, g| {
                        if settings.cutoff > 0.0 {
                            activation::mask_slice(isa, &values[at..][..g.len()], g);
                        }
                    });
                    let (mut d_pre, d_up) = gradients(isa, kind, &pre[part.clone()], &up[part.clone()], &g);
                    settings
                        .element
                        .add_pre_gradient(isa, &pre[part], gradient.per_element, &mut d_pre);
                    [d_pre, d_up].map(|values| Block::Dense {
                        values: AlignedBuf::from(values),
                    })
                }
            }
        });
        let (d_pre, d_up) = blocks.into_iter().map(|[d_pre, d_up]| (d_pre, d_up)).unzip();
        let mut insert = |blocks| {
            self.tensors.insert(
                rows,
                cols,
                Data::Activations(Activations::new(rows, cols, block_rows, blocks)),
            )
        };
        Ok(vec![insert(d_pre), insert(d_up)])
    }
}

/// One block of o with its statistics.
fn finish(isa: Isa, settings: MlpSettings, pre: &[f32], up: &[f32], cols: usize) -> Finished {
    let mut o = pre.to_vec();
    activation::forward_slice(isa, settings.kind, &mut o);
    let open = count_nonzeros(isa, &o);
    elementwise::mul_slice(isa, &mut o, up);
    // A zero of `up` where the gate is open has a gradient (g · f(pre)) that a compact block would lose, so such a block stays dense; but
    // a zero that the cutoff made has none.
    let lossless = settings.cutoff > 0.0 || count_nonzeros(isa, &o) == open;
    settings.cut(isa, &mut o);
    let crossover = if lossless { settings.blocking.crossover } else { NEVER };
    measure(isa, &o, pre, cols, settings.element, crossover)
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

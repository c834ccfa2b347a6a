//! The forward operations: o = f(pre), alone and fused with the up-projection.

use super::dense::DenseActivations;
use super::finish::{finish, finish_copy};
use super::settings::check_width;
use crate::Result;
use crate::engine::packs::Form;
use crate::engine::{Engine, Handles};
use crate::matmul::{Accumulate, matmul_parts, matmul_row_blocks};
use crate::memory::AlignedBuf;

/// Columns of a task of [`Engine::activate`] on few rows: a block of rows is too long a task where there are not many.
const COLUMNS: usize = 1024;

impl Engine {
    /// o = f(pre) with its statistics. `element` and its parameters `p` and `q` ask for an element-wise mean ([`ElementLoss`]); outputs up
    /// to `cutoff` in magnitude become exact zeros.
    ///
    /// Returns `[o, featureMap [1, cols], elementMean [1, 1], pre]`; `pre` is 0 where the backward pass does not need it.
    ///
    /// [`ElementLoss`]: crate::density::element::ElementLoss
    pub fn activate(&mut self, pre: u32, kind: u32, element: u32, p: f64, q: f64, cutoff: f64) -> Result<Handles> {
        const OP: &str = "activate";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let (rows, cols) = self.shape(pre)?;
        check_width(OP, cols)?;
        let isa = self.isa;
        let source = &self.f32(OP, pre)?[..];
        let block_rows = settings.blocking.rows;
        let blocks = rows.div_ceil(block_rows);
        if settings.is_dense() {
            let dense = DenseActivations::new(isa, settings, rows, cols, blocks)?;
            self.pool.run(blocks * cols.div_ceil(COLUMNS), &|task| {
                let (block, first) = (task % blocks, task / blocks * COLUMNS);
                let columns = first..cols.min(first + COLUMNS);
                let rows = block * block_rows..rows.min((block + 1) * block_rows);
                let nonzeros = rows.map(|row| {
                    let pre = &source[row * cols..][columns.clone()];
                    // SAFETY: tasks have disjoint blocks x columns.
                    unsafe { dense.set(block, row, columns.clone(), pre) }
                });
                dense.count(nonzeros.sum());
            });
            return self.publish_dense(dense, pre);
        }
        let finished = self.pool.collect(blocks, &|block| {
            let first = block * block_rows;
            let part = &source[first * cols..(first + block_rows).min(rows) * cols];
            finish_copy(isa, settings, part, cols)
        });
        self.collect(
            rows,
            cols,
            block_rows,
            finished,
            if settings.kind.needs_no_input() { 0 } else { pre },
        )
    }

    /// The same fused with the up-projection: pre = x · weightᵀ + bias is never written for ReLU.
    #[allow(clippy::too_many_arguments)] // one call a forward pass; the binding has no structs
    pub fn linear_activate(
        &mut self,
        x: u32,
        weight: u32,
        bias: u32,
        kind: u32,
        element: u32,
        p: f64,
        q: f64,
        cutoff: f64,
    ) -> Result<Handles> {
        const OP: &str = "linearActivate";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let is_dense = settings.is_dense();
        if self.is_activations(x) || !(is_dense || settings.kind.needs_no_input()) {
            let pre = self.linear(x, weight, bias)?;
            return self.activate(pre, kind, element, p, q, cutoff);
        }
        let (rows, inputs) = self.shape(x)?;
        let (cols, _) = self.shape(weight)?;
        check_width(OP, cols)?;
        self.expect(OP, "weight", weight, cols, inputs)?;
        if bias != 0 {
            self.expect_len(OP, "bias", bias, cols)?;
        }
        self.pack(OP, weight, Form::Forward)?;
        let isa = self.isa;
        let bias = if bias == 0 {
            None
        } else {
            Some(&self.f32(OP, bias)?[..])
        };
        let panels = self.panels(weight, Form::Forward)?;
        let block_rows = panels.block_rows();
        let settings = settings.with_block_rows(block_rows);
        let source = self.f32(OP, x)?;
        if is_dense {
            let mut pre = AlignedBuf::uninit(rows * cols)?;
            let dense = DenseActivations::new(isa, settings, rows, cols, panels.row_blocks(rows))?;
            let accumulate = Accumulate::Overwrite;
            matmul_parts(
                isa,
                &self.pool,
                source,
                rows,
                panels,
                bias,
                accumulate,
                &mut pre,
                &|mut part| {
                    let (group, columns) = (part.block, part.columns.clone());
                    // SAFETY: parts are disjoint, and so are the sums of their blocks.
                    let nonzeros = part
                        .rows
                        .clone()
                        .map(|row| unsafe { dense.set(group, row, columns.clone(), part.row(row)) });
                    dense.count(nonzeros.sum());
                },
            );
            let pre = self.new_f32(rows, cols, pre);
            return self.publish_dense(dense, pre);
        }
        let finished = self.finish_blocks(rows.div_ceil(block_rows), |blocks| {
            matmul_row_blocks(isa, &self.pool, source, rows, panels, bias, &|index, scratch| {
                blocks.set(index, finish(isa, settings, scratch, cols));
            });
        })?;
        self.collect(rows, cols, block_rows, finished, 0)
    }
}

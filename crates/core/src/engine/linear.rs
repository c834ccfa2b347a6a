//! Linear layers on dense rows and on MLP activations: the product is chosen by what the handle holds.

use super::Engine;
use super::packs::{Form, Operand};
use super::tensors::Data;
use crate::matmul::{Accumulate, matmul, matmul_at_b};
use crate::memory::AlignedBuf;
use crate::sparse::{sampled, sparse_at_b, zero_skip};
use crate::{Error, Result};

impl Engine {
    /// `y [rows, out] = x [rows, in] · weightᵀ + bias`; `weight [out, in]`, `bias [out]` or 0. `x` may be MLP activations: then zeros are
    /// skipped.
    pub fn linear(&mut self, x: u32, weight: u32, bias: u32) -> Result<u32> {
        let (rows, _) = self.shape(x)?;
        let (out, _) = self.shape(weight)?;
        let mut y = AlignedBuf::uninit(rows * out)?;
        self.product("linear", x, weight, bias, Accumulate::Overwrite, &mut y)?;
        Ok(self.new_f32(rows, out, y))
    }

    /// y += scale · x · weightᵀ, in place: the second half of a low-rank update.
    pub fn linear_add(&mut self, y: u32, x: u32, weight: u32, scale: f64) -> Result<u32> {
        let (rows, _) = self.shape(x)?;
        let (out, _) = self.shape(weight)?;
        self.expect("linearAdd", "y", y, rows, out)?;
        if y == x || y == weight {
            return Err(Error::Internal("linearAdd: y is also an input".into()));
        }
        let mut tensor = self.tensors.take(y)?;
        let result = match &mut tensor.data {
            Data::F32(values) => self.product("linearAdd", x, weight, 0, Accumulate::Add(scale as f32), values),
            _ => Err(Error::Kind {
                op: "linearAdd",
                handle: y,
                found: "other values",
                expected: "f32 values",
            }),
        };
        self.tensors.put_back(y, tensor);
        result.map(|()| y)
    }

    fn product(
        &mut self,
        op: &'static str,
        x: u32,
        weight: u32,
        bias: u32,
        accumulate: Accumulate,
        y: &mut AlignedBuf,
    ) -> Result<()> {
        let (_, inputs) = self.shape(x)?;
        let (out, _) = self.shape(weight)?;
        self.expect(op, "weight", weight, out, inputs)?;
        if bias != 0 {
            self.expect_len(op, "bias", bias, out)?;
        }
        let operand = self.operand(op, weight, x, Form::Forward, Form::Forward)?;
        let bias = if bias == 0 {
            None
        } else {
            Some(&self.f32(op, bias)?[..])
        };
        self.multiply(op, x, &operand, bias, accumulate, y)
    }

    fn multiply(
        &self,
        op: &'static str,
        x: u32,
        operand: &Operand,
        bias: Option<&[f32]>,
        accumulate: Accumulate,
        y: &mut AlignedBuf,
    ) -> Result<()> {
        let w = self.lend(operand)?;
        match w.dense {
            Some(panels) if !self.is_activations(x) => {
                let (rows, _) = self.shape(x)?;
                matmul(
                    self.isa,
                    &self.pool,
                    self.f32(op, x)?,
                    rows,
                    panels,
                    bias,
                    accumulate,
                    y,
                );
            }
            _ => zero_skip(self.isa, &self.pool, self.activations(op, x)?, w, bias, accumulate, y),
        }
        Ok(())
    }

    /// dx [rows, in] = dy [rows, out] · weight. Where `dy` is the gradient of MLP activations its zeros are skipped; where `pattern`
    /// (or 0) is the layer's input as MLP activations, only its non-zero positions are computed and the result has its pattern.
    pub fn linear_backward_input(&mut self, dy: u32, weight: u32, pattern: u32) -> Result<u32> {
        const OP: &str = "linearBackwardInput";
        let (rows, out) = self.shape(dy)?;
        let (_, inputs) = self.shape(weight)?;
        self.expect(OP, "weight", weight, out, inputs)?;
        if pattern != 0 && self.is_activations(pattern) {
            self.expect(OP, "pattern", pattern, rows, inputs)?;
            // A neuron's row is the same as in the forward product.
            let operand = self.operand(OP, weight, pattern, Form::Forward, Form::Backward)?;
            let (w, pattern) = (self.lend(&operand)?, self.activations(OP, pattern)?);
            let grad = sampled(self.isa, &self.pool, self.f32(OP, dy)?, pattern, w)?;
            return Ok(self.tensors.insert(rows, inputs, Data::Activations(grad)));
        }
        let mut dx = AlignedBuf::uninit(rows * inputs)?;
        self.input_gradient(OP, dy, weight, Accumulate::Overwrite, &mut dx)?;
        Ok(self.new_f32(rows, inputs, dx))
    }

    /// dx += scale · dy · weight, in place.
    pub fn linear_backward_input_add(&mut self, dx: u32, dy: u32, weight: u32, scale: f64) -> Result<u32> {
        const OP: &str = "linearBackwardInputAdd";
        let (rows, out) = self.shape(dy)?;
        let (_, inputs) = self.shape(weight)?;
        self.expect(OP, "weight", weight, out, inputs)?;
        self.expect(OP, "dx", dx, rows, inputs)?;
        if dx == dy || dx == weight {
            return Err(Error::Internal("linearBackwardInputAdd: dx is also an input".into()));
        }
        let mut tensor = self.tensors.take(dx)?;
        let result = match &mut tensor.data {
            Data::F32(values) => self.input_gradient(OP, dy, weight, Accumulate::Add(scale as f32), values),
            _ => Err(Error::Kind {
                op: OP,
                handle: dx,
                found: "other values",
                expected: "f32 values",
            }),
        };
        self.tensors.put_back(dx, tensor);
        result.map(|()| dx)
    }

    fn input_gradient(
        &mut self,
        op: &'static str,
        dy: u32,
        weight: u32,
        accumulate: Accumulate,
        dx: &mut AlignedBuf,
    ) -> Result<()> {
        let operand = self.operand(op, weight, dy, Form::Backward, Form::Backward)?;
        self.multiply(op, dy, &operand, None, accumulate, dx)
    }

    /// dW [out, in] = scale · dyᵀ · x. Either may be MLP activations (or their gradient).
    pub fn linear_backward_weight(&mut self, dy: u32, x: u32, scale: f64) -> Result<u32> {
        const OP: &str = "linearBackwardWeight";
        let (rows, out) = self.shape(dy)?;
        let (_, inputs) = self.shape(x)?;
        self.expect(OP, "x", x, rows, inputs)?;
        let mut dw = AlignedBuf::new_zeroed(out * inputs)?;
        let add = Accumulate::Add(scale as f32);
        if self.is_activations(dy) {
            let dense = self.dense_rows(OP, x)?;
            sparse_at_b(
                self.isa,
                &self.pool,
                self.activations(OP, dy)?,
                &dense,
                inputs,
                add,
                &mut dw,
            )?;
        } else if self.is_activations(x) {
            // xᵀ · dy is the transpose of what is asked for.
            let mut transposed = AlignedBuf::new_zeroed(out * inputs)?;
            let dense = self.f32(OP, dy)?;
            sparse_at_b(
                self.isa,
                &self.pool,
                self.activations(OP, x)?,
                dense,
                out,
                add,
                &mut transposed,
            )?;
            for (row, values) in transposed.chunks_exact(out.max(1)).enumerate() {
                for (column, value) in values.iter().enumerate() {
                    dw[column * inputs + row] = *value;
                }
            }
        } else {
            let (dense_dy, dense_x) = (self.f32(OP, dy)?, self.f32(OP, x)?);
            matmul_at_b(self.isa, &self.pool, dense_dy, out, dense_x, inputs, rows, add, &mut dw)?;
        }
        Ok(self.new_f32(out, inputs, dw))
    }

    /// The values of `x` as dense rows (copied).
    pub(super) fn dense_rows(&self, op: &'static str, x: u32) -> Result<AlignedBuf> {
        if self.is_activations(x) {
            return self.activations(op, x)?.to_dense(&self.pool);
        }
        let source = self.f32(op, x)?;
        let mut copy = AlignedBuf::uninit(source.len())?;
        copy.copy_from_slice(source);
        Ok(copy)
    }

    /// MLP activations as plain f32 values.
    pub fn to_dense(&mut self, x: u32) -> Result<u32> {
        let (rows, cols) = self.shape(x)?;
        let values = self.dense_rows("toDense", x)?;
        Ok(self.new_f32(rows, cols, values))
    }
}

//! Elementwise operations, row gathering and reductions.

use super::mlp::activation_kind;
use super::packs::Packs;
use super::{Engine, tensors::Data};
use crate::memory::AlignedBuf;
use crate::ops::{activation, elementwise, embedding};
use crate::{Error, Result};

impl Engine {
    /// a + b. Either may be MLP activations or their gradient; the sum is dense.
    pub fn add(&mut self, a: u32, b: u32) -> Result<u32> {
        let (rows, cols) = self.shape(a)?;
        self.expect_len("add", "b", b, rows * cols)?;
        if self.is_activations(a) || self.is_activations(b) {
            let sum = self.dense_sum("add", a, b, 1.0)?;
            return Ok(self.new_f32(rows, cols, sum));
        }
        let mut out = AlignedBuf::uninit(rows * cols)?;
        elementwise::add(self.isa, &self.pool, self.f32("add", a)?, self.f32("add", b)?, &mut out);
        Ok(self.new_f32(rows, cols, out))
    }

    /// a / b, element by element.
    pub fn div(&mut self, a: u32, b: u32) -> Result<u32> {
        let (rows, cols) = self.shape(a)?;
        self.expect_len("div", "b", b, rows * cols)?;
        let mut out = AlignedBuf::uninit(rows * cols)?;
        elementwise::div(self.isa, &self.pool, self.f32("div", a)?, self.f32("div", b)?, &mut out);
        Ok(self.new_f32(rows, cols, out))
    }

    /// y += scale · x. Either may be the gradient of MLP activations; y keeps its pattern where x has the same, and is dense otherwise.
    pub fn add_in_place(&mut self, y: u32, x: u32, scale: f64) -> Result<u32> {
        const OP: &str = "addInPlace";
        let (rows, cols) = self.shape(y)?;
        self.expect_len(OP, "x", x, rows * cols)?;
        if y == x {
            return Err(Error::Internal("addInPlace: y is also x".into()));
        }
        if self.have_one_pattern(y, x) {
            return self.add_activations(y, x, scale as f32);
        }
        if self.is_activations(y) || self.is_activations(x) {
            let sum = self.dense_sum(OP, y, x, scale as f32)?;
            let tensor = self.tensors.get_mut(y)?;
            (tensor.data, tensor.packs) = (Data::F32(sum), Packs::default());
            return Ok(y);
        }
        self.in_place(OP, y, |engine, values| {
            elementwise::add_in_place(engine.isa, &engine.pool, values, engine.f32(OP, x)?, scale as f32);
            Ok(())
        })
    }

    /// a + scale · b as dense rows.
    fn dense_sum(&self, op: &'static str, a: u32, b: u32, scale: f32) -> Result<AlignedBuf> {
        let mut sum = self.dense_rows(op, a)?;
        elementwise::add_in_place(self.isa, &self.pool, &mut sum, &self.dense_rows(op, b)?, scale);
        Ok(sum)
    }

    pub fn scale(&mut self, x: u32, factor: f64) -> Result<u32> {
        let (rows, cols) = self.shape(x)?;
        let mut out = AlignedBuf::uninit(rows * cols)?;
        elementwise::scale(self.isa, &self.pool, self.f32("scale", x)?, factor as f32, &mut out);
        Ok(self.new_f32(rows, cols, out))
    }

    pub fn mul(&mut self, a: u32, b: u32) -> Result<u32> {
        let (rows, cols) = self.shape(a)?;
        self.expect_len("mul", "b", b, rows * cols)?;
        let mut out = AlignedBuf::uninit(rows * cols)?;
        elementwise::mul(self.isa, &self.pool, self.f32("mul", a)?, self.f32("mul", b)?, &mut out);
        Ok(self.new_f32(rows, cols, out))
    }

    /// An activation on plain values (a pooler's tanh, an adapter's ReLU).
    pub fn activation(&mut self, x: u32, kind: u32) -> Result<u32> {
        let kind = activation_kind("activation", kind)?;
        let (rows, cols) = self.shape(x)?;
        let mut out = AlignedBuf::uninit(rows * cols)?;
        activation::forward(self.isa, &self.pool, kind, self.f32("activation", x)?, &mut out);
        Ok(self.new_f32(rows, cols, out))
    }

    /// dx = dy · f'(x).
    pub fn activation_backward(&mut self, x: u32, dy: u32, kind: u32) -> Result<u32> {
        const OP: &str = "activationBackward";
        let kind = activation_kind(OP, kind)?;
        let (rows, cols) = self.shape(x)?;
        self.expect_len(OP, "dy", dy, rows * cols)?;
        let mut dx = AlignedBuf::uninit(rows * cols)?;
        activation::backward(self.isa, &self.pool, kind, self.f32(OP, x)?, self.f32(OP, dy)?, &mut dx);
        Ok(self.new_f32(rows, cols, dx))
    }

    /// Rows of `table` by number: embeddings, pooled tokens. Error where an id is outside the table.
    pub fn gather_rows(&mut self, table: u32, ids: u32) -> Result<u32> {
        const OP: &str = "gatherRows";
        let (rows, cols) = self.shape(table)?;
        let ids = self.i32(OP, ids)?;
        let count = ids.len();
        let mut out = AlignedBuf::uninit(count * cols)?;
        embedding::gather_rows(self.isa, &self.pool, self.f32(OP, table)?, rows, cols, ids, &mut out)?;
        Ok(self.new_f32(count, cols, out))
    }

    /// Its backward pass: a [rows, cols] table of zeros with each row of `dy` added at its id.
    pub fn scatter_add_rows(&mut self, dy: u32, ids: u32, rows: u32) -> Result<u32> {
        const OP: &str = "scatterAddRows";
        let (count, cols) = self.shape(dy)?;
        self.expect_len(OP, "ids", ids, count)?;
        let mut table = AlignedBuf::new_zeroed(rows as usize * cols)?;
        embedding::scatter_add_rows(
            self.isa,
            &self.pool,
            self.f32(OP, dy)?,
            self.i32(OP, ids)?,
            cols,
            &mut table,
        )?;
        Ok(self.new_f32(rows as usize, cols, table))
    }

    /// Column sums [1, cols]: the gradient of a bias.
    pub fn sum_rows(&mut self, x: u32) -> Result<u32> {
        let (_, cols) = self.shape(x)?;
        let mut out = AlignedBuf::uninit(cols)?;
        match &self.tensors.get(x)?.data {
            Data::Activations(o) => {
                let dense = o.to_dense(&self.pool)?;
                elementwise::sum_rows(self.isa, &self.pool, &dense, cols, &mut out);
            }
            _ => elementwise::sum_rows(self.isa, &self.pool, self.f32("sumRows", x)?, cols, &mut out),
        }
        Ok(self.new_f32(1, cols, out))
    }
}

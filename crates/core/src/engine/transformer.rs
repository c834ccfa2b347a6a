//! Norms and dropout.

use super::tensors::Data;
use super::{Engine, Handles};
use crate::memory::AlignedBuf;
use crate::ops::{dropout, layer_norm, rms_norm};
use crate::rng::Stream;
use crate::{Error, Result};

impl Engine {
    /// Returns `[y, stats]`; stats [rows, 2] are mean and 1 / standard deviation.
    pub fn layer_norm(&mut self, x: u32, gamma: u32, beta: u32, eps: f64) -> Result<Handles> {
        const OP: &str = "layerNorm";
        let (rows, cols) = self.shape(x)?;
        self.expect_len(OP, "gamma", gamma, cols)?;
        self.expect_len(OP, "beta", beta, cols)?;
        let mut y = AlignedBuf::uninit(rows * cols)?;
        let mut stats = AlignedBuf::uninit(rows * 2)?;
        let (x, gamma, beta) = (self.f32(OP, x)?, self.f32(OP, gamma)?, self.f32(OP, beta)?);
        layer_norm::forward(
            self.isa, &self.pool, x, None, cols, gamma, beta, eps as f32, &mut y, &mut stats,
        );
        Ok(vec![self.new_f32(rows, cols, y), self.new_f32(rows, 2, stats)])
    }

    /// Returns `[y, sum, stats]` of the norm of sum = dropout(x) + residual.
    #[allow(clippy::too_many_arguments)] // one call a sublayer; the binding has no structs
    pub fn add_layer_norm(
        &mut self,
        x: u32,
        residual: u32,
        p: f64,
        seed: u32,
        stream: u32,
        gamma: u32,
        beta: u32,
        eps: f64,
    ) -> Result<Handles> {
        const OP: &str = "addLayerNorm";
        check_probability(OP, p)?;
        let (rows, cols) = self.shape(x)?;
        self.expect(OP, "residual", residual, rows, cols)?;
        self.expect_len(OP, "gamma", gamma, cols)?;
        self.expect_len(OP, "beta", beta, cols)?;
        let mut sum = AlignedBuf::uninit(rows * cols)?;
        let mut y = AlignedBuf::uninit(rows * cols)?;
        let mut stats = AlignedBuf::uninit(rows * 2)?;
        let (x, gamma, beta) = (self.f32(OP, x)?, self.f32(OP, gamma)?, self.f32(OP, beta)?);
        let residual = layer_norm::Residual {
            values: self.f32(OP, residual)?,
            p: p as f32,
            stream: Stream { seed, stream },
            sum: &mut sum,
        };
        layer_norm::forward(
            self.isa,
            &self.pool,
            x,
            Some(residual),
            cols,
            gamma,
            beta,
            eps as f32,
            &mut y,
            &mut stats,
        );
        let (y, sum) = (self.new_f32(rows, cols, y), self.new_f32(rows, cols, sum));
        Ok(vec![y, sum, self.new_f32(rows, 2, stats)])
    }

    /// Returns `[dx, dgamma, dbeta]`, the last two 0 unless `affine`.
    pub fn layer_norm_backward(&mut self, dy: u32, x: u32, stats: u32, gamma: u32, affine: bool) -> Result<Handles> {
        const OP: &str = "layerNormBackward";
        let (rows, cols) = self.shape(x)?;
        self.expect(OP, "dy", dy, rows, cols)?;
        self.expect(OP, "stats", stats, rows, 2)?;
        self.expect_len(OP, "gamma", gamma, cols)?;
        let mut dx = AlignedBuf::uninit(rows * cols)?;
        let mut dgamma = AlignedBuf::new_zeroed(if affine { cols } else { 0 })?;
        let mut dbeta = AlignedBuf::new_zeroed(if affine { cols } else { 0 })?;
        let parameters = if affine {
            Some((&mut dgamma[..], &mut dbeta[..]))
        } else {
            None
        };
        let (dy, x, stats, gamma) = (
            self.f32(OP, dy)?,
            self.f32(OP, x)?,
            self.f32(OP, stats)?,
            self.f32(OP, gamma)?,
        );
        layer_norm::backward(self.isa, &self.pool, dy, x, stats, gamma, cols, &mut dx, parameters);
        let dx = self.new_f32(rows, cols, dx);
        if !affine {
            return Ok(vec![dx, 0, 0]);
        }
        Ok(vec![dx, self.new_f32(1, cols, dgamma), self.new_f32(1, cols, dbeta)])
    }

    /// Returns `[y, rstd [rows, 1]]`: y = x / sqrt(mean(x²) + eps) · gamma.
    pub fn rms_norm(&mut self, x: u32, gamma: u32, eps: f64) -> Result<Handles> {
        const OP: &str = "rmsNorm";
        let (rows, cols) = self.shape(x)?;
        self.expect_len(OP, "gamma", gamma, cols)?;
        let mut y = AlignedBuf::uninit(rows * cols)?;
        let mut rstd = AlignedBuf::uninit(rows)?;
        let (x, gamma) = (self.f32(OP, x)?, self.f32(OP, gamma)?);
        rms_norm::forward(self.isa, &self.pool, x, cols, gamma, eps as f32, &mut y, &mut rstd);
        Ok(vec![self.new_f32(rows, cols, y), self.new_f32(rows, 1, rstd)])
    }

    /// Returns `[dx, dgamma]`, the latter 0 unless `affine`.
    pub fn rms_norm_backward(&mut self, dy: u32, x: u32, rstd: u32, gamma: u32, affine: bool) -> Result<Handles> {
        const OP: &str = "rmsNormBackward";
        let (rows, cols) = self.shape(x)?;
        self.expect(OP, "dy", dy, rows, cols)?;
        self.expect(OP, "rstd", rstd, rows, 1)?;
        self.expect_len(OP, "gamma", gamma, cols)?;
        let mut dx = AlignedBuf::uninit(rows * cols)?;
        let mut dgamma = AlignedBuf::new_zeroed(if affine { cols } else { 0 })?;
        let wanted = affine.then_some(&mut dgamma[..]);
        let (dy, x, rstd, gamma) = (
            self.f32(OP, dy)?,
            self.f32(OP, x)?,
            self.f32(OP, rstd)?,
            self.f32(OP, gamma)?,
        );
        rms_norm::backward(self.isa, &self.pool, dy, x, rstd, gamma, cols, &mut dx, wanted);
        let dx = self.new_f32(rows, cols, dx);
        Ok(vec![dx, if affine { self.new_f32(1, cols, dgamma) } else { 0 }])
    }

    /// Inverted dropout; the same call on the gradient is its backward pass. MLP activations (and their gradients) keep their pattern.
    pub fn dropout(&mut self, x: u32, p: f64, seed: u32, stream: u32) -> Result<u32> {
        check_probability("dropout", p)?;
        let (rows, cols) = self.shape(x)?;
        let stream = Stream { seed, stream };
        if self.is_activations(x) {
            let dropped = self
                .activations("dropout", x)?
                .dropout(self.isa, &self.pool, p as f32, stream);
            return Ok(self.tensors.insert(rows, cols, Data::Activations(dropped)));
        }
        let mut out = AlignedBuf::uninit(rows * cols)?;
        dropout::dropout(
            self.isa,
            &self.pool,
            self.f32("dropout", x)?,
            p as f32,
            stream,
            &mut out,
        );
        Ok(self.new_f32(rows, cols, out))
    }

    /// dropout(x) + residual.
    pub fn dropout_add(&mut self, x: u32, residual: u32, p: f64, seed: u32, stream: u32) -> Result<u32> {
        const OP: &str = "dropoutAdd";
        check_probability(OP, p)?;
        let (rows, cols) = self.shape(x)?;
        self.expect(OP, "residual", residual, rows, cols)?;
        let mut out = AlignedBuf::uninit(rows * cols)?;
        let (x, residual) = (self.f32(OP, x)?, self.f32(OP, residual)?);
        dropout::dropout_add(
            self.isa,
            &self.pool,
            x,
            residual,
            p as f32,
            Stream { seed, stream },
            &mut out,
        );
        Ok(self.new_f32(rows, cols, out))
    }
}

pub(super) fn check_probability(op: &'static str, p: f64) -> Result<()> {
    if (0.0..1.0).contains(&p) {
        return Ok(());
    }
    Err(Error::Value {
        op,
        what: "dropout probability",
        value: p.to_string(),
        expected: "0 to less than 1",
    })
}

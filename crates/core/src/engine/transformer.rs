//! Layer norm, dropout and attention.

use super::{Engine, Handles};
use crate::memory::AlignedBuf;
use crate::ops::attention::{self, AttentionShape};
use crate::ops::{dropout, layer_norm};
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
            self.isa, &self.pool, x, cols, gamma, beta, eps as f32, &mut y, &mut stats,
        );
        Ok(vec![self.new_f32(rows, cols, y), self.new_f32(rows, 2, stats)])
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

    /// Inverted dropout; the same call on the gradient is its backward pass.
    pub fn dropout(&mut self, x: u32, p: f64, seed: u32, stream: u32) -> Result<u32> {
        check_probability("dropout", p)?;
        let (rows, cols) = self.shape(x)?;
        let mut out = AlignedBuf::uninit(rows * cols)?;
        let stream = Stream { seed, stream };
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

    /// Ragged multi-head attention. q [Tq, d], k and v [Tk, d]; offsets of the sequences in `cu_q` and `cu_k`.
    /// Returns `[out [Tq, d], logSumExp [Tq, heads]]`.
    #[allow(clippy::too_many_arguments)] // one call a layer; the binding has no structs
    pub fn attention(
        &mut self,
        q: u32,
        k: u32,
        v: u32,
        cu_q: u32,
        cu_k: u32,
        heads: u32,
        causal: bool,
        scale: f64,
        p: f64,
        seed: u32,
        stream: u32,
    ) -> Result<Handles> {
        const OP: &str = "attention";
        let (rows, width) = self.shape(q)?;
        let mut out = AlignedBuf::uninit(rows * width)?;
        let mut lse = AlignedBuf::uninit(rows * heads as usize)?;
        let shape = self.attention_shape(
            OP,
            q,
            k,
            v,
            cu_q,
            cu_k,
            heads,
            causal,
            scale,
            p,
            Stream { seed, stream },
        )?;
        attention::forward(
            self.isa,
            &self.pool,
            &shape,
            self.f32(OP, q)?,
            self.f32(OP, k)?,
            self.f32(OP, v)?,
            &mut out,
            &mut lse,
        )?;
        Ok(vec![
            self.new_f32(rows, width, out),
            self.new_f32(rows, heads as usize, lse),
        ])
    }

    /// Returns `[dq, dk, dv]`.
    #[allow(clippy::too_many_arguments)] // as above
    pub fn attention_backward(
        &mut self,
        dout: u32,
        q: u32,
        k: u32,
        v: u32,
        out: u32,
        lse: u32,
        cu_q: u32,
        cu_k: u32,
        heads: u32,
        causal: bool,
        scale: f64,
        p: f64,
        seed: u32,
        stream: u32,
    ) -> Result<Handles> {
        const OP: &str = "attentionBackward";
        let (rows, width) = self.shape(q)?;
        let (keys, _) = self.shape(k)?;
        let shape = self.attention_shape(
            OP,
            q,
            k,
            v,
            cu_q,
            cu_k,
            heads,
            causal,
            scale,
            p,
            Stream { seed, stream },
        )?;
        self.expect(OP, "dout", dout, rows, width)?;
        self.expect(OP, "out", out, rows, width)?;
        self.expect(OP, "lse", lse, rows, heads as usize)?;
        let mut dq = AlignedBuf::new_zeroed(rows * width)?;
        let mut dk = AlignedBuf::new_zeroed(keys * width)?;
        let mut dv = AlignedBuf::new_zeroed(keys * width)?;
        attention::backward(
            self.isa,
            &self.pool,
            &shape,
            self.f32(OP, q)?,
            self.f32(OP, k)?,
            self.f32(OP, v)?,
            self.f32(OP, out)?,
            self.f32(OP, lse)?,
            self.f32(OP, dout)?,
            &mut dq,
            &mut dk,
            &mut dv,
        )?;
        Ok(vec![
            self.new_f32(rows, width, dq),
            self.new_f32(keys, width, dk),
            self.new_f32(keys, width, dv),
        ])
    }

    #[allow(clippy::too_many_arguments)] // the two callers above
    fn attention_shape(
        &self,
        op: &'static str,
        q: u32,
        k: u32,
        v: u32,
        cu_q: u32,
        cu_k: u32,
        heads: u32,
        causal: bool,
        scale: f64,
        p: f64,
        stream: Stream,
    ) -> Result<AttentionShape<'_>> {
        check_probability(op, p)?;
        let (rows, width) = self.shape(q)?;
        let (keys, _) = self.shape(k)?;
        self.expect(op, "k", k, keys, width)?;
        self.expect(op, "v", v, keys, width)?;
        if heads == 0 || width % heads as usize != 0 {
            let expected = "a divisor of the hidden size";
            return Err(Error::Value {
                op,
                what: "heads",
                value: heads.to_string(),
                expected,
            });
        }
        let (cu_q, cu_k) = (self.i32(op, cu_q)?, self.i32(op, cu_k)?);
        attention::check_offsets(cu_q, rows)?;
        attention::check_offsets(cu_k, keys)?;
        if cu_q.len() != cu_k.len() {
            let (found, expected) = (
                format!("{} offsets", cu_k.len()),
                format!("{} offsets, as cuQ", cu_q.len()),
            );
            return Err(Error::Shape {
                op,
                what: "cuK",
                found,
                expected,
            });
        }
        Ok(AttentionShape {
            cu_q,
            cu_k,
            heads: heads as usize,
            head_dim: width / heads as usize,
            causal,
            scale: scale as f32,
            dropout: p as f32,
            stream,
        })
    }
}

fn check_probability(op: &'static str, p: f64) -> Result<()> {
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

//! Ragged multi-head attention, with or without relative position biases.

use super::transformer::check_probability;
use super::{Engine, Handles};
use crate::memory::AlignedBuf;
use crate::ops::attention::{self, AttentionShape};
use crate::ops::relative_bias::{BucketRule, RelativeBias};
use crate::rng::Stream;
use crate::{Error, Result};

/// What the bindings pass besides tensors of tokens, in their order.
struct Settings {
    heads: u32,
    causal: bool,
    scale: f64,
    p: f64,
    seed: u32,
    stream: u32,
    bias_table: u32,
    bidirectional: bool,
    max_distance: u32,
    unbiased_keys: u32,
}

impl Engine {
    /// Ragged multi-head attention. q [Tq, d], k and v [Tk, d]; offsets of the sequences in `cu_q` and `cu_k`. The last query of a
    /// sequence stands at its last key, for `causal` and for relative positions.
    ///
    /// `bias_table` [buckets, heads] (0: none) holds T5's relative position biases (see [`BucketRule`] for `bidirectional` and
    /// `max_distance`), which the first `unbiased_keys` keys of each sequence do not get.
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
        bias_table: u32,
        bidirectional: bool,
        max_distance: u32,
        unbiased_keys: u32,
    ) -> Result<Handles> {
        const OP: &str = "attention";
        let settings = Settings {
            heads,
            causal,
            scale,
            p,
            seed,
            stream,
            bias_table,
            bidirectional,
            max_distance,
            unbiased_keys,
        };
        let shape = self.attention_shape(OP, [q, k, v], cu_q, cu_k, &settings)?;
        let (rows, width) = self.shape(q)?;
        let mut out = AlignedBuf::uninit(rows * width)?;
        let mut lse = AlignedBuf::uninit(rows * heads as usize)?;
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

    /// Returns `[dq, dk, dv, dBiasTable]`, the last 0 where there is no table or `want_bias` is false (it takes a tenth of the time).
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
        bias_table: u32,
        bidirectional: bool,
        max_distance: u32,
        unbiased_keys: u32,
        want_bias: bool,
    ) -> Result<Handles> {
        const OP: &str = "attentionBackward";
        let settings = Settings {
            heads,
            causal,
            scale,
            p,
            seed,
            stream,
            bias_table,
            bidirectional,
            max_distance,
            unbiased_keys,
        };
        let shape = self.attention_shape(OP, [q, k, v], cu_q, cu_k, &settings)?;
        let (rows, width) = self.shape(q)?;
        let (keys, _) = self.shape(k)?;
        self.expect(OP, "dout", dout, rows, width)?;
        self.expect(OP, "out", out, rows, width)?;
        self.expect(OP, "lse", lse, rows, heads as usize)?;
        let mut dq = AlignedBuf::uninit(rows * width)?;
        let mut dk = AlignedBuf::uninit(keys * width)?;
        let mut dv = AlignedBuf::uninit(keys * width)?;
        let buckets = shape.bias.filter(|_| want_bias).map(|bias| bias.rule.buckets);
        let mut dtable = AlignedBuf::new_zeroed(buckets.unwrap_or(0) * heads as usize)?;
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
            buckets.is_some().then_some(&mut dtable[..]),
        )?;
        Ok(vec![
            self.new_f32(rows, width, dq),
            self.new_f32(keys, width, dk),
            self.new_f32(keys, width, dv),
            match buckets {
                Some(buckets) => self.new_f32(buckets, heads as usize, dtable),
                None => 0,
            },
        ])
    }

    fn attention_shape(
        &self,
        op: &'static str,
        [q, k, v]: [u32; 3],
        cu_q: u32,
        cu_k: u32,
        settings: &Settings,
    ) -> Result<AttentionShape<'_>> {
        check_probability(op, settings.p)?;
        let (rows, width) = self.shape(q)?;
        let (keys, _) = self.shape(k)?;
        let heads = settings.heads as usize;
        self.expect(op, "k", k, keys, width)?;
        self.expect(op, "v", v, keys, width)?;
        if heads == 0 || width % heads != 0 {
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
        let bias = if settings.bias_table == 0 {
            None
        } else {
            let (buckets, _) = self.shape(settings.bias_table)?;
            self.expect(op, "biasTable", settings.bias_table, buckets, heads)?;
            let rule = BucketRule {
                buckets,
                bidirectional: settings.bidirectional,
                max_distance: settings.max_distance as usize,
            };
            rule.check(op)?;
            Some(RelativeBias {
                table: self.f32(op, settings.bias_table)?,
                rule,
                unbiased_keys: settings.unbiased_keys as usize,
            })
        };
        Ok(AttentionShape {
            cu_q,
            cu_k,
            heads,
            head_dim: width / heads,
            causal: settings.causal,
            scale: settings.scale as f32,
            dropout: settings.p as f32,
            stream: Stream {
                seed: settings.seed,
                stream: settings.stream,
            },
            bias,
        })
    }
}

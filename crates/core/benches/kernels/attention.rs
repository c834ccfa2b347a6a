//! The works of attention.

use crate::numbers::numbers;
use crate::{Bench, Work, message};
use deftune_core::memory::AlignedBuf;
use deftune_core::ops::attention::{self, AttentionShape};
use deftune_core::rng::Stream;

impl Bench {
    pub fn attention(
        &mut self,
        forward: bool,
        threads: usize,
        dropout: f32,
        lengths: &[usize],
    ) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let mut cu = vec![0];
        for length in lengths {
            cu.push(cu[cu.len() - 1] + *length as i32);
        }
        let (heads, head_dim) = (12, 64);
        let rows = lengths.iter().sum::<usize>();
        let size = rows * heads * head_dim;
        // Buffers of so many layers in turn: those of a model's last use are no longer in the caches.
        const LAYERS: usize = 8;
        let buffers =
            |seed| (0..LAYERS).map(move |layer| AlignedBuf::from_slice(&numbers(size, 8 * layer as u64 + seed)));
        let buffers = |seed| buffers(seed).collect::<deftune_core::Result<Vec<_>>>().map_err(message);
        let (q, k, v, dout) = (buffers(1)?, buffers(2)?, buffers(3)?, buffers(4)?);
        let (mut out, mut dq, mut dk, mut dv) = (buffers(5)?, buffers(6)?, buffers(7)?, buffers(8)?);
        let mut lse = vec![0.0; rows * heads];
        let mut layer = 0;
        let mut step = move |forward: bool| {
            layer = (layer + 1) % LAYERS;
            let (q, k, v, dout) = (&q[layer], &k[layer], &v[layer], &dout[layer]);
            let (out, dq, dk, dv) = (&mut out[layer], &mut dq[layer], &mut dk[layer], &mut dv[layer]);
            let shape = AttentionShape {
                cu_q: &cu,
                cu_k: &cu,
                heads,
                head_dim,
                causal: false,
                scale: 0.125,
                dropout,
                stream: Stream { seed: 1, stream: 2 },
                bias: None,
            };
            if forward {
                attention::forward(isa, &pool, &shape, q, k, v, out, &mut lse)
            } else {
                attention::backward(isa, &pool, &shape, q, k, v, out, &lse, dout, dq, dk, dv, None)
            }
        };
        step(true).map_err(message)?;
        Ok(Box::new(move || {
            step(forward).unwrap_or_else(|error| panic!("{error}"))
        }))
    }
}

//! The backward pass, a task for each sequence and head.

use super::super::relative_bias::{ByDistance, row_start, table_gradient};
use super::matrix::{
    Left, MR, SCRATCH, add_to, copy_rows, product, round_up, take, take_scratch, transpose, write_rows,
};
use super::{AttentionShape, QUERY_BLOCK, Sequence};
use crate::Result;
use crate::simd::{Isa, Kernel, Simd, dispatch, math};
use crate::threads::{Pool, SendPtr};

#[derive(Clone, Copy)]
struct Backward<'a> {
    shape: &'a AttentionShape<'a>,
    sequence: Sequence,
    head: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    out: &'a [f32],
    lse: &'a [f32],
    dout: &'a [f32],
    biases: Option<&'a ByDistance>,
    dq: SendPtr<f32>,
    dk: SendPtr<f32>,
    dv: SendPtr<f32>,
    /// Sums of score gradients by distance, of this sequence and head.
    dbias: Option<*mut f32>,
}

/// The scratch matrices of one backward task; `n_pad` keys and `dim_pad` columns, both in whole vectors.
struct BackwardScratch<'a> {
    keys: &'a mut [f32],
    keys_t: &'a mut [f32],
    values_t: &'a mut [f32],
    dk: &'a mut [f32],
    dv: &'a mut [f32],
    queries: &'a mut [f32],
    dout: &'a mut [f32],
    dq: &'a mut [f32],
    probabilities: &'a mut [f32],
    dscores: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Backward {
            shape, sequence, head, ..
        } = self;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let keys = sequence.k_len;
        // Keys are rows of dk as well: whole vectors and whole tiles.
        let key_pad = round_up(keys, S::LANES.max(MR));
        let dim_pad = round_up(dim, S::LANES);
        let k_at = sequence.k_start * width + head * dim;
        let len = (keys + 2 * key_pad) * dim_pad + 2 * dim * key_pad + QUERY_BLOCK * (3 * dim_pad + 2 * key_pad);
        let mut scratch = take_scratch(len);
        {
            let mut rest = &mut scratch[..];
            let mut m = BackwardScratch {
                keys: take(&mut rest, keys * dim_pad),
                keys_t: take(&mut rest, dim * key_pad),
                values_t: take(&mut rest, dim * key_pad),
                dk: take(&mut rest, key_pad * dim_pad),
                dv: take(&mut rest, key_pad * dim_pad),
                queries: take(&mut rest, QUERY_BLOCK * dim_pad),
                dout: take(&mut rest, QUERY_BLOCK * dim_pad),
                dq: take(&mut rest, QUERY_BLOCK * dim_pad),
                probabilities: take(&mut rest, QUERY_BLOCK * key_pad),
                dscores: take(&mut rest, QUERY_BLOCK * key_pad),
            };
            transpose(&self.k[k_at..], width, keys, dim, m.keys_t, key_pad);
            transpose(&self.v[k_at..], width, keys, dim, m.values_t, key_pad);
            m.dk.fill(0.0);
            m.dv.fill(0.0);
            // SAFETY: the rows and columns of this sequence and head are inside k, dk and dv (offsets and lengths were checked),
            // and belong to this task; scratch matrices have the padded sizes.
            unsafe {
                let from = (self.k.as_ptr().add(k_at), width);
                copy_rows(s, from, (keys, dim), 1.0, (m.keys.as_mut_ptr(), dim_pad));
                let mut block = 0;
                while block < sequence.q_len {
                    self.block(s, block, &mut m, key_pad, dim_pad);
                    block += QUERY_BLOCK;
                }
                write_rows(s, (m.dk.as_ptr(), dim_pad), (keys, dim), 1.0, (self.dk.at(k_at), width));
                write_rows(s, (m.dv.as_ptr(), dim_pad), (keys, dim), 1.0, (self.dv.at(k_at), width));
            }
        }
        SCRATCH.set(scratch);
    }
}

impl Backward<'_> {
    /// Adds the part of the queries `block..block + QUERY_BLOCK` to dk and dv, and writes their dq.
    /// # Safety
    /// As in [`Backward::run`], which calls this.
    #[inline(always)]
    unsafe fn block<S: Simd>(&self, s: S, block: usize, m: &mut BackwardScratch, key_pad: usize, dim_pad: usize) {
        let Backward {
            shape, sequence, head, ..
        } = *self;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let rows = QUERY_BLOCK.min(sequence.q_len - block);
        let tiles = round_up(rows, MR);
        let q_row = sequence.q_start + block;
        // Keys that some query of the block sees.
        let keys = shape.visible(&sequence, block + rows - 1);
        let columns = round_up(keys, S::LANES.max(MR));
        let q_at = q_row * width + head * dim;
        let stream = shape.head_stream(head);
        let keep = if shape.dropout >= 1.0 {
            0.0
        } else {
            1.0 / (1.0 - shape.dropout)
        };
        // SAFETY: rows q_row..q_row + rows are inside q, dout, out, lse and dq, and only this task writes them in this head;
        // a row of biases has k_len elements and ends inside the q_len + k_len - 1 of dbias; keys <= columns <= key_pad, rows <= tiles <= QUERY_BLOCK.
        unsafe {
            m.queries[rows * dim_pad..].fill(0.0);
            m.dout[rows * dim_pad..].fill(0.0);
            let size = (rows, dim);
            copy_rows(
                s,
                (self.q.as_ptr().add(q_at), width),
                size,
                shape.scale,
                (m.queries.as_mut_ptr(), dim_pad),
            );
            copy_rows(
                s,
                (self.dout.as_ptr().add(q_at), width),
                size,
                1.0,
                (m.dout.as_mut_ptr(), dim_pad),
            );
            let left = |data: *const f32| Left {
                data,
                row_stride: dim_pad,
                column_stride: 1,
            };
            let (b, c) = ((m.keys_t.as_ptr(), key_pad), (m.probabilities.as_mut_ptr(), key_pad));
            product(s, (tiles, columns, dim), left(m.queries.as_ptr()), b, c, false);
            let (b, c) = ((m.values_t.as_ptr(), key_pad), (m.dscores.as_mut_ptr(), key_pad));
            product(s, (tiles, columns, dim), left(m.dout.as_ptr()), b, c, false);
            for r in 0..rows {
                let seen = shape.visible(&sequence, block + r);
                let scores = &mut m.probabilities[r * key_pad..r * key_pad + columns];
                let dscores = &mut m.dscores[r * key_pad..r * key_pad + columns];
                if seen == 0 {
                    scores.fill(0.0);
                    dscores.fill(0.0);
                    continue;
                }
                let unbiased = shape.unbiased(&sequence).min(seen);
                if let Some(biases) = self.biases {
                    let bias = biases.row(head, block + r, sequence.q_len, sequence.k_len);
                    let (row, bias) = (scores.as_mut_ptr().add(unbiased), bias.as_ptr().add(unbiased));
                    add_to(s, row, bias, seen - unbiased);
                }
                // exp(-inf) = 0 for the keys that this query does not see.
                scores[seen..].fill(f32::NEG_INFINITY);
                let mut delta = s.zero();
                let mut d = 0;
                while d < dim {
                    let n = S::LANES.min(dim - d);
                    let out = s.load_partial(self.out.as_ptr().add(q_at + r * width + d), n);
                    delta = s.mul_add(out, s.load(m.dout.as_ptr().add(r * dim_pad + d)), delta);
                    d += n;
                }
                let delta = s.splat(s.reduce_add(delta));
                let lse = s.splat(self.lse[(q_row + r) * shape.heads + head]);
                let pair = sequence
                    .pair
                    .wrapping_add(((block + r) as u32).wrapping_mul(sequence.k_len as u32));
                let (scores, dscores) = (scores.as_mut_ptr(), dscores.as_mut_ptr());
                let mut j = 0;
                while j < columns {
                    let p = math::exp(s, s.sub(s.load(scores.add(j)), lse));
                    let mut g = s.load(dscores.add(j));
                    let mut kept = p;
                    if shape.dropout > 0.0 {
                        let uniform = stream.uniform_simd(s, pair.wrapping_add(j as u32));
                        let dropped = s.lt(uniform, s.splat(shape.dropout));
                        let factor = s.select(dropped, s.zero(), s.splat(keep));
                        kept = s.mul(p, factor);
                        g = s.mul(g, factor);
                    }
                    s.store(scores.add(j), kept);
                    s.store(dscores.add(j), s.mul(p, s.sub(g, delta)));
                    j += S::LANES;
                }
                if let Some(dbias) = self.dbias {
                    let distances = dbias.add(row_start(block + r, sequence.q_len) + unbiased);
                    add_to(s, distances, dscores.add(unbiased), seen - unbiased);
                }
            }
            // dK += dSᵀ (scale Q), dV += Pᵀ dO, dQ = scale dS K.
            let left = |data: *const f32| Left {
                data,
                row_stride: 1,
                column_stride: key_pad,
            };
            let (b, c) = ((m.queries.as_ptr(), dim_pad), (m.dk.as_mut_ptr(), dim_pad));
            product(s, (columns, dim_pad, rows), left(m.dscores.as_ptr()), b, c, true);
            let (b, c) = ((m.dout.as_ptr(), dim_pad), (m.dv.as_mut_ptr(), dim_pad));
            product(s, (columns, dim_pad, rows), left(m.probabilities.as_ptr()), b, c, true);
            let left = Left {
                data: m.dscores.as_ptr(),
                row_stride: key_pad,
                column_stride: 1,
            };
            let (b, c) = ((m.keys.as_ptr(), dim_pad), (m.dq.as_mut_ptr(), dim_pad));
            product(s, (tiles, dim_pad, keys), left, b, c, false);
            write_rows(
                s,
                (m.dq.as_ptr(), dim_pad),
                size,
                shape.scale,
                (self.dq.at(q_at), width),
            );
        }
    }
}

/// Gradients of [`super::forward`], all overwritten; `out` and `lse` are its results, `dout` is the gradient of `out`.
///
/// q, out, dout, dq `[Tq, heads * head_dim]`; k, v, dk, dv `[Tk, heads * head_dim]`; lse `[Tq, heads]`; dtable `[buckets, heads]`, the
/// gradient of the bias table, where there is one.
///
/// # Errors
/// See [`super::check_offsets`].
pub fn backward(
    isa: Isa,
    pool: &Pool,
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &[f32],
    lse: &[f32],
    dout: &[f32],
    dq: &mut [f32],
    dk: &mut [f32],
    dv: &mut [f32],
    dtable: Option<&mut [f32]>,
) -> Result<()> {
    let sequences = shape.sequences("attention backward", q, k, v)?;
    assert!(
        out.len() == q.len() && dout.len() == q.len() && dq.len() == q.len(),
        "attention backward: queries"
    );
    assert!(dk.len() == k.len() && dv.len() == k.len(), "attention backward: keys");
    assert!(lse.len() * shape.head_dim == q.len(), "attention backward: lse");
    let biases = shape.biases(&sequences);
    // Each sequence and head sums by distance on its own, so that the order of the additions is fixed.
    let mut starts = Vec::with_capacity(sequences.len());
    let mut distances = 0;
    for sequence in &sequences {
        starts.push(distances);
        distances += shape.heads * (sequence.q_len + sequence.k_len - 1);
    }
    let wanted = shape.bias.is_some() && dtable.is_some();
    let mut by_distance = vec![0.0; if wanted { distances } else { 0 }];
    let (dq, dk, dv) = (SendPtr::new(dq), SendPtr::new(dk), SendPtr::new(dv));
    let by_distance_ptr = SendPtr::new(&mut by_distance);
    pool.run(sequences.len() * shape.heads, &|task| {
        let (sequence, head) = (sequences[task / shape.heads], task % shape.heads);
        let start = starts[task / shape.heads] + head * (sequence.q_len + sequence.k_len - 1);
        // SAFETY: inside `by_distance`, and the ranges of the tasks are disjoint.
        let dbias = wanted.then(|| unsafe { by_distance_ptr.at(start) });
        dispatch(
            isa,
            Backward {
                shape,
                sequence,
                head,
                q,
                k,
                v,
                out,
                lse,
                dout,
                biases: biases.as_ref(),
                dq,
                dk,
                dv,
                dbias,
            },
        );
    });
    if let (Some(bias), Some(dtable)) = (shape.bias, dtable) {
        assert_eq!(dtable.len(), bias.table.len(), "attention backward: table");
        let lengths = sequences.iter().map(|sequence| (sequence.q_len, sequence.k_len));
        table_gradient(bias.rule, shape.heads, lengths, &by_distance, dtable);
    }
    Ok(())
}

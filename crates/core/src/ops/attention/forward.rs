//! The forward pass, a task for each block of queries of a sequence and head.

use super::super::relative_bias::ByDistance;
use super::super::{load, store};
use super::matrix::{
    Left, MR, SCRATCH, add_to, copy_rows, product, round_up, take, take_scratch, transpose, write_rows,
};
use super::{AttentionShape, QUERY_BLOCK, Sequence};
use crate::Result;
use crate::simd::{Isa, Kernel, Simd, dispatch, math};
use crate::threads::{Pool, SendPtr};

#[derive(Clone, Copy)]
struct Forward<'a> {
    shape: &'a AttentionShape<'a>,
    sequence: Sequence,
    head: usize,
    /// First query of the block, within the sequence.
    block: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    biases: Option<&'a ByDistance>,
    out: SendPtr<f32>,
    lse: SendPtr<f32>,
}

impl Kernel for Forward<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Forward {
            shape,
            sequence,
            head,
            block,
            ..
        } = self;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let rows = QUERY_BLOCK.min(sequence.q_len - block);
        if rows == 1 {
            return self.single(s);
        }
        let tiles = round_up(rows, MR);
        let q_row = sequence.q_start + block;
        let keys = shape.visible(&sequence, block + rows - 1);
        let key_pad = round_up(keys, S::LANES);
        let unbiased = shape.unbiased(&sequence).min(keys);
        let dim_pad = round_up(dim, S::LANES);
        let k_at = sequence.k_start * width + head * dim;
        let stream = shape.head_stream(head);
        let keep = 1.0 / (1.0 - shape.dropout);
        let len = 2 * tiles * dim_pad + dim * key_pad + keys * dim_pad + tiles * key_pad;
        let mut scratch = take_scratch(len);
        {
            let mut rest = &mut scratch[..];
            let queries = take(&mut rest, tiles * dim_pad);
            let output = take(&mut rest, tiles * dim_pad);
            let keys_t = take(&mut rest, dim * key_pad);
            let values = take(&mut rest, keys * dim_pad);
            let scores = take(&mut rest, tiles * key_pad);
            transpose(&self.k[k_at.min(self.k.len())..], width, keys, dim, keys_t, key_pad);
            // SAFETY: the rows and columns of this sequence and head are inside q, k, v, out and lse (offsets and lengths were
            // checked); scratch matrices have the padded sizes that `product` needs; out and lse rows belong to this task.
            unsafe {
                let from = self.q.as_ptr().add(q_row * width + head * dim);
                queries[rows * dim_pad..].fill(0.0);
                copy_rows(
                    s,
                    (from, width),
                    (rows, dim),
                    shape.scale,
                    (queries.as_mut_ptr(), dim_pad),
                );
                copy_rows(
                    s,
                    (self.v.as_ptr().add(k_at), width),
                    (keys, dim),
                    1.0,
                    (values.as_mut_ptr(), dim_pad),
                );
                let left = Left {
                    data: queries.as_ptr(),
                    row_stride: dim_pad,
                    column_stride: 1,
                };
                let (b, c) = ((keys_t.as_ptr(), key_pad), (scores.as_mut_ptr(), key_pad));
                product(s, (tiles, key_pad, dim), left, b, c, false);
                let mut factors = [0.0f32; QUERY_BLOCK];
                for r in 0..rows {
                    let seen = shape.visible(&sequence, block + r);
                    let row = &mut scores[r * key_pad..(r + 1) * key_pad];
                    let lse = self.lse.at((q_row + r) * shape.heads + head);
                    if seen == 0 {
                        row.fill(0.0);
                        *lse = f32::NEG_INFINITY;
                        continue;
                    }
                    if let Some(biases) = self.biases {
                        let bias = biases.row(head, block + r, sequence.q_len, sequence.k_len);
                        let (row, bias) = (row.as_mut_ptr().add(unbiased), bias.as_ptr().add(unbiased));
                        add_to(s, row, bias, keys - unbiased);
                    }
                    row[seen..].fill(f32::NEG_INFINITY);
                    let row = row.as_mut_ptr();
                    let mut top = s.splat(f32::NEG_INFINITY);
                    let mut j = 0;
                    while j < key_pad {
                        top = s.max(s.load(row.add(j)), top);
                        j += S::LANES;
                    }
                    let max = s.reduce_max(top);
                    let max_v = s.splat(max);
                    let mut sum = s.zero();
                    let pair = sequence
                        .pair
                        .wrapping_add(((block + r) as u32).wrapping_mul(sequence.k_len as u32));
                    j = 0;
                    while j < key_pad {
                        let mut e = math::exp(s, s.sub(s.load(row.add(j)), max_v));
                        sum = s.add(sum, e);
                        if shape.dropout > 0.0 {
                            let uniform = stream.uniform_simd(s, pair.wrapping_add(j as u32));
                            e = s.select(s.lt(uniform, s.splat(shape.dropout)), s.zero(), e);
                        }
                        s.store(row.add(j), e);
                        j += S::LANES;
                    }
                    let sum = s.reduce_add(sum);
                    *lse = max + sum.ln();
                    factors[r] = if shape.dropout >= 1.0 { 0.0 } else { keep / sum };
                }
                let left = Left {
                    data: scores.as_ptr(),
                    row_stride: key_pad,
                    column_stride: 1,
                };
                let (b, c) = ((values.as_ptr(), dim_pad), (output.as_mut_ptr(), dim_pad));
                product(s, (tiles, dim_pad, keys), left, b, c, false);
                for r in 0..rows {
                    let to = self.out.at((q_row + r) * width + head * dim);
                    write_rows(
                        s,
                        (output.as_ptr().add(r * dim_pad), dim_pad),
                        (1, dim),
                        factors[r],
                        (to, width),
                    );
                }
            }
        }
        SCRATCH.set(scratch);
    }
}

/// out[0..NV vectors] = factor Σ_j weights[j] v[j, ..]; the last vector has `n` elements.
/// # Safety
/// `weights` and the rows of `v` (every `stride`) have `rows` entries; rows and `out` have (NV - 1) LANES + n elements.
#[inline(always)]
unsafe fn weighted_rows<S: Simd, const NV: usize>(
    s: S,
    weights: *const f32,
    (v, stride): (*const f32, usize),
    rows: usize,
    n: usize,
    factor: S::F,
    out: *mut f32,
) {
    let mut sums = [s.zero(); NV];
    let lanes = |vector: usize| if vector + 1 == NV { n } else { S::LANES };
    // SAFETY: the caller's promise.
    unsafe {
        for j in 0..rows {
            let weight = s.splat(*weights.add(j));
            for vector in 0..NV {
                let x = load(s, v.add(j * stride + vector * S::LANES), lanes(vector));
                sums[vector] = s.mul_add(weight, x, sums[vector]);
            }
        }
        for vector in 0..NV {
            store(
                s,
                out.add(vector * S::LANES),
                s.mul(sums[vector], factor),
                lanes(vector),
            );
        }
    }
}

impl Forward<'_> {
    /// The same for a block of one query (a step of generation): keys and values are read where they lie, once.
    #[inline(always)]
    fn single<S: Simd>(self, s: S) {
        let Forward {
            shape,
            sequence,
            head,
            block,
            ..
        } = self;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let q_row = sequence.q_start + block;
        let keys = shape.visible(&sequence, block);
        let key_pad = round_up(keys, S::LANES);
        let k_at = sequence.k_start * width + head * dim;
        let stream = shape.head_stream(head);
        let pair = sequence
            .pair
            .wrapping_add((block as u32).wrapping_mul(sequence.k_len as u32));
        let mut scratch = take_scratch(key_pad);
        // SAFETY: row q_row and rows k_start.. of this head are inside q, k, v, out and lse (offsets and lengths were checked);
        // scores are padded to whole vectors; out and lse of this row belong to this task.
        unsafe {
            let (q, out) = (
                self.q.as_ptr().add(q_row * width + head * dim),
                self.out.at(q_row * width + head * dim),
            );
            let lse = self.lse.at(q_row * shape.heads + head);
            if keys == 0 {
                std::slice::from_raw_parts_mut(out, dim).fill(0.0);
                *lse = f32::NEG_INFINITY;
                SCRATCH.set(scratch);
                return;
            }
            let (k, v) = (self.k.as_ptr().add(k_at), self.v.as_ptr().add(k_at));
            let scores = scratch.as_mut_ptr();
            let mut j = 0;
            // Four keys at a time: as many chains of additions, and one load of q.
            while j < keys {
                let four = [j, (j + 1).min(keys - 1), (j + 2).min(keys - 1), (j + 3).min(keys - 1)];
                let mut sums = [s.zero(); 4];
                let mut d = 0;
                while d < dim {
                    let n = S::LANES.min(dim - d);
                    let left = load(s, q.add(d), n);
                    for (sum, key) in sums.iter_mut().zip(four) {
                        *sum = s.mul_add(left, load(s, k.add(key * width + d), n), *sum);
                    }
                    d += n;
                }
                for (key, sum) in sums.into_iter().enumerate().take(keys - j) {
                    *scores.add(j + key) = s.reduce_add(sum) * shape.scale;
                }
                j += 4;
            }
            if let Some(biases) = self.biases {
                let from = shape.unbiased(&sequence).min(keys);
                let bias = biases.row(head, block, sequence.q_len, sequence.k_len);
                add_to(s, scores.add(from), bias.as_ptr().add(from), keys - from);
            }
            std::slice::from_raw_parts_mut(scores.add(keys), key_pad - keys).fill(f32::NEG_INFINITY);
            let mut top = s.splat(f32::NEG_INFINITY);
            j = 0;
            while j < key_pad {
                top = s.max(s.load(scores.add(j)), top);
                j += S::LANES;
            }
            let max = s.reduce_max(top);
            let max_v = s.splat(max);
            let mut sum = s.zero();
            j = 0;
            while j < key_pad {
                let mut e = math::exp(s, s.sub(s.load(scores.add(j)), max_v));
                sum = s.add(sum, e);
                if shape.dropout > 0.0 {
                    let uniform = stream.uniform_simd(s, pair.wrapping_add(j as u32));
                    e = s.select(s.lt(uniform, s.splat(shape.dropout)), s.zero(), e);
                }
                s.store(scores.add(j), e);
                j += S::LANES;
            }
            let sum = s.reduce_add(sum);
            *lse = max + sum.ln();
            let keep = 1.0 / (1.0 - shape.dropout);
            let factor = s.splat(if shape.dropout >= 1.0 { 0.0 } else { keep / sum });
            let mut d = 0;
            while d < dim {
                let left = dim - d;
                if left >= 4 * S::LANES {
                    weighted_rows::<S, 4>(s, scores, (v.add(d), width), keys, S::LANES, factor, out.add(d));
                    d += 4 * S::LANES;
                } else {
                    let n = S::LANES.min(left);
                    weighted_rows::<S, 1>(s, scores, (v.add(d), width), keys, n, factor, out.add(d));
                    d += n;
                }
            }
        }
        SCRATCH.set(scratch);
    }
}

/// `out = dropout(softmax(scale q kᵀ + bias + mask)) v` for every sequence and head.
///
/// q, out `[Tq, heads * head_dim]`; k, v `[Tk, heads * head_dim]`; lse `[Tq, heads]` receives the log-sum-exp of each row of
/// scores. A query that sees no key (causal, more queries than keys) gives zeros and an lse of -inf.
///
/// # Errors
/// See [`super::check_offsets`].
pub fn forward(
    isa: Isa,
    pool: &Pool,
    shape: &AttentionShape,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    out: &mut [f32],
    lse: &mut [f32],
) -> Result<()> {
    let sequences = shape.sequences("attention", q, k, v)?;
    assert!(
        out.len() == q.len() && lse.len() * shape.head_dim == q.len(),
        "attention: outputs"
    );
    let biases = shape.biases(&sequences);
    let blocks: Vec<(Sequence, usize)> = sequences
        .iter()
        .flat_map(|&sequence| {
            (0..sequence.q_len)
                .step_by(QUERY_BLOCK)
                .map(move |block| (sequence, block))
        })
        .collect();
    let (out, lse) = (SendPtr::new(out), SendPtr::new(lse));
    pool.run(blocks.len() * shape.heads, &|task| {
        let (sequence, block) = blocks[task / shape.heads];
        dispatch(
            isa,
            Forward {
                shape,
                sequence,
                head: task % shape.heads,
                block,
                q,
                k,
                v,
                biases: biases.as_ref(),
                out,
                lse,
            },
        );
    });
    Ok(())
}

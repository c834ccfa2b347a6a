//! The forward pass, a task for each sequence and head, or for each block of their queries where these are too few for the threads.

use super::super::relative_bias::ByDistance;
use super::super::{load, store};
use super::ahead::{Ahead, run_tasks};
use super::matrix::{Left, Product, Transpose, copy_rows, padded, spread, with_scratch};
use super::{AttentionShape, Dropout, QUERY_BLOCK, Sequence};
use crate::Result;
use crate::simd::{Isa, Kernel, Simd, dispatch, math};
use crate::threads::{Pool, SendPtr};

#[derive(Clone, Copy)]
struct Forward<'a> {
    shape: &'a AttentionShape<'a>,
    sequence: Sequence,
    head: usize,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    biases: Option<&'a ByDistance>,
    out: SendPtr<f32>,
    lse: SendPtr<f32>,
}

/// Where a task finds the keys and values of its sequence and head: rows of the head's columns, every `stride`.
#[derive(Clone, Copy)]
struct Keys {
    k: *const f32,
    v: *const f32,
    stride: usize,
}

/// Calls of [`Ahead::ask`] in a block.
const ASKS: usize = 4;

impl Forward<'_> {
    /// What it reads and writes, for a thread that works on something of `blocks` blocks until then.
    fn ahead(&self, blocks: usize) -> Ahead {
        let Sequence {
            q_start, q_len, k_len, ..
        } = self.sequence;
        let Keys { k, v, stride } = self.keys();
        let q = q_start * stride + self.head * self.shape.head_dim;
        // SAFETY: inside out (offsets and lengths were checked).
        let out = unsafe { self.out.at(q) };
        let matrices = [
            (self.q[q..].as_ptr(), q_len),
            (k, k_len),
            (v, k_len),
            (out.cast_const(), q_len),
        ];
        Ahead::new(&matrices, stride, self.shape.head_dim, ASKS * blocks)
    }

    /// The keys and values where they are.
    fn keys(&self) -> Keys {
        let width = self.shape.heads * self.shape.head_dim;
        let at = self.sequence.k_start * width + self.head * self.shape.head_dim;
        // SAFETY: inside k and v (offsets and lengths were checked).
        unsafe {
            Keys {
                k: self.k.as_ptr().add(at),
                v: self.v.as_ptr().add(at),
                stride: width,
            }
        }
    }

    /// All blocks of the sequence and head; `next`: what the thread probably works on after it. They share copies of the keys and values, whose rows lie
    /// `width` apart and so share few sets of the caches.
    fn run(self, isa: Isa, next: Option<Self>) {
        let Sequence { q_len, k_len, .. } = self.sequence;
        let mut ahead = next.map_or_else(Ahead::none, |next| next.ahead(q_len.div_ceil(QUERY_BLOCK)));
        if q_len <= QUERY_BLOCK {
            return self.one(isa, 0, &mut ahead);
        }
        let (there, dim) = (self.keys(), self.shape.head_dim);
        let stride = spread(dim);
        let size = k_len * stride;
        let of_block = self.scratch(isa, QUERY_BLOCK);
        with_scratch(2 * size + of_block, |scratch| {
            let (copies, scratch) = scratch.split_at_mut(2 * size);
            let (k, v) = copies.split_at_mut(size);
            let (k, v) = (k.as_mut_ptr(), v.as_mut_ptr());
            // SAFETY: the rows of the sequence and head, and as many in the copies.
            unsafe {
                copy_rows((there.k, there.stride), (k, stride), k_len, dim);
                copy_rows((there.v, there.stride), (v, stride), k_len, dim);
            }
            for block in (0..q_len).step_by(QUERY_BLOCK) {
                self.block(isa, block, Keys { k, v, stride }, scratch, &mut ahead);
            }
        });
    }

    /// The block of queries from `block` on.
    fn one(&self, isa: Isa, block: usize, ahead: &mut Ahead) {
        let queries = QUERY_BLOCK.min(self.sequence.q_len - block);
        with_scratch(self.scratch(isa, queries), |scratch| {
            self.block(isa, block, self.keys(), scratch, ahead);
        });
    }

    /// Values of scratch memory that a block takes.
    fn scratch(&self, isa: Isa, queries: usize) -> usize {
        (self.shape.head_dim + self.sequence.k_len) * padded(isa, queries)
    }

    /// Scores are `[keys, queries]`, so that a softmax runs along vectors, one query a lane: no sums across a vector, and the number of
    /// keys needs no padding. Keys and values are read by rows, as they lie; only queries are transposed, each once.
    fn block(&self, isa: Isa, block: usize, of: Keys, scratch: &mut [f32], ahead: &mut Ahead) {
        let Forward {
            shape, sequence, head, ..
        } = *self;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let rows = QUERY_BLOCK.min(sequence.q_len - block);
        if rows == 1 {
            let scores = scratch.as_mut_ptr();
            return dispatch(
                isa,
                Single {
                    of: self,
                    block,
                    keys: of,
                    scores,
                },
            );
        }
        let columns = padded(isa, rows);
        let q_row = sequence.q_start + block;
        let keys = shape.visible(&sequence, block + rows - 1);
        let q_at = q_row * width + head * dim;
        let (queries, scores) = scratch.split_at_mut(dim * columns);
        let scores = &mut scores[..keys * columns];
        let mut softmax = Softmax {
            scores: scores.as_mut_ptr(),
            keys,
            columns,
            dropout: shape.dropout(&sequence, head, block),
            max: [0.0; QUERY_BLOCK],
            sum: [0.0; QUERY_BLOCK],
        };
        // SAFETY: the rows and columns of this sequence and head are inside q, k, v, out and lse (offsets and lengths were
        // checked), and those of the block in out and lse belong to this task; scratch matrices have these sizes.
        unsafe {
            let queries = queries.as_mut_ptr();
            let transpose = Transpose {
                from: self.q.as_ptr().add(q_at),
                stride: width,
                rows,
                cols: dim,
                to: queries,
                padded: columns,
            };
            ahead.ask();
            transpose.run(isa);
            let product = Product {
                rows: keys,
                columns,
                depth: dim,
                a: Left::Rows(of.k, of.stride),
                b: (queries, columns),
                c: (softmax.scores, columns),
                factors: (&shape.scale, 0),
                add: false,
            };
            ahead.ask();
            product.run(isa);
            shape.add_biases(self.biases, &sequence, head, block, scores, columns);
            shape.hide(&sequence, block, scores, columns);
            ahead.ask();
            dispatch(isa, &mut softmax);
            let keep = shape.keep();
            let mut factors = [0.0; QUERY_BLOCK];
            for r in 0..rows {
                let (max, sum) = (softmax.max[r], softmax.sum[r]);
                *self.lse.at((q_row + r) * shape.heads + head) = max + sum.ln();
                // The sum is 0 where a query sees no key.
                factors[r] = if sum == 0.0 { 0.0 } else { keep / sum };
            }
            let product = Product {
                rows,
                columns: dim,
                depth: keys,
                a: Left::Columns(softmax.scores, columns),
                b: (of.v, of.stride),
                c: (self.out.at(q_at), width),
                factors: (factors.as_ptr(), 1),
                add: false,
            };
            ahead.ask();
            product.run(isa);
        }
    }
}

/// Scores `[keys, columns]` become `dropout(exp(score - max))`, `max` and `sum` (of exponentials before dropout) are by column.
struct Softmax {
    scores: *mut f32,
    keys: usize,
    columns: usize,
    dropout: Option<Dropout>,
    max: [f32; QUERY_BLOCK],
    sum: [f32; QUERY_BLOCK],
}

impl Kernel for &mut Softmax {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (keys, columns) = (self.keys, self.columns);
        let mut column = 0;
        while column < columns {
            // SAFETY: scores have these rows and columns, at most QUERY_BLOCK in whole vectors.
            unsafe {
                let scores = self.scores.add(column);
                // -inf - f32::MIN is -inf and not NaN where a query sees no key. Four chains of maxima.
                let mut tops = [s.splat(f32::MIN); 4];
                let mut j = 0;
                while j + 4 <= keys {
                    for i in 0..4 {
                        tops[i] = s.max(s.load(scores.add((j + i) * columns)), tops[i]);
                    }
                    j += 4;
                }
                while j < keys {
                    tops[0] = s.max(s.load(scores.add(j * columns)), tops[0]);
                    j += 1;
                }
                let max = s.max(s.max(tops[0], tops[1]), s.max(tops[2], tops[3]));
                let mut sum = s.zero();
                if let Some(dropout) = self.dropout {
                    let first = dropout.pairs(s, column);
                    for j in 0..keys {
                        let at = scores.add(j * columns);
                        let e = math::exp(s, s.sub(s.load(at), max));
                        sum = s.add(sum, e);
                        s.store(at, s.select(dropout.dropped(s, first, j), s.zero(), e));
                    }
                } else {
                    for j in 0..keys {
                        let at = scores.add(j * columns);
                        let e = math::exp(s, s.sub(s.load(at), max));
                        sum = s.add(sum, e);
                        s.store(at, e);
                    }
                }
                s.store(self.max.as_mut_ptr().add(column), max);
                s.store(self.sum.as_mut_ptr().add(column), sum);
            }
            column += S::LANES;
        }
    }
}
/// `out[0..NV vectors] = factor Σ_j weights[j] v[j, ..]`; the last vector has `n` elements.
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

/// The same for a block of one query (a step of generation): vectors run along the head's columns.
struct Single<'a> {
    of: &'a Forward<'a>,
    block: usize,
    keys: Keys,
    /// Scratch for as many scores as the query sees keys, in whole vectors.
    scores: *mut f32,
}

impl Kernel for Single<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (of, block, scores) = (self.of, self.block, self.scores);
        let Forward {
            shape, sequence, head, ..
        } = *of;
        let Keys { k, v, stride } = self.keys;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let q_row = sequence.q_start + block;
        let keys = shape.visible(&sequence, block);
        let key_pad = keys.next_multiple_of(S::LANES);
        let stream = shape.head_stream(head);
        let pair = sequence
            .pair
            .wrapping_add((block as u32).wrapping_mul(sequence.k_len as u32));
        // SAFETY: row q_row and rows k_start.. of this head are inside q, k, v, out and lse (offsets and lengths were checked);
        // scores are padded to whole vectors; out and lse of this row belong to this task.
        unsafe {
            let (q, out) = (
                of.q.as_ptr().add(q_row * width + head * dim),
                of.out.at(q_row * width + head * dim),
            );
            let lse = of.lse.at(q_row * shape.heads + head);
            if keys == 0 {
                std::slice::from_raw_parts_mut(out, dim).fill(0.0);
                *lse = f32::NEG_INFINITY;
                return;
            }
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
                        *sum = s.mul_add(left, load(s, k.add(key * stride + d), n), *sum);
                    }
                    d += n;
                }
                for (key, sum) in sums.into_iter().enumerate().take(keys - j) {
                    *scores.add(j + key) = s.reduce_add(sum) * shape.scale;
                }
                j += 4;
            }
            if let Some(biases) = of.biases {
                let from = shape.unbiased(&sequence).min(keys);
                let bias = biases.row(head, block, sequence.q_len, sequence.k_len);
                let scores = std::slice::from_raw_parts_mut(scores, keys);
                scores[from..]
                    .iter_mut()
                    .zip(&bias[from..])
                    .for_each(|(x, bias)| *x += bias);
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
                    weighted_rows::<S, 4>(s, scores, (v.add(d), stride), keys, S::LANES, factor, out.add(d));
                    d += 4 * S::LANES;
                } else {
                    let n = S::LANES.min(left);
                    weighted_rows::<S, 1>(s, scores, (v.add(d), stride), keys, n, factor, out.add(d));
                    d += n;
                }
            }
        }
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
    let (out, lse) = (SendPtr::new(out), SendPtr::new(lse));
    let of = |sequence: Sequence, head: usize| Forward {
        shape,
        sequence,
        head,
        q,
        k,
        v,
        biases: biases.as_ref(),
        out,
        lse,
    };
    let heads = sequences.len() * shape.heads;
    if heads >= pool.wanted_tasks() {
        let of = |task: usize| of(sequences[task / shape.heads], task % shape.heads);
        run_tasks(pool, heads, &|task, next| of(task).run(isa, next.map(of)));
        return Ok(());
    }
    let blocks: Vec<(Sequence, usize)> = sequences
        .iter()
        .flat_map(|&sequence| {
            (0..sequence.q_len)
                .step_by(QUERY_BLOCK)
                .map(move |block| (sequence, block))
        })
        .collect();
    pool.run(blocks.len() * shape.heads, &|task| {
        let (sequence, block) = blocks[task / shape.heads];
        of(sequence, task % shape.heads).one(isa, block, &mut Ahead::none());
    });
    Ok(())
}

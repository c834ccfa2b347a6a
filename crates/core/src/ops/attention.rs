//! Multi-head attention over ragged sequences (no padding), forward and backward.
//!
//! Queries of sequence n are rows `cu_q[n]..cu_q[n+1]`, its keys and values rows `cu_k[n]..cu_k[n+1]`. A task works on one
//! (sequence, head) and at most [`QUERY_BLOCK`] queries at a time, so scores never exist for more than a block. The backward pass
//! makes the probabilities again from the log-sum-exp of each row and uses `rowsum(P ∘ dP) = rowsum(dO ∘ O)`
//! (Dao et al. 2022, "FlashAttention", appendix B).

use super::relative_bias::{ByDistance, RelativeBias, row_start, table_gradient};
use super::{load, store};
use crate::rng::Stream;
use crate::simd::{Isa, Kernel, Simd, dispatch, math};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};
use std::cell::Cell;

/// Queries that share one block of scores.
pub const QUERY_BLOCK: usize = 32;

/// Rows of one register tile.
const MR: usize = 4;

/// What a call of attention works on, besides q, k and v.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape<'a> {
    /// `[sequences + 1]`: where the queries of each sequence start, then the number of queries.
    pub cu_q: &'a [i32],
    /// `[sequences + 1]`: the same for keys.
    pub cu_k: &'a [i32],
    pub heads: usize,
    pub head_dim: usize,
    /// Query i of a sequence sees keys up to `i + len_k - len_q` (the last query sees every key).
    pub causal: bool,
    /// Factor on the scores, usually 1/sqrt(head_dim).
    pub scale: f32,
    /// Probability with which an attention probability is dropped; 0 in evaluation.
    pub dropout: f32,
    pub stream: Stream,
    /// Added to the scores after their scale.
    pub bias: Option<RelativeBias<'a>>,
}

/// Checks that `cu` starts at 0, ends at `total` and has no empty sequence.
///
/// # Errors
/// [`Error::IndexRange`] at the first offset that breaks this, [`Error::Shape`] if there is none at all.
pub fn check_offsets(cu: &[i32], total: usize) -> Result<()> {
    let Some((&last, _)) = cu.split_last() else {
        return Err(Error::Shape {
            op: "attention",
            what: "number of offsets",
            found: "0".to_string(),
            expected: "sequences + 1".to_string(),
        });
    };
    let bad = |position: usize| Error::IndexRange {
        op: "attention",
        what: "offset",
        value: cu[position] as i64,
        position,
        max: total,
    };
    if cu[0] != 0 {
        return Err(bad(0));
    }
    if let Some(position) = cu.windows(2).position(|pair| pair[1] <= pair[0]) {
        return Err(bad(position + 1));
    }
    if last as usize != total {
        return Err(bad(cu.len() - 1));
    }
    Ok(())
}

/// One sequence: its rows and the number of its first (query, key) pair for dropout.
#[derive(Clone, Copy)]
struct Sequence {
    q_start: usize,
    q_len: usize,
    k_start: usize,
    k_len: usize,
    pair: u32,
}

impl AttentionShape<'_> {
    fn sequences(&self, op: &str, q: &[f32], k: &[f32], v: &[f32]) -> Result<Vec<Sequence>> {
        let width = self.heads * self.head_dim;
        assert!(
            width > 0 && q.len().is_multiple_of(width) && k.len().is_multiple_of(width) && v.len() == k.len(),
            "{op}: shapes"
        );
        check_offsets(self.cu_q, q.len() / width)?;
        check_offsets(self.cu_k, k.len() / width)?;
        if self.cu_q.len() != self.cu_k.len() {
            return Err(Error::Shape {
                op: "attention",
                what: "number of key offsets",
                found: self.cu_k.len().to_string(),
                expected: self.cu_q.len().to_string(),
            });
        }
        let mut pair = 0u32;
        let pairs = self.cu_q.windows(2).zip(self.cu_k.windows(2));
        Ok(pairs
            .map(|(q, k)| {
                let (q_len, k_len) = ((q[1] - q[0]) as usize, (k[1] - k[0]) as usize);
                let sequence = Sequence {
                    q_start: q[0] as usize,
                    q_len,
                    k_start: k[0] as usize,
                    k_len,
                    pair,
                };
                pair = pair.wrapping_add((q_len as u32).wrapping_mul(k_len as u32));
                sequence
            })
            .collect())
    }

    /// The biases by head and distance, for the longest of the sequences.
    fn biases(&self, sequences: &[Sequence]) -> Option<ByDistance> {
        let queries = sequences.iter().map(|sequence| sequence.q_len).max()?;
        let keys = sequences.iter().map(|sequence| sequence.k_len).max()?;
        Some(ByDistance::new(self.bias.as_ref()?, self.heads, queries, keys))
    }

    /// Leading keys of a sequence without a bias.
    fn unbiased(&self, sequence: &Sequence) -> usize {
        self.bias.map_or(0, |bias| bias.unbiased_keys).min(sequence.k_len)
    }

    /// Keys that query `i` of the sequence sees.
    #[inline(always)]
    fn visible(&self, sequence: &Sequence, i: usize) -> usize {
        if self.causal {
            (sequence.k_len + i + 1).saturating_sub(sequence.q_len)
        } else {
            sequence.k_len
        }
    }

    /// Every head has a stream of its own: pairs are numbered per head.
    #[inline(always)]
    fn head_stream(&self, head: usize) -> Stream {
        let stream = self
            .stream
            .stream
            .wrapping_add((head as u32 + 1).wrapping_mul(0x9e37_79b9));
        Stream {
            seed: self.stream.seed,
            stream,
        }
    }
}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// At least `len` floats of scratch memory of this thread, contents arbitrary; give it back with `SCRATCH.set`.
/// (Not a function that takes a closure: a closure is not compiled for the kernel's instruction set.)
fn take_scratch(len: usize) -> Vec<f32> {
    let mut scratch = SCRATCH.take();
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    scratch
}

/// Splits `len` floats off the front of `rest`.
#[inline(always)]
fn take<'a>(rest: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (front, back) = std::mem::take(rest).split_at_mut(len);
    *rest = back;
    front
}

fn round_up(n: usize, to: usize) -> usize {
    n.div_ceil(to) * to
}

/// An operand of [`product`]: element (row, column) is at `row * row_stride + column * column_stride`.
#[derive(Clone, Copy)]
struct Left {
    data: *const f32,
    row_stride: usize,
    column_stride: usize,
}

/// C[0..MR, 0..NV vectors] (+)= A[0..MR, 0..depth] B[0..depth, ..].
/// # Safety
/// The elements named above are inside A, B and C.
#[inline(always)]
unsafe fn tile<S: Simd, const NV: usize>(
    s: S,
    depth: usize,
    a: Left,
    b: *const f32,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    accumulate: bool,
) {
    let mut sums = [[s.zero(); NV]; MR];
    // SAFETY: the caller's promise.
    unsafe {
        if accumulate {
            for r in 0..MR {
                for v in 0..NV {
                    sums[r][v] = s.load(c.add(r * c_stride + v * S::LANES));
                }
            }
        }
        for d in 0..depth {
            let mut row = [s.zero(); NV];
            for v in 0..NV {
                row[v] = s.load(b.add(d * b_stride + v * S::LANES));
            }
            for r in 0..MR {
                let left = s.splat(*a.data.add(r * a.row_stride + d * a.column_stride));
                for v in 0..NV {
                    sums[r][v] = s.mul_add(left, row[v], sums[r][v]);
                }
            }
        }
        for r in 0..MR {
            for v in 0..NV {
                s.store(c.add(r * c_stride + v * S::LANES), sums[r][v]);
            }
        }
    }
}

/// C (+)= A B; C `[rows, columns]`, A `[rows, depth]`, B `[depth, columns]`; rows in whole tiles, columns in whole vectors.
/// # Safety
/// The matrices are as large as this says; `rows % MR == 0` and `columns % LANES == 0`.
#[inline(always)]
unsafe fn product<S: Simd>(
    s: S,
    (rows, columns, depth): (usize, usize, usize),
    a: Left,
    (b, b_stride): (*const f32, usize),
    (c, c_stride): (*mut f32, usize),
    accumulate: bool,
) {
    let mut column = 0;
    while column < columns {
        let pair = columns - column >= 2 * S::LANES;
        let mut row = 0;
        while row < rows {
            // SAFETY: the tile is inside the matrices, whose size the caller vouches for.
            unsafe {
                let a = Left {
                    data: a.data.add(row * a.row_stride),
                    ..a
                };
                let (b, c) = (b.add(column), c.add(row * c_stride + column));
                if pair {
                    tile::<S, 2>(s, depth, a, b, b_stride, c, c_stride, accumulate);
                } else {
                    tile::<S, 1>(s, depth, a, b, b_stride, c, c_stride, accumulate);
                }
            }
            row += MR;
        }
        column += if pair { 2 * S::LANES } else { S::LANES };
    }
}

/// Copies `rows` rows of `cols` from `from` (every `stride`) to `to` (every `padded`), times `scale`, zeros behind each row.
/// # Safety
/// `from` has these rows, `to` has `rows * padded`, and `padded` is `cols` rounded up to whole vectors.
#[inline(always)]
unsafe fn copy_rows<S: Simd>(
    s: S,
    (from, stride): (*const f32, usize),
    (rows, cols): (usize, usize),
    scale: f32,
    (to, padded): (*mut f32, usize),
) {
    let scale = s.splat(scale);
    for r in 0..rows {
        let mut c = 0;
        while c < cols {
            let n = S::LANES.min(cols - c);
            // SAFETY: the caller's promise.
            unsafe {
                let from = from.add(r * stride + c);
                let x = if n == S::LANES {
                    s.load(from)
                } else {
                    s.load_partial(from, n)
                };
                s.store(to.add(r * padded + c), s.mul(x, scale));
            }
            c += n;
        }
    }
}

/// The reverse of [`copy_rows`]: the first `cols` columns, times `scale`.
/// # Safety
/// As there.
#[inline(always)]
unsafe fn write_rows<S: Simd>(
    s: S,
    (from, padded): (*const f32, usize),
    (rows, cols): (usize, usize),
    scale: f32,
    (to, stride): (*mut f32, usize),
) {
    let scale = s.splat(scale);
    for r in 0..rows {
        let mut c = 0;
        while c < cols {
            let n = S::LANES.min(cols - c);
            // SAFETY: the caller's promise.
            unsafe {
                let x = s.mul(s.load(from.add(r * padded + c)), scale);
                let to = to.add(r * stride + c);
                if n == S::LANES {
                    s.store(to, x)
                } else {
                    s.store_partial(to, x, n)
                }
            }
            c += n;
        }
    }
}

/// y[0..n] += x[0..n].
/// # Safety
/// Both have n elements.
#[inline(always)]
unsafe fn add_to<S: Simd>(s: S, y: *mut f32, x: *const f32, n: usize) {
    let mut c = 0;
    while c < n {
        let lanes = S::LANES.min(n - c);
        // SAFETY: the caller's promise.
        unsafe {
            store(
                s,
                y.add(c),
                s.add(load(s, y.add(c), lanes), load(s, x.add(c), lanes)),
                lanes,
            )
        };
        c += lanes;
    }
}

/// `to[c, r] = from[r, c]` for `rows` rows of `cols`; `to` has rows of `padded >= rows`, zeros behind each.
fn transpose(from: &[f32], stride: usize, rows: usize, cols: usize, to: &mut [f32], padded: usize) {
    // 16 rows at a time stay in the first-level cache while their columns are collected.
    for start in (0..rows).step_by(16) {
        let end = (start + 16).min(rows);
        for c in 0..cols {
            for r in start..end {
                to[c * padded + r] = from[r * stride + c];
            }
        }
    }
    for c in 0..cols {
        to[c * padded + rows..(c + 1) * padded].fill(0.0);
    }
}

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
/// See [`check_offsets`].
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

/// Gradients of [`forward`], all overwritten; `out` and `lse` are its results, `dout` is the gradient of `out`.
///
/// q, out, dout, dq `[Tq, heads * head_dim]`; k, v, dk, dv `[Tk, heads * head_dim]`; lse `[Tq, heads]`; dtable `[buckets, heads]`, the
/// gradient of the bias table, where there is one.
///
/// # Errors
/// See [`check_offsets`].
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

#[cfg(test)]
mod tests {
    use super::super::relative_bias::BucketRule;
    use super::super::testing::*;
    use super::*;

    struct Case {
        q_lens: &'static [i32],
        k_lens: &'static [i32],
        heads: usize,
        head_dim: usize,
        causal: bool,
        dropout: f32,
        /// Rule and unbiased keys.
        bias: Option<(BucketRule, usize)>,
    }

    fn offsets(lens: &[i32]) -> Vec<i32> {
        let mut cu = vec![0];
        for len in lens {
            cu.push(cu[cu.len() - 1] + len);
        }
        cu
    }

    /// Written from the definition, one (sequence, head, query) at a time.
    fn naive(shape: &AttentionShape, q: &[f64], k: &[f64], v: &[f64], table: &[f64]) -> Vec<f64> {
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let mut out = vec![0.0; q.len()];
        let mut pair = 0u32;
        for n in 0..shape.cu_q.len() - 1 {
            let (q0, q1) = (shape.cu_q[n] as usize, shape.cu_q[n + 1] as usize);
            let (k0, k1) = (shape.cu_k[n] as usize, shape.cu_k[n + 1] as usize);
            for head in 0..shape.heads {
                for i in q0..q1 {
                    let sees = |j: usize| {
                        !shape.causal
                            || (j - k0) as isize <= (i - q0) as isize + (k1 - k0) as isize - (q1 - q0) as isize
                    };
                    let dot = |j: usize| {
                        (0..dim)
                            .map(|d| q[i * width + head * dim + d] * k[j * width + head * dim + d])
                            .sum::<f64>()
                    };
                    let e: Vec<f64> = (k0..k1)
                        .map(|j| {
                            if sees(j) {
                                let position = (k1 - k0) as i64 - (q1 - q0) as i64 + (i - q0) as i64;
                                let bias = match shape.bias {
                                    Some(bias) if j - k0 >= bias.unbiased_keys => {
                                        let bucket = bias.rule.bucket((j - k0) as i64 - position);
                                        table[bucket * shape.heads + head]
                                    }
                                    _ => 0.0,
                                };
                                (dot(j) * shape.scale as f64 + bias).exp()
                            } else {
                                0.0
                            }
                        })
                        .collect();
                    let sum: f64 = e.iter().sum();
                    for j in k0..k1 {
                        let index = pair + ((i - q0) * (k1 - k0) + (j - k0)) as u32;
                        if sum == 0.0 || shape.head_stream(head).uniform(index) < shape.dropout {
                            continue;
                        }
                        let p = e[j - k0] / sum / (1.0 - shape.dropout as f64);
                        for d in 0..dim {
                            out[i * width + head * dim + d] += p * v[j * width + head * dim + d];
                        }
                    }
                }
            }
            pair += ((q1 - q0) * (k1 - k0)) as u32;
        }
        out
    }

    fn check(case: &Case) {
        let (cu_q, cu_k) = (offsets(case.q_lens), offsets(case.k_lens));
        let width = case.heads * case.head_dim;
        let (tq, tk) = (cu_q[cu_q.len() - 1] as usize, cu_k[cu_k.len() - 1] as usize);
        let table: Vec<f32> = match case.bias {
            Some((rule, _)) => random(6, rule.buckets * case.heads).iter().map(|x| x * 2.0).collect(),
            None => vec![],
        };
        let shape = AttentionShape {
            cu_q: &cu_q,
            cu_k: &cu_k,
            heads: case.heads,
            head_dim: case.head_dim,
            causal: case.causal,
            scale: 1.0 / (case.head_dim as f32).sqrt(),
            dropout: case.dropout,
            stream: Stream { seed: 5, stream: 9 },
            bias: case.bias.map(|(rule, unbiased_keys)| RelativeBias {
                table: &table,
                rule,
                unbiased_keys,
            }),
        };
        let larger = |seed, n| random(seed, n).iter().map(|x| x * 2.0).collect::<Vec<f32>>();
        let (q, k, v) = (larger(1, tq * width), larger(2, tk * width), larger(3, tk * width));
        let dout = random(4, tq * width);
        let (wq, wk, wv, wd, wt) = (wide(&q), wide(&k), wide(&v), wide(&dout), wide(&table));
        let right = naive(&shape, &wq, &wk, &wv, &wt);
        let run = |isa: Isa, pool: &Pool| {
            let (mut out, mut lse) = (vec![7.0; tq * width], vec![7.0; tq * case.heads]);
            forward(isa, pool, &shape, &q, &k, &v, &mut out, &mut lse).unwrap();
            (out, lse)
        };
        for out in everywhere(|isa, pool| run(isa, pool).0) {
            close(&out, &right, 2e-5);
        }
        let gradients = everywhere(|isa, pool| {
            let (out, lse) = run(isa, pool);
            let (mut dq, mut dk, mut dv) = (vec![7.0; q.len()], vec![7.0; k.len()], vec![7.0; v.len()]);
            let mut dtable = vec![7.0; table.len()];
            let wanted = if table.is_empty() { None } else { Some(&mut dtable[..]) };
            backward(
                isa, pool, &shape, &q, &k, &v, &out, &lse, &dout, &mut dq, &mut dk, &mut dv, wanted,
            )
            .unwrap();
            dq.extend(dk);
            dq.extend(dv);
            dq.extend(dtable);
            dq
        });
        let all = q.len() + 2 * k.len() + table.len();
        if all <= 900 {
            let joined: Vec<f64> = [&wq[..], &wk, &wv, &wt].concat();
            let numeric = numeric_gradient(&joined, |x| {
                let (q, rest) = x.split_at(wq.len());
                let (k, rest) = rest.split_at(wk.len());
                let (v, table) = rest.split_at(wv.len());
                naive(&shape, q, k, v, table).iter().zip(&wd).map(|(o, d)| o * d).sum()
            });
            for gradient in &gradients {
                close(gradient, &numeric, 3e-5);
            }
        } else {
            // Too many for differences one by one: the derivative along random directions.
            for seed in 10..13 {
                let direction = wide(&random(seed, all));
                let along = |h: f64| {
                    let step = |x: &[f64], from: usize| -> Vec<f64> {
                        x.iter().enumerate().map(|(i, x)| x + h * direction[from + i]).collect()
                    };
                    let (q, k, v) = (step(&wq, 0), step(&wk, wq.len()), step(&wv, wq.len() + wk.len()));
                    let table = step(&wt, all - wt.len());
                    naive(&shape, &q, &k, &v, &table)
                        .iter()
                        .zip(&wd)
                        .map(|(o, d)| o * d)
                        .sum::<f64>()
                };
                let numeric = (along(1e-5) - along(-1e-5)) / 2e-5;
                for gradient in &gradients {
                    let dot: f64 = gradient.iter().zip(&direction).map(|(&g, d)| g as f64 * d).sum();
                    assert!(
                        (dot - numeric).abs() < 1e-4 * (10.0 + numeric.abs()),
                        "{dot} and {numeric}"
                    );
                }
            }
        }
    }

    #[test]
    fn matches_naive_and_differences() {
        for causal in [false, true] {
            for dropout in [0.0, 0.3] {
                for (q_lens, k_lens, heads, head_dim) in [
                    (&[1][..], &[1][..], 1, 1),
                    (&[1, 5, 2], &[1, 5, 2], 2, 5),
                    (&[3, 1], &[4, 6], 1, 12),
                    (&[6], &[2], 1, 3),
                    (&[40], &[40], 1, 7),
                    (&[25, 1, 33, 70], &[25, 1, 33, 70], 2, 17),
                    (&[65, 3], &[37, 50], 3, 64),
                    // Steps of generation: one query a sequence.
                    (&[1, 1, 1], &[5, 1, 70], 2, 5),
                    (&[1, 1], &[40, 33], 2, 65),
                ] {
                    let rule = BucketRule {
                        buckets: 8,
                        bidirectional: !causal,
                        max_distance: 20,
                    };
                    for bias in [None, Some((rule, 0)), Some((rule, 2))] {
                        check(&Case {
                            q_lens,
                            k_lens,
                            heads,
                            head_dim,
                            causal,
                            dropout,
                            bias,
                        });
                    }
                }
            }
        }
    }

    #[test]
    fn large_scores_do_not_overflow() {
        for isa in Isa::available() {
            let shape = AttentionShape {
                cu_q: &[0, 2],
                cu_k: &[0, 2],
                heads: 1,
                head_dim: 1,
                causal: false,
                scale: 1.0,
                dropout: 0.0,
                stream: Stream { seed: 0, stream: 0 },
                bias: None,
            };
            let (mut out, mut lse) = ([0.0; 2], [0.0; 2]);
            let (q, k, v) = ([1000.0, -1000.0], [10.0, -10.0], [1.0, 2.0]);
            forward(isa, &Pool::new(1), &shape, &q, &k, &v, &mut out, &mut lse).unwrap();
            assert_eq!((out, lse), ([1.0, 2.0], [10_000.0, 10_000.0]));
        }
    }

    #[test]
    fn offsets_are_checked() {
        assert_eq!(check_offsets(&[0, 2, 5], 5), Ok(()));
        assert_eq!(check_offsets(&[0], 0), Ok(()));
        assert!(check_offsets(&[], 0).is_err());
        let position = |cu: &[i32], total| match check_offsets(cu, total) {
            Err(Error::IndexRange { position, .. }) => position,
            other => panic!("{other:?}"),
        };
        assert_eq!(position(&[1, 2], 2), 0);
        assert_eq!(position(&[0, 2, 2], 2), 2);
        assert_eq!(position(&[0, 3, 2], 2), 2);
        assert_eq!(position(&[0, 3], 4), 1);
        assert_eq!(position(&[0, -3], 4), 1);
    }
}

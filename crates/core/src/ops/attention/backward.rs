//! The backward pass, a task for each sequence and head.

use super::super::load;
use super::super::relative_bias::{ByDistance, column_start, table_gradient};
use super::ahead::{Ahead, run_tasks};
use super::matrix::{Left, Product, Transpose, copy_rows, padded, spread, with_scratch};
use super::{AttentionShape, Dropout, QUERY_BLOCK, Sequence};
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

/// Where a task finds the keys and values of its sequence and head and puts their gradients: rows of the head's columns, every `stride`.
#[derive(Clone, Copy)]
struct Keys {
    k: *const f32,
    v: *const f32,
    dk: *mut f32,
    dv: *mut f32,
    stride: usize,
}

/// Calls of [`Ahead::ask`] in a block.
const ASKS: usize = 8;

impl Backward<'_> {
    /// What it reads and writes, for a thread that works on something of `blocks` blocks until then.
    fn ahead(&self, blocks: usize) -> Ahead {
        let (dim, width) = (self.shape.head_dim, self.shape.heads * self.shape.head_dim);
        let Sequence {
            q_start,
            q_len,
            k_start,
            k_len,
            ..
        } = self.sequence;
        let (q, k) = (q_start * width + self.head * dim, k_start * width + self.head * dim);
        // SAFETY: inside dq, dk and dv (offsets and lengths were checked).
        let (dq, dk, dv) = unsafe { (self.dq.at(q), self.dk.at(k), self.dv.at(k)) };
        let matrices = [
            (self.q[q..].as_ptr(), q_len),
            (self.dout[q..].as_ptr(), q_len),
            (self.k[k..].as_ptr(), k_len),
            (self.v[k..].as_ptr(), k_len),
            (self.out[q..].as_ptr(), q_len),
            (dk.cast_const(), k_len),
            (dv.cast_const(), k_len),
            (dq.cast_const(), q_len),
        ];
        Ahead::new(&matrices, width, dim, ASKS * blocks)
    }

    /// `next`: what the thread probably works on after it.
    fn run(self, isa: Isa, next: Option<Self>) {
        let Backward {
            shape, sequence, head, ..
        } = self;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let at = sequence.k_start * width + head * dim;
        // SAFETY: this head's columns of the sequence's rows are inside k, v, dk and dv (offsets and lengths were checked), and belong to
        // this task in the last two.
        let there = unsafe {
            Keys {
                k: self.k.as_ptr().add(at),
                v: self.v.as_ptr().add(at),
                dk: self.dk.at(at),
                dv: self.dv.at(at),
                stride: width,
            }
        };
        let queries = QUERY_BLOCK.min(sequence.q_len);
        let of_blocks = 2 * (dim + sequence.k_len) * padded(isa, queries) + 2 * queries * spread(dim);
        let mut ahead = next.map_or_else(Ahead::none, |next| next.ahead(sequence.q_len.div_ceil(QUERY_BLOCK)));
        if sequence.q_len <= QUERY_BLOCK {
            return with_scratch(of_blocks, |scratch| self.block(isa, 0, there, scratch, &mut ahead));
        }
        // Several blocks read keys and values and add to their gradients, whose rows lie `width` apart: they would share few sets of the
        // caches. Copies gain 5 % with 512 tokens (widths 768 and 1024, AVX-512) and lose as much with 128 at 1024.
        let stride = spread(dim);
        let size = sequence.k_len * stride;
        with_scratch(of_blocks + 4 * size, |scratch| {
            let (copies, scratch) = scratch.split_at_mut(4 * size);
            let [k, v, dk, dv] = [0, 1, 2, 3].map(|i| copies[i * size..].as_mut_ptr());
            let here = Keys { k, v, dk, dv, stride };
            // SAFETY: as above; the copies have as many rows of `stride`.
            unsafe {
                copy_rows((there.k, width), (k, stride), sequence.k_len, dim);
                copy_rows((there.v, width), (v, stride), sequence.k_len, dim);
                for block in (0..sequence.q_len).step_by(QUERY_BLOCK) {
                    self.block(isa, block, here, scratch, &mut ahead);
                }
                copy_rows((dk, stride), (there.dk, width), sequence.k_len, dim);
                copy_rows((dv, stride), (there.dv, width), sequence.k_len, dim);
            }
        });
    }

    /// Adds the part of the queries `block..block + QUERY_BLOCK` to dk and dv (the first block overwrites them), and writes their dq.
    fn block(&self, isa: Isa, block: usize, of: Keys, scratch: &mut [f32], ahead: &mut Ahead) {
        let Backward {
            shape, sequence, head, ..
        } = *self;
        let (dim, width) = (shape.head_dim, shape.heads * shape.head_dim);
        let rows = QUERY_BLOCK.min(sequence.q_len - block);
        let columns = padded(isa, rows);
        let q_row = sequence.q_start + block;
        // Keys that some query of the block sees.
        let keys = shape.visible(&sequence, block + rows - 1);
        let q_at = q_row * width + head * dim;
        let (queries, rest) = scratch.split_at_mut(dim * columns);
        let (dout, rest) = rest.split_at_mut(dim * columns);
        let (scores, rest) = rest.split_at_mut(keys * columns);
        let (dscores, rest) = rest.split_at_mut(keys * columns);
        let stride = spread(dim);
        let (q_rows, dout_rows) = rest.split_at_mut(rows * stride);
        // SAFETY: the rows of the block are inside q, dout, out, lse and dq (offsets and
        // lengths were checked), and only this task writes them in this head; scratch matrices have these sizes.
        unsafe {
            let (q_from, dout_from) = (self.q.as_ptr().add(q_at), self.dout.as_ptr().add(q_at));
            for (from, to, copy) in [
                (q_from, &mut *queries, &mut *q_rows),
                (dout_from, &mut *dout, &mut *dout_rows),
            ] {
                let transpose = Transpose {
                    from,
                    stride: width,
                    rows,
                    cols: dim,
                    to: to.as_mut_ptr(),
                    padded: columns,
                };
                ahead.ask();
                transpose.run(isa);
                copy_rows((from, width), (copy.as_mut_ptr(), stride), rows, dim);
            }
            // Scores and the gradients of the probabilities, as in the forward pass.
            for (a, b, c, factor) in [
                (of.k, &*queries, &mut *scores, &shape.scale),
                (of.v, &*dout, &mut *dscores, &1.0),
            ] {
                let product = Product {
                    rows: keys,
                    columns,
                    depth: dim,
                    a: Left::Rows(a, of.stride),
                    b: (b.as_ptr(), columns),
                    c: (c.as_mut_ptr(), columns),
                    factors: (factor, 0),
                    add: false,
                };
                ahead.ask();
                product.run(isa);
            }
            shape.add_biases(self.biases, &sequence, head, block, scores, columns);
            shape.hide(&sequence, block, scores, columns);
            let mut lse = [0.0; QUERY_BLOCK];
            for r in 0..rows {
                let of_query = self.lse[(q_row + r) * shape.heads + head];
                // A query that sees no key has scores of -inf alone, and -inf - 0 gives probabilities of 0.
                lse[r] = if of_query == f32::NEG_INFINITY { 0.0 } else { of_query };
            }
            let gradients = ScoreGradients {
                scores: scores.as_mut_ptr(),
                dscores: dscores.as_mut_ptr(),
                keys,
                columns,
                dropout: shape.dropout(&sequence, head, block),
                keep: shape.keep(),
                lse,
                out: self.out.as_ptr().add(q_at),
                dout: dout_from,
                rows,
                dim,
                width,
            };
            ahead.ask();
            dispatch(isa, &gradients);
            if let Some(dbias) = self.dbias {
                let unbiased = shape.unbiased(&sequence);
                for (j, dscores) in dscores.chunks_exact(columns).enumerate().skip(unbiased) {
                    let sums = dbias.add(column_start(j, sequence.k_len) + block);
                    for (r, dscore) in dscores[..rows].iter().enumerate() {
                        *sums.add(r) += dscore;
                    }
                }
            }
            // dK += dSᵀ (scale Q), dV += Pᵀ dO, dQ = scale dS K.
            for (a, b, c, factor) in [
                (&*dscores, &*q_rows, of.dk, &shape.scale),
                (&*scores, &*dout_rows, of.dv, &1.0),
            ] {
                let product = Product {
                    rows: keys,
                    columns: dim,
                    depth: rows,
                    a: Left::Rows(a.as_ptr(), columns),
                    b: (b.as_ptr(), stride),
                    c: (c, of.stride),
                    factors: (factor, 0),
                    add: block > 0,
                };
                ahead.ask();
                product.run(isa);
                if block == 0 {
                    for j in keys..sequence.k_len {
                        std::slice::from_raw_parts_mut(c.add(j * of.stride), dim).fill(0.0);
                    }
                }
            }
            let product = Product {
                rows,
                columns: dim,
                depth: keys,
                a: Left::Columns(dscores.as_ptr(), columns),
                b: (of.k, of.stride),
                c: (self.dq.at(q_at), width),
                factors: (&shape.scale, 0),
                add: false,
            };
            ahead.ask();
            product.run(isa);
        }
    }
}

/// Scores `[keys, columns]` become `dropout(P)`, and gradients of what dropout gave become those of the scores.
struct ScoreGradients {
    scores: *mut f32,
    dscores: *mut f32,
    keys: usize,
    columns: usize,
    dropout: Option<Dropout>,
    keep: f32,
    lse: [f32; QUERY_BLOCK],
    /// The block's part of the results and their gradients: `rows` of `dim`, every `width`.
    out: *const f32,
    dout: *const f32,
    rows: usize,
    dim: usize,
    width: usize,
}

impl Kernel for &ScoreGradients {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (keys, columns) = (self.keys, self.columns);
        let mut deltas = [0.0; QUERY_BLOCK];
        // SAFETY: scores and their gradients have these rows and columns, at most QUERY_BLOCK in whole vectors; out and dout as said.
        unsafe {
            for r in 0..self.rows {
                let (out, dout) = (self.out.add(r * self.width), self.dout.add(r * self.width));
                let mut delta = s.zero();
                let mut d = 0;
                while d < self.dim {
                    let n = S::LANES.min(self.dim - d);
                    delta = s.mul_add(load(s, out.add(d), n), load(s, dout.add(d), n), delta);
                    d += n;
                }
                deltas[r] = s.reduce_add(delta);
            }
            let mut column = 0;
            while column < columns {
                let (lse, delta) = (
                    s.load(self.lse.as_ptr().add(column)),
                    s.load(deltas.as_ptr().add(column)),
                );
                let (scores, dscores) = (self.scores.add(column), self.dscores.add(column));
                if let Some(dropout) = self.dropout {
                    let first = dropout.pairs(s, column);
                    for j in 0..keys {
                        let (score, dscore) = (scores.add(j * columns), dscores.add(j * columns));
                        let p = math::exp(s, s.sub(s.load(score), lse));
                        let dropped = dropout.dropped(s, first, j);
                        let factor = s.select(dropped, s.zero(), s.splat(self.keep));
                        s.store(score, s.mul(p, factor));
                        let gradient = s.sub(s.mul(s.load(dscore), factor), delta);
                        s.store(dscore, s.mul(p, gradient));
                    }
                } else {
                    for j in 0..keys {
                        let (score, dscore) = (scores.add(j * columns), dscores.add(j * columns));
                        let p = math::exp(s, s.sub(s.load(score), lse));
                        s.store(score, p);
                        s.store(dscore, s.mul(p, s.sub(s.load(dscore), delta)));
                    }
                }
                column += S::LANES;
            }
        }
    }
}

/// Gradients of [`super::forward()`], all overwritten; `out` and `lse` are its results, `dout` is the gradient of `out`.
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
    let of = |task: usize| {
        let (sequence, head) = (sequences[task / shape.heads], task % shape.heads);
        let start = starts[task / shape.heads] + head * (sequence.q_len + sequence.k_len - 1);
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
            // SAFETY: inside `by_distance`, and the ranges of the tasks are disjoint.
            dbias: wanted.then(|| unsafe { by_distance_ptr.at(start) }),
        }
    };
    run_tasks(pool, sequences.len() * shape.heads, &|task, next| {
        of(task).run(isa, next.map(of))
    });
    if let (Some(bias), Some(dtable)) = (shape.bias, dtable) {
        assert_eq!(dtable.len(), bias.table.len(), "attention backward: table");
        let lengths = sequences.iter().map(|sequence| (sequence.q_len, sequence.k_len));
        table_gradient(bias.rule, shape.heads, lengths, &by_distance, dtable);
    }
    Ok(())
}

use super::matrix::{Left, Product, Transpose, padded};
use super::*;
use crate::ops::relative_bias::BucketRule;
use crate::ops::testing::*;
use crate::simd::Isa;
use crate::threads::Pool;

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
                    !shape.causal || (j - k0) as isize <= (i - q0) as isize + (k1 - k0) as isize - (q1 - q0) as isize
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

#[test]
fn products_match_naive() {
    for isa in Isa::available() {
        for (rows, columns, depth) in [(1, 1, 1), (3, 5, 0), (7, 17, 4), (12, 32, 9), (25, 70, 11), (50, 64, 3)] {
            let (a, b) = (wide(&random(1, rows * depth)), wide(&random(2, depth * columns)));
            let factors = random(3, rows);
            for by_columns in [false, true] {
                for (add, each) in [(false, 0), (true, 1)] {
                    // Distances between rows (or columns) are larger than their lengths.
                    let (a_stride, b_stride, c_stride) = (rows.max(depth) + 3, columns + 2, columns + 1);
                    let mut left = vec![f32::NAN; rows.max(depth) * a_stride];
                    for (r, d) in (0..rows).flat_map(|r| (0..depth).map(move |d| (r, d))) {
                        let at = if by_columns { d * a_stride + r } else { r * a_stride + d };
                        left[at] = a[r * depth + d] as f32;
                    }
                    let mut right = vec![f32::NAN; depth * b_stride];
                    for (d, row) in b.chunks_exact(columns).enumerate() {
                        for (to, x) in right[d * b_stride..].iter_mut().zip(row) {
                            *to = *x as f32;
                        }
                    }
                    let mut found = vec![2.0; rows * c_stride];
                    let mut expected = vec![2.0; rows * c_stride];
                    for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                        let sum: f64 = (0..depth).map(|d| a[r * depth + d] * b[d * columns + c]).sum();
                        expected[r * c_stride + c] = f64::from(factors[r * each]) * sum + if add { 2.0 } else { 0.0 };
                    }
                    let product = Product {
                        rows,
                        columns,
                        depth,
                        a: if by_columns {
                            Left::Columns(left.as_ptr(), a_stride)
                        } else {
                            Left::Rows(left.as_ptr(), a_stride)
                        },
                        b: (right.as_ptr(), b_stride),
                        c: (found.as_mut_ptr(), c_stride),
                        factors: (factors.as_ptr(), each),
                        add,
                    };
                    // SAFETY: the matrices have these sizes.
                    unsafe { product.run(isa) };
                    close(&found, &expected, 1e-5);
                }
            }
        }
    }
}

#[test]
fn transposes_match_naive() {
    for isa in Isa::available() {
        for (rows, cols, stride) in [(1, 1, 1), (4, 8, 8), (16, 16, 20), (17, 33, 40), (40, 7, 7)] {
            let from = random(1, rows * stride);
            let padded = padded(isa, rows);
            let mut to = vec![7.0; cols * padded];
            let transpose = Transpose {
                from: from.as_ptr(),
                stride,
                rows,
                cols,
                to: to.as_mut_ptr(),
                padded,
            };
            // SAFETY: the matrices have these sizes.
            unsafe { transpose.run(isa) };
            for (c, r) in (0..cols).flat_map(|c| (0..padded).map(move |r| (c, r))) {
                let expected = if r < rows { from[r * stride + c] } else { 0.0 };
                assert_eq!(to[c * padded + r], expected, "{}: {c}, {r}", isa.name());
            }
        }
    }
}

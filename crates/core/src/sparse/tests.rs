//! Every instruction set against the naive twins.

use super::reference::{close, masked, numbers, product, sparse_numbers, transpose};
use super::*;
use crate::matmul::{Accumulate, PackedB, Precision, Rhs, from_bf16, to_bf16};

const DENSITIES: [f32; 4] = [0.0, 0.01, 0.3, 1.0];
/// rows, neurons, d
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (2, 3, 36),
    (3, 36, 2),
    (47, 76, 31),
    (48, 64, 32),
    (49, 33, 33),
    (50, 257, 65),
    (97, 130, 128),
    (257, 76, 36),
    (5, 1025, 76),
    (450, 40, 257),
    // Long panels, which lie apart.
    (3, 4096, 76),
];

fn same(one: &[f32], two: &[f32]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(x, y)| x.to_bits() == y.to_bits())
}

fn blocking(rows: usize, crossover: f32) -> Blocking {
    Blocking { rows, crossover }
}

/// For every instruction set, shape, density and crossover (always compact, by density, always dense), with blocks of both sizes.
fn every(check: impl Fn(&str, Isa, &[Pool; 2], (usize, usize, usize), &[f32], &Activations)) {
    let pools = [Pool::new(1), Pool::new(2)];
    for isa in Isa::available() {
        for (rows, neurons, d) in SHAPES {
            for density in DENSITIES {
                for (crossover, block_rows) in [(2.0, 48), (2.0, 96), (0.3, 48), (0.3, 96), (-1.0, 48), (-1.0, 96)] {
                    let o = sparse_numbers(rows * neurons, density, 7);
                    let blocking = blocking(block_rows, crossover);
                    let activations = Activations::from_dense(isa, &pools[1], &o, rows, neurons, blocking).unwrap();
                    let name = format!(
                        "{} {rows} rows {neurons} neurons of {d} at {density} ({crossover}, blocks of {block_rows})",
                        isa.name()
                    );
                    check(&name, isa, &pools, (rows, neurons, d), &o, &activations);
                }
            }
        }
    }
}

#[test]
fn compaction_and_back() {
    every(|name, isa, pools, (rows, neurons, _), o, activations| {
        assert!(same(&activations.to_dense(&pools[1]).unwrap(), o), "{name}");
        let expected = o.iter().filter(|&&x| x != 0.0).count();
        assert_eq!(activations.nonzeros(isa, &pools[1]), expected, "{name}");
        let mut count = 0;
        activations.for_each_row(|row, values| {
            assert_eq!(row, count);
            count += 1;
            match values {
                RowRef::Dense(values) => assert!(same(values, &o[row * neurons..][..neurons])),
                RowRef::Compact { indices, values } => {
                    assert!(indices.is_sorted_by(|a, b| a < b));
                    assert!(
                        indices
                            .iter()
                            .zip(values)
                            .all(|(&i, &x)| o[row * neurons + i as usize] == x)
                    );
                }
            }
        });
        assert_eq!(count, rows);
        let mut doubled = Activations::from_dense(isa, &pools[0], o, rows, neurons, blocking(48, 0.3)).unwrap();
        doubled.par_rows_mut(&pools[1], &|_, _, values| values.iter_mut().for_each(|x| *x *= 2.0));
        let expected: Vec<f32> = o.iter().map(|x| x * 2.0).collect();
        assert!(same(&doubled.to_dense(&pools[0]).unwrap(), &expected), "{name}");
    });
}

#[test]
fn zero_skip_product() {
    every(|name, isa, pools, (rows, neurons, d), o, activations| {
        let (w, bias, old) = (numbers(neurons * d, 3), numbers(d, 4), numbers(rows * d, 5));
        let dense = PackedB::from_columns(isa, &pools[1], &w, neurons, d).unwrap();
        let packed = Weight {
            rows: Some(&dense),
            dense: Some(Rhs::Packed(&dense)),
        };
        let expected = product(o, &w, rows, neurons, d);
        let [one, two] = [0, 1].map(|i| {
            let mut out = vec![f32::NAN; rows * d];
            let overwrite = Accumulate::Overwrite;
            zero_skip(isa, &pools[i], activations, packed, Some(&bias), overwrite, &mut out);
            let mut sum = old.clone();
            zero_skip(
                isa,
                &pools[i],
                activations,
                packed,
                None,
                Accumulate::Add(-2.0),
                &mut sum,
            );
            (out, sum)
        });
        assert!(same(&one.0, &two.0) && same(&one.1, &two.1), "{name}");
        let biased: Vec<f64> = expected
            .iter()
            .enumerate()
            .map(|(e, x)| x + bias[e % d] as f64)
            .collect();
        close(&one.0, &biased, neurons, name);
        let sum: Vec<f64> = expected
            .iter()
            .zip(&old)
            .map(|(x, &old)| old as f64 - 2.0 * x)
            .collect();
        close(&one.1, &sum, 4 * neurons, name);
    });
}

#[test]
fn bf16_weights_give_the_bits_of_f32_on_rounded_ones() {
    every(|name, isa, pools, (rows, neurons, d), _, activations| {
        let w = numbers(neurons * d, 3);
        let rounded: Vec<f32> = w.iter().map(|&x| from_bf16(to_bf16(x))).collect();
        let dy = numbers(rows * d, 4);
        let products = |precision: Precision, w: &[f32]| {
            let (pool, mode) = (&pools[1], Accumulate::Overwrite);
            let down = PackedB::from_columns_in(isa, pool, precision, w, neurons, d).unwrap();
            let up = down.transposed(isa, pool).unwrap();
            let in_pairs = down.in_rows(pool).unwrap();
            let read = Some(in_pairs.as_ref().unwrap_or(&down));
            let mut out = vec![f32::NAN; rows * d];
            let weight = |dense| Weight {
                rows: read,
                dense: Some(Rhs::Packed(dense)),
            };
            zero_skip(isa, pool, activations, weight(&down), None, mode, &mut out);
            let gradient = sampled(isa, pool, &dy, activations, weight(&up)).unwrap();
            (out, gradient.to_dense(pool).unwrap(), down.bytes())
        };
        let half = products(Precision::Bf16, &w);
        let full = products(Precision::F32, &rounded);
        if isa.bf16_unit().is_none()
            || activations
                .blocks
                .iter()
                .all(|block| matches!(block, Block::Compact { .. }))
        {
            assert!(same(&half.0, &full.0) && same(&half.1, &full.1), "{name}");
        } else {
            // Such a unit rounds the rows of dense blocks too: 2^-8 of each term of the sums.
            let close = |a: &[f32], b: &[f32], terms: usize| {
                let bound = 4.0 / 256.0 * (terms as f32).sqrt().max(1.0);
                a.iter().zip(b).all(|(a, b)| (a - b).abs() <= bound)
            };
            assert!(close(&half.0, &full.0, neurons) && close(&half.1, &full.1, d), "{name}");
        }
        // Both are padded, bf16 more.
        assert!(half.2 < full.2 || neurons.min(d) < 64, "{name}");
    });
}

#[test]
fn sampled_product() {
    every(|name, isa, pools, (rows, neurons, d), o, activations| {
        let (w, dy) = (numbers(neurons * d, 3), numbers(rows * d, 4));
        let packed = PackedB::from_columns(isa, &pools[0], &w, neurons, d).unwrap();
        let dense = PackedB::from_rows(isa, &pools[1], &w, neurons, d).unwrap();
        let weight = Weight {
            rows: Some(&packed),
            dense: Some(Rhs::Packed(&dense)),
        };
        let full = product(&dy, &transpose(&w, neurons, d), rows, d, neurons);
        let turned = Weight {
            dense: Some(Rhs::TransposeOf(&packed)),
            ..weight
        };
        let [one, two] = [0, 1].map(|i| sampled(isa, &pools[i], &dy, activations, [weight, turned][i]).unwrap());
        assert!(
            same(&one.to_dense(&pools[0]).unwrap(), &two.to_dense(&pools[0]).unwrap()),
            "{name}"
        );
        for (found, pattern) in one.blocks.iter().zip(&activations.blocks) {
            match (found, pattern) {
                (Block::Dense { .. }, Block::Dense { .. }) => {}
                (
                    Block::Compact {
                        indices: a,
                        row_starts: b,
                        ..
                    },
                    Block::Compact {
                        indices: c,
                        row_starts: d,
                        ..
                    },
                ) => {
                    assert!(a == c && b == d, "{name}");
                }
                _ => panic!("{name}: the pattern's blocks"),
            }
        }
        let found = one.to_dense(&pools[0]).unwrap();
        let found: Vec<f32> = found
            .iter()
            .zip(o)
            .map(|(&x, &o)| if o != 0.0 { x } else { 0.0 })
            .collect();
        close(&found, &masked(&full, o), d, name);
    });
}

#[test]
fn transposed_product() {
    every(|name, isa, pools, (rows, neurons, d), o, activations| {
        let (x, old) = (numbers(rows * d, 3), numbers(neurons * d, 5));
        let expected = product(&transpose(o, rows, neurons), &x, neurons, rows, d);
        let [one, two] = [0, 1].map(|i| {
            let mut out = vec![f32::NAN; neurons * d];
            sparse_at_b(isa, &pools[i], activations, &x, d, Accumulate::Overwrite, &mut out).unwrap();
            let mut sum = old.clone();
            sparse_at_b(isa, &pools[i], activations, &x, d, Accumulate::Add(0.25), &mut sum).unwrap();
            (out, sum)
        });
        assert!(same(&one.0, &two.0) && same(&one.1, &two.1), "{name}");
        close(&one.0, &expected, rows, name);
        let sum: Vec<f64> = expected
            .iter()
            .zip(&old)
            .map(|(x, &old)| old as f64 + 0.25 * x)
            .collect();
        close(&one.1, &sum, rows, name);
    });
}

#[test]
fn nan_is_a_nonzero_and_propagates() {
    let pool = Pool::new(1);
    for isa in Isa::available() {
        let (rows, neurons, d) = (3, 40, 36);
        let mut o = vec![0.0; rows * neurons];
        o[neurons + 39] = f32::NAN;
        let activations = Activations::from_dense(isa, &pool, &o, rows, neurons, blocking(48, 2.0)).unwrap();
        assert_eq!(activations.nonzeros(isa, &pool), 1);
        let w = numbers(neurons * d, 1);
        let packed = PackedB::from_columns(isa, &pool, &w, neurons, d).unwrap();
        let mut out = vec![0.0; rows * d];
        // No dense block: no dense form is asked for.
        let weight = Weight {
            rows: Some(&packed),
            dense: None,
        };
        zero_skip(isa, &pool, &activations, weight, None, Accumulate::Overwrite, &mut out);
        assert!(
            out.iter().enumerate().all(|(e, x)| x.is_nan() == (e / d == 1)),
            "{}",
            isa.name()
        );
    }
}

#[test]
fn wrong_shapes_are_errors() {
    let pool = Pool::new(1);
    let isa = Isa::choose(None).unwrap();
    let o = Activations::from_dense(isa, &pool, &[1.0; 6], 2, 3, blocking(48, 2.0)).unwrap();
    let narrow = PackedB::from_columns(isa, &pool, &[0.0; 4], 2, 2).unwrap();
    for rows in [None, Some(&narrow)] {
        assert!(sampled(isa, &pool, &[0.0; 4], &o, Weight { rows, dense: None }).is_err());
    }
    assert!(sparse_at_b(isa, &pool, &o, &[0.0; 5], 2, Accumulate::Overwrite, &mut [0.0; 6]).is_err());
}

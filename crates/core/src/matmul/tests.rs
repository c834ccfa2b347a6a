//! Every instruction set against the naive twin.

use super::reference::{close, numbers, product, transpose};
use super::*;

const SIZES: [usize; 16] = [1, 2, 3, 4, 5, 7, 8, 12, 13, 31, 33, 36, 47, 49, 76, 257];

fn pools() -> [Pool; 2] {
    [Pool::new(1), Pool::new(2)]
}

/// The product on both pools, which must agree in every bit.
fn run<'b>(
    isa: Isa,
    pools: &[Pool; 2],
    a: &[f32],
    m: usize,
    b: impl Into<Rhs<'b>> + Copy,
    bias: Option<&[f32]>,
    mode: Accumulate,
    out: &[f32],
) -> Vec<f32> {
    let [one, two] = [0, 1].map(|i| {
        let mut out = out.to_vec();
        matmul(isa, &pools[i], a, m, b, bias, mode, &mut out);
        out
    });
    assert!(
        one.iter().zip(&two).all(|(x, y)| x.to_bits() == y.to_bits()),
        "threads change the result"
    );
    one
}

#[test]
fn edge_sizes() {
    let pools = pools();
    for isa in Isa::available() {
        for (i, &m) in SIZES.iter().enumerate() {
            for (j, &n) in SIZES.iter().enumerate() {
                let k = SIZES[(i * 7 + j * 3) % SIZES.len()];
                let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
                let expected = product(&a, &b, m, k, n);
                let name = format!("{} {m}x{k}x{n}", isa.name());
                let packed = PackedB::from_columns(isa, &pools[1], &b, k, n).unwrap();
                let zeros = vec![0.0; m * n];
                let plain = run(
                    isa,
                    &pools,
                    &a,
                    m,
                    &packed,
                    None,
                    Accumulate::Overwrite,
                    &vec![f32::NAN; m * n],
                );
                close(&plain, &expected, k, &name);
                let rows = PackedB::from_rows(isa, &pools[0], &transpose(&b, k, n), n, k).unwrap();
                assert_eq!(
                    plain,
                    run(isa, &pools, &a, m, &rows, None, Accumulate::Overwrite, &zeros),
                    "{name}"
                );

                let old = numbers(m * n, 4);
                let sum: Vec<f64> = (0..m * n)
                    .map(|e| old[e] as f64 + 0.5 * expected[e] + bias[e % n] as f64)
                    .collect();
                let added = run(isa, &pools, &a, m, &packed, Some(&bias), Accumulate::Add(0.5), &old);
                close(&added, &sum, k, &name);
            }
        }
    }
}

#[test]
fn long_k_and_aliasing_strides() {
    let pools = pools();
    for isa in Isa::available() {
        for (m, k, n) in [
            (1, 3072, 70),
            (50, 3072, 100),
            (13, 1024, 65),
            (97, 769, 33),
            (5, 1537, 300),
            // Long panels, which lie apart.
            (3, 4096, 70),
        ] {
            let (a, b, bias) = (numbers(m * k, 5), numbers(k * n, 6), numbers(n, 7));
            let expected: Vec<f64> = product(&a, &b, m, k, n)
                .iter()
                .enumerate()
                .map(|(e, x)| x + bias[e % n] as f64)
                .collect();
            let packed = PackedB::from_columns(isa, &pools[1], &b, k, n).unwrap();
            let found = run(
                isa,
                &pools,
                &a,
                m,
                &packed,
                Some(&bias),
                Accumulate::Overwrite,
                &vec![0.0; m * n],
            );
            let name = format!("{} {m}x{k}x{n}", isa.name());
            close(&found, &expected, k, &name);
            let rows = transpose(&b, k, n);
            let turned = packed.transposed(isa, &pools[0]).unwrap();
            assert_eq!(packed.to_rows(&pools[1]).unwrap()[..], rows, "{name}");
            assert_eq!(turned.to_rows(&pools[1]).unwrap()[..], b, "{name}");
            let again = turned.transposed(isa, &pools[1]).unwrap();
            assert_eq!(again.to_rows(&pools[0]).unwrap()[..], rows, "{name}");
        }
    }
}

#[test]
fn row_blocks_give_the_product() {
    let pools = pools();
    for isa in Isa::available() {
        for m in [1, 2, 8, 47, 48, 49, 97, 257] {
            let (k, n) = (76, 131);
            let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
            let expected: Vec<f64> = product(&a, &b, m, k, n)
                .iter()
                .enumerate()
                .map(|(e, x)| x + bias[e % n] as f64)
                .collect();
            let packed = PackedB::from_columns(isa, &pools[0], &b, k, n).unwrap();
            let block_rows = packed.block_rows();
            let results = [0, 1].map(|i| {
                let found = std::sync::Mutex::new(vec![f32::NAN; m * n]);
                matmul_row_blocks(isa, &pools[i], &a, m, &packed, Some(&bias), &|index, block| {
                    let row = index * block_rows;
                    assert_eq!(block.len(), block_rows.min(m - row) * n);
                    found.lock().unwrap()[row * n..][..block.len()].copy_from_slice(block);
                });
                found.into_inner().unwrap()
            });
            assert_eq!(results[0], results[1]);
            close(&results[0], &expected, k, &format!("{} rows {m}", isa.name()));
        }
    }
}

#[test]
fn parts_are_those_of_the_product() {
    let pools = pools();
    for isa in Isa::available() {
        for m in [1, 8, 49, 97, 257] {
            let (k, n) = (76, 435);
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            let packed = PackedB::from_columns(isa, &pools[0], &b, k, n).unwrap();
            for pool in &pools {
                let mut out = vec![0.0; m * n];
                let found = std::sync::Mutex::new(vec![f32::NAN; m * n]);
                let accumulate = Accumulate::Overwrite;
                matmul_parts(isa, pool, &a, m, &packed, None, accumulate, &mut out, &|mut part| {
                    assert!(part.block < packed.row_blocks(m));
                    for row in part.rows.clone() {
                        let columns = part.columns.clone();
                        let values = part.row(row);
                        found.lock().unwrap()[row * n..][columns].copy_from_slice(values);
                        values.fill(3.0);
                    }
                });
                let mut right = vec![0.0; m * n];
                matmul(isa, pool, &a, m, &packed, None, accumulate, &mut right);
                assert_eq!(found.into_inner().unwrap(), right);
                assert!(out.iter().all(|&x| x == 3.0));
            }
        }
    }
}

#[test]
fn transposed_products() {
    let pools = pools();
    for isa in Isa::available() {
        for (p, q, t) in [
            (1, 1, 1),
            (3, 257, 40),
            (257, 3, 40),
            (8, 36, 801),
            (36, 8, 801),
            (16, 77, 5),
            (77, 16, 5),
            (76, 49, 33),
            (49, 130, 900),
            (12, 12, 12),
            (2, 64, 1),
            (64, 2, 1),
            (33, 32, 0),
            (24, 300, 100),
            (300, 24, 100),
            (25, 300, 100),
        ] {
            let (a, b) = (numbers(t * p, 1), numbers(t * q, 2));
            let old = numbers(p * q, 3);
            let expected = product(&transpose(&a, t, p), &b, p, t, q);
            let name = format!("{} {p}x{q} of {t}", isa.name());
            let [one, two] = [0, 1].map(|i| {
                let mut out = vec![f32::NAN; p * q];
                matmul_at_b(isa, &pools[i], &a, p, &b, q, t, Accumulate::Overwrite, &mut out).unwrap();
                let mut sum = old.clone();
                matmul_at_b(isa, &pools[i], &a, p, &b, q, t, Accumulate::Add(2.0), &mut sum).unwrap();
                (out, sum)
            });
            assert_eq!(one, two, "{name}");
            close(&one.0, &expected, t, &name);
            let sum: Vec<f64> = expected.iter().zip(&old).map(|(x, &o)| o as f64 + 2.0 * x).collect();
            close(&one.1, &sum, 4 * t, &name);
        }
    }
}

#[test]
fn nan_propagates() {
    let pool = Pool::new(1);
    for isa in Isa::available() {
        let (m, k, n) = (13, 9, 35);
        for (in_a, in_b) in [(true, false), (false, true)] {
            let (mut a, mut b) = (vec![0.0; m * k], vec![0.0; k * n]);
            if in_a {
                a[3 * k + 4] = f32::NAN;
            }
            if in_b {
                b[4 * n + 34] = f32::NAN;
            }
            let packed = PackedB::from_columns(isa, &pool, &b, k, n).unwrap();
            let mut out = vec![0.0; m * n];
            matmul(isa, &pool, &a, m, &packed, None, Accumulate::Overwrite, &mut out);
            for (e, x) in out.iter().enumerate() {
                let expected = (in_a && e / n == 3) || (in_b && e % n == 34);
                assert_eq!(x.is_nan(), expected, "{} element {e}", isa.name());
            }
        }
    }
}

/// Values of all sizes: the error against the sum of the products' magnitudes is that of f32.
#[test]
fn errors_are_those_of_f32() {
    let pool = Pool::new(2);
    let (m, k, n) = (40, 300, 130);
    let spread = |values: Vec<f32>| -> Vec<f32> {
        let scale = |i: usize| 2f32.powi((i * 7 % 41) as i32 - 20);
        values.into_iter().enumerate().map(|(i, x)| x * scale(i)).collect()
    };
    let (a, b) = (spread(numbers(m * k, 1)), spread(numbers(k * n, 2)));
    let expected = product(&a, &b, m, k, n);
    let magnitudes = |values: &[f32]| values.iter().map(|x| x.abs()).collect::<Vec<f32>>();
    let sizes = product(&magnitudes(&a), &magnitudes(&b), m, k, n);
    for isa in Isa::available() {
        let packed = PackedB::from_columns(isa, &pool, &b, k, n).unwrap();
        let mut out = vec![0.0; m * n];
        matmul(isa, &pool, &a, m, &packed, None, Accumulate::Overwrite, &mut out);
        let errors = (0..m * n).map(|e| (out[e] as f64 - expected[e]).abs() / sizes[e]);
        let error = errors.fold(0.0, f64::max);
        assert!(error < 8.0 * f32::EPSILON as f64, "{}: {error:e}", isa.name());
    }
}

#[test]
fn infinities_and_the_largest_numbers() {
    let pools = pools();
    for isa in Isa::available() {
        let (m, k, n) = (70, 130, 140);
        let (mut a, mut b) = (numbers(m * k, 1), numbers(k * n, 2));
        a[3 * k + 4] = f32::INFINITY;
        a[50 * k..51 * k].fill(0.0);
        a[50 * k + 129] = f32::MAX;
        a[69 * k + 100] = f32::NAN;
        b[129 * n..].fill(0.5);
        b[4 * n + 7] = f32::NEG_INFINITY;
        let packed = PackedB::from_columns(isa, &pools[0], &b, k, n).unwrap();
        let turned = PackedB::from_rows(isa, &pools[0], &b, k, n).unwrap();
        let expected = product(&a, &b, m, k, n);
        for b in [Rhs::Packed(&packed), Rhs::TransposeOf(&turned)] {
            let mode = Accumulate::Overwrite;
            let out = run(isa, &pools, &a, m, b, None, mode, &vec![0.0; m * n]);
            for (e, (&x, &y)) in out.iter().zip(&expected).enumerate() {
                let close = (x as f64 - y).abs() <= 1e-4 * y.abs().max(1.0);
                assert!(
                    x as f64 == y || x.is_nan() && y.is_nan() || close,
                    "{} row {} column {}: {x}, expected {y}",
                    isa.name(),
                    e / n,
                    e % n
                );
            }
        }
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let pool = Pool::new(1);
    let isa = Isa::choose(None).unwrap();
    assert!(PackedB::from_rows(isa, &pool, &[0.0; 5], 2, 3).is_err());
    assert!(PackedB::from_columns(isa, &pool, &[0.0; 5], 2, 3).is_err());
    assert!(
        matmul_at_b(
            isa,
            &pool,
            &[0.0; 4],
            2,
            &[0.0; 4],
            2,
            2,
            Accumulate::Overwrite,
            &mut [0.0; 3]
        )
        .is_err()
    );
}

#[test]
fn bf16_weights_give_the_bits_of_f32_on_rounded_ones() {
    let pools = pools();
    for isa in Isa::available().into_iter().filter(|isa| isa.bf16_unit().is_none()) {
        for (i, &m) in SIZES.iter().enumerate() {
            for (j, &n) in SIZES.iter().enumerate() {
                let k = [SIZES[(i * 7 + j * 3) % SIZES.len()], 1537][usize::from(i == 7 && j % 5 == 0)];
                let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let rounded: Vec<f32> = weight.iter().map(|&x| from_bf16(to_bf16(x))).collect();
                let half = PackedB::from_rows_in(isa, &pools[1], Precision::Bf16, &weight, n, k).unwrap();
                let full = PackedB::from_rows(isa, &pools[0], &rounded, n, k).unwrap();
                let columns = transpose(&weight, n, k);
                let twin = PackedB::from_columns_in(isa, &pools[0], Precision::Bf16, &columns, k, n).unwrap();
                let name = format!("{} {m}x{k}x{n}", isa.name());
                let of = |b: &PackedB| {
                    run(
                        isa,
                        &pools,
                        &a,
                        m,
                        b,
                        Some(&bias),
                        Accumulate::Overwrite,
                        &vec![0.0; m * n],
                    )
                };
                let expected = of(&full);
                assert_eq!(of(&half), expected, "{name}");
                assert_eq!(of(&twin), expected, "{name}");
                assert_eq!(half.to_rows(&pools[1]).unwrap()[..], rounded, "{name}");
                assert_eq!(full.to_rows(&pools[0]).unwrap()[..], rounded, "{name}");
                if n % (2 * half.shape.lanes) == 0 {
                    assert_eq!(2 * half.bytes(), full.bytes(), "{name}");
                }
            }
        }
    }
}

#[test]
fn bf16_units_multiply_rounded_rows_by_rounded_weights() {
    let pools = pools();
    let round = |values: &[f32]| -> Vec<f32> { values.iter().map(|&x| from_bf16(to_bf16(x))).collect() };
    for isa in Isa::available().into_iter().filter(|isa| isa.bf16_unit().is_some()) {
        for (i, &m) in SIZES.iter().enumerate() {
            for (j, &n) in SIZES.iter().enumerate() {
                let k = [SIZES[(i * 7 + j * 3) % SIZES.len()], 1537][usize::from(i == 7 && j % 5 == 0)];
                let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let columns = transpose(&weight, n, k);
                let expected = product(&round(&a), &round(&columns), m, k, n);
                let name = format!("{} {m}x{k}x{n}", isa.name());
                let packed = PackedB::from_rows_in(isa, &pools[1], Precision::Bf16, &weight, n, k).unwrap();
                let twin = PackedB::from_columns_in(isa, &pools[0], Precision::Bf16, &columns, k, n).unwrap();
                let (empty, old) = (vec![f32::NAN; m * n], numbers(m * n, 4));
                let plain = run(isa, &pools, &a, m, &packed, None, Accumulate::Overwrite, &empty);
                close(&plain, &expected, k, &name);
                let again = run(isa, &pools, &a, m, &twin, None, Accumulate::Overwrite, &empty);
                assert_eq!(plain, again, "{name}");
                let sum: Vec<f64> = (0..m * n)
                    .map(|e| old[e] as f64 + 0.5 * expected[e] + bias[e % n] as f64)
                    .collect();
                let added = run(isa, &pools, &a, m, &packed, Some(&bias), Accumulate::Add(0.5), &old);
                close(&added, &sum, k, &name);
                assert_eq!(packed.to_rows(&pools[1]).unwrap()[..], round(&weight), "{name}");
            }
        }
    }
}

#[test]
fn bf16_units_keep_nan_and_take_row_blocks() {
    let pool = Pool::new(2);
    for isa in Isa::available() {
        let (m, k, n) = (97, 40, 70);
        let (mut a, weight) = (numbers(m * k, 1), numbers(n * k, 2));
        a[50 * k + 7] = f32::NAN;
        let packed = PackedB::from_rows_in(isa, &pool, Precision::Bf16, &weight, n, k).unwrap();
        let mut out = vec![0.0; m * n];
        matmul(isa, &pool, &a, m, &packed, None, Accumulate::Overwrite, &mut out);
        for (row, values) in out.chunks(n).enumerate() {
            assert!(
                values.iter().all(|x| x.is_nan() == (row == 50)),
                "{} row {row}",
                isa.name()
            );
        }
        let found = std::sync::Mutex::new(vec![0.0; m * n]);
        matmul_row_blocks(isa, &pool, &a, m, &packed, None, &|index, block| {
            found.lock().unwrap()[index * packed.block_rows() * n..][..block.len()].copy_from_slice(block);
        });
        for (e, (x, &y)) in found.into_inner().unwrap().iter().zip(&out).enumerate() {
            assert!(
                (x - y).abs() < 1e-4 || x.is_nan() && y.is_nan(),
                "{} {e}: {x} {y}",
                isa.name()
            );
        }
    }
}

/// In every layout, with every kind of cut panel: the values, and the padding, are those of packing the transpose itself.
#[test]
fn packs_of_the_transpose() {
    let pools = pools();
    for isa in Isa::available() {
        for precision in [Precision::F32, Precision::Bf16] {
            for (i, &k) in SIZES.iter().enumerate() {
                let n = SIZES[(i * 5 + 3) % SIZES.len()];
                let b = numbers(k * n, 2);
                let packed = PackedB::from_columns_in(isa, &pools[0], precision, &b, k, n).unwrap();
                let expected = PackedB::from_rows_in(isa, &pools[0], precision, &b, k, n).unwrap();
                let name = format!("{} {precision:?} {k}x{n}", isa.name());
                for pool in &pools {
                    let found = packed.transposed(isa, pool).unwrap();
                    assert_eq!((found.k, found.n), (n, k), "{name}");
                    match (found.values(), expected.values()) {
                        (StoredBuf::F32(found), StoredBuf::F32(expected)) => {
                            assert_eq!(found[..], expected[..], "{name}")
                        }
                        (StoredBuf::Bf16(found), StoredBuf::Bf16(expected)) => {
                            assert_eq!(found[..], expected[..], "{name}");
                        }
                        _ => panic!("{name}: another precision"),
                    }
                    for m in [1, 5, 130] {
                        let (a, bias, old) = (numbers(m * n, 3), numbers(k, 4), numbers(m * k, 5));
                        let product = |b: Rhs<'_>| run(isa, &pools, &a, m, b, Some(&bias), Accumulate::Add(0.5), &old);
                        assert_eq!(
                            product(Rhs::TransposeOf(&packed)),
                            product(Rhs::Packed(&expected)),
                            "{name}, {m} rows"
                        );
                    }
                    let rows = packed.in_rows(pool).unwrap();
                    assert_eq!(rows.is_some(), packed.pairs().is_some(), "{name}");
                    if let Some(rows) = rows {
                        assert_eq!(
                            rows.to_rows(pool).unwrap()[..],
                            packed.to_rows(pool).unwrap()[..],
                            "{name}"
                        );
                    }
                }
            }
        }
    }
}

//! The naive twin, in f64.

/// a [m, k] · b [k, n].
pub fn product(a: &[f32], b: &[f32], m: usize, k: usize, n: usize) -> Vec<f64> {
    let mut out = vec![0.0; m * n];
    for i in 0..m {
        for p in 0..k {
            for j in 0..n {
                out[i * n + j] += a[i * k + p] as f64 * b[p * n + j] as f64;
            }
        }
    }
    out
}

/// [rows, columns] to [columns, rows].
pub fn transpose(a: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| a[i % rows * columns + i / rows]).collect()
}

/// Numbers in -1..1, the same for the same seed.
pub fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / 2_147_483_648.0 - 1.0
        })
        .collect()
}

/// Equal up to the rounding of sums of `k` products.
pub fn close(found: &[f32], expected: &[f64], k: usize, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let tolerance = 2e-6 * (k as f64).sqrt().max(1.0);
    for (i, (&x, &y)) in found.iter().zip(expected).enumerate() {
        assert!(
            (x as f64 - y).abs() <= tolerance * y.abs().max(1.0),
            "{what}: element {i} is {x}, expected {y}"
        );
    }
}

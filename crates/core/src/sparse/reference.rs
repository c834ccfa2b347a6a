//! The naive twins of the sparse products, on dense matrices in f64.

pub use crate::matmul::reference::{close, numbers, product, transpose};

/// Numbers of which about `density` are not zero.
pub fn sparse_numbers(len: usize, density: f32, seed: u32) -> Vec<f32> {
    let (values, chance) = (numbers(len, seed), numbers(len, seed + 1000));
    values
        .iter()
        .zip(&chance)
        .map(|(&x, &c)| if (c + 1.0) / 2.0 < density { x } else { 0.0 })
        .collect()
}

/// `dense` where `pattern` is not zero.
pub fn masked(dense: &[f64], pattern: &[f32]) -> Vec<f64> {
    dense
        .iter()
        .zip(pattern)
        .map(|(&x, &p)| if p != 0.0 { x } else { 0.0 })
        .collect()
}

//! Numbers to compute with, the same in every run.

/// Numbers in -1..1.
pub fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Numbers of which `percent` are not zero, at random places.
pub fn sparse_numbers(len: usize, percent: f32, seed: u64) -> Vec<f32> {
    let chance = numbers(len, seed + 77);
    let values = numbers(len, seed);
    values
        .iter()
        .zip(chance)
        .map(|(&x, c)| if 50.0 * (c + 1.0) < percent { x } else { 0.0 })
        .collect()
}

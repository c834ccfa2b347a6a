//! How long a call takes.

use std::time::Instant;

/// Batches of calls; the best one counts.
const BATCHES: usize = 5;
/// Seconds that a batch lasts at least.
const SHORTEST: f64 = 0.004;

/// Best seconds of one call.
pub fn best(work: &mut dyn FnMut()) -> f64 {
    work();
    let start = Instant::now();
    work();
    let repeats = (SHORTEST / start.elapsed().as_secs_f64().max(1e-7)).ceil() as usize;
    let mut seconds = f64::INFINITY;
    for _ in 0..BATCHES {
        let start = Instant::now();
        (0..repeats).for_each(|_| work());
        seconds = seconds.min(start.elapsed().as_secs_f64() / repeats as f64);
    }
    seconds
}

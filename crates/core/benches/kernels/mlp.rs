//! The work of a whole MLP.

use crate::numbers::numbers;
use crate::{Bench, D, NEURONS, ROWS, Work, message};
use deftune_core::engine::Engine;
use deftune_core::ops::activation::ActivationKind;

impl Bench {
    /// The biases of the up-projection put its activations at the wanted density: x and W are uniform, so their products are near normal
    /// with variance D/9.
    pub fn mlp(&mut self, percent: f32, threads: usize, precision: &str) -> Result<Work, String> {
        let mut engine = Engine::new(threads as u32, self.isa.name()).map_err(message)?;
        let x = engine.upload_f32(&numbers(ROWS * D, 4), ROWS as u32, D as u32);
        let up = engine.upload_f32(&numbers(NEURONS * D, 3), NEURONS as u32, D as u32);
        let down = engine.upload_f32(&numbers(NEURONS * D, 5), D as u32, NEURONS as u32);
        let bias = -(D as f32).sqrt() / 3.0 * upper_quantile(percent as f64 / 100.0) as f32;
        let bias = engine.upload_f32(&vec![bias; NEURONS], 1, NEURONS as u32);
        let dy = engine.upload_f32(&numbers(ROWS * D, 6), ROWS as u32, D as u32);
        let [x, up, down, bias, dy] = [x, up, down, bias, dy].map(|handle| handle.map_err(message));
        let (x, up, down, bias, dy) = (x?, up?, down?, bias?, dy?);
        for weight in [up, down] {
            engine.freeze_weight(weight, precision.into()).map_err(message)?;
        }
        let relu = ActivationKind::Relu as u32;
        let mut step = move || -> deftune_core::Result<()> {
            engine.begin_scope()?;
            let o = engine.linear_activate(x, up, bias, relu, 0, 0.0, 0.0, 0.0)?[0];
            engine.linear(o, down, 0)?;
            let d_o = engine.linear_backward_input(dy, down, o)?;
            let d_pre = engine.activate_backward(d_o, o, 0, 0, 0.0, relu, 0, 0.0, 0.0, 0.0)?;
            engine.linear_backward_input(d_pre, up, 0)?;
            engine.end_scope()?;
            Ok(())
        };
        step().map_err(message)?;
        Ok(Box::new(move || step().unwrap_or_else(|error| panic!("{error}"))))
    }
}

/// x with P(standard normal > x) = `share`, by summing the density from above: exact enough for a bench.
fn upper_quantile(share: f64) -> f64 {
    let step = 1e-4;
    let (mut x, mut tail) = (8.0f64, 0.0);
    while tail < share && x > -8.0 {
        tail += step * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        x -= step;
    }
    x
}

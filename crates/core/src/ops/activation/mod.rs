//! Activation functions and their derivatives.
//!
//! Another one takes a line in `kind.rs`, its struct in `formulas.rs`, its naive twin in `tests.rs`, and a name in
//! `ts/ops/activation-kind.ts`.

mod counted;
mod cutoff;
mod formulas;
mod kind;
#[cfg(test)]
mod tests;

pub use counted::{forward_counted, forward_counted_in_place};
pub use cutoff::{cut_slice, mask_slice};
pub use kind::ActivationKind;

use crate::simd::Isa;
use crate::threads::Pool;
use kind::with_kind;

/// `out = f(x)`; both `[n]`. ReLU keeps a NaN.
pub fn forward(isa: Isa, pool: &Pool, kind: ActivationKind, x: &[f32], out: &mut [f32]) {
    with_kind!(kind, f => super::map(isa, pool, f, [x], out));
}

/// `dx = dy f'(x)` from the input `x` of the forward pass; all `[n]`. ReLU's derivative at 0 is 0.
pub fn backward(isa: Isa, pool: &Pool, kind: ActivationKind, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    with_kind!(kind, f => super::map(isa, pool, f, [x, dy], dx));
}

/// `x = f(x)` on the calling thread (for use inside a task).
pub fn forward_slice(isa: Isa, kind: ActivationKind, x: &mut [f32]) {
    if kind != ActivationKind::Identity {
        with_kind!(kind, f => super::map_slice(isa, f, x));
    }
}

/// `dx = dy f'(x)` on the calling thread; all `[n]`.
pub fn backward_into(isa: Isa, kind: ActivationKind, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    with_kind!(kind, f => super::map_into(isa, f, [x, dy], dx));
}

/// `g *= f'(x)` on the calling thread; x is the input of the forward pass, both `[n]`.
pub fn backward_slice(isa: Isa, kind: ActivationKind, x: &[f32], g: &mut [f32]) {
    if kind != ActivationKind::Identity {
        with_kind!(kind, f => super::map_onto_slice(isa, f, x, g));
    }
}

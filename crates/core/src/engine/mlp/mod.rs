//! The heart: up-projection, activation, compaction and the DEFT statistics as one operation, and its backward pass.
//!
//! Each block of rows is finished while it is in cache: bias, activation, column sums (the feature map), the element-wise loss and
//! the compaction of the non-zeros. Sums are kept per block and added in block order, so they do not depend on the threads.

mod backward;
mod dense;
mod finish;
mod forward;
mod out_gradient;
mod pattern;
mod settings;

pub(super) use finish::{Finished, measure};
pub(super) use pattern::gather_pattern;
pub(super) use settings::{MlpSettings, activation_kind, check_width};

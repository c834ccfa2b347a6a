//! Kernels of deftune. See the module list for a map; `engine` is what the bindings call.

pub mod density;
pub mod engine;
mod error;
pub mod matmul;
pub mod memory;
pub mod ops;
pub mod rng;
pub mod simd;
pub mod sparse;
pub mod threads;

pub use error::{Error, Result};

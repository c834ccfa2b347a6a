//! The engine: tensors behind handles, and the operations on them that the bindings export.
//!
//! Everything is two-dimensional and row-major here; the TypeScript layer knows the logical shapes. Handle 0 means "none".
//! [`crate::backend_ops`] lists the operations once for both bindings.

mod attention;
mod elementwise;
mod gated_mlp;
mod layout;
mod linear;
mod linear_cross_entropy;
mod list;
mod losses;
mod mlp;
mod packs;
mod sequence_losses;
mod tensors;
mod transformer;

use crate::Result;
use crate::matmul::Precision;
use crate::simd::Isa;
use crate::sparse::Blocking;
use crate::threads::{Pool, Seat};
use tensors::Tensors;

/// Handles returned by an operation with several results.
pub type Handles = Vec<u32>;

/// A backend: an instruction set, a thread pool, and the tensors.
pub struct Engine {
    pub(crate) isa: Isa,
    pub(crate) pool: Pool,
    pub(crate) tensors: Tensors,
    /// Density above which MLP activations stay dense: by the dense product that frozen weights of this engine take.
    pub(crate) blocking: Blocking,
}

impl Engine {
    /// `threads` 0 means all cores; `isa` empty means the best one (or what `DEFTUNE_ISA` says, see [`crate::simd::ISA_VARIABLE`]).
    ///
    /// # Errors
    /// [`crate::Error::UnknownIsa`] when the CPU lacks the instruction set.
    pub fn new(threads: u32, isa: &str) -> Result<Engine> {
        let forced = if isa.is_empty() {
            std::env::var(crate::simd::ISA_VARIABLE).ok()
        } else {
            Some(isa.to_string())
        };
        let isa = Isa::choose(forced.as_deref())?;
        let threads = if threads == 0 {
            Pool::available()
        } else {
            threads as usize
        };
        Ok(Engine {
            isa,
            pool: Pool::new(threads),
            tensors: Tensors::default(),
            blocking: Blocking::of(isa, Precision::F32),
        })
    }

    pub fn isa_name(&self) -> &'static str {
        self.isa.name()
    }

    /// Names of every instruction set of this CPU with kernels here, best first.
    pub fn isa_available() -> Vec<&'static str> {
        Isa::available().into_iter().map(Isa::name).collect()
    }

    pub fn threads(&self) -> u32 {
        self.pool.threads() as u32
    }

    /// A place for a thread that the host has started; see [`Pool::seat`].
    pub fn seat(&mut self) -> Seat {
        self.pool.seat()
    }
}

#[cfg(test)]
mod tests;

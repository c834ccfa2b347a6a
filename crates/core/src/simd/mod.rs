//! Instruction sets: detection, dispatch, and the vector mathematics built on them.
//!
//! This is the one place that names `#[target_feature]`.

#[cfg(target_arch = "x86_64")]
pub mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
pub mod avx512_bf16;
mod isa;
pub mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod simd128;

pub use isa::Simd;
pub use scalar::Scalar;

/// A computation generic over the instruction set. Mark `run` `#[inline(always)]`.
pub trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// An instruction set that this CPU was found to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isa(Level);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// AVX-512 with the tiles of AMX for bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Amx,
    /// AVX-512 with dot products of bf16.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
    Simd128,
    #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
    Scalar,
}

/// What multiplies bf16 numbers by themselves; without one they are widened to f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bf16Unit {
    /// `vdpbf16ps`: dot products of pairs.
    Dot,
    /// `tdpbf16ps`: products of tiles.
    Tiles,
}

/// Environment variable that forces one instruction set (`avx512-amx`, `avx512-bf16`, `avx512`, `avx2`, `neon`, `simd128`, `relaxed-simd`, `scalar`).
pub const ISA_VARIABLE: &str = "DEFTUNE_ISA";

impl Isa {
    /// Every instruction set of this CPU that has kernels here, best first. `scalar` is the last, but for WebAssembly with SIMD: whoever
    /// runs that module has its instructions, and a second set of kernels would add half to its size.
    pub fn available() -> Vec<Isa> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
            {
                let bf16 = is_x86_feature_detected!("avx512bf16");
                if bf16 && amx::is_available() {
                    found.push(Isa(Level::Avx512Amx));
                }
                if bf16 && !is_intel() {
                    found.push(Isa(Level::Avx512Bf16));
                }
                found.push(Isa(Level::Avx512));
                // Measured on Emerald Rapids: 88 GFLOP/s of `vdpbf16ps` a core, where widened bf16 reach 180.
                if bf16 && is_intel() {
                    found.push(Isa(Level::Avx512Bf16));
                }
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Isa(Level::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Isa(Level::Neon));
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        found.push(Isa(Level::Simd128));
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        found.push(Isa(Level::Scalar));
        found
    }

    /// The best one, or the one called `name` (as in [`ISA_VARIABLE`]).
    ///
    /// # Errors
    /// [`crate::Error::UnknownIsa`] when the CPU does not have `name`, or it has no kernels here.
    pub fn choose(name: Option<&str>) -> crate::Result<Isa> {
        let found = Isa::available();
        match name {
            None | Some("") => Ok(found[0]),
            Some(name) => {
                found
                    .iter()
                    .copied()
                    .find(|isa| isa.name() == name)
                    .ok_or_else(|| crate::Error::UnknownIsa {
                        name: name.to_string(),
                        available: found.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", "),
                    })
            }
        }
    }

    /// f32 lanes of a vector.
    pub fn lanes(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                S::LANES
            }
        }
        dispatch(self, Lanes)
    }

    /// What multiplies bf16 numbers.
    pub fn bf16_unit(self) -> Option<Bf16Unit> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Amx => Some(Bf16Unit::Tiles),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => Some(Bf16Unit::Dot),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Amx => "avx512-amx",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
            Level::Simd128 => simd128::Simd128::NAME,
            #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
            Level::Scalar => "scalar",
        }
    }
}

/// Whether the CPU is Intel's: vendors differ in what one instruction set costs. Asks it once: in a virtual machine the answer takes microseconds.
#[cfg(target_arch = "x86_64")]
pub fn is_intel() -> bool {
    static FOUND: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| {
        let vendor = core::arch::x86_64::__cpuid(0);
        [vendor.ebx, vendor.edx, vendor.ecx]
            .map(u32::to_le_bytes)
            .as_flattened()
            == b"GenuineIntel"
    })
}

#[cfg(not(target_arch = "x86_64"))]
pub fn is_intel() -> bool {
    false
}

/// Runs `kernel` compiled for `isa`. Costs a branch and a call: dispatch once per tile, not per vector.
#[inline]
pub fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    match isa.0 {
        // SAFETY: an `Isa` of this level exists only after detection of its features.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Amx | Level::Avx512Bf16 | Level::Avx512 => unsafe { run_avx512(kernel) },
        // SAFETY: as above.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { run_avx2(kernel) },
        // SAFETY: NEON is part of every aarch64 target.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => kernel.run(unsafe { neon::Neon::new() }),
        // SAFETY: the module was compiled with simd128, so whoever runs it has it.
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Level::Simd128 => kernel.run(unsafe { simd128::Simd128::new() }),
        #[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
        Level::Scalar => kernel.run(Scalar),
    }
}

/// A computation on bf16 pairs. Mark `run` `#[inline(always)]`.
#[cfg(target_arch = "x86_64")]
pub trait Bf16Kernel {
    fn run(self, s: avx512_bf16::Avx512Bf16);
}

/// Runs `kernel` where the instruction set has a unit for bf16.
///
/// # Panics
/// Where it has none.
#[cfg(target_arch = "x86_64")]
pub fn dispatch_bf16<K: Bf16Kernel>(isa: Isa, kernel: K) {
    assert!(isa.bf16_unit().is_some(), "{} has no unit for bf16", isa.name());
    // SAFETY: an `Isa` of these levels exists only after detection of AVX512_BF16 and the rest.
    unsafe { run_avx512_bf16(kernel) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma,f16c,bmi1,bmi2,popcnt")]
unsafe fn run_avx512_bf16<K: Bf16Kernel>(kernel: K) {
    // SAFETY: the caller has detected the features.
    kernel.run(unsafe { avx512_bf16::Avx512Bf16::new() })
}

#[cfg(target_arch = "x86_64")]
#[inline(never)] // see `Simd::apart`
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c,bmi1,bmi2,popcnt")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller has detected the features.
    kernel.run(unsafe { avx512::Avx512::new() })
}

#[cfg(target_arch = "x86_64")]
#[inline(never)] // see `Simd::apart`
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,popcnt")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller has detected the features.
    kernel.run(unsafe { avx2::Avx2::new() })
}

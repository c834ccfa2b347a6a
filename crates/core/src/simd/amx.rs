//! AMX: products of tiles of 16 x 32 and 32 x 16 bf16 numbers into tiles of 16 x 16 f32.
//!
//! Its intrinsics are not stable in Rust, so that the instructions are written out. No other code touches the tile registers.

use core::arch::asm;
use std::sync::OnceLock;

/// Rows of a tile.
pub const ROWS: usize = 16;
/// Values of K in a tile.
pub const DEPTH: usize = 32;
/// Columns of a tile of the result.
pub const COLUMNS: usize = 16;

/// Whether the CPU has AMX with bf16, and the system lets this process use it. Asks the system once.
pub fn is_available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| has_instructions() && is_permitted())
}

fn has_instructions() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let (max, _) = core::arch::x86_64::__get_cpuid_max(0);
    if max < 7 || core::arch::x86_64::__cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    core::arch::x86_64::__cpuid_count(7, 0).edx & (AMX_BF16 | AMX_TILE) == AMX_BF16 | AMX_TILE
}

/// Linux saves the 8 KB of tile registers only of processes that asked for it.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: a system call without pointers; a kernel that does not know it answers with an error.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Bytes of a row of two column tiles, of B as of the sums.
const ROW: usize = 128;

/// Layout of the operand of `ldtilecfg`: palette 1, all tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// The tile registers of this thread, in use until it is dropped.
pub struct Tiles(());

impl Tiles {
    /// # Safety
    /// [`is_available`].
    pub unsafe fn configure() -> Tiles {
        // SAFETY: the caller's promise; CONFIG has the layout that the instruction reads.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
        Tiles(())
    }

    /// All sums become 0.
    #[inline(always)]
    pub fn zero(&self) {
        // SAFETY: the registers are configured (`self`) and used nowhere else.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "tilezero tmm4",
                "tilezero tmm5",
                options(nostack, nomem)
            );
        }
    }

    /// The sums of one, two or three row tiles by two column tiles += a step of [`DEPTH`] in K.
    ///
    /// The row tiles are at `a`, then every [`ROWS`] rows of `lda` values; the row p of the pairs of B, 32 columns of values 2p and 2p + 1,
    /// is at `b + 64 · p`.
    ///
    /// # Safety
    /// The pointers are valid for these extents.
    #[inline(always)]
    pub unsafe fn step(&self, tiles: usize, a: *const u16, lda: usize, b: *const u16) {
        let (second, third) = (a.wrapping_add(ROWS * lda), a.wrapping_add(2 * ROWS * lda));
        // SAFETY: the caller's promise about the pointers; the registers are configured (`self`) and used nowhere else.
        unsafe {
            match tiles {
                1 => asm!(
                    "tileloadd tmm6, [{b} + {row}*1]",
                    "tileloadd tmm4, [{a} + {lda}*1]",
                    "tileloadd tmm7, [{b} + {row}*1 + 64]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    a = in(reg) a,
                    b = in(reg) b,
                    lda = in(reg) lda * 2,
                    row = in(reg) ROW,
                    options(nostack, readonly)
                ),
                2 => asm!(
                    "tileloadd tmm6, [{b} + {row}*1]",
                    "tileloadd tmm4, [{a} + {lda}*1]",
                    "tileloadd tmm7, [{b} + {row}*1 + 64]",
                    "tileloadd tmm5, [{second} + {lda}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    a = in(reg) a,
                    second = in(reg) second,
                    b = in(reg) b,
                    lda = in(reg) lda * 2,
                    row = in(reg) ROW,
                    options(nostack, readonly)
                ),
                // Six registers hold sums: the first two tiles of A are read twice, from the L1.
                _ => asm!(
                    "tileloadd tmm6, [{b} + {row}*1]",
                    "tileloadd tmm7, [{a} + {lda}*1]",
                    "tdpbf16ps tmm0, tmm7, tmm6",
                    "tileloadd tmm7, [{second} + {lda}*1]",
                    "tdpbf16ps tmm2, tmm7, tmm6",
                    "tileloadd tmm7, [{third} + {lda}*1]",
                    "tdpbf16ps tmm4, tmm7, tmm6",
                    "tileloadd tmm6, [{b} + {row}*1 + 64]",
                    "tdpbf16ps tmm5, tmm7, tmm6",
                    "tileloadd tmm7, [{a} + {lda}*1]",
                    "tdpbf16ps tmm1, tmm7, tmm6",
                    "tileloadd tmm7, [{second} + {lda}*1]",
                    "tdpbf16ps tmm3, tmm7, tmm6",
                    a = in(reg) a,
                    second = in(reg) second,
                    third = in(reg) third,
                    b = in(reg) b,
                    lda = in(reg) lda * 2,
                    row = in(reg) ROW,
                    options(nostack, readonly)
                ),
            }
        }
    }

    /// `c` [tiles · 16, 32] = the sums of the row tiles.
    ///
    /// # Safety
    /// `c` is valid for them.
    #[inline(always)]
    pub unsafe fn store(&self, tiles: usize, c: *mut f32) {
        // SAFETY: the caller's promise; the registers are configured (`self`).
        unsafe {
            asm!(
                "tilestored [{c} + {row}*1], tmm0",
                "tilestored [{c} + {row}*1 + 64], tmm1",
                row = in(reg) ROW,
                c = in(reg) c,
                options(nostack)
            );
            if tiles > 1 {
                asm!(
                    "tilestored [{c} + {row}*1 + 2048], tmm2",
                    "tilestored [{c} + {row}*1 + 2112], tmm3",
                    row = in(reg) ROW,
                    c = in(reg) c,
                    options(nostack)
                );
            }
            if tiles > 2 {
                asm!(
                    "tilestored [{c} + {row}*1 + 4096], tmm4",
                    "tilestored [{c} + {row}*1 + 4160], tmm5",
                    row = in(reg) ROW,
                    c = in(reg) c,
                    options(nostack)
                );
            }
        }
    }
}

/// FLOPs of `turns` turns of products whose operands stay in registers: what no kernel can beat.
///
/// # Safety
/// [`is_available`].
pub unsafe fn probe(turns: usize) -> f64 {
    // SAFETY: the caller's promise.
    let _tiles = unsafe { Tiles::configure() };
    // SAFETY: the registers are configured; their values do not matter.
    unsafe {
        asm!(
            "tilezero tmm4",
            "tilezero tmm5",
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tdpbf16ps tmm1, tmm4, tmm5",
            "tdpbf16ps tmm2, tmm4, tmm5",
            "tdpbf16ps tmm3, tmm4, tmm5",
            "dec {turns}",
            "jnz 2b",
            turns = inout(reg) turns => _,
            options(nostack, nomem)
        );
    }
    (turns * 4 * 2 * ROWS * COLUMNS * DEPTH) as f64
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as in `configure`. A thread without tiles in use has less to save at a context switch.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

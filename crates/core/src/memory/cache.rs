//! The core's caches: asking for lines ahead, and how much stays.

/// A cache of the core.
#[derive(Clone, Copy)]
pub(crate) enum Cache {
    L1,
    L2,
}

/// Asks for the cache lines of `len` values at `start`; any address is fine.
#[inline(always)]
pub(crate) fn prefetch<T>(into: Cache, start: *const T, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..(len * size_of::<T>()).div_ceil(64) {
        use core::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
        let line = start.cast::<i8>().wrapping_add(line * 64);
        // SAFETY: SSE is part of every x86-64, and a prefetch never faults.
        unsafe {
            match into {
                Cache::L1 => _mm_prefetch::<_MM_HINT_T0>(line),
                Cache::L2 => _mm_prefetch::<_MM_HINT_T1>(line),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (into, start, len);
}

/// Ways of the L1 for data: as many lines whose addresses differ by multiples of 4 KB stay. 8 where the CPU does not say.
pub(crate) fn l1_ways() -> usize {
    described(1).map_or(8, |cache| cache.ways)
}

/// Bytes of the L2; 512 KB where the CPU does not say.
pub(crate) fn l2_bytes() -> usize {
    described(2).map_or(512 << 10, |cache| cache.bytes)
}

/// What the CPU says of a cache for data.
#[derive(Clone, Copy)]
struct Described {
    ways: usize,
    bytes: usize,
}

/// The cache of `level` (1 or 2).
#[cfg(target_arch = "x86_64")]
fn described(level: usize) -> Option<Described> {
    use std::sync::OnceLock;
    static LEVELS: OnceLock<[Option<Described>; 2]> = OnceLock::new();
    LEVELS.get_or_init(|| [1, 2].map(deterministic_cache_parameters))[level - 1]
}

#[cfg(not(target_arch = "x86_64"))]
fn described(_: usize) -> Option<Described> {
    None
}

/// CPUID's leaf of that name (Intel), or AMD's of the same form.
#[cfg(target_arch = "x86_64")]
fn deterministic_cache_parameters(level: u32) -> Option<Described> {
    use core::arch::x86_64::{__cpuid_count, __get_cpuid_max};
    const DATA: u32 = 1;
    const UNIFIED: u32 = 3;
    [(0, 4), (0x8000_0000, 0x8000_001D)]
        .into_iter()
        .filter(|&(range, leaf)| __get_cpuid_max(range).0 >= leaf)
        .flat_map(|(_, leaf)| (0..8).map(move |index| __cpuid_count(leaf, index)))
        .find(|cache| [DATA, UNIFIED].contains(&(cache.eax & 31)) && cache.eax >> 5 & 7 == level)
        .map(|cache| {
            let [ways, partitions] = [cache.ebx >> 22, cache.ebx >> 12 & 0x3FF].map(|bits| bits as usize + 1);
            let [line, sets] = [cache.ebx & 0xFFF, cache.ecx].map(|bits| bits as usize + 1);
            Described {
                ways,
                bytes: ways * partitions * line * sets,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_l1_has_a_few_ways() {
        assert!((2..=32).contains(&l1_ways()), "{}", l1_ways());
    }

    #[test]
    fn an_l2_has_some_hundred_kilobytes() {
        assert!((128 << 10..=64 << 20).contains(&l2_bytes()), "{}", l2_bytes());
    }
}

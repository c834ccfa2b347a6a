//! Large blocks of memory, cut from regions that stay. A block from the system costs a page fault and a cleared page for every 4 KB or 2 MB (0.2-1 ms for
//! the 10 MB of one activation), and a training step frees what the next one asks for again, in other sizes where its batch has other lengths.

use super::{ALIGN, HUGE};
use std::alloc::Layout;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller blocks come from the system allocator's own free lists.
const SMALLEST: usize = 64 << 10;

/// Bytes of a region, which become memory where they are written. From 32 MB on malloc of glibc always asks the system; smaller freed blocks it keeps in
/// holes, which took 700 MB of 1,750 where a step (BERT-base, 700 to 970 tokens) had other lengths than the one before.
const REGION: usize = 64 << 20;

/// Memory from the system, in blocks that are in use and spans that are free.
struct Region {
    start: NonNull<u8>,
    layout: Layout,
    /// Bytes of each free span by its offset; no two touch.
    free: BTreeMap<usize, usize>,
}
// SAFETY: it owns its memory, of which a block belongs to whoever asked for it.
unsafe impl Send for Region {}

impl Region {
    /// None where there is no memory. `bytes`: not 0.
    fn new(bytes: usize) -> Option<Region> {
        let layout = Layout::from_size_align(bytes.checked_next_multiple_of(HUGE)?, HUGE).ok()?;
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        #[cfg(target_os = "linux")]
        // Advice: where it fails, the region just has small pages.
        // SAFETY: whole pages of memory that is ours, and MADV_HUGEPAGE changes no contents.
        unsafe {
            libc::madvise(start.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE)
        };
        Some(Region {
            start,
            layout,
            free: BTreeMap::from([(0, layout.size())]),
        })
    }

    fn is_unused(&self) -> bool {
        self.free.get(&0) == Some(&self.layout.size())
    }

    /// Where a block in this region is.
    fn offset_of(&self, block: NonNull<u8>) -> Option<usize> {
        let offset = block.addr().get().checked_sub(self.start.addr().get())?;
        (offset < self.layout.size()).then_some(offset)
    }

    /// The first bytes of the free span at `offset`, which has as many.
    fn take(&mut self, offset: usize, bytes: usize) -> NonNull<u8> {
        let span = self.free.remove(&offset).unwrap_or_default();
        assert!(span >= bytes, "a free span of {span} bytes for a block of {bytes}");
        if span > bytes {
            self.free.insert(offset + bytes, span - bytes);
        }
        // SAFETY: spans are inside of the region.
        unsafe { self.start.add(offset) }
    }

    /// A span is free again, with those that it touches.
    fn put_back(&mut self, mut offset: usize, mut bytes: usize) {
        if let Some(next) = self.free.remove(&(offset + bytes)) {
            bytes += next;
        }
        if let Some((&before, &span)) = self.free.range(..offset).next_back()
            && before + span == offset
        {
            offset = before;
            bytes += span;
        }
        self.free.insert(offset, bytes);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout; whoever drops a region has seen that no block of it is in use.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// The regions. What no free span has room for comes from the system, in place of regions of which nothing is in use where these would take more than a
/// quarter beyond what was in use together at some time.
struct Arena {
    regions: Vec<Region>,
    /// Bytes of blocks in use, and the most there ever were.
    live: usize,
    peak: usize,
}

impl Arena {
    const EMPTY: Arena = Arena {
        regions: Vec::new(),
        live: 0,
        peak: 0,
    };

    /// From the first free span that has room: what comes later is used, and its pages become memory, only where it must be. `bytes`: a multiple of
    /// [`ALIGN`], not 0.
    fn acquire(&mut self, bytes: usize) -> Option<NonNull<u8>> {
        let mut spans = self
            .regions
            .iter()
            .enumerate()
            .flat_map(|(region, Region { free, .. })| free.iter().map(move |(&offset, &span)| (region, offset, span)));
        let (region, offset) = match spans.find(|&(.., span)| span >= bytes) {
            Some((region, offset, _)) => (region, offset),
            None => {
                let region = self.new_region(bytes)?;
                self.regions.push(region);
                (self.regions.len() - 1, 0)
            }
        };
        self.live += bytes;
        self.peak = self.peak.max(self.live);
        Some(self.regions[region].take(offset, bytes))
    }

    /// With room for a block of `bytes`: whole [`REGION`]s, so that the next block may be somewhat larger.
    fn new_region(&mut self, bytes: usize) -> Option<Region> {
        let wanted = bytes.checked_next_multiple_of(REGION)?;
        let peak = self.peak.max(self.live.checked_add(bytes)?);
        let mut taken = self.taken();
        self.regions.retain(|region| {
            let is_surplus = region.is_unused() && taken.saturating_add(wanted) > peak + peak / 4;
            if is_surplus {
                taken -= region.layout.size();
            }
            !is_surplus
        });
        Region::new(wanted).or_else(|| {
            self.release_unused();
            Region::new(bytes)
        })
    }

    /// # Safety
    /// `block` came from [`Arena::acquire`] with `bytes`, and nothing uses it any more.
    unsafe fn give(&mut self, block: NonNull<u8>, bytes: usize) {
        self.live -= bytes;
        for region in &mut self.regions {
            if let Some(offset) = region.offset_of(block) {
                return region.put_back(offset, bytes);
            }
        }
    }

    /// Bytes of all regions.
    fn taken(&self) -> usize {
        self.regions.iter().map(|region| region.layout.size()).sum()
    }

    fn release_unused(&mut self) {
        self.regions.retain(|region| !region.is_unused());
    }
}

static ARENA: Mutex<Arena> = Mutex::new(Arena::EMPTY);

fn arena() -> MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

/// WebAssembly has no page faults to save, and its memory never shrinks: its allocator had better merge all free blocks. In debug builds each block is the
/// system allocator's, so that a sanitizer sees its ends.
fn is_large(bytes: usize) -> bool {
    bytes >= SMALLEST && !cfg!(target_arch = "wasm32") && !cfg!(debug_assertions)
}

/// Sizes of large blocks come in eighths of a power of two, so that batches of slightly different length find each other's places; at most 1/8 is unused.
/// Without, 1,800 steps of single short sentences after the first 200 touched 2 to 3.5 MB more (of 139), with it 0.4 to 1.2.
fn size_class(bytes: usize) -> Option<usize> {
    bytes.checked_next_multiple_of(1 << (bytes.ilog2() - 3))
}

fn small(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, ALIGN).ok()
}

/// A block of `bytes` on a cache line, on huge pages where it is large; None where there is no memory. `bytes`: a multiple of [`ALIGN`], not 0.
pub(super) fn acquire(bytes: usize) -> Option<NonNull<u8>> {
    if is_large(bytes) {
        return arena().acquire(size_class(bytes)?);
    }
    // SAFETY: the layout is not empty.
    NonNull::new(unsafe { std::alloc::alloc(small(bytes)?) })
}

/// # Safety
/// `block` came from [`acquire`] with `bytes`, and nothing uses it any more.
pub(super) unsafe fn give(block: NonNull<u8>, bytes: usize) {
    if is_large(bytes) {
        // SAFETY: the caller's promise; what was acquired has a class.
        return unsafe { arena().give(block, size_class(bytes).unwrap_or(bytes)) };
    }
    if let Some(layout) = small(bytes) {
        // SAFETY: the caller's promise: allocated with this layout.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(arena: &Arena) -> Vec<Vec<(usize, usize)>> {
        let of = |region: &Region| region.free.iter().map(|(&offset, &span)| (offset, span)).collect();
        arena.regions.iter().map(of).collect()
    }

    #[test]
    fn blocks_come_from_the_first_span_with_room_and_spans_that_touch_are_one() {
        let mut arena = Arena::EMPTY;
        let [a, b, c, d] = [1 << 20, 64, 1 << 16, 128].map(|bytes| arena.acquire(bytes).unwrap());
        let rest = (1 << 20) + 64 + (1 << 16) + 128;
        assert_eq!(spans(&arena), [[(rest, REGION - rest)]]);
        assert_eq!(b.addr().get() - a.addr().get(), 1 << 20);
        // SAFETY: they are these blocks, which nothing uses.
        unsafe {
            arena.give(a, 1 << 20);
            arena.give(c, 1 << 16);
        }
        // The first span is cut, where there is room, and not the one of just that size.
        assert_eq!(arena.acquire(1 << 16), Some(a));
        assert_eq!(arena.acquire(1 << 20), NonNull::new(d.as_ptr().wrapping_add(128)));
        // SAFETY: as above.
        unsafe {
            arena.give(d.add(128), 1 << 20);
            arena.give(a, 1 << 16);
            arena.give(b, 64);
        }
        assert_eq!(spans(&arena), [[(0, rest - 128), (rest, REGION - rest)]]);
        // SAFETY: as above.
        unsafe { arena.give(d, 128) };
        assert_eq!(spans(&arena), [[(0, REGION)]]);
        arena.release_unused();
        assert!(arena.regions.is_empty());
    }

    #[test]
    fn what_no_region_has_room_for_gets_one_of_its_own() {
        let mut arena = Arena::EMPTY;
        let first = arena.acquire(64).unwrap();
        let large = arena.acquire(REGION + 64).unwrap();
        assert_eq!(arena.regions.len(), 2);
        assert_eq!(arena.regions[1].layout.size(), 2 * REGION);
        // SAFETY: they are these blocks, which nothing uses.
        unsafe { arena.give(large, REGION + 64) };
        arena.release_unused();
        assert_eq!(arena.regions.len(), 1);
        assert!(arena.acquire(usize::MAX / 64 * 64).is_none() && arena.acquire(1 << 60).is_none());
        // SAFETY: as above.
        unsafe { arena.give(first, 64) };
    }

    /// As training steps whose batches have other lengths: what is saved for the backward pass, and what a layer needs meanwhile.
    #[test]
    fn steps_of_other_lengths_take_hardly_more_than_the_longest() {
        let mut arena = Arena::EMPTY;
        let size = |tokens: usize, width: usize| (tokens * width * 4).next_multiple_of(ALIGN);
        for step in 0..40 {
            let tokens = 700 + step * 271 % 276;
            let mut saved = Vec::new();
            for _ in 0..24 {
                let [wide, narrow] = [3072, 768].map(|width| size(tokens, width));
                let meanwhile = [arena.acquire(wide).unwrap(), arena.acquire(narrow).unwrap()];
                for bytes in [narrow, wide, narrow] {
                    saved.push((arena.acquire(bytes).unwrap(), bytes));
                }
                // SAFETY: they are these blocks, which nothing uses.
                unsafe {
                    arena.give(meanwhile[0], wide);
                    arena.give(meanwhile[1], narrow);
                }
            }
            while let Some((block, bytes)) = saved.pop() {
                // SAFETY: as above.
                unsafe { arena.give(block, bytes) };
            }
        }
        let taken = arena.taken();
        let longest = 24 * (size(975, 3072) + 2 * size(975, 768));
        assert!(taken * 4 <= longest * 5, "{taken} bytes for {longest}");
    }

    #[test]
    fn blocks_that_grow_do_not_pile_up_regions() {
        let mut arena = Arena::EMPTY;
        for step in 1..60 {
            let bytes = step * (16 << 20);
            let blocks = [arena.acquire(bytes).unwrap(), arena.acquire(bytes).unwrap()];
            for block in blocks {
                // SAFETY: it is a block of the arena, which nothing uses.
                unsafe { arena.give(block, bytes) };
            }
            let taken = arena.taken();
            assert!(taken <= 5 * bytes / 2 + 3 * REGION, "{taken} bytes for two of {bytes}");
        }
        assert_eq!(arena.live, 0);
    }

    /// Blocks of random sizes that come and go: none overlaps another, and all that is free in the end is whole.
    #[test]
    fn blocks_in_use_never_overlap() {
        let mut arena = Arena::EMPTY;
        let (mut blocks, mut seed): (Vec<(NonNull<u8>, usize)>, u64) = (Vec::new(), 1);
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        for _ in 0..3000 {
            if blocks.len() > 40 || (!blocks.is_empty() && random(2) == 0) {
                let (block, bytes) = blocks.swap_remove(random(blocks.len()));
                // SAFETY: it is a block of the arena, which nothing uses.
                unsafe { arena.give(block, bytes) };
            } else {
                let bytes = (1 + random(100_000)) * ALIGN;
                let block = arena.acquire(bytes).unwrap();
                assert_eq!(block.addr().get() % ALIGN, 0);
                for &(other, size) in &blocks {
                    let (start, end) = (block.addr().get(), block.addr().get() + bytes);
                    assert!(end <= other.addr().get() || other.addr().get() + size <= start);
                }
                blocks.push((block, bytes));
            }
        }
        for (block, bytes) in blocks {
            // SAFETY: as above.
            unsafe { arena.give(block, bytes) };
        }
        assert!(arena.regions.iter().all(Region::is_unused));
    }
}

//! Freed large blocks, kept for the next allocation of their size: a fresh one costs a page fault and a cleared page for every 4 KB
//! or 2 MB (0.2-1 ms for the 10 MB of one activation), and a training step frees what the next step asks for again.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Mutex;

/// Smaller blocks come from the system allocator's own free lists.
const SMALLEST: usize = 64 << 10;

struct Free {
    start: NonNull<u8>,
    layout: Layout,
}
// SAFETY: an unused block of memory belongs to no thread.
unsafe impl Send for Free {}

struct Shelf {
    /// Oldest first.
    blocks: Vec<Free>,
    /// Bytes of `blocks`.
    kept: usize,
    /// Bytes of large blocks in use, and the most there ever were.
    live: usize,
    peak: usize,
}

impl Shelf {
    /// Takes off what is too much, the oldest first. A 64th of the peak is not: a training step whose forward pass ended at the peak found one
    /// block of 2.5 MB missing at the start of each backward pass, and waited 5 ms for the system to make a huge page (of 1,400 ms).
    fn surplus(&mut self) -> Vec<Free> {
        let mut excess = (self.live + self.kept).saturating_sub(self.peak + self.peak / 64);
        let mut count = 0;
        while excess > 0 && count < self.blocks.len() {
            excess = excess.saturating_sub(self.blocks[count].layout.size());
            count += 1;
        }
        let surplus: Vec<Free> = self.blocks.drain(..count).collect();
        self.kept -= surplus.iter().map(|free| free.layout.size()).sum::<usize>();
        surplus
    }
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf {
    blocks: Vec::new(),
    kept: 0,
    live: 0,
    peak: 0,
});

fn shelf() -> std::sync::MutexGuard<'static, Shelf> {
    SHELF.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// WebAssembly has no page faults to save, and memory there never shrinks: its allocator had better merge free blocks.
fn is_large(layout: Layout) -> bool {
    layout.size() >= SMALLEST && !cfg!(target_arch = "wasm32")
}

/// Sizes come in eighths of a power of two, so that batches of slightly different length share blocks; at most 1/8 is unused.
pub(super) fn size_class(bytes: usize) -> Option<usize> {
    if bytes < SMALLEST || cfg!(target_arch = "wasm32") {
        return Some(bytes);
    }
    let step = 1usize << (bytes.ilog2() - 3);
    bytes.checked_next_multiple_of(step)
}

/// A block of this layout: a kept one, or a fresh one (`true`); None where there is no memory.
pub(super) fn acquire(layout: Layout) -> Option<(NonNull<u8>, bool)> {
    if is_large(layout) {
        let surplus = {
            let mut shelf = shelf();
            shelf.live += layout.size();
            // The youngest first: it is the likeliest to be in the cache.
            if let Some(index) = shelf.blocks.iter().rposition(|free| free.layout == layout) {
                shelf.kept -= layout.size();
                return Some((shelf.blocks.remove(index).start, false));
            }
            shelf.peak = shelf.peak.max(shelf.live);
            shelf.surplus()
        };
        surplus.into_iter().for_each(release);
    }
    let allocate = || {
        // SAFETY: layouts of buffers are not empty.
        NonNull::new(unsafe { std::alloc::alloc(layout) })
    };
    let fresh = allocate().or_else(|| {
        release_kept();
        allocate()
    });
    if fresh.is_none() && is_large(layout) {
        shelf().live -= layout.size();
    }
    fresh.map(|start| (start, true))
}

/// Keeps a block, or frees it: live and kept blocks together take hardly more than the live ones once did, so that keeping adds next to nothing
/// to the process's peak.
///
/// # Safety
/// `start` came from [`acquire`] with `layout`, and nothing uses it any more.
pub(super) unsafe fn give(start: NonNull<u8>, layout: Layout) {
    let free = Free { start, layout };
    if !is_large(layout) {
        return release(free);
    }
    let surplus = {
        let mut shelf = shelf();
        shelf.live -= layout.size();
        shelf.kept += layout.size();
        shelf.blocks.push(free);
        shelf.surplus()
    };
    surplus.into_iter().for_each(release);
}

/// Gives all kept blocks back to the system.
pub fn release_kept() {
    let blocks = {
        let mut shelf = shelf();
        shelf.kept = 0;
        std::mem::take(&mut shelf.blocks)
    };
    blocks.into_iter().for_each(release);
}

fn release(free: Free) {
    // SAFETY: allocated with this layout (see `give`), and off the shelf.
    unsafe { std::alloc::dealloc(free.start.as_ptr(), free.layout) }
}

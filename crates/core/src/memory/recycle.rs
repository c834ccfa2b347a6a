//! Freed large blocks, kept for the next allocation of their size: a fresh one costs a page fault and a cleared page for every 4 KB
//! or 2 MB (0.2-1 ms for the 10 MB of one activation), and a training step frees what the next step asks for again.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::Mutex;

/// Smaller blocks come from the system allocator's own free lists.
const SMALLEST: usize = 64 << 10;

/// Bytes kept at most: room for the temporaries of one layer of BERT-base over a thousand tokens (40 MB) several times over, and small
/// beside what training holds anyway.
const KEPT: usize = 256 << 20;

struct Free {
    start: NonNull<u8>,
    layout: Layout,
}
// SAFETY: an unused block of memory belongs to no thread.
unsafe impl Send for Free {}

struct Shelf {
    blocks: Vec<Free>,
    bytes: usize,
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf {
    blocks: Vec::new(),
    bytes: 0,
});

/// Sizes come in eighths of a power of two, so that batches of slightly different length share blocks; at most 1/8 is unused.
pub(super) fn size_class(bytes: usize) -> Option<usize> {
    if bytes < SMALLEST || cfg!(target_arch = "wasm32") {
        return Some(bytes);
    }
    let step = 1usize << (bytes.ilog2() - 3);
    bytes.checked_next_multiple_of(step)
}

/// A kept block of exactly this layout.
pub(super) fn take(layout: Layout) -> Option<NonNull<u8>> {
    if layout.size() < SMALLEST {
        return None;
    }
    let mut shelf = SHELF.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // The youngest first: it is the likeliest to be in the cache.
    let index = shelf.blocks.iter().rposition(|free| free.layout == layout)?;
    let free = shelf.blocks.remove(index);
    shelf.bytes -= layout.size();
    Some(free.start)
}

/// Keeps a block, or frees it.
///
/// # Safety
/// `start` was allocated by the global allocator with `layout`, and nothing uses it any more.
pub(super) unsafe fn give(start: NonNull<u8>, layout: Layout) {
    let release = |free: Free| {
        // SAFETY: the caller's promise, made when this block came in.
        unsafe { std::alloc::dealloc(free.start.as_ptr(), free.layout) }
    };
    let free = Free { start, layout };
    // WebAssembly has no page faults to save, and memory there never shrinks: its allocator had better merge free blocks.
    if layout.size() < SMALLEST || layout.size() > KEPT || cfg!(target_arch = "wasm32") {
        return release(free);
    }
    let mut surplus = Vec::new();
    {
        let mut shelf = SHELF.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shelf.blocks.push(free);
        shelf.bytes += layout.size();
        while shelf.bytes > KEPT {
            let oldest = shelf.blocks.remove(0);
            shelf.bytes -= oldest.layout.size();
            surplus.push(oldest);
        }
    }
    surplus.into_iter().for_each(release);
}

/// Gives all kept blocks back to the system.
pub fn release_kept() {
    let blocks = {
        let mut shelf = SHELF.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shelf.bytes = 0;
        std::mem::take(&mut shelf.blocks)
    };
    for free in blocks {
        // SAFETY: allocated with this layout (see `give`), and off the shelf.
        unsafe { std::alloc::dealloc(free.start.as_ptr(), free.layout) };
    }
}

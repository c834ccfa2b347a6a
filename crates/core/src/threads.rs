//! The thread pool: the only file that names threads.
//!
//! Work is cut into tasks by the caller, independent of the number of threads, and taken from one atomic counter. A task's result
//! therefore never depends on which thread ran it, and a busy core only slows its own tasks down.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A pool of `threads - 1` workers and the calling thread.
pub struct Pool {
    threads: usize,
    #[cfg(not(target_arch = "wasm32"))]
    shared: std::sync::Arc<workers::Shared>,
    #[cfg(not(target_arch = "wasm32"))]
    handles: Vec<std::thread::JoinHandle<()>>,
    /// One parallel region at a time: a second caller waits.
    region: Mutex<()>,
}

impl Pool {
    /// `threads` is clamped to 1..=256; WebAssembly has one.
    pub fn new(threads: usize) -> Pool {
        let threads = if cfg!(target_arch = "wasm32") {
            1
        } else {
            threads.clamp(1, 256)
        };
        #[cfg(target_arch = "wasm32")]
        return Pool {
            threads,
            region: Mutex::new(()),
        };
        #[cfg(not(target_arch = "wasm32"))]
        {
            let shared = std::sync::Arc::new(workers::Shared::default());
            let mut handles = Vec::new();
            for index in 1..threads {
                let shared = shared.clone();
                let spawned = std::thread::Builder::new()
                    .name(format!("deftune-{index}"))
                    .spawn(move || workers::run(&shared));
                // Fewer threads than asked for is slower, never wrong.
                if let Ok(handle) = spawned {
                    handles.push(handle);
                }
            }
            Pool {
                threads: handles.len() + 1,
                shared,
                handles,
                region: Mutex::new(()),
            }
        }
    }

    /// Cores this process may use.
    pub fn available() -> usize {
        #[cfg(target_arch = "wasm32")]
        return 1;
        #[cfg(not(target_arch = "wasm32"))]
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `task(i)` once for every i in `0..count`, on all threads, and returns when all are done.
    /// Panics (on the calling thread) if a task panicked.
    pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if count == 0 {
            return;
        }
        #[cfg(not(target_arch = "wasm32"))]
        if self.threads > 1 && count > 1 {
            let _one_region = self.region.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            self.shared.run(self.handles.len(), count, task);
            return;
        }
        for index in 0..count {
            task(index);
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod workers {
    use super::{AtomicUsize, Mutex, Ordering};
    use std::sync::Condvar;
    use std::sync::atomic::AtomicBool;

    /// Spins before a waiting worker sleeps: about 30 us, longer than the gap between two operations of a training step.
    const SPINS: usize = 4000;

    type Task = dyn Fn(usize) + Sync;

    /// A borrowed task whose lifetime is erased; valid while its region runs.
    #[derive(Clone, Copy)]
    struct TaskPointer(*const Task);
    // SAFETY: the task is Sync, and `Shared::run` does not return before every worker has let go of it.
    unsafe impl Send for TaskPointer {}

    #[derive(Default)]
    pub struct Shared {
        /// Grows by one for each region; workers wait for a change.
        epoch: AtomicUsize,
        next: AtomicUsize,
        count: AtomicUsize,
        /// Workers that have not finished the current region.
        busy: AtomicUsize,
        panicked: AtomicBool,
        stopping: AtomicBool,
        task: Mutex<Option<TaskPointer>>,
        sleepers: Mutex<usize>,
        wake: Condvar,
    }

    impl Shared {
        pub fn run(&self, workers: usize, count: usize, task: &(dyn Fn(usize) + Sync)) {
            // SAFETY: only the lifetime is changed; this function outlives every use (it waits for `busy` to reach 0).
            let pointer = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const Task>(task) };
            *lock(&self.task) = Some(TaskPointer(pointer));
            self.next.store(0, Ordering::Relaxed);
            self.count.store(count, Ordering::Relaxed);
            self.busy.store(workers, Ordering::Relaxed);
            self.epoch.fetch_add(1, Ordering::SeqCst);
            if *lock(&self.sleepers) > 0 {
                self.wake.notify_all();
            }
            self.take_tasks(task);
            let mut spins = 0usize;
            while self.busy.load(Ordering::Acquire) != 0 {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop()
                } else {
                    std::thread::yield_now()
                }
            }
            *lock(&self.task) = None;
            if self.panicked.swap(false, Ordering::SeqCst) {
                panic!("a parallel task panicked");
            }
        }

        fn take_tasks(&self, task: &(dyn Fn(usize) + Sync)) {
            let count = self.count.load(Ordering::Relaxed);
            loop {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    return;
                }
                // A panic must not leave the region waiting for ever, nor unwind out of a worker.
                if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task(index))).is_err() {
                    self.panicked.store(true, Ordering::SeqCst);
                }
            }
        }

        pub fn stop(&self) {
            self.stopping.store(true, Ordering::SeqCst);
            self.epoch.fetch_add(1, Ordering::SeqCst);
            drop(lock(&self.sleepers));
            self.wake.notify_all();
        }
    }

    pub fn run(shared: &Shared) {
        let mut seen = 0;
        loop {
            let mut spins = 0usize;
            while shared.epoch.load(Ordering::SeqCst) == seen {
                spins += 1;
                if spins < SPINS {
                    std::hint::spin_loop();
                } else {
                    let mut sleepers = lock(&shared.sleepers);
                    *sleepers += 1;
                    while shared.epoch.load(Ordering::SeqCst) == seen {
                        sleepers = shared
                            .wake
                            .wait(sleepers)
                            .unwrap_or_else(|poisoned| poisoned.into_inner());
                    }
                    *sleepers -= 1;
                }
            }
            // A worker joins every region once: the next one cannot start before this one's `busy` is 0.
            seen += 1;
            if shared.stopping.load(Ordering::SeqCst) {
                return;
            }
            let task = *lock(&shared.task);
            if let Some(TaskPointer(pointer)) = task {
                // SAFETY: the region that owns the task waits for this worker's `busy` below.
                shared.take_tasks(unsafe { &*pointer });
            }
            shared.busy.fetch_sub(1, Ordering::Release);
        }
    }

    fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A `*mut T` that tasks share; every task writes a part of its own.
pub struct SendPtr<T>(*mut T);
// By hand: the derived ones would ask `T` to be Copy.
impl<T> Clone for SendPtr<T> {
    fn clone(&self) -> SendPtr<T> {
        *self
    }
}
impl<T> Copy for SendPtr<T> {}
// SAFETY: a bare address; whoever writes through it answers for disjointness.
unsafe impl<T> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for SendPtr<T> {}

impl<T> SendPtr<T> {
    pub fn new(slice: &mut [T]) -> SendPtr<T> {
        SendPtr(slice.as_mut_ptr())
    }

    /// The address of element `offset`.
    /// # Safety
    /// `offset` is inside the slice (or one past its end).
    pub unsafe fn at(self, offset: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }

    /// Elements `offset..offset + len`.
    /// # Safety
    /// In range, and no other task touches them while the slice lives.
    pub unsafe fn slice<'a>(self, offset: usize, len: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), len) }
    }
}

//! The thread pool: the only file that names threads.
//!
//! Work is cut into tasks by the caller, independent of the number of threads, and taken from one atomic counter. A task's result
//! therefore never depends on which thread ran it, and a busy core only slows its own tasks down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A pool of helper threads and the calling thread.
pub struct Pool {
    threads: usize,
    shared: Arc<workers::Shared>,
    handles: Vec<std::thread::JoinHandle<()>>,
    /// One parallel region at a time: a second caller waits.
    region: Mutex<()>,
}

impl Pool {
    /// `threads` is clamped to 1..=256. WebAssembly starts none of its own: there is one, until others take a [`Seat`].
    pub fn new(threads: usize) -> Pool {
        let shared = Arc::<workers::Shared>::default();
        let mut handles = Vec::new();
        for index in 1..threads.clamp(1, 256) {
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

    /// A place for one more thread, which somebody else has started and counts from now on. It may come late, or never.
    pub fn seat(&mut self) -> Seat {
        self.threads += 1;
        Seat(self.shared.clone())
    }

    /// Cores this process may use.
    pub fn available() -> usize {
        std::thread::available_parallelism().map_or(1, |n| n.get())
    }

    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Tasks that work should be cut in at least, where more cost something: four for each thread, so that the last round idles little.
    pub fn wanted_tasks(&self) -> usize {
        4 * self.threads
    }

    /// The task that the thread of `task` probably gets next: they are taken in turn, mostly.
    pub(crate) fn likely_after(&self, task: usize) -> usize {
        task + self.threads
    }

    /// `make(i)` for every i in `0..count`, on all threads, in order of i. Panics as [`Pool::run`].
    pub fn collect<T>(&self, count: usize, make: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
        let mut slots: Vec<Option<T>> = (0..count).map(|_| None).collect();
        let target = SendPtr::new(&mut slots);
        self.run(count, &|index| {
            let made = make(index);
            // SAFETY: each task writes the slot of its own index.
            unsafe { *target.at(index) = Some(made) };
        });
        slots.into_iter().flatten().collect()
    }

    /// Calls `task(i)` once for every i in `0..count`, on all threads, and returns when all are done.
    /// Panics (on the calling thread) if a task panicked.
    pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
        if count == 0 {
            return;
        }
        if self.threads > 1 && count > 1 {
            let _one_region = self.region.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            self.shared.run(count, task);
            return;
        }
        for index in 0..count {
            task(index);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

/// A thread's place in a [`Pool`].
pub struct Seat(Arc<workers::Shared>);

impl Seat {
    /// Works for the pool until it is dropped.
    pub fn work(&self) {
        workers::run(&self.0);
    }

    /// Instead of the thread that was in [`Seat::work`] and ended in the middle of a task, as WebAssembly's threads do when they panic:
    /// the caller panics in turn.
    pub fn abandon(&self) {
        self.0.abandon();
    }
}

mod workers {
    use super::{AtomicUsize, Mutex, Ordering};
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    /// Spins before a waiting worker sleeps: about 30 us, longer than the gap between two operations of a training step.
    const SPINS: usize = 4000;

    type Task = dyn Fn(usize) + Sync;

    /// A borrowed task whose lifetime is erased; valid while its region runs.
    #[derive(Clone, Copy)]
    struct TaskPointer(*const Task);
    // SAFETY: the task is Sync, and `Shared::run` does not return before every worker has let go of it.
    unsafe impl Send for TaskPointer {}

    /// `Shared::state`: the region's number in the upper half, then this bit while workers may still enter, then how many are inside.
    const OPEN: u64 = 1 << 31;
    const INSIDE: u64 = OPEN - 1;

    #[derive(Default)]
    pub struct Shared {
        state: AtomicU64,
        next: AtomicUsize,
        count: AtomicUsize,
        panicked: AtomicBool,
        stopping: AtomicBool,
        task: Mutex<Option<TaskPointer>>,
        sleepers: Mutex<usize>,
        wake: Condvar,
    }

    impl Shared {
        /// The caller takes tasks like every worker and, when none are left, waits only for workers that are inside: one that the
        /// operating system has not run yet (its core is busy with something else) holds nothing up.
        pub fn run(&self, count: usize, task: &(dyn Fn(usize) + Sync)) {
            // SAFETY: only the lifetime is changed; this function outlives every use (it waits until nobody is inside).
            let pointer = unsafe { std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const Task>(task) };
            *lock(&self.task) = Some(TaskPointer(pointer));
            self.next.store(0, Ordering::Relaxed);
            self.count.store(count, Ordering::Relaxed);
            let region = (self.state.load(Ordering::Relaxed) >> 32).wrapping_add(1);
            self.state.store(region << 32 | OPEN, Ordering::SeqCst);
            if *lock(&self.sleepers) > 0 {
                self.wake.notify_all();
            }
            self.take_tasks(task);
            self.state.fetch_and(!OPEN, Ordering::AcqRel);
            let mut spins = 0usize;
            while self.state.load(Ordering::Acquire) & INSIDE != 0 {
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
            drop(lock(&self.sleepers));
            self.wake.notify_all();
        }

        pub fn abandon(&self) {
            self.panicked.store(true, Ordering::SeqCst);
            self.state.fetch_sub(1, Ordering::Release);
        }

        #[cfg(test)]
        pub fn enter_for_test(&self) {
            assert!(self.enter(0).is_some());
        }

        /// The region that a worker just entered, or None where there is none it has not been in.
        fn enter(&self, seen: u64) -> Option<u64> {
            let mut state = self.state.load(Ordering::SeqCst);
            while state & OPEN != 0 && state >> 32 != seen {
                match self
                    .state
                    .compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::SeqCst)
                {
                    Ok(_) => return Some(state >> 32),
                    Err(now) => state = now,
                }
            }
            None
        }

        /// As `enter`, after waiting; None when the pool stops.
        fn wait(&self, seen: u64) -> Option<u64> {
            for _ in 0..SPINS {
                if self.stopping.load(Ordering::Relaxed) {
                    return None;
                }
                if let Some(region) = self.enter(seen) {
                    return Some(region);
                }
                std::hint::spin_loop();
            }
            let mut sleepers = lock(&self.sleepers);
            *sleepers += 1;
            let entered = loop {
                if self.stopping.load(Ordering::SeqCst) {
                    break None;
                }
                if let Some(region) = self.enter(seen) {
                    break Some(region);
                }
                sleepers = self
                    .wake
                    .wait(sleepers)
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
            };
            *sleepers -= 1;
            entered
        }
    }

    pub fn run(shared: &Shared) {
        let mut seen = 0;
        while let Some(region) = shared.wait(seen) {
            seen = region;
            let task = *lock(&shared.task);
            if let Some(TaskPointer(pointer)) = task {
                // SAFETY: the region that owns the task waits until this worker has left, below.
                shared.take_tasks(unsafe { &*pointer });
            }
            shared.state.fetch_sub(1, Ordering::Release);
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

#[cfg(test)]
mod tests {
    use super::Pool;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// More threads than cores and regions of a few instructions: workers come late, or not at all, and every task is still run once.
    #[test]
    fn every_task_runs_once_in_every_region() {
        let pool = Pool::new(7);
        for region in 0..3000usize {
            let runs: Vec<AtomicUsize> = (0..region % 13 + 2).map(|_| AtomicUsize::new(0)).collect();
            pool.run(runs.len(), &|task| {
                runs[task].fetch_add(1, Ordering::Relaxed);
            });
            assert!(
                runs.iter().all(|count| count.load(Ordering::Relaxed) == 1),
                "region {region}"
            );
        }
    }

    #[test]
    fn a_pool_wakes_up_again() {
        let pool = Pool::new(3);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(5)); // longer than workers spin
            let sum = AtomicUsize::new(0);
            pool.run(100, &|task| {
                sum.fetch_add(task, Ordering::Relaxed);
            });
            assert_eq!(sum.load(Ordering::Relaxed), 4950);
        }
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
        let pool = Pool::new(4);
        for round in 0..50 {
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.run(8, &|task| assert_ne!(task, round % 8));
            }));
            assert!(caught.is_err());
            pool.run(8, &|_| {});
        }
    }

    /// Threads of somebody else's: one takes its seat late, one dies in the middle of a task, one never comes.
    #[test]
    fn threads_take_seats() {
        let mut pool = Pool::new(1);
        let seats = [pool.seat(), pool.seat(), pool.seat()];
        assert_eq!(pool.threads(), 4);
        let count = |pool: &Pool| {
            let sum = AtomicUsize::new(0);
            pool.run(100, &|task| {
                sum.fetch_add(task, Ordering::Relaxed);
            });
            sum.into_inner()
        };
        assert_eq!(count(&pool), 4950);
        let here = std::thread::current().id();
        std::thread::scope(|scope| {
            let [worker, dying, _empty] = &seats;
            scope.spawn(move || worker.work());
            let others = AtomicUsize::new(0);
            while others.load(Ordering::Relaxed) == 0 {
                pool.run(50, &|_| {
                    std::thread::sleep(std::time::Duration::from_micros(20));
                    others.fetch_add(usize::from(std::thread::current().id() != here), Ordering::Relaxed);
                });
            }
            // What WebAssembly's thread does that ends in a task: it is inside a region, and somebody abandons the seat for it.
            let is_inside = AtomicUsize::new(0);
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                pool.run(2, &|task| {
                    if task == 0 && is_inside.fetch_add(1, Ordering::SeqCst) == 0 {
                        dying.0.enter_for_test();
                        dying.abandon();
                    }
                });
            }));
            assert!(caught.is_err());
            assert_eq!(count(&pool), 4950);
            drop(pool);
        });
    }

    #[test]
    fn callers_take_turns() {
        let pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        pool.run(5, &|_| {
                            sum.fetch_add(1, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.load(Ordering::Relaxed), 3 * 200 * 5);
    }
}

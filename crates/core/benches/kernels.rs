//! Speed of the product kernels: `cargo bench -p deftune-core [-- --json FILE] [--isa NAME] [--only WORD]`.
//!
//! The machine may be shared, so runs are interleaved, the best of several counts, and an FMA probe before and after says what the
//! cores could do at the time.

use deftune_core::matmul::{Accumulate, PackedB, matmul, matmul_at_b, matmul_row_blocks};
use deftune_core::simd::{Isa, Kernel, Simd, dispatch};
use deftune_core::sparse::{Activations, CROSSOVER, PackedNeurons, compact_block, sampled, sparse_at_b, zero_skip};
use deftune_core::threads::Pool;
use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

/// Rounds over a group of works; the best time of each counts.
const ROUNDS: usize = 9;
/// Seconds that one measurement lasts at least.
const SHORTEST: f64 = 0.004;

/// One line of the JSON file.
struct Line {
    work: String,
    unit: &'static str,
    ours: f64,
    ratio: Option<f64>,
    of_limit: Option<f64>,
}

struct Bench {
    isa: Isa,
    pools: Vec<Pool>,
    /// GFLOP/s of FMA for each of `pools`.
    peaks: Vec<f64>,
    lines: RefCell<Vec<Line>>,
}

/// A stream of FMAs that the registers feed: what no kernel can beat.
struct Probe(usize);

impl Kernel for Probe {
    type Output = f64;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f64 {
        // 10 chains cover the latency of two FMA units; they and their two operands fit in 16 registers.
        let mut acc = [s.splat(black_box(1.0)); 10];
        let (a, b) = (s.splat(black_box(0.999)), s.splat(black_box(0.001)));
        for _ in 0..self.0 {
            for acc in &mut acc {
                *acc = s.mul_add(*acc, a, b);
            }
        }
        for acc in acc {
            black_box(s.reduce_add(acc));
        }
        (self.0 * 10 * S::LANES * 2) as f64
    }
}

/// GFLOP/s of all threads of the pool.
fn peak(isa: Isa, pool: &Pool) -> f64 {
    let flops = dispatch(isa, Probe(400_000)) * pool.threads() as f64;
    let seconds = best(&mut [&mut || {
        pool.run(pool.threads(), &|_| {
            black_box(dispatch(isa, Probe(400_000)));
        })
    }]);
    flops / seconds[0] / 1e9
}

/// Best seconds of one call of each work, interleaved.
fn best(works: &mut [&mut dyn FnMut()]) -> Vec<f64> {
    let repeats: Vec<usize> = works
        .iter_mut()
        .map(|work| {
            work();
            let start = Instant::now();
            work();
            (SHORTEST / start.elapsed().as_secs_f64().max(1e-7)).ceil() as usize
        })
        .collect();
    let mut seconds = vec![f64::INFINITY; works.len()];
    for _ in 0..ROUNDS {
        for (i, work) in works.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..repeats[i] {
                work();
            }
            seconds[i] = seconds[i].min(start.elapsed().as_secs_f64() / repeats[i] as f64);
        }
    }
    seconds
}

/// Numbers in -1..1.
fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect()
}

/// Numbers of which `density` are not zero, at random places.
fn sparse_numbers(len: usize, density: f32, seed: u64) -> Vec<f32> {
    let chance = numbers(len, seed + 77);
    numbers(len, seed)
        .iter()
        .zip(chance)
        .map(|(&x, c)| if (c + 1.0) / 2.0 < density { x } else { 0.0 })
        .collect()
}

impl Bench {
    fn note(&self, work: String, unit: &'static str, ours: f64, ratio: Option<f64>, of_limit: Option<f64>) {
        self.lines.borrow_mut().push(Line {
            work,
            unit,
            ours,
            ratio,
            of_limit,
        });
    }

    fn dense(&self) {
        println!("\nmatmul, GFLOP/s (share of the FMA peak)          matmul          row blocks");
        for (k, n) in [(768, 768), (768, 3072), (3072, 768)] {
            let packed = PackedB::from_rows(self.isa, &self.pools[0], &numbers(k * n, 2), n, k).unwrap();
            for m in [1, 8, 32, 128, 512, 800] {
                let a = numbers(m * k, 1);
                let mut out = vec![0.0; m * n];
                for index in 0..self.pools.len() {
                    let (isa, pool) = (self.isa, &self.pools[index]);
                    let plain = &mut || matmul(isa, pool, &a, m, &packed, None, Accumulate::Overwrite, &mut out);
                    let blocks = &mut || {
                        matmul_row_blocks(isa, pool, &a, m, &packed, None, &|_, block| {
                            black_box(block.len());
                        });
                    };
                    let speeds: Vec<f64> = best(&mut [plain, blocks])
                        .iter()
                        .map(|s| 2.0 * (m * k * n) as f64 / s / 1e9)
                        .collect();
                    let (threads, peak) = (pool.threads(), self.peaks[index]);
                    println!(
                        "  {m:>4} x {k:>4} x {n:>4}  {threads} thread(s)  {:>26.1} ({:>3.0} %)  {:>8.1} ({:>3.0} %)",
                        speeds[0],
                        100.0 * speeds[0] / peak,
                        speeds[1],
                        100.0 * speeds[1] / peak,
                    );
                    let work = format!("matmul {m}x{k}x{n}, {threads} threads");
                    self.note(work, "GFLOP/s", speeds[0], None, Some(speeds[0] / peak));
                }
            }
        }
    }

    fn transposed(&self) {
        println!("\naᵀ · b, GFLOP/s");
        for (p, q, t) in [
            (768, 768, 800),
            (3072, 768, 800),
            (8, 768, 800),
            (768, 8, 800),
            (16, 3072, 800),
        ] {
            let (a, b) = (numbers(t * p, 1), numbers(t * q, 2));
            let mut out = vec![0.0; p * q];
            for index in 0..self.pools.len() {
                let (isa, pool) = (self.isa, &self.pools[index]);
                let product = &mut || matmul_at_b(isa, pool, &a, p, &b, q, t, Accumulate::Overwrite, &mut out).unwrap();
                let speed = 2.0 * (p * q * t) as f64 / best(&mut [product])[0] / 1e9;
                let (threads, share) = (pool.threads(), speed / self.peaks[index]);
                println!(
                    "  {p:>4} x {q:>4} over {t}  {threads} thread(s)  {speed:>8.1} ({:>3.0} %)",
                    100.0 * share
                );
                self.note(
                    format!("at_b {p}x{q} over {t}, {threads} threads"),
                    "GFLOP/s",
                    speed,
                    None,
                    Some(share),
                );
            }
        }
        println!("\nLoRA, x [800, 768] to rank 8 and back, GFLOP/s");
        let (m, d, r) = (800, 768, 8);
        for (k, n) in [(d, r), (r, d)] {
            let packed = PackedB::from_rows(self.isa, &self.pools[0], &numbers(k * n, 2), n, k).unwrap();
            let (a, mut out) = (numbers(m * k, 1), vec![0.0; m * n]);
            for index in 0..self.pools.len() {
                let (isa, pool) = (self.isa, &self.pools[index]);
                let product = &mut || matmul(isa, pool, &a, m, &packed, None, Accumulate::Add(0.5), &mut out);
                let speed = 2.0 * (m * k * n) as f64 / best(&mut [product])[0] / 1e9;
                println!("  {m} x {k} x {n}  {} thread(s)  {speed:>8.1}", pool.threads());
            }
        }
    }

    fn sparse(&self) {
        let (rows, d, neurons) = (800, 768, 3072);
        println!("\n{rows} tokens, d {d}, {neurons} neurons, random masks: times faster than our own dense product");
        println!(
            "  density  threads   dense ms   zero-skip          sampled            oᵀ·x               compaction ms"
        );
        let first = &self.pools[0];
        let w = numbers(neurons * d, 3);
        let packed = PackedNeurons::from_neuron_rows(self.isa, first, &w, neurons, d).unwrap();
        let down = PackedB::from_columns(self.isa, first, &w, neurons, d).unwrap();
        let up = PackedB::from_rows(self.isa, first, &w, neurons, d).unwrap();
        let dy = numbers(rows * d, 4);
        let mut out = vec![0.0; rows * d];
        let mut out_up = vec![0.0; rows * neurons];
        let mut out_w = vec![0.0; neurons * d];
        for percent in [1, 3, 5, 10, 20, 36, 50] {
            let o = sparse_numbers(rows * neurons, percent as f32 / 100.0, 5);
            let compact = Activations::from_dense(self.isa, first, &o, rows, neurons, 2.0).unwrap();
            for index in 0..self.pools.len() {
                let (isa, pool) = (self.isa, &self.pools[index]);
                let mut out2 = vec![0.0; rows * d];
                let mode = Accumulate::Overwrite;
                let seconds = best(&mut [
                    &mut || matmul(isa, pool, &o, rows, &down, None, mode, &mut out),
                    &mut || zero_skip(isa, pool, &compact, &packed, &down, None, mode, &mut out2),
                    &mut || matmul(isa, pool, &dy, rows, &up, None, mode, &mut out_up),
                    &mut || drop(black_box(sampled(isa, pool, &dy, &compact, &packed, &up).unwrap())),
                    &mut || sparse_at_b(isa, pool, &compact, &dy, d, mode, &mut out_w).unwrap(),
                    &mut || {
                        pool.run(17, &|i| {
                            let part = &o[i * 48 * neurons..((i + 1) * 48).min(rows) * neurons];
                            drop(black_box(compact_block(isa, part, neurons, CROSSOVER)));
                        })
                    },
                ]);
                let threads = pool.threads();
                let ms = |i: usize| seconds[i] * 1e3;
                let speedup = |i: usize, dense: usize| seconds[dense] / seconds[i];
                println!(
                    "  {percent:>5} %  {threads:>7}   {:>8.2}   {:>5.2}x ({:>6.2} ms)  {:>5.2}x ({:>6.2} ms)  {:>5.2}x ({:>6.2} ms)  {:>6.2}",
                    ms(0),
                    speedup(1, 0),
                    ms(1),
                    speedup(3, 2),
                    ms(3),
                    speedup(4, 0),
                    ms(4),
                    ms(5),
                );
                for (name, i, dense) in [("zero-skip", 1, 0), ("sampled", 3, 2), ("sparse_at_b", 4, 0)] {
                    let work = format!("{name} at {percent} %, {rows} tokens, {d}x{neurons}, {threads} threads");
                    self.note(work, "ms", ms(i), Some(speedup(i, dense)), None);
                }
            }
        }
    }

    fn json(&self) -> String {
        let number = |x: Option<f64>| x.map_or("null".to_string(), |x| format!("{x:.4}"));
        let line = |line: &Line| {
            format!(
                r#"  {{"work": "{}", "precision": "f32", "unit": "{}", "ours": {:.4}, "peer": null, "ratio": {}, "ofLimit": {}}}"#,
                line.work,
                line.unit,
                line.ours,
                number(line.ratio),
                number(line.of_limit),
            )
        };
        format!(
            "[\n{}\n]\n",
            self.lines.borrow().iter().map(line).collect::<Vec<_>>().join(",\n")
        )
    }
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(':').nth(1))
            .unwrap_or("?")
            .trim()
            .to_string()
    };
    format!(
        "{}, family {} model {}",
        field("model name"),
        field("cpu family"),
        field("model\t")
    )
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let option = |name: &str| {
        arguments
            .iter()
            .position(|a| a == name)
            .and_then(|i| arguments.get(i + 1))
    };
    let isa = Isa::choose(option("--isa").map(String::as_str)).unwrap_or_else(|error| panic!("{error}"));
    let all = Pool::available();
    let pools: Vec<Pool> = if all > 1 {
        vec![Pool::new(1), Pool::new(all)]
    } else {
        vec![Pool::new(1)]
    };
    println!("{}; {} cores; instruction set {}", cpu(), all, isa.name());
    let peaks: Vec<f64> = pools.iter().map(|pool| peak(isa, pool)).collect();
    println!("FMA peak before: {peaks:.1?} GFLOP/s");
    let bench = Bench {
        isa,
        pools,
        peaks,
        lines: RefCell::default(),
    };
    let only = option("--only").map_or("", String::as_str);
    type Group = fn(&Bench);
    for (name, group) in [
        ("dense", Bench::dense as Group),
        ("transposed", Bench::transposed),
        ("sparse", Bench::sparse),
    ] {
        if only.is_empty() || only == name {
            group(&bench);
        }
    }
    let after: Vec<f64> = bench.pools.iter().map(|pool| peak(isa, pool)).collect();
    println!("\nFMA peak after: {after:.1?} GFLOP/s");
    if let Some(file) = option("--json") {
        std::fs::write(file, bench.json()).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
}

//! The kernels' side of `npm run bench`: reads one work a line, answers one number a line. `bench/kernels.mjs` has the plan, asks this
//! and the peers in turn, and prints the tables; by hand: `echo 'matmul 512 768 768 1 f32' | cargo bench -p deftune-core --bench kernels`.
//!
//! Works and answers (T threads, P percent of non-zeros):
//!
//! | line | answer |
//! |---|---|
//! | `describe` | CPU, cores, instruction set |
//! | `peak T` | GFLOP/s of FMA |
//! | `peak-bf16 T` | GFLOP/s of the unit for bf16 |
//! | `bandwidth T BYTES` | GB/s of reading BYTES over and over, by each thread |
//! | `matmul M K N T f32\|bf16` | seconds of a call |
//! | `row-blocks M K N T f32\|bf16` | the same, blocks handed to a sink |
//! | `turned M K N T f32\|bf16` | `matmul` by a pack of the transpose |
//! | `layers M T f32\|bf16` | seconds of the linear layers of BERT-base's 12 layers for M tokens, weights of their own |
//! | `at-b P Q ROWS T` | seconds of aᵀ · b |
//! | `dense-down T f32\|bf16` | seconds of o · W, 800 tokens, 3072 neurons, 768 wide |
//! | `dense-up T f32\|bf16` | seconds of dy · Wᵀ |
//! | `zero-skip P T f32\|bf16`, `sampled ...`, `sparse-at-b ...` | the sparse products, whatever the density |
//! | `chosen P T f32\|bf16`, `chosen-sampled ...` | the same with blocks dense or compact by the crossover |
//! | `compact P T f32` | seconds of compaction |
//! | `mlp P T f32\|bf16` | seconds of forward and backward of a frozen MLP (768, 3072, 768) with ReLU at P % |
//! | `attention T P LENGTH...`, `attention-backward ...` | seconds of attention, 12 heads of 64, a sequence for each length, P percent dropout |
//! | `forget` | 0; frees what the works hold |

use deftune_core::engine::Engine;
use deftune_core::matmul::{Accumulate, PackedB, Precision, Rhs, matmul, matmul_at_b, matmul_row_blocks};
use deftune_core::memory::AlignedBuf;
use deftune_core::ops::activation::ActivationKind;
use deftune_core::ops::attention::{self, AttentionShape};
use deftune_core::rng::Stream;
#[cfg(target_arch = "x86_64")]
use deftune_core::simd::{Bf16Unit, amx, avx512_bf16};
use deftune_core::simd::{Isa, Kernel, Simd, dispatch};
use deftune_core::sparse::{Activations, Weight, compact_block, crossover, sampled, sparse_at_b, zero_skip};
use deftune_core::threads::Pool;
use std::collections::HashMap;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::rc::Rc;
use std::time::Instant;

/// Batches of calls; the best one counts.
const BATCHES: usize = 5;
/// Seconds that a batch lasts at least.
const SHORTEST: f64 = 0.004;
/// Shape of the MLP's works.
const ROWS: usize = 800;
const D: usize = 768;
const NEURONS: usize = 3072;

type Work = Box<dyn FnMut()>;

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

/// Reads a slice once, in vectors, into eight sums.
struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        let mut sums = [s.zero(); 8];
        for part in self.0.chunks_exact(8 * S::LANES) {
            for (v, sum) in sums.iter_mut().enumerate() {
                // SAFETY: 8 vectors are in the chunk.
                *sum = s.add(*sum, unsafe { s.load(part.as_ptr().add(v * S::LANES)) });
            }
        }
        sums.into_iter().map(|sum| s.reduce_add(sum)).sum()
    }
}

/// Best seconds of one call.
fn best(work: &mut dyn FnMut()) -> f64 {
    work();
    let start = Instant::now();
    work();
    let repeats = (SHORTEST / start.elapsed().as_secs_f64().max(1e-7)).ceil() as usize;
    let mut seconds = f64::INFINITY;
    for _ in 0..BATCHES {
        let start = Instant::now();
        (0..repeats).for_each(|_| work());
        seconds = seconds.min(start.elapsed().as_secs_f64() / repeats as f64);
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

/// Numbers of which `percent` are not zero, at random places.
fn sparse_numbers(len: usize, percent: f32, seed: u64) -> Vec<f32> {
    let chance = numbers(len, seed + 77);
    let values = numbers(len, seed);
    values
        .iter()
        .zip(chance)
        .map(|(&x, c)| if 50.0 * (c + 1.0) < percent { x } else { 0.0 })
        .collect()
}

struct Bench {
    isa: Isa,
    pools: HashMap<usize, Rc<Pool>>,
    works: HashMap<String, Work>,
}

impl Bench {
    fn pool(&mut self, threads: usize) -> Rc<Pool> {
        self.pools
            .entry(threads)
            .or_insert_with(|| Rc::new(Pool::new(threads)))
            .clone()
    }

    /// The answer to one line.
    fn answer(&mut self, line: &str) -> Result<String, String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| -> Result<usize, String> {
            let word = words.get(at).ok_or_else(|| format!("{line}: word {at} is missing"))?;
            word.parse().map_err(|_| format!("{line}: {word} is not a number"))
        };
        match words.first().copied().unwrap_or_default() {
            "describe" => Ok(format!("{}, {} cores, {}", cpu(), Pool::available(), self.isa.name())),
            "peak" => Ok(self.peak(number(1)?).to_string()),
            "peak-bf16" => Ok(self.peak_bf16(number(1)?)?.to_string()),
            "bandwidth" => Ok(self.bandwidth(number(1)?, number(2)?).to_string()),
            "forget" => {
                self.works.clear();
                Ok("0".into())
            }
            _ => {
                if !self.works.contains_key(line) {
                    let work = self.prepare(&words, &number)?;
                    self.works.insert(line.into(), work);
                }
                let work = self.works.get_mut(line).ok_or("no work")?;
                Ok(best(work).to_string())
            }
        }
    }

    /// GFLOP/s of all threads together.
    fn peak(&mut self, threads: usize) -> f64 {
        const LENGTH: usize = 400_000;
        let (isa, pool) = (self.isa, self.pool(threads));
        let flops = dispatch(isa, Probe(LENGTH)) * threads as f64;
        let seconds = best(&mut || {
            pool.run(threads, &|_| {
                black_box(dispatch(isa, Probe(LENGTH)));
            })
        });
        flops / seconds / 1e9
    }

    /// GFLOP/s of all threads together on bf16; an error where the CPU has no unit for it.
    #[cfg(target_arch = "x86_64")]
    fn peak_bf16(&mut self, threads: usize) -> Result<f64, String> {
        const LENGTH: usize = 100_000;
        let (isa, pool) = (self.isa, self.pool(threads));
        let run = move || match isa.bf16_unit() {
            // SAFETY: the instruction set was detected.
            Some(Bf16Unit::Tiles) => unsafe { amx::probe(LENGTH) },
            Some(Bf16Unit::Dot) => avx512_bf16::probe(isa, LENGTH),
            None => f64::NAN,
        };
        let flops = run() * threads as f64;
        if flops.is_nan() {
            return Err(format!("{} has no unit for bf16", isa.name()));
        }
        let seconds = best(&mut || {
            pool.run(threads, &|_| {
                black_box(run());
            })
        });
        Ok(flops / seconds / 1e9)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn peak_bf16(&mut self, _: usize) -> Result<f64, String> {
        Err(format!("{} has no unit for bf16", self.isa.name()))
    }

    /// GB/s of all threads together, each reading `bytes` of its own.
    fn bandwidth(&mut self, threads: usize, bytes: usize) -> f64 {
        let (isa, pool) = (self.isa, self.pool(threads));
        // Aligned: a vector of AVX-512 that crosses a cache line costs two reads.
        let sources = (0..threads).map(|i| AlignedBuf::from_slice(&numbers(bytes / 4, i as u64 + 1)));
        let sources = sources
            .collect::<Result<Vec<_>, _>>()
            .unwrap_or_else(|error| panic!("{error}"));
        let passes = (16_000_000 / bytes).max(1);
        let seconds = best(&mut || {
            pool.run(threads, &|index| {
                for _ in 0..passes {
                    black_box(dispatch(isa, Read(black_box(&sources[index]))));
                }
            })
        });
        (threads * bytes * passes) as f64 / seconds / 1e9
    }

    fn prepare(&mut self, words: &[&str], number: &dyn Fn(usize) -> Result<usize, String>) -> Result<Work, String> {
        match words[0] {
            "matmul" | "turned" | "row-blocks" => {
                let precision = precision(words.get(5))?;
                let sizes = [number(1)?, number(2)?, number(3)?];
                self.product(words[0], sizes, number(4)?, precision)
            }
            "layers" => self.layers(number(1)?, number(2)?, precision(words.get(3))?),
            "at-b" => self.transposed(number(1)?, number(2)?, number(3)?, number(4)?),
            "dense-down" | "dense-up" => self.dense(words[0] == "dense-down", number(1)?, precision(words.get(2))?),
            "attention" | "attention-backward" => {
                let lengths = (3..words.len()).map(number).collect::<Result<Vec<_>, _>>()?;
                self.attention(words[0] == "attention", number(1)?, number(2)? as f32 / 100.0, &lengths)
            }
            "mlp" => self.mlp(percent(words)?, number(2)?, words.get(3).copied().unwrap_or_default()),
            _ => self.sparse(words[0], percent(words)?, number(2)?, precision(words.get(3))?),
        }
    }

    fn product(
        &mut self,
        name: &str,
        [m, k, n]: [usize; 3],
        threads: usize,
        precision: Precision,
    ) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let packed = PackedB::from_rows_in(isa, &pool, precision, &numbers(k * n, 2), n, k).map_err(message)?;
        let (a, mut out) = (numbers(m * k, 1), vec![0.0; m * n]);
        let mode = Accumulate::Overwrite;
        if name == "turned" {
            let packed = packed.transposed(isa, &pool).map_err(message)?;
            return Ok(Box::new(move || {
                matmul(isa, &pool, &a, m, Rhs::TransposeOf(&packed), None, mode, &mut out)
            }));
        }
        if name == "matmul" {
            return Ok(Box::new(move || {
                matmul(isa, &pool, &a, m, &packed, None, mode, &mut out)
            }));
        }
        Ok(Box::new(move || {
            matmul_row_blocks(isa, &pool, &a, m, &packed, None, &|_, block| {
                black_box(block.len());
            })
        }))
    }

    fn layers(&mut self, m: usize, threads: usize, precision: Precision) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let shapes = [(D, D), (D, D), (D, D), (D, D), (D, NEURONS), (NEURONS, D)];
        let weights = (0..12)
            .flat_map(|_| shapes)
            .map(|(k, n)| PackedB::from_rows_in(isa, &pool, precision, &numbers(k * n, 2), n, k))
            .collect::<deftune_core::Result<Vec<_>>>()
            .map_err(message)?;
        let (a, mut out) = (numbers(m * NEURONS, 1), vec![0.0; m * NEURONS]);
        Ok(Box::new(move || {
            for w in &weights {
                let (a, out) = (&a[..m * w.k], &mut out[..m * w.n]);
                matmul(isa, &pool, a, m, w, None, Accumulate::Overwrite, out);
            }
        }))
    }

    fn attention(&mut self, forward: bool, threads: usize, dropout: f32, lengths: &[usize]) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let mut cu = vec![0];
        for length in lengths {
            cu.push(cu[cu.len() - 1] + *length as i32);
        }
        let (heads, head_dim) = (12, 64);
        let rows = lengths.iter().sum::<usize>();
        let size = rows * heads * head_dim;
        // Buffers of so many layers in turn: those of a model's last use are no longer in the caches.
        const LAYERS: usize = 8;
        let buffers =
            |seed| (0..LAYERS).map(move |layer| AlignedBuf::from_slice(&numbers(size, 8 * layer as u64 + seed)));
        let buffers = |seed| buffers(seed).collect::<deftune_core::Result<Vec<_>>>().map_err(message);
        let (q, k, v, dout) = (buffers(1)?, buffers(2)?, buffers(3)?, buffers(4)?);
        let (mut out, mut dq, mut dk, mut dv) = (buffers(5)?, buffers(6)?, buffers(7)?, buffers(8)?);
        let mut lse = vec![0.0; rows * heads];
        let mut layer = 0;
        let mut step = move |forward: bool| {
            layer = (layer + 1) % LAYERS;
            let (q, k, v, dout) = (&q[layer], &k[layer], &v[layer], &dout[layer]);
            let (out, dq, dk, dv) = (&mut out[layer], &mut dq[layer], &mut dk[layer], &mut dv[layer]);
            let shape = AttentionShape {
                cu_q: &cu,
                cu_k: &cu,
                heads,
                head_dim,
                causal: false,
                scale: 0.125,
                dropout,
                stream: Stream { seed: 1, stream: 2 },
                bias: None,
            };
            if forward {
                attention::forward(isa, &pool, &shape, q, k, v, out, &mut lse)
            } else {
                attention::backward(isa, &pool, &shape, q, k, v, out, &lse, dout, dq, dk, dv, None)
            }
        };
        step(true).map_err(message)?;
        Ok(Box::new(move || {
            step(forward).unwrap_or_else(|error| panic!("{error}"))
        }))
    }

    fn transposed(&mut self, p: usize, q: usize, rows: usize, threads: usize) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let (a, b, mut out) = (numbers(rows * p, 1), numbers(rows * q, 2), vec![0.0; p * q]);
        let mode = Accumulate::Overwrite;
        Ok(Box::new(move || {
            let _ = black_box(matmul_at_b(isa, &pool, &a, p, &b, q, rows, mode, &mut out));
        }))
    }

    fn dense(&mut self, down: bool, threads: usize, precision: Precision) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let w = numbers(NEURONS * D, 3);
        let (packed, inputs, outputs) = if down {
            let packed = PackedB::from_columns_in(isa, &pool, precision, &w, NEURONS, D);
            (packed, NEURONS, D)
        } else {
            (PackedB::from_rows_in(isa, &pool, precision, &w, NEURONS, D), D, NEURONS)
        };
        let packed = packed.map_err(message)?;
        let (x, mut out) = (numbers(ROWS * inputs, 4), vec![0.0; ROWS * outputs]);
        let mode = Accumulate::Overwrite;
        Ok(Box::new(move || {
            matmul(isa, &pool, &x, ROWS, &packed, None, mode, &mut out)
        }))
    }

    fn sparse(&mut self, name: &str, percent: f32, threads: usize, precision: Precision) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let w = numbers(NEURONS * D, 3);
        let o = sparse_numbers(ROWS * NEURONS, percent, 5);
        if name == "compact" {
            return Ok(Box::new(move || {
                pool.run(ROWS.div_ceil(48), &|i| {
                    let part = &o[i * 48 * NEURONS..((i + 1) * 48).min(ROWS) * NEURONS];
                    drop(black_box(compact_block(isa, part, NEURONS, crossover(isa, precision))));
                })
            }));
        }
        let down = PackedB::from_columns_in(isa, &pool, precision, &w, NEURONS, D).map_err(message)?;
        let rows = down.in_rows(&pool).map_err(message)?;
        let crossover = if name.starts_with("chosen") {
            crossover(isa, precision)
        } else {
            2.0
        };
        let o = Activations::from_dense(isa, &pool, &o, ROWS, NEURONS, crossover).map_err(message)?;
        let dy = numbers(ROWS * D, 4);
        let mode = Accumulate::Overwrite;
        match name {
            "zero-skip" | "chosen" => {
                let mut out = vec![0.0; ROWS * D];
                Ok(Box::new(move || {
                    let w = Weight {
                        rows: rows.as_ref().or(Some(&down)),
                        dense: Some(Rhs::Packed(&down)),
                    };
                    zero_skip(isa, &pool, &o, w, None, mode, &mut out)
                }))
            }
            "sampled" | "chosen-sampled" => {
                let up = PackedB::from_rows_in(isa, &pool, precision, &w, NEURONS, D).map_err(message)?;
                Ok(Box::new(move || {
                    let w = Weight {
                        rows: rows.as_ref().or(Some(&down)),
                        dense: Some(Rhs::Packed(&up)),
                    };
                    let _ = black_box(sampled(isa, &pool, &dy, &o, w));
                }))
            }
            "sparse-at-b" => {
                let mut out = vec![0.0; NEURONS * D];
                Ok(Box::new(move || {
                    let _ = black_box(sparse_at_b(isa, &pool, &o, &dy, D, mode, &mut out));
                }))
            }
            _ => Err(format!("{name}: no such work")),
        }
    }

    /// The biases of the up-projection put its activations at the wanted density: x and W are uniform, so their products are near normal
    /// with variance D/9.
    fn mlp(&mut self, percent: f32, threads: usize, precision: &str) -> Result<Work, String> {
        let mut engine = Engine::new(threads as u32, self.isa.name()).map_err(message)?;
        let x = engine.upload_f32(&numbers(ROWS * D, 4), ROWS as u32, D as u32);
        let up = engine.upload_f32(&numbers(NEURONS * D, 3), NEURONS as u32, D as u32);
        let down = engine.upload_f32(&numbers(NEURONS * D, 5), D as u32, NEURONS as u32);
        let bias = -(D as f32).sqrt() / 3.0 * upper_quantile(percent as f64 / 100.0) as f32;
        let bias = engine.upload_f32(&vec![bias; NEURONS], 1, NEURONS as u32);
        let dy = engine.upload_f32(&numbers(ROWS * D, 6), ROWS as u32, D as u32);
        let [x, up, down, bias, dy] = [x, up, down, bias, dy].map(|handle| handle.map_err(message));
        let (x, up, down, bias, dy) = (x?, up?, down?, bias?, dy?);
        for weight in [up, down] {
            engine.freeze_weight(weight, precision.into()).map_err(message)?;
        }
        let relu = ActivationKind::Relu as u32;
        let mut step = move || -> deftune_core::Result<()> {
            engine.begin_scope()?;
            let o = engine.linear_activate(x, up, bias, relu, 0, 0.0, 0.0, 0.0)?[0];
            engine.linear(o, down, 0)?;
            let d_o = engine.linear_backward_input(dy, down, o)?;
            let d_pre = engine.activate_backward(d_o, o, 0, 0, 0.0, relu, 0, 0.0, 0.0, 0.0)?;
            engine.linear_backward_input(d_pre, up, 0)?;
            engine.end_scope()?;
            Ok(())
        };
        step().map_err(message)?;
        Ok(Box::new(move || step().unwrap_or_else(|error| panic!("{error}"))))
    }
}

fn message(error: deftune_core::Error) -> String {
    error.to_string()
}

fn percent(words: &[&str]) -> Result<f32, String> {
    let word = words.get(1).copied().unwrap_or_default();
    word.parse().map_err(|_| format!("{word:?} is not a percentage"))
}

fn precision(word: Option<&&str>) -> Result<Precision, String> {
    word.and_then(|name| Precision::from_name(name))
        .ok_or_else(|| format!("{word:?} is no precision, expected f32 or bf16"))
}

/// x with P(standard normal > x) = `share`: bisection on the tail of erfc by its continued fraction is more than a bench needs, so the
/// distribution is summed numerically.
fn upper_quantile(share: f64) -> f64 {
    let step = 1e-4;
    let (mut x, mut tail) = (8.0f64, 0.0);
    while tail < share && x > -8.0 {
        tail += step * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
        x -= step;
    }
    x
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
        "{} (family {}, model {})",
        field("model name"),
        field("cpu family"),
        field("model\t")
    )
}

fn main() {
    let isa = std::env::var(deftune_core::simd::ISA_VARIABLE).ok();
    let isa = Isa::choose(isa.as_deref()).unwrap_or_else(|error| panic!("{error}"));
    let mut bench = Bench {
        isa,
        pools: HashMap::new(),
        works: HashMap::new(),
    };
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        let answer = bench
            .answer(line.trim())
            .unwrap_or_else(|problem| format!("error: {problem}"));
        println!("{answer}");
        let _ = std::io::stdout().flush();
    }
}

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

mod attention;
mod dense;
mod mlp;
mod numbers;
mod probes;
mod sparse;
mod timing;

use deftune_core::matmul::Precision;
use deftune_core::simd::Isa;
use deftune_core::threads::Pool;
use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::rc::Rc;
use timing::best;

/// Shape of the MLP's works.
const ROWS: usize = 800;
const D: usize = 768;
const NEURONS: usize = 3072;

type Work = Box<dyn FnMut()>;

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

//! The works of sparse products and of compaction.

use crate::numbers::{numbers, sparse_numbers};
use crate::{Bench, D, NEURONS, ROWS, Work, message};
use deftune_core::matmul::{Accumulate, PackedB, Precision, Rhs};
use deftune_core::sparse::{Activations, Blocking, Weight, compact_block, sampled, sparse_at_b, zero_skip};
use std::hint::black_box;

impl Bench {
    pub fn sparse(&mut self, name: &str, percent: f32, threads: usize, precision: Precision) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let mut blocking = Blocking::of(isa, precision);
        let w = numbers(NEURONS * D, 3);
        let o = sparse_numbers(ROWS * NEURONS, percent, 5);
        if name == "compact" {
            return Ok(Box::new(move || {
                pool.run(ROWS.div_ceil(blocking.rows), &|i| {
                    let part = &o[i * blocking.rows * NEURONS..((i + 1) * blocking.rows).min(ROWS) * NEURONS];
                    drop(black_box(compact_block(isa, part, NEURONS, blocking.crossover)));
                })
            }));
        }
        let down = PackedB::from_columns_in(isa, &pool, precision, &w, NEURONS, D).map_err(message)?;
        let rows = down.in_rows(&pool).map_err(message)?;
        if !name.starts_with("chosen") {
            blocking.crossover = 2.0;
        }
        let o = Activations::from_dense(isa, &pool, &o, ROWS, NEURONS, blocking).map_err(message)?;
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
}

//! The works of dense products.

use crate::numbers::numbers;
use crate::{Bench, D, NEURONS, ROWS, Work, message};
use deftune_core::matmul::{Accumulate, PackedB, Precision, Rhs, matmul, matmul_at_b, matmul_row_blocks};
use std::hint::black_box;

impl Bench {
    pub fn product(
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

    pub fn layers(&mut self, m: usize, threads: usize, precision: Precision) -> Result<Work, String> {
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

    pub fn transposed(&mut self, p: usize, q: usize, rows: usize, threads: usize) -> Result<Work, String> {
        let (isa, pool) = (self.isa, self.pool(threads));
        let (a, b, mut out) = (numbers(rows * p, 1), numbers(rows * q, 2), vec![0.0; p * q]);
        let mode = Accumulate::Overwrite;
        Ok(Box::new(move || {
            let _ = black_box(matmul_at_b(isa, &pool, &a, p, &b, q, rows, mode, &mut out));
        }))
    }

    pub fn dense(&mut self, down: bool, threads: usize, precision: Precision) -> Result<Work, String> {
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
}

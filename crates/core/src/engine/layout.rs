//! Rows and columns moved about: ragged sequences joined, columns cut out, put in and scaled.

use super::tensors::Data;
use super::{Engine, Handles};
use crate::memory::AlignedBuf;
use crate::ops::sequences::{self, Front};
use crate::ops::{attention, columns};
use crate::{Error, Result};

impl Engine {
    /// For each sequence its rows of `a` and then its rows of `b` (offsets `cu_b`). `cu_a` holds the offsets in `a`, where sequences
    /// may be empty; 0: every sequence gets all of `a`.
    pub fn concat_sequences(&mut self, a: u32, b: u32, cu_a: u32, cu_b: u32) -> Result<u32> {
        const OP: &str = "concatSequences";
        let (front_rows, cols) = self.shape(a)?;
        let (rows, _) = self.shape(b)?;
        self.expect(OP, "b", b, rows, cols)?;
        let (front, cu_b) = self.joined(OP, front_rows, rows, cu_a, cu_b)?;
        let joined = sequences::joined_rows(front, cu_b);
        let mut out = AlignedBuf::uninit(joined.saturating_mul(cols))?;
        sequences::concat(
            &self.pool,
            self.f32(OP, a)?,
            front,
            self.f32(OP, b)?,
            cu_b,
            cols,
            &mut out,
        );
        Ok(self.new_f32(joined, cols, out))
    }

    /// Returns `[da [front_rows, cols], db]`, 0 for one that is not wanted; rows of a shared `a` are added up over the sequences.
    pub fn concat_sequences_backward(
        &mut self,
        dout: u32,
        front_rows: u32,
        cu_a: u32,
        cu_b: u32,
        want_a: bool,
        want_b: bool,
    ) -> Result<Handles> {
        const OP: &str = "concatSequencesBackward";
        let (joined, cols) = self.shape(dout)?;
        let front_rows = front_rows as usize;
        let rows = self.i32(OP, cu_b)?.last().map_or(0, |&last| last.max(0) as usize);
        let (front, cu_b) = self.joined(OP, front_rows, rows, cu_a, cu_b)?;
        let expected = sequences::joined_rows(front, cu_b);
        if joined != expected {
            return Err(Error::Shape {
                op: OP,
                what: "dout",
                found: format!("[{joined}, {cols}]"),
                expected: format!("[{expected}, {cols}]"),
            });
        }
        let mut da = AlignedBuf::uninit(if want_a { front_rows * cols } else { 0 })?;
        let mut db = AlignedBuf::uninit(if want_b { rows * cols } else { 0 })?;
        sequences::concat_backward(
            self.isa,
            &self.pool,
            self.f32(OP, dout)?,
            front,
            cu_b,
            cols,
            want_a.then_some(&mut da[..]),
            want_b.then_some(&mut db[..]),
        );
        Ok(vec![
            if want_a { self.new_f32(front_rows, cols, da) } else { 0 },
            if want_b { self.new_f32(rows, cols, db) } else { 0 },
        ])
    }

    fn joined(
        &self,
        op: &'static str,
        front_rows: usize,
        rows: usize,
        cu_a: u32,
        cu_b: u32,
    ) -> Result<(Front<'_>, &[i32])> {
        let cu_b = self.i32(op, cu_b)?;
        attention::check_offsets(cu_b, rows)?;
        if cu_a == 0 {
            return Ok((Front::Shared { rows: front_rows }, cu_b));
        }
        let cu = self.i32(op, cu_a)?;
        let bad = |position: usize| Error::IndexRange {
            op,
            what: "offset",
            value: cu[position] as i64,
            position,
            max: front_rows,
        };
        if cu.len() != cu_b.len() {
            return Err(Error::Shape {
                op,
                what: "cuA",
                found: format!("{} offsets", cu.len()),
                expected: format!("{} offsets, as cuB", cu_b.len()),
            });
        }
        if cu[0] != 0 {
            return Err(bad(0));
        }
        if let Some(position) = cu.windows(2).position(|pair| pair[1] < pair[0]) {
            return Err(bad(position + 1));
        }
        if cu[cu.len() - 1] as usize != front_rows {
            return Err(bad(cu.len() - 1));
        }
        Ok((Front::Ragged { cu }, cu_b))
    }

    /// Columns `start..start + width` of x.
    pub fn slice_cols(&mut self, x: u32, start: u32, width: u32) -> Result<u32> {
        const OP: &str = "sliceCols";
        let (rows, cols) = self.shape(x)?;
        let (start, width) = check_columns(OP, start, width, cols)?;
        let mut out = AlignedBuf::uninit(rows * width)?;
        columns::slice(&self.pool, self.f32(OP, x)?, cols, start, width, &mut out);
        Ok(self.new_f32(rows, width, out))
    }

    /// Writes x [rows, width] over columns `start..start + width` of y, in place.
    pub fn put_cols(&mut self, y: u32, x: u32, start: u32) -> Result<u32> {
        const OP: &str = "putCols";
        let (rows, cols) = self.shape(y)?;
        let (_, width) = self.shape(x)?;
        self.expect(OP, "x", x, rows, width)?;
        let (start, width) = check_columns(OP, start, width as u32, cols)?;
        if y == x {
            return Err(Error::Internal("putCols: y is also x".into()));
        }
        self.in_place(OP, y, |engine, values| {
            columns::put(&engine.pool, values, cols, start, width, engine.f32(OP, x)?);
            Ok(())
        })
    }

    /// `y[r, c] = x[r, c] · factors[c] + shift[c]` (shift 0: none). Without a shift MLP activations (and their gradients) keep their
    /// pattern.
    pub fn scale_cols(&mut self, x: u32, factors: u32, shift: u32) -> Result<u32> {
        const OP: &str = "scaleCols";
        let (rows, cols) = self.shape(x)?;
        self.expect_len(OP, "factors", factors, cols)?;
        let factors = &self.f32(OP, factors)?[..];
        if self.is_activations(x) && shift == 0 {
            let scaled = self.activations(OP, x)?.scale_cols(self.isa, &self.pool, factors);
            return Ok(self.tensors.insert(rows, cols, Data::Activations(scaled)));
        }
        let shift = if shift == 0 {
            None
        } else {
            self.expect_len(OP, "shift", shift, cols)?;
            Some(&self.f32(OP, shift)?[..])
        };
        let mut out = AlignedBuf::uninit(rows * cols)?;
        columns::scale(self.isa, &self.pool, self.f32(OP, x)?, factors, shift, &mut out);
        Ok(self.new_f32(rows, cols, out))
    }

    /// Σ_r a[r, c] · b[r, c] as [1, cols]. Either may be MLP activations or their gradient.
    pub fn sum_products(&mut self, a: u32, b: u32) -> Result<u32> {
        const OP: &str = "sumProducts";
        let (rows, cols) = self.shape(a)?;
        self.expect(OP, "b", b, rows, cols)?;
        let mut out = AlignedBuf::uninit(cols)?;
        match (self.is_activations(a), self.is_activations(b)) {
            (false, false) => columns::sum_products(self.isa, &self.pool, self.f32(OP, a)?, self.f32(OP, b)?, &mut out),
            _ => {
                let (a, b) = (self.dense_rows(OP, a)?, self.dense_rows(OP, b)?);
                columns::sum_products(self.isa, &self.pool, &a, &b, &mut out);
            }
        }
        Ok(self.new_f32(1, cols, out))
    }

    /// Euclidean norm of each row, as [1, rows].
    pub fn row_norms(&mut self, x: u32) -> Result<u32> {
        const OP: &str = "rowNorms";
        let (rows, cols) = self.shape(x)?;
        let mut out = AlignedBuf::uninit(rows)?;
        columns::row_norms(self.isa, &self.pool, self.f32(OP, x)?, cols, &mut out);
        Ok(self.new_f32(1, rows, out))
    }
}

fn check_columns(op: &'static str, start: u32, width: u32, cols: usize) -> Result<(usize, usize)> {
    let (start, width) = (start as usize, width as usize);
    if start.checked_add(width).is_some_and(|end| end <= cols) {
        return Ok((start, width));
    }
    Err(Error::Shape {
        op,
        what: "columns",
        found: format!("{width} from {start} on"),
        expected: format!("inside {cols} columns"),
    })
}

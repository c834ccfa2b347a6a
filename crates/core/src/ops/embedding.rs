//! Table lookups and their gradient.

use super::{COLUMN_BLOCK, for_chunks, rows_per_task};
use crate::simd::{Isa, Kernel, Simd, dispatch};
use crate::threads::{Pool, SendPtr};
use crate::{Error, Result};

fn check_ids(ids: &[i32], rows: usize) -> Result<()> {
    match ids.iter().position(|&id| id < 0 || id as usize >= rows) {
        None => Ok(()),
        Some(position) => Err(Error::IndexRange {
            op: "embedding",
            what: "id",
            value: ids[position] as i64,
            position,
            max: rows.saturating_sub(1),
        }),
    }
}

/// `out[i, :] = table[ids[i], :]`; table `[rows, cols]`, ids `[n]`, out `[n, cols]`.
///
/// # Errors
/// [`Error::IndexRange`] for an id outside `0..rows`; `out` is then untouched.
pub fn gather_rows(
    _isa: Isa,
    pool: &Pool,
    table: &[f32],
    rows: usize,
    cols: usize,
    ids: &[i32],
    out: &mut [f32],
) -> Result<()> {
    check_ids(ids, rows)?;
    assert!(
        table.len() == rows * cols && out.len() == ids.len() * cols,
        "gather_rows: shapes"
    );
    let pointer = SendPtr::new(out);
    for_chunks(pool, ids.len(), rows_per_task(cols), |start, len| {
        // SAFETY: these rows are inside `out`, and only this task has them.
        let out = unsafe { pointer.slice(start * cols, len * cols) };
        for (i, &id) in ids[start..start + len].iter().enumerate() {
            let row = id as usize * cols;
            out[i * cols..(i + 1) * cols].copy_from_slice(&table[row..row + cols]);
        }
    });
    Ok(())
}

struct ScatterAdd<'a> {
    dy: &'a [f32],
    ids: &'a [i32],
    cols: usize,
    start: usize,
    len: usize,
    table: SendPtr<f32>,
}

impl Kernel for ScatterAdd<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for (i, &id) in self.ids.iter().enumerate() {
            let mut c = 0;
            while c < self.len {
                let n = S::LANES.min(self.len - c);
                // SAFETY: ids are inside the table (checked), and these columns belong to this task.
                unsafe {
                    let from = self.dy.as_ptr().add(i * self.cols + self.start + c);
                    let to = self.table.at(id as usize * self.cols + self.start + c);
                    if n == S::LANES {
                        s.store(to, s.add(s.load(to), s.load(from)));
                    } else {
                        s.store_partial(to, s.add(s.load_partial(to, n), s.load_partial(from, n)), n);
                    }
                }
                c += n;
            }
        }
    }
}

/// `dtable[ids[i], :] += dy[i, :]`, in the order of i; dy `[n, cols]`, ids `[n]`, dtable `[rows, cols]`.
///
/// # Errors
/// [`Error::IndexRange`] for an id outside `0..rows`; `dtable` is then untouched.
pub fn scatter_add_rows(isa: Isa, pool: &Pool, dy: &[f32], ids: &[i32], cols: usize, dtable: &mut [f32]) -> Result<()> {
    if cols == 0 {
        return Ok(());
    }
    check_ids(ids, dtable.len() / cols)?;
    assert!(dy.len() == ids.len() * cols, "scatter_add_rows: shapes");
    let table = SendPtr::new(dtable);
    for_chunks(pool, cols, COLUMN_BLOCK, |start, len| {
        dispatch(
            isa,
            ScatterAdd {
                dy,
                ids,
                cols,
                start,
                len,
                table,
            },
        );
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn gathers_and_scatters() {
        for (rows, cols, n) in [(3, 1, 5), (10, 67, 40), (7, 130, 300)] {
            let table = random(1, rows * cols);
            let ids: Vec<i32> = (0..n).map(|i| ((i * i + 3) % rows) as i32).collect();
            let naive: Vec<f64> = (0..n * cols)
                .map(|i| table[ids[i / cols] as usize * cols + i % cols] as f64)
                .collect();
            for out in everywhere(|isa, pool| {
                let mut out = vec![0.0; n * cols];
                gather_rows(isa, pool, &table, rows, cols, &ids, &mut out).unwrap();
                out
            }) {
                close(&out, &naive, 0.0);
            }
            let dy = random(2, n * cols);
            let mut right = wide(&table);
            for i in 0..n * cols {
                right[ids[i / cols] as usize * cols + i % cols] += dy[i] as f64;
            }
            for out in everywhere(|isa, pool| {
                let mut out = table.clone();
                scatter_add_rows(isa, pool, &dy, &ids, cols, &mut out).unwrap();
                out
            }) {
                close(&out, &right, 1e-5);
            }
        }
    }

    #[test]
    fn refuses_ids_out_of_range() {
        let isa = Isa::available()[0];
        let pool = Pool::new(1);
        for bad in [-1, 4] {
            let error = Error::IndexRange {
                op: "embedding",
                what: "id",
                value: bad as i64,
                position: 1,
                max: 3,
            };
            let mut out = [0.0; 4];
            assert_eq!(
                gather_rows(isa, &pool, &[0.0; 8], 4, 2, &[0, bad], &mut out),
                Err(error)
            );
            assert!(scatter_add_rows(isa, &pool, &[1.0; 4], &[0, bad], 2, &mut [0.0; 8]).is_err());
        }
    }
}

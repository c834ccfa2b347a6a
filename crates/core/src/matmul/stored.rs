//! Numbers as packed weights store them: f32, or bf16 in half the memory, widened on the fly.

use crate::memory::{AlignedBuf, Plain};
use crate::simd::Simd;
use crate::{Error, Result};

/// How packed weights are stored. Products of both accumulate in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    F32,
    /// The upper half of an f32, rounded to nearest even.
    Bf16,
}

impl Precision {
    /// From `f32` or `bf16`.
    pub fn from_name(name: &str) -> Option<Precision> {
        match name {
            "f32" => Some(Precision::F32),
            "bf16" => Some(Precision::Bf16),
            _ => None,
        }
    }

    /// Of a value.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Precision::F32 => size_of::<f32>(),
            Precision::Bf16 => size_of::<u16>(),
        }
    }
}

/// A stored number. Rows of packed weights come in pairs of vectors: f32 in order; bf16 interleaved, so that element i of the first vector
/// is the lower and of the second the upper half of 32-bit word i. A shift and a mask then widen 2 x LANES values without a shuffle.
pub(crate) trait Stored: Plain {
    /// Whether rows are padded to whole pairs of vectors.
    const PAIRED: bool;

    /// Vector `v` of the row at `row`. (Both of a pair read the same words: the compiler loads them once.)
    ///
    /// # Safety
    /// `row` is valid for reading vector `v`, or its pair where they are paired.
    unsafe fn vector<S: Simd>(s: S, row: *const Self, v: usize) -> S::F;

    /// Writes `values`, whole vectors, as a row.
    fn store_row(values: &[f32], lanes: usize, row: &mut [Self]);

    /// The reverse of [`Stored::store_row`].
    fn load_row(row: &[Self], lanes: usize, values: &mut [f32]);
}

impl Stored for f32 {
    const PAIRED: bool = false;

    #[inline(always)]
    unsafe fn vector<S: Simd>(s: S, row: *const f32, v: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { s.load(row.add(v * S::LANES)) }
    }

    fn store_row(values: &[f32], _: usize, row: &mut [f32]) {
        row.copy_from_slice(values);
    }

    fn load_row(row: &[f32], _: usize, values: &mut [f32]) {
        values.copy_from_slice(row);
    }
}

impl Stored for u16 {
    const PAIRED: bool = true;

    #[inline(always)]
    unsafe fn vector<S: Simd>(s: S, row: *const u16, v: usize) -> S::F {
        // SAFETY: the caller's promise; a load moves bits, whatever they mean.
        let words = s.bits(unsafe { s.load(row.add(v / 2 * 2 * S::LANES).cast()) });
        s.from_bits(if v.is_multiple_of(2) {
            s.shl_i::<16>(words)
        } else {
            s.and_i(words, s.splat_i(0xffff_0000))
        })
    }

    fn store_row(values: &[f32], lanes: usize, row: &mut [u16]) {
        for (values, row) in values.chunks_exact(2 * lanes).zip(row.chunks_exact_mut(2 * lanes)) {
            for lane in 0..lanes {
                row[2 * lane] = to_bf16(values[lane]);
                row[2 * lane + 1] = to_bf16(values[lanes + lane]);
            }
        }
    }

    fn load_row(row: &[u16], lanes: usize, values: &mut [f32]) {
        for (values, row) in values.chunks_exact_mut(2 * lanes).zip(row.chunks_exact(2 * lanes)) {
            for lane in 0..lanes {
                values[lane] = from_bf16(row[2 * lane]);
                values[lanes + lane] = from_bf16(row[2 * lane + 1]);
            }
        }
    }
}

/// Rounded to nearest, ties to even; a NaN stays one.
pub fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

pub fn from_bf16(x: u16) -> f32 {
    f32::from_bits((x as u32) << 16)
}

/// Values in one precision or the other.
#[derive(Debug)]
pub(crate) enum StoredBuf {
    F32(AlignedBuf),
    Bf16(AlignedBuf<u16>),
}

impl StoredBuf {
    pub fn uninit(precision: Precision, len: usize) -> Result<StoredBuf> {
        Ok(match precision {
            Precision::F32 => StoredBuf::F32(AlignedBuf::uninit(len)?),
            Precision::Bf16 => StoredBuf::Bf16(AlignedBuf::uninit(len)?),
        })
    }

    /// Nothing in this precision.
    pub fn empty(precision: Precision) -> StoredBuf {
        match precision {
            Precision::F32 => StoredBuf::F32(AlignedBuf::empty()),
            Precision::Bf16 => StoredBuf::Bf16(AlignedBuf::empty()),
        }
    }

    pub fn precision(&self) -> Precision {
        match self {
            StoredBuf::F32(_) => Precision::F32,
            StoredBuf::Bf16(_) => Precision::Bf16,
        }
    }

    pub fn bytes(&self) -> usize {
        match self {
            StoredBuf::F32(values) => values.bytes(),
            StoredBuf::Bf16(values) => values.bytes(),
        }
    }
}

/// `rows * columns`, or the error that says what was found.
pub(super) fn check(op: &'static str, found: usize, rows: usize, columns: usize) -> Result<()> {
    if rows.checked_mul(columns) == Some(found) {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        what: "the matrix",
        found: format!("{found} values"),
        expected: format!("[{rows}, {columns}]"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_nearest_even() {
        for (x, bits) in [
            (1.0f32, 0x3f80),
            (-2.5, 0xc020),
            (f32::from_bits(0x3f80_8000), 0x3f80),
            (f32::from_bits(0x3f81_8000), 0x3f82),
            (f32::from_bits(0x3f80_8001), 0x3f81),
            (f32::MAX, 0x7f80),
            (f32::NEG_INFINITY, 0xff80),
            (-0.0, 0x8000),
        ] {
            assert_eq!(to_bf16(x), bits, "{x}");
        }
        assert!(from_bf16(to_bf16(f32::NAN)).is_nan() && from_bf16(to_bf16(f32::from_bits(0x7f80_0001))).is_nan());
        for bits in [0x3f81u16, 0xc123, 0x0001, 0x7f7f] {
            assert_eq!(to_bf16(from_bf16(bits)), bits);
        }
    }

    #[test]
    fn rows_come_back() {
        let values: Vec<f32> = (0..32).map(|x| x as f32 - 7.0).collect();
        for lanes in [1, 4, 8, 16] {
            let (mut row, mut back) = (vec![0u16; 32], vec![0.0; 32]);
            u16::store_row(&values, lanes, &mut row);
            u16::load_row(&row, lanes, &mut back);
            assert_eq!(back, values);
        }
    }
}

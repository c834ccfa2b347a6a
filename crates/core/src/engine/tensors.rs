//! Handles, scopes and access by kind.

use super::Engine;
use super::packs::Packs;
use crate::memory::AlignedBuf;
use crate::sparse::Activations;
use crate::{Error, Result};
use std::collections::HashMap;

/// What a handle stands for.
pub(crate) enum Data {
    F32(AlignedBuf),
    I32(Vec<i32>),
    /// Activations (or their gradient) of an MLP, cut in dense and compact blocks.
    Activations(Activations),
    /// A weight whose values are in its packed forms alone.
    Frozen,
}

pub(crate) struct Tensor {
    pub rows: usize,
    pub cols: usize,
    pub data: Data,
    /// Packed forms of a weight, made when first needed; dropped when the weight changes.
    pub packs: Packs,
    depth: usize,
}

impl Tensor {
    /// A frozen weight as f32 values again.
    fn thaw(&mut self, pool: &crate::threads::Pool) -> Result<()> {
        if matches!(self.data, Data::Frozen) {
            self.data = Data::F32(self.packs.stored()?.to_rows(pool)?);
        }
        Ok(())
    }

    fn kind(&self) -> &'static str {
        match self.data {
            Data::F32(_) => "f32 values",
            Data::I32(_) => "i32 values",
            Data::Activations(_) => "MLP activations",
            Data::Frozen => "a frozen weight",
        }
    }

    fn bytes(&self) -> usize {
        let own = match &self.data {
            Data::F32(values) => values.len() * 4,
            Data::I32(values) => values.len() * 4,
            Data::Activations(o) => o.bytes(),
            Data::Frozen => 0,
        };
        own + self.packs.bytes()
    }
}

/// The table of tensors. A tensor belongs to the scope that was innermost when it was made, and dies with it.
///
/// Handles count up, so that one whose tensor was freed names nothing, rather than whatever was made since.
#[derive(Default)]
pub(crate) struct Tensors {
    live: HashMap<u32, Box<Tensor>>,
    last: u32,
    scopes: Vec<Vec<u32>>,
}

impl Tensors {
    pub fn insert(&mut self, rows: usize, cols: usize, data: Data) -> u32 {
        // After 2^32 tensors the count starts again and passes over 0 and those that still live.
        let handle = loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.live.contains_key(&self.last) {
                break self.last;
            }
        };
        let tensor = Box::new(Tensor {
            rows,
            cols,
            data,
            packs: Packs::default(),
            depth: self.scopes.len(),
        });
        self.live.insert(handle, tensor);
        if let Some(scope) = self.scopes.last_mut() {
            scope.push(handle);
        }
        handle
    }

    pub fn get(&self, handle: u32) -> Result<&Tensor> {
        self.live
            .get(&handle)
            .map(Box::as_ref)
            .ok_or(Error::NoSuchTensor(handle))
    }

    pub fn get_mut(&mut self, handle: u32) -> Result<&mut Tensor> {
        self.live
            .get_mut(&handle)
            .map(Box::as_mut)
            .ok_or(Error::NoSuchTensor(handle))
    }

    /// Takes a tensor out while an operation writes into it; [`Tensors::put_back`] returns it.
    pub fn take(&mut self, handle: u32) -> Result<Box<Tensor>> {
        self.live.remove(&handle).ok_or(Error::NoSuchTensor(handle))
    }

    pub fn put_back(&mut self, handle: u32, tensor: Box<Tensor>) {
        self.live.insert(handle, tensor);
    }

    fn remove(&mut self, handle: u32) -> bool {
        self.live.remove(&handle).is_some()
    }
}

impl Engine {
    pub(crate) fn f32(&self, op: &'static str, handle: u32) -> Result<&AlignedBuf> {
        let tensor = self.tensors.get(handle)?;
        match &tensor.data {
            Data::F32(values) => Ok(values),
            _ => Err(Error::Kind {
                op,
                handle,
                found: tensor.kind(),
                expected: "f32 values",
            }),
        }
    }

    pub(crate) fn i32(&self, op: &'static str, handle: u32) -> Result<&[i32]> {
        let tensor = self.tensors.get(handle)?;
        match &tensor.data {
            Data::I32(values) => Ok(values),
            _ => Err(Error::Kind {
                op,
                handle,
                found: tensor.kind(),
                expected: "i32 values",
            }),
        }
    }

    pub(crate) fn activations(&self, op: &'static str, handle: u32) -> Result<&Activations> {
        let tensor = self.tensors.get(handle)?;
        match &tensor.data {
            Data::Activations(o) => Ok(o),
            _ => Err(Error::Kind {
                op,
                handle,
                found: tensor.kind(),
                expected: "MLP activations",
            }),
        }
    }

    pub(crate) fn is_activations(&self, handle: u32) -> bool {
        matches!(
            self.tensors.get(handle),
            Ok(Tensor {
                data: Data::Activations(_),
                ..
            })
        )
    }

    /// `(rows, cols)`.
    pub fn shape(&self, handle: u32) -> Result<(usize, usize)> {
        self.tensors.get(handle).map(|tensor| (tensor.rows, tensor.cols))
    }

    /// Error unless the tensor has this shape.
    pub(crate) fn expect(
        &self,
        op: &'static str,
        what: &'static str,
        handle: u32,
        rows: usize,
        cols: usize,
    ) -> Result<()> {
        let found = self.shape(handle)?;
        if found == (rows, cols) {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            what,
            found: format!("[{}, {}]", found.0, found.1),
            expected: format!("[{rows}, {cols}]"),
        })
    }

    /// Error unless the tensor has this many elements.
    pub(crate) fn expect_len(&self, op: &'static str, what: &'static str, handle: u32, len: usize) -> Result<()> {
        let (rows, cols) = self.shape(handle)?;
        if rows * cols == len {
            return Ok(());
        }
        Err(Error::Shape {
            op,
            what,
            found: format!("[{rows}, {cols}]"),
            expected: format!("{len} elements"),
        })
    }

    pub(crate) fn new_f32(&mut self, rows: usize, cols: usize, values: AlignedBuf) -> u32 {
        self.tensors.insert(rows, cols, Data::F32(values))
    }

    /// Runs `write` on the values of `y`, which is out of the table meanwhile; its packed forms are dropped.
    pub(crate) fn in_place(
        &mut self,
        op: &'static str,
        y: u32,
        write: impl FnOnce(&Engine, &mut AlignedBuf) -> Result<()>,
    ) -> Result<u32> {
        let mut tensor = self.tensors.take(y)?;
        if let Err(error) = tensor.thaw(&self.pool) {
            self.tensors.put_back(y, tensor);
            return Err(error);
        }
        tensor.packs = Packs::default();
        let found = tensor.kind();
        let result = match &mut tensor.data {
            Data::F32(values) => write(self, values),
            _ => Err(Error::Kind {
                op,
                handle: y,
                found,
                expected: "f32 values",
            }),
        };
        self.tensors.put_back(y, tensor);
        result.map(|()| y)
    }

    /// Copies f32 values in.
    pub fn upload_f32(&mut self, values: &[f32], rows: u32, cols: u32) -> Result<u32> {
        check_upload(values.len(), rows, cols)?;
        let mut buffer = AlignedBuf::uninit(values.len())?;
        buffer.copy_from_slice(values);
        Ok(self.new_f32(rows as usize, cols as usize, buffer))
    }

    /// Copies i32 values in (token ids, offsets, labels).
    pub fn upload_i32(&mut self, values: &[i32], rows: u32, cols: u32) -> Result<u32> {
        check_upload(values.len(), rows, cols)?;
        Ok(self
            .tensors
            .insert(rows as usize, cols as usize, Data::I32(values.to_vec())))
    }

    /// Copies little-endian checkpoint bytes in, widened to f32. `dtype` is `F32`, `F16` or `BF16`.
    pub fn upload_bytes(&mut self, bytes: &[u8], dtype: &str, rows: u32, cols: u32) -> Result<u32> {
        let size = match dtype {
            "F32" => 4,
            "F16" | "BF16" => 2,
            _ => {
                return Err(Error::Value {
                    op: "uploadBytes",
                    what: "dtype",
                    value: dtype.into(),
                    expected: "F32, F16 or BF16",
                });
            }
        };
        if !bytes.len().is_multiple_of(size) {
            return Err(Error::Shape {
                op: "uploadBytes",
                what: "data",
                found: format!("{} bytes", bytes.len()),
                expected: format!("a multiple of {size} for {dtype}"),
            });
        }
        check_upload(bytes.len() / size, rows, cols)?;
        let mut buffer = AlignedBuf::uninit(bytes.len() / size)?;
        match dtype {
            "F32" => {
                for (value, raw) in buffer.iter_mut().zip(bytes.chunks_exact(4)) {
                    *value = f32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]);
                }
            }
            "F16" => {
                for (value, raw) in buffer.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = half_to_f32(u16::from_le_bytes([raw[0], raw[1]]));
                }
            }
            _ => {
                for (value, raw) in buffer.iter_mut().zip(bytes.chunks_exact(2)) {
                    *value = f32::from_bits((u16::from_le_bytes([raw[0], raw[1]]) as u32) << 16);
                }
            }
        }
        Ok(self.new_f32(rows as usize, cols as usize, buffer))
    }

    /// Copies values out.
    pub fn read_f32(&self, handle: u32) -> Result<Vec<f32>> {
        let tensor = self.tensors.get(handle)?;
        match &tensor.data {
            Data::F32(values) => Ok(values.to_vec()),
            Data::Activations(o) => Ok(o.to_dense(&self.pool)?.to_vec()),
            Data::Frozen => Ok(tensor.packs.stored()?.to_rows(&self.pool)?.to_vec()),
            Data::I32(_) => Err(Error::Kind {
                op: "readF32",
                handle,
                found: tensor.kind(),
                expected: "f32 values",
            }),
        }
    }

    /// Overwrites the values of a tensor.
    pub fn write_f32(&mut self, handle: u32, values: &[f32]) -> Result<u32> {
        self.expect_len("writeF32", "tensor", handle, values.len())?;
        self.in_place("writeF32", handle, |_, buffer| {
            buffer.copy_from_slice(values);
            Ok(())
        })
    }

    pub fn zeros(&mut self, rows: u32, cols: u32) -> Result<u32> {
        let len = (rows as usize).saturating_mul(cols as usize);
        let buffer = AlignedBuf::new_zeroed(len)?;
        Ok(self.new_f32(rows as usize, cols as usize, buffer))
    }

    /// A copy as f32 values, of a frozen weight too.
    pub fn duplicate(&mut self, x: u32) -> Result<u32> {
        let (rows, cols) = self.shape(x)?;
        let tensor = self.tensors.get(x)?;
        let copy = match &tensor.data {
            Data::Frozen => tensor.packs.stored()?.to_rows(&self.pool)?,
            _ => AlignedBuf::from_slice(self.f32("duplicate", x)?)?,
        };
        Ok(self.new_f32(rows, cols, copy))
    }

    /// Frees one tensor; 1 when it existed.
    pub fn free(&mut self, x: u32) -> Result<u32> {
        if let Ok(tensor) = self.tensors.get(x) {
            let depth = tensor.depth;
            if let Some(scope) = depth
                .checked_sub(1)
                .and_then(|index| self.tensors.scopes.get_mut(index))
            {
                scope.retain(|&handle| handle != x);
            }
        }
        Ok(self.tensors.remove(x) as u32)
    }

    /// Opens a scope; returns its depth.
    pub fn begin_scope(&mut self) -> Result<u32> {
        self.tensors.scopes.push(Vec::new());
        Ok(self.tensors.scopes.len() as u32)
    }

    /// Closes the innermost scope and frees what belongs to it; returns how many tensors were freed.
    pub fn end_scope(&mut self) -> Result<u32> {
        let scope = self
            .tensors
            .scopes
            .pop()
            .ok_or_else(|| Error::Internal("endScope without beginScope".into()))?;
        let mut freed = 0;
        for handle in scope {
            freed += self.tensors.remove(handle) as u32;
        }
        Ok(freed)
    }

    /// Moves a tensor `levels` scopes outwards (0: out of all of them), so that it outlives the inner ones.
    pub fn keep(&mut self, x: u32, levels: u32) -> Result<u32> {
        let depth = self.tensors.get(x)?.depth;
        let target = if levels == 0 {
            0
        } else {
            depth.saturating_sub(levels as usize)
        };
        if let Some(scope) = depth
            .checked_sub(1)
            .and_then(|index| self.tensors.scopes.get_mut(index))
        {
            scope.retain(|&handle| handle != x);
        }
        if let Some(scope) = target
            .checked_sub(1)
            .and_then(|index| self.tensors.scopes.get_mut(index))
        {
            scope.push(x);
        }
        self.tensors.get_mut(x)?.depth = target;
        Ok(x)
    }

    pub fn live_tensors(&mut self) -> Result<u32> {
        Ok(self.tensors.live.len() as u32)
    }

    /// Bytes of all tensors and their packed forms.
    pub fn live_bytes(&mut self) -> Result<f64> {
        Ok(self.tensors.live.values().map(|tensor| tensor.bytes()).sum::<usize>() as f64)
    }
}

fn check_upload(len: usize, rows: u32, cols: u32) -> Result<()> {
    if (rows as usize).checked_mul(cols as usize) == Some(len) {
        return Ok(());
    }
    Err(Error::Shape {
        op: "upload",
        what: "data",
        found: format!("{len} elements"),
        expected: format!("[{rows}, {cols}]"),
    })
}

/// IEEE 754 binary16 to binary32, subnormals, infinities and NaN included.
fn half_to_f32(bits: u16) -> f32 {
    let sign = ((bits & 0x8000) as u32) << 16;
    let exponent = ((bits >> 10) & 0x1f) as u32;
    let mantissa = (bits & 0x3ff) as u32;
    match exponent {
        0 => {
            let magnitude = mantissa as f32 * (1.0 / 16_777_216.0);
            if sign == 0 { magnitude } else { -magnitude }
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | (mantissa << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (mantissa << 13)),
    }
}

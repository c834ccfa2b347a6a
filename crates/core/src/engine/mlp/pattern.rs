//! Where activations are not zero: how many places, whether they are those of others, and values moved there and back.

use crate::Result;
use crate::engine::Engine;
use crate::engine::tensors::Data;

impl Engine {
    /// Exact non-zeros of MLP activations.
    pub fn nonzeros(&mut self, out: u32) -> Result<f64> {
        Ok(self.activations("nonzeros", out)?.nonzeros(self.isa, &self.pool) as f64)
    }

    /// Whether both are MLP activations (or their gradients) with entries at the same places.
    pub(in crate::engine) fn have_one_pattern(&self, a: u32, b: u32) -> bool {
        match (self.activations("", a), self.activations("", b)) {
            (Ok(a), Ok(b)) => a.has_pattern_of(b),
            _ => false,
        }
    }

    /// y += scale · x for gradients in one pattern; used by `addInPlace`.
    pub(in crate::engine) fn add_activations(&mut self, y: u32, x: u32, scale: f32) -> Result<u32> {
        let mut tensor = self.tensors.take(y)?;
        let result = self.activations("addInPlace", x).map(|x| {
            if let Data::Activations(y) = &mut tensor.data {
                y.add(self.isa, &self.pool, x, scale);
            }
        });
        self.tensors.put_back(y, tensor);
        result.map(|()| y)
    }
}

pub(in crate::engine) fn gather_pattern(dense: &[f32], row_starts: &[u32], indices: &[u16], cols: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(indices.len());
    for (row, bounds) in row_starts.windows(2).enumerate() {
        values.extend(
            indices[bounds[0] as usize..bounds[1] as usize]
                .iter()
                .map(|&i| dense[row * cols + i as usize]),
        );
    }
    values
}

pub(super) fn scatter_pattern(values: &[f32], row_starts: &[u32], indices: &[u16], cols: usize, dense: &mut [f32]) {
    for (row, bounds) in row_starts.windows(2).enumerate() {
        for at in bounds[0] as usize..bounds[1] as usize {
            dense[row * cols + indices[at] as usize] = values[at];
        }
    }
}

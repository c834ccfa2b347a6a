//! The gradient of o, from the operations that read it, its feature map and its element-wise mean.

use super::pattern::{gather_pattern, scatter_pattern};
use super::settings::MlpSettings;
use crate::density::element::ElementLoss;
use crate::engine::Engine;
use crate::memory::AlignedBuf;
use crate::simd::Isa;
use crate::sparse::{Activations, Block};
use crate::{Error, Result};

/// What [`Engine::out_gradient`] found.
pub(in crate::engine) struct OutGradient<'a> {
    sparse: Option<&'a Activations>,
    dense: Option<&'a [f32]>,
    map: Option<&'a [f32]>,
    per_row: f32,
    pub per_element: f32,
    element: ElementLoss,
}

impl Engine {
    /// The gradients that meet at o; see [`Engine::activate_backward`].
    pub(in crate::engine) fn out_gradient(
        &self,
        op: &'static str,
        out: u32,
        grad: u32,
        map_grad: u32,
        element_grad: f64,
        settings: MlpSettings,
    ) -> Result<OutGradient<'_>> {
        let (rows, cols) = self.shape(out)?;
        if grad != 0 {
            self.expect(op, "grad", grad, rows, cols)?;
        }
        if map_grad != 0 {
            self.expect_len(op, "mapGrad", map_grad, cols)?;
        }
        let is_sparse = grad != 0 && self.is_activations(grad);
        let sparse = if is_sparse {
            Some(self.activations(op, grad)?)
        } else {
            None
        };
        let expected = self.activations(op, out)?.block_rows;
        if let Some(found) = sparse.map(|g| g.block_rows).filter(|&found| found != expected) {
            return Err(Error::Value {
                op,
                what: "grad",
                value: format!("activations in blocks of {found} rows"),
                expected: "the gradient of these activations, in their blocks",
            });
        }
        Ok(OutGradient {
            sparse,
            dense: if grad != 0 && !is_sparse {
                Some(&self.f32(op, grad)?[..])
            } else {
                None
            },
            map: if map_grad != 0 {
                Some(&self.f32(op, map_grad)?[..])
            } else {
                None
            },
            per_row: 1.0 / rows as f32,
            per_element: (element_grad / (rows * cols) as f64) as f32,
            element: settings.element,
        })
    }
}

impl OutGradient<'_> {
    /// The gradient of block `index` of o, which is dense and has `len` values, if it is stored as such and nothing is added to it.
    pub(super) fn plain(&self, o: &Activations, index: usize, len: usize) -> Option<&[f32]> {
        if self.map.is_some() || self.per_element != 0.0 {
            return None;
        }
        match self.sparse.map(|g| &g.blocks[index]) {
            Some(Block::Dense { values }) => Some(values),
            Some(Block::Compact { .. }) => None,
            None => self.dense.map(|dense| &dense[index * o.block_rows * o.cols..][..len]),
        }
    }

    /// The gradient at the non-zeros of block `index` of o, which is compact.
    pub fn compact(&self, isa: Isa, o: &Activations, index: usize) -> Vec<f32> {
        let Block::Compact {
            row_starts,
            indices,
            values,
        } = &o.blocks[index]
        else {
            return Vec::new();
        };
        let (cols, first) = (o.cols, index * o.block_rows * o.cols);
        let mut g = match (self.sparse.map(|g| &g.blocks[index]), self.dense) {
            (Some(Block::Compact { values, .. }), _) => values.clone(),
            (Some(Block::Dense { values }), _) => gather_pattern(values, row_starts, indices, cols),
            (None, Some(dense)) => gather_pattern(&dense[first..], row_starts, indices, cols),
            (None, None) => vec![0.0; values.len()],
        };
        if let Some(map) = self.map {
            for (g, neuron) in g.iter_mut().zip(indices) {
                *g += self.per_row * map[*neuron as usize];
            }
        }
        if self.per_element != 0.0 {
            for bounds in row_starts.windows(2) {
                let row = bounds[0] as usize..bounds[1] as usize;
                self.element
                    .add_gradient(isa, &values[row.clone()], self.per_element, &mut g[row]);
            }
        }
        g
    }

    /// The gradient of block `index` of o, which is dense; `then(place in the block, gradient)` changes each row of it while it is in
    /// the L1.
    pub fn dense(&self, isa: Isa, o: &Activations, index: usize, then: impl Fn(usize, &mut [f32])) -> AlignedBuf {
        let Block::Dense { values } = &o.blocks[index] else {
            return AlignedBuf::empty();
        };
        let (cols, first) = (o.cols, index * o.block_rows * o.cols);
        let mut g = AlignedBuf::uninit_in_task(values.len());
        let source = match self.sparse.map(|g| &g.blocks[index]) {
            Some(Block::Dense { values }) => Some(&values[..]),
            Some(Block::Compact {
                row_starts,
                indices,
                values,
            }) => {
                g.fill(0.0);
                scatter_pattern(values, row_starts, indices, cols, &mut g);
                None
            }
            None => {
                if self.dense.is_none() {
                    g.fill(0.0);
                }
                self.dense.map(|dense| &dense[first..][..values.len()])
            }
        };
        for (row, g) in g.chunks_exact_mut(cols).enumerate() {
            let at = row * cols;
            if let Some(source) = source {
                g.copy_from_slice(&source[at..][..cols]);
            }
            if let Some(map) = self.map {
                g.iter_mut().zip(map).for_each(|(g, m)| *g += self.per_row * m);
            }
            if self.per_element != 0.0 {
                self.element
                    .add_gradient(isa, &values[at..][..cols], self.per_element, g);
            }
            then(at, g);
        }
        g
    }
}

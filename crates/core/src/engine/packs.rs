//! Packed forms of weights: made when a product first needs one, kept until the weight changes.

use super::Engine;
use super::tensors::Data;
use crate::matmul::PackedB;
use crate::sparse::PackedNeurons;
use crate::{Error, Result};

/// The forms of a weight `[out, in]`.
#[derive(Default)]
pub(crate) struct Packs {
    /// For x · Wᵀ.
    pub forward: Option<PackedB>,
    /// For dy · W.
    pub backward: Option<PackedB>,
    /// Inputs are the neurons: a down-projection.
    pub neurons_in: Option<PackedNeurons>,
    /// Outputs are the neurons: an up-projection.
    pub neurons_out: Option<PackedNeurons>,
}

impl Packs {
    pub fn bytes(&self) -> usize {
        let panels = [&self.forward, &self.backward]
            .into_iter()
            .flatten()
            .map(PackedB::bytes)
            .sum::<usize>();
        let neurons = [&self.neurons_in, &self.neurons_out]
            .into_iter()
            .flatten()
            .map(PackedNeurons::bytes)
            .sum::<usize>();
        panels + neurons
    }
}

/// Which form a product needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Forward,
    Backward,
    NeuronsIn,
    NeuronsOut,
}

impl Engine {
    /// Makes the forms that are missing, so that they can be borrowed together with other tensors afterwards.
    pub(crate) fn pack(&mut self, op: &'static str, weight: u32, forms: &[Form]) -> Result<()> {
        let (isa, pool) = (self.isa, &self.pool);
        let tensor = self.tensors.get_mut(weight)?;
        let (out, inputs) = (tensor.rows, tensor.cols);
        let Data::F32(values) = &tensor.data else {
            return Err(Error::Kind {
                op,
                handle: weight,
                found: "other values",
                expected: "an f32 weight",
            });
        };
        let packs = &mut tensor.packs;
        for form in forms {
            match form {
                Form::Forward if packs.forward.is_none() => {
                    packs.forward = Some(PackedB::from_rows(isa, pool, values, out, inputs)?);
                }
                Form::Backward if packs.backward.is_none() => {
                    packs.backward = Some(PackedB::from_columns(isa, pool, values, out, inputs)?);
                }
                Form::NeuronsIn if packs.neurons_in.is_none() => {
                    packs.neurons_in = Some(PackedNeurons::from_neuron_columns(isa, pool, values, out, inputs)?);
                }
                Form::NeuronsOut if packs.neurons_out.is_none() => {
                    packs.neurons_out = Some(PackedNeurons::from_neuron_rows(isa, pool, values, out, inputs)?);
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn panels(&self, weight: u32, form: Form) -> Result<&PackedB> {
        let packs = &self.tensors.get(weight)?.packs;
        let pack = if form == Form::Forward {
            &packs.forward
        } else {
            &packs.backward
        };
        pack.as_ref()
            .ok_or_else(|| Error::Internal("a weight was not packed".into()))
    }

    pub(crate) fn neurons(&self, weight: u32, form: Form) -> Result<&PackedNeurons> {
        let packs = &self.tensors.get(weight)?.packs;
        let pack = if form == Form::NeuronsIn {
            &packs.neurons_in
        } else {
            &packs.neurons_out
        };
        pack.as_ref()
            .ok_or_else(|| Error::Internal("a weight was not packed".into()))
    }
}

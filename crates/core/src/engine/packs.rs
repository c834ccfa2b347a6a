//! Packed forms of weights: made when a product first needs one, kept until the weight changes.

use super::Engine;
use super::tensors::{Data, Tensor};
use crate::matmul::{PackedB, Precision};
use crate::sparse::{PackedNeurons, crossover};
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
    fn has(&self, form: Form) -> bool {
        match form {
            Form::Forward => self.forward.is_some(),
            Form::Backward => self.backward.is_some(),
            Form::NeuronsIn => self.neurons_in.is_some(),
            Form::NeuronsOut => self.neurons_out.is_some(),
        }
    }

    /// The form that holds a frozen weight's values.
    pub fn stored(&self) -> Result<&PackedB> {
        self.forward
            .as_ref()
            .ok_or_else(|| Error::Internal("a frozen weight has no values".into()))
    }

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
        let packs = &mut tensor.packs;
        let missing: Vec<Form> = forms.iter().copied().filter(|form| !packs.has(*form)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let rows;
        let (values, precision): (&[f32], Precision) = match &tensor.data {
            Data::F32(values) => (values, Precision::F32),
            Data::Frozen => {
                let stored = packs.stored()?;
                rows = stored.to_rows(pool)?;
                (&rows, stored.precision())
            }
            _ => {
                return Err(Error::Kind {
                    op,
                    handle: weight,
                    found: "other values",
                    expected: "an f32 weight",
                });
            }
        };
        for form in missing {
            match form {
                Form::Forward => {
                    packs.forward = Some(PackedB::from_rows_in(isa, pool, precision, values, out, inputs)?);
                }
                Form::Backward => {
                    packs.backward = Some(PackedB::from_columns_in(isa, pool, precision, values, out, inputs)?);
                }
                Form::NeuronsIn => {
                    let packed = PackedNeurons::from_neuron_columns_in(isa, pool, precision, values, out, inputs)?;
                    packs.neurons_in = Some(packed);
                }
                Form::NeuronsOut => {
                    let packed = PackedNeurons::from_neuron_rows_in(isa, pool, precision, values, out, inputs)?;
                    packs.neurons_out = Some(packed);
                }
            }
        }
        Ok(())
    }

    /// Keeps a weight in its packed forms only, in `f32` or `bf16` (half the memory, rounded to nearest even). Reading it gives the values as
    /// they are stored; writing to it makes it an ordinary f32 tensor again.
    pub fn freeze_weight(&mut self, weight: u32, precision: String) -> Result<u32> {
        const OP: &str = "freezeWeight";
        let Some(precision) = Precision::from_name(&precision) else {
            return Err(Error::Value {
                op: OP,
                what: "precision",
                value: precision,
                expected: "f32 or bf16",
            });
        };
        // A model's weights are of one precision.
        self.crossover = crossover(self.isa, precision);
        let tensor = self.tensors.get(weight)?;
        if matches!(tensor.data, Data::Frozen) && tensor.packs.stored()?.precision() == precision {
            return Ok(weight);
        }
        let mut tensor = self.tensors.take(weight)?;
        let result = self.frozen(OP, weight, &tensor, precision);
        if let Ok(forward) = result {
            tensor.packs = Packs {
                forward: Some(forward),
                ..Packs::default()
            };
            tensor.data = Data::Frozen;
            self.tensors.put_back(weight, tensor);
            return Ok(weight);
        }
        self.tensors.put_back(weight, tensor);
        result.map(|_| weight)
    }

    fn frozen(&self, op: &'static str, handle: u32, tensor: &Tensor, precision: Precision) -> Result<PackedB> {
        let (isa, pool) = (self.isa, &self.pool);
        let pack = |values: &[f32]| PackedB::from_rows_in(isa, pool, precision, values, tensor.rows, tensor.cols);
        match &tensor.data {
            Data::F32(values) => pack(values),
            Data::Frozen => pack(&tensor.packs.stored()?.to_rows(pool)?),
            _ => Err(Error::Kind {
                op,
                handle,
                found: "other values",
                expected: "an f32 weight",
            }),
        }
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

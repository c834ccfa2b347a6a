//! Packed forms of weights: made when a product first needs one, kept until the weight changes.

use super::Engine;
use super::tensors::{Data, Tensor};
use crate::matmul::{PackedB, Precision, Rhs};
use crate::sparse::{BlockKinds, Blocking, Weight};
use crate::{Error, Result};

/// The forms of a weight `[out, in]`.
#[derive(Default)]
pub(crate) struct Packs {
    /// For x · Wᵀ.
    forward: Option<PackedB>,
    /// For dy · W.
    backward: Option<PackedB>,
    /// Twins of the two in rows, where those are in bf16 pairs: what sparse products read.
    forward_rows: Option<PackedB>,
    backward_rows: Option<PackedB>,
    /// Whether a frozen weight keeps `backward` between dense products; the first of them decides, so that memory does not grow later.
    keeps_backward: Option<bool>,
}

impl Packs {
    /// The form that holds a frozen weight's values.
    pub fn stored(&self) -> Result<&PackedB> {
        self.forward
            .as_ref()
            .ok_or_else(|| Error::Internal("a frozen weight has no values".into()))
    }

    fn form(&self, form: Form) -> Option<&PackedB> {
        match form {
            Form::Forward => self.forward.as_ref(),
            Form::Backward => self.backward.as_ref(),
        }
    }

    /// The twin in rows, where there is one.
    fn rows(&self, form: Form) -> Option<&PackedB> {
        match form {
            Form::Forward => self.forward_rows.as_ref(),
            Form::Backward => self.backward_rows.as_ref(),
        }
    }

    pub fn bytes(&self) -> usize {
        [&self.forward, &self.backward, &self.forward_rows, &self.backward_rows]
            .into_iter()
            .flatten()
            .map(PackedB::bytes)
            .sum()
    }
}

/// Which product a form is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// x · Wᵀ
    Forward,
    /// dy · W
    Backward,
}

/// Rows of a gradient from which on a frozen weight's [`Form::Backward`] is turned for each product ([`Rhs::TransposeOf`]) and not kept, which would double
/// the memory of the weights. Measured with BERT-base in f32 on two threads of Zen 4: 1.5 % of a step of 805 tokens, whose peak falls from 1,850
/// to 1,260 MB (with the neurons' rows, which had packs of their own). A product of 768 x 3072 takes 3 % longer with 800 rows, 13 % with 200, 25 % with
/// 100.
const TURNED_FROM: usize = 384;

/// A weight with what one product of it needs.
pub(crate) struct Operand {
    weight: u32,
    kinds: BlockKinds,
    rows: Form,
    dense: Form,
    /// Whether the dense form is turned for this product alone.
    is_turned: bool,
}

impl Engine {
    /// Makes a form where it is missing, so that it can be borrowed together with other tensors afterwards.
    pub(crate) fn pack(&mut self, op: &'static str, weight: u32, form: Form) -> Result<()> {
        let (isa, pool) = (self.isa, &self.pool);
        let Tensor {
            rows: out,
            cols: inputs,
            data,
            packs,
            ..
        } = self.tensors.get_mut(weight)?;
        if packs.form(form).is_some() {
            return Ok(());
        }
        let made = match (&*data, form) {
            (Data::F32(values), Form::Forward) => PackedB::from_rows(isa, pool, values, *out, *inputs)?,
            (Data::F32(values), Form::Backward) => PackedB::from_columns(isa, pool, values, *out, *inputs)?,
            (Data::Frozen, _) => packs.stored()?.transposed(isa, pool)?,
            _ => {
                return Err(Error::Kind {
                    op,
                    handle: weight,
                    found: "other values",
                    expected: "an f32 weight",
                });
            }
        };
        match form {
            Form::Forward => packs.forward = Some(made),
            Form::Backward => packs.backward = Some(made),
        }
        Ok(())
    }

    /// Makes what a product of `x` with a weight needs: `rows` is the form whose rows the compact blocks of MLP activations read, `dense` that of
    /// dense blocks and of other tensors.
    pub(crate) fn operand(
        &mut self,
        op: &'static str,
        weight: u32,
        x: u32,
        rows: Form,
        dense: Form,
    ) -> Result<Operand> {
        let kinds = match self.is_activations(x) {
            true => self.activations(op, x)?.kinds(),
            false => BlockKinds {
                compact: false,
                dense: true,
            },
        };
        let (count, _) = self.shape(x)?;
        if kinds.compact {
            self.pack_rows(op, weight, rows)?;
        }
        let Tensor { data, packs, .. } = self.tensors.get_mut(weight)?;
        let keeps = dense == Form::Forward
            || !matches!(data, Data::Frozen)
            || packs.backward.is_some()
            || *packs.keeps_backward.get_or_insert(kinds.dense && count < TURNED_FROM);
        if kinds.dense && keeps {
            self.pack(op, weight, dense)?;
        }
        Ok(Operand {
            weight,
            kinds,
            rows,
            dense,
            is_turned: !keeps,
        })
    }

    /// The forms of an operand.
    pub(crate) fn lend<'a>(&'a self, operand: &'a Operand) -> Result<Weight<'a>> {
        let packs = &self.tensors.get(operand.weight)?.packs;
        let unpacked = || Error::Internal("a weight was not packed".into());
        let rows = packs.rows(operand.rows).or(packs.form(operand.rows));
        let dense = match operand.is_turned {
            true => packs.form(Form::Forward).map(Rhs::TransposeOf),
            false => packs.form(operand.dense).map(Rhs::Packed),
        };
        Ok(Weight {
            rows: operand.kinds.compact.then(|| rows.ok_or_else(unpacked)).transpose()?,
            dense: operand.kinds.dense.then(|| dense.ok_or_else(unpacked)).transpose()?,
        })
    }

    /// [`Engine::pack`] for a sparse product, which reads rows.
    fn pack_rows(&mut self, op: &'static str, weight: u32, form: Form) -> Result<()> {
        self.pack(op, weight, form)?;
        let pool = &self.pool;
        let packs = &mut self.tensors.get_mut(weight)?.packs;
        if packs.rows(form).is_some() {
            return Ok(());
        }
        let rows = packs.form(form).map(|pack| pack.in_rows(pool)).transpose()?.flatten();
        match form {
            Form::Forward => packs.forward_rows = rows,
            Form::Backward => packs.backward_rows = rows,
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
        self.blocking = Blocking::of(self.isa, precision);
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
        packs
            .form(form)
            .ok_or_else(|| Error::Internal("a weight was not packed".into()))
    }
}

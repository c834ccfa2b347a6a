//! What an MLP is asked for, checked.

use crate::density::element::ElementLoss;
use crate::engine::Engine;
use crate::ops::activation::{self, ActivationKind};
use crate::simd::Isa;
use crate::sparse::{Blocking, NEVER};
use crate::{Error, Result};

/// What an MLP's activation is, and what is measured of it.
#[derive(Clone, Copy)]
pub(in crate::engine) struct MlpSettings {
    pub kind: ActivationKind,
    pub element: ElementLoss,
    /// Outputs of at most this magnitude become exact zeros (without a gradient); 0: none.
    pub cutoff: f32,
    /// Blocks are compacted only where a zero output has no gradient before the activation, which a compact gradient needs.
    pub blocking: Blocking,
}

impl Engine {
    pub(in crate::engine) fn mlp_settings(
        &self,
        op: &'static str,
        kind: u32,
        element: u32,
        p: f64,
        q: f64,
        cutoff: f64,
    ) -> Result<MlpSettings> {
        let kind = activation_kind(op, kind)?;
        let element = ElementLoss::from_index(element, p, q).ok_or_else(|| Error::Value {
            op,
            what: "element loss",
            value: format!("{element} with {p} and {q}"),
            expected: "an index of ElementLoss with parameters in its range",
        })?;
        if !(0.0..f32::MAX as f64).contains(&cutoff) {
            return Err(Error::Value {
                op,
                what: "cutoff",
                value: cutoff.to_string(),
                expected: "a number from 0",
            });
        }
        if element.reads_pre() && kind.needs_no_input() {
            return Err(Error::Value {
                op,
                what: "element loss",
                value: "a hinge".into(),
                expected: "another for ReLU, whose pre-activations are not kept",
            });
        }
        let cutoff = cutoff as f32;
        let is_compactable = kind.needs_no_input() || (cutoff > 0.0 && !element.reads_pre());
        let crossover = if is_compactable { self.blocking.crossover } else { NEVER };
        Ok(MlpSettings {
            kind,
            element,
            cutoff,
            blocking: Blocking {
                crossover,
                ..self.blocking
            },
        })
    }
}

impl MlpSettings {
    /// Zeros for what is at most `cutoff` in magnitude.
    pub fn cut(self, isa: Isa, o: &mut [f32]) {
        if self.cutoff > 0.0 {
            activation::cut_slice(isa, self.cutoff, o);
        }
    }

    /// With blocks as they come from a product.
    pub(super) fn with_block_rows(self, rows: usize) -> MlpSettings {
        let blocking = Blocking { rows, ..self.blocking };
        MlpSettings { blocking, ..self }
    }

    /// Whether the pre-activations are kept, outputs stay dense and nothing is measured of whole rows, so that any part of them can be made on its own.
    pub(super) fn is_dense(self) -> bool {
        !self.kind.needs_no_input() && self.blocking.crossover == NEVER && self.element == ElementLoss::None
    }
}

pub(in crate::engine) fn activation_kind(op: &'static str, kind: u32) -> Result<ActivationKind> {
    ActivationKind::from_index(kind).ok_or_else(|| Error::Value {
        op,
        what: "activation kind",
        value: kind.to_string(),
        expected: "an index of ActivationKind",
    })
}

/// Compact rows name their neurons with 16 bits.
pub(in crate::engine) fn check_width(op: &'static str, cols: usize) -> Result<()> {
    if (1..=u16::MAX as usize).contains(&cols) {
        return Ok(());
    }
    Err(Error::Value {
        op,
        what: "MLP width",
        value: cols.to_string(),
        expected: "1 to 65535 neurons",
    })
}

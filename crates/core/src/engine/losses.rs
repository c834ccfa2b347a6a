//! Task losses, density losses and the optimizer.

use super::{Engine, Handles};
use crate::density::loss::DensityLoss;
use crate::memory::AlignedBuf;
use crate::ops::mse;
use crate::ops::optimizer::{self, AdamW};
use crate::ops::softmax_cross_entropy::CrossEntropy;
use crate::{Error, Result};

/// Label that a cross-entropy ignores, as in PyTorch.
pub(super) const IGNORE_INDEX: i32 = -100;

impl Engine {
    /// Mean cross-entropy over the labels that are not -100; `smoothing` is torch's label smoothing, 0 to 1. Returns
    /// `[loss [1, 1], dlogits]` with dlogits for a gradient of 1.
    pub fn cross_entropy(&mut self, logits: u32, labels: u32, smoothing: f64) -> Result<Handles> {
        const OP: &str = "crossEntropy";
        let (rows, classes) = self.shape(logits)?;
        self.expect_len(OP, "labels", labels, rows)?;
        let settings = cross_entropy_settings(OP, classes, smoothing)?;
        let mut dlogits = AlignedBuf::uninit(rows * classes)?;
        let (values, labels) = (self.f32(OP, logits)?, self.i32(OP, labels)?);
        let (loss, _) = settings.forward(self.isa, &self.pool, values, labels, &mut dlogits)?;
        let loss = self.new_scalar(loss)?;
        Ok(vec![loss, self.new_f32(rows, classes, dlogits)])
    }

    /// Mean squared error. Returns `[loss [1, 1], dprediction]`.
    pub fn mean_squared_error(&mut self, prediction: u32, target: u32) -> Result<Handles> {
        const OP: &str = "meanSquaredError";
        let (rows, cols) = self.shape(prediction)?;
        self.expect_len(OP, "target", target, rows * cols)?;
        let mut gradient = AlignedBuf::uninit(rows * cols)?;
        let (prediction, target) = (self.f32(OP, prediction)?, self.f32(OP, target)?);
        let loss = mse::forward(self.isa, &self.pool, prediction, target, &mut gradient);
        let loss = self.new_scalar(loss)?;
        Ok(vec![loss, self.new_f32(rows, cols, gradient)])
    }

    pub(super) fn new_scalar(&mut self, value: f64) -> Result<u32> {
        let buffer = scalar_buffer(value)?;
        Ok(self.new_f32(1, 1, buffer))
    }

    /// Sum over the neurons of a feature map: tanh(beta · s) or s² / (s² + eps).
    pub fn density_value(&mut self, map: u32, kind: u32, parameter: f64) -> Result<f64> {
        let loss = density_loss("densityValue", kind, parameter)?;
        Ok(loss.value_sum(self.isa, self.f32("densityValue", map)?))
    }

    /// scale · d(sum)/ds.
    pub fn density_gradient(&mut self, map: u32, kind: u32, parameter: f64, scale: f64) -> Result<u32> {
        let loss = density_loss("densityGradient", kind, parameter)?;
        let (rows, cols) = self.shape(map)?;
        let mut gradient = AlignedBuf::uninit(rows * cols)?;
        loss.gradient(self.isa, self.f32("densityGradient", map)?, scale as f32, &mut gradient);
        Ok(self.new_f32(rows, cols, gradient))
    }

    /// Sum of squares, for the norm of gradients.
    pub fn sum_squares(&mut self, x: u32) -> Result<f64> {
        Ok(optimizer::sum_squares(self.isa, &self.pool, self.f32("sumSquares", x)?))
    }

    /// One AdamW step in place on `param`, `m` and `v`; the gradient is multiplied by `grad_scale` first (clipping).
    #[allow(clippy::too_many_arguments)] // PyTorch's own list
    pub fn adamw_step(
        &mut self,
        param: u32,
        grad: u32,
        m: u32,
        v: u32,
        lr: f64,
        beta1: f64,
        beta2: f64,
        eps: f64,
        weight_decay: f64,
        step: u32,
        grad_scale: f64,
    ) -> Result<u32> {
        const OP: &str = "adamwStep";
        let (rows, cols) = self.shape(param)?;
        for (what, handle) in [("grad", grad), ("m", m), ("v", v)] {
            self.expect_len(OP, what, handle, rows * cols)?;
            if handle == param {
                return Err(Error::Internal(format!("adamwStep: {what} is also the parameter")));
            }
        }
        let settings = AdamW {
            lr,
            beta1,
            beta2,
            eps,
            weight_decay,
            step,
            grad_scale: grad_scale as f32,
        };
        let mut first = self.tensors.take(m)?;
        let mut second = match self.tensors.take(v) {
            Ok(second) => second,
            Err(error) => {
                self.tensors.put_back(m, first);
                return Err(error);
            }
        };
        let result = match (&mut first.data, &mut second.data) {
            (super::tensors::Data::F32(m), super::tensors::Data::F32(v)) => {
                self.in_place(OP, param, |engine, values| {
                    optimizer::adamw_step(engine.isa, &engine.pool, values, engine.f32(OP, grad)?, m, v, &settings);
                    Ok(())
                })
            }
            _ => Err(Error::Internal("adamwStep: m and v must hold f32 values".into())),
        };
        self.tensors.put_back(m, first);
        self.tensors.put_back(v, second);
        result
    }
}

/// One value.
pub(super) fn scalar_buffer(value: f64) -> Result<AlignedBuf> {
    let mut buffer = AlignedBuf::new_zeroed(1)?;
    buffer[0] = value as f32;
    Ok(buffer)
}

pub(super) fn cross_entropy_settings(op: &'static str, classes: usize, smoothing: f64) -> Result<CrossEntropy> {
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::Value {
            op,
            what: "label smoothing",
            value: smoothing.to_string(),
            expected: "0 to 1",
        });
    }
    Ok(CrossEntropy {
        classes,
        ignore_index: IGNORE_INDEX,
        smoothing,
    })
}

fn density_loss(op: &'static str, kind: u32, parameter: f64) -> Result<DensityLoss> {
    if !(parameter > 0.0 && parameter.is_finite()) {
        return Err(Error::Value {
            op,
            what: "beta or eps",
            value: parameter.to_string(),
            expected: "a positive number",
        });
    }
    match kind {
        0 => Ok(DensityLoss::Tanh { beta: parameter as f32 }),
        1 => Ok(DensityLoss::L0 { eps: parameter as f32 }),
        _ => Err(Error::Value {
            op,
            what: "density loss",
            value: kind.to_string(),
            expected: "0 (tanh) or 1 (l0)",
        }),
    }
}

//! The activation-density losses of DEFT (Runwal, Pedapati and Chen, "From PEFT to DEFT: Parameter Efficient Finetuning for Reducing
//! Activation Density in Transformers") and density statistics.

pub mod element;
pub mod loss;
pub mod statistics;

pub use loss::DensityLoss;

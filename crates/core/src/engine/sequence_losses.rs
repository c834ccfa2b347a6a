//! Losses over the tokens of each sequence.

use super::{Engine, Handles};
use crate::Result;
use crate::memory::AlignedBuf;
use crate::ops::{attention, sequence_cross_entropy};

impl Engine {
    /// Cross-entropy of a softmax over each sequence's own tokens, for every column of `logits` [tokens, cols]; `labels`
    /// [sequences, cols] count from the sequence's first token, -100 for none. Returns `[mean loss [1, 1], dlogits]`.
    pub fn sequence_cross_entropy(&mut self, logits: u32, labels: u32, cu: u32) -> Result<Handles> {
        const OP: &str = "sequenceCrossEntropy";
        let (rows, cols) = self.shape(logits)?;
        attention::check_offsets(self.i32(OP, cu)?, rows)?;
        let sequences = self.i32(OP, cu)?.len() - 1;
        self.expect_len(OP, "labels", labels, sequences * cols)?;
        let mut dlogits = AlignedBuf::uninit(rows * cols)?;
        let (values, labels, cu) = (self.f32(OP, logits)?, self.i32(OP, labels)?, self.i32(OP, cu)?);
        let loss =
            sequence_cross_entropy::forward(values, cols, labels, cu, super::losses::IGNORE_INDEX, &mut dlogits)?;
        let loss = self.new_scalar(loss)?;
        Ok(vec![loss, self.new_f32(rows, cols, dlogits)])
    }
}

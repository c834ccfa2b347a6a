//! The heart: up-projection, activation, compaction and the DEFT statistics as one operation, and its backward pass.
//!
//! Each block of rows is finished while it is in cache: bias, activation, column sums (the feature map), the element-wise loss and
//! the compaction of the non-zeros. Sums are kept per block and added in block order, so they do not depend on the threads.

use super::tensors::Data;
use super::{Engine, Handles};
use crate::density::element::ElementLoss;
use crate::matmul::{Accumulate, ROW_BLOCK, matmul_parts, matmul_row_blocks};
use crate::memory::AlignedBuf;
use crate::ops::activation::{self, ActivationKind};
use crate::ops::elementwise;
use crate::simd::Isa;
use crate::sparse::{Activations, Block, NEVER, compact_block, compact_counted};
use crate::threads::SendPtr;
use crate::{Error, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Columns of a task of [`Engine::activate`] on few rows: a block of rows is too long a task where there are not many.
const COLUMNS: usize = 1024;

/// What an MLP's activation is, and what is measured of it.
#[derive(Clone, Copy)]
pub(super) struct MlpSettings {
    pub kind: ActivationKind,
    pub element: ElementLoss,
    /// Outputs of at most this magnitude become exact zeros (without a gradient); 0: none.
    pub cutoff: f32,
    /// Density up to which a block is compacted: only where a zero output has no gradient before the activation, which a compact gradient
    /// needs.
    pub crossover: f32,
}

impl Engine {
    pub(super) fn mlp_settings(
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
        if element.reads_pre() && kind.is_relu_family() {
            return Err(Error::Value {
                op,
                what: "element loss",
                value: "a hinge".into(),
                expected: "another for ReLU, whose pre-activations are not kept",
            });
        }
        let cutoff = cutoff as f32;
        let is_compactable = kind.is_relu_family() || (cutoff > 0.0 && !element.reads_pre());
        let crossover = if is_compactable { self.crossover } else { NEVER };
        Ok(MlpSettings {
            kind,
            element,
            cutoff,
            crossover,
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

    /// Whether the pre-activations are kept, outputs stay dense and nothing is measured of whole rows, so that any part of them can be made on its own.
    fn is_dense(self) -> bool {
        !self.kind.is_relu_family() && self.crossover == NEVER && self.element == ElementLoss::None
    }
}

/// What a finished block leaves behind.
pub(super) struct Finished {
    block: Block,
    column_sums: Vec<f32>,
    element_sum: f64,
    /// Where they were counted.
    nonzeros: Option<usize>,
}

impl Engine {
    /// o = f(pre) with its statistics. `element` and its parameters `p` and `q` ask for an element-wise mean ([`ElementLoss`]); outputs up
    /// to `cutoff` in magnitude become exact zeros.
    ///
    /// Returns `[o, featureMap [1, cols], elementMean [1, 1], pre]`; `pre` is 0 where the backward pass does not need it.
    pub fn activate(&mut self, pre: u32, kind: u32, element: u32, p: f64, q: f64, cutoff: f64) -> Result<Handles> {
        const OP: &str = "activate";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let (rows, cols) = self.shape(pre)?;
        check_width(OP, cols)?;
        let isa = self.isa;
        let source = &self.f32(OP, pre)?[..];
        if settings.is_dense() {
            let blocks = rows.div_ceil(ROW_BLOCK);
            let dense = DenseActivations::new(isa, settings, rows, cols, blocks)?;
            self.pool.run(blocks * cols.div_ceil(COLUMNS), &|task| {
                let (block, first) = (task % blocks, task / blocks * COLUMNS);
                let columns = first..cols.min(first + COLUMNS);
                let rows = block * ROW_BLOCK..rows.min((block + 1) * ROW_BLOCK);
                let nonzeros = rows.map(|row| {
                    let pre = &source[row * cols..][columns.clone()];
                    // SAFETY: tasks have disjoint blocks x columns.
                    unsafe { dense.set(block, row, columns.clone(), pre) }
                });
                dense.count(nonzeros.sum());
            });
            return self.publish_dense(dense, pre);
        }
        let finished = self.finish_blocks(rows, |blocks| {
            self.pool.run(rows.div_ceil(ROW_BLOCK), &|block| {
                let first = block * ROW_BLOCK;
                let part = &source[first * cols..(first + ROW_BLOCK).min(rows) * cols];
                blocks.set(block, finish_copy(isa, settings, part, cols));
            });
        })?;
        self.collect(
            rows,
            cols,
            finished,
            if settings.kind.is_relu_family() { 0 } else { pre },
        )
    }

    /// The same fused with the up-projection: pre = x · weightᵀ + bias is never written for ReLU.
    #[allow(clippy::too_many_arguments)] // one call a forward pass; the binding has no structs
    pub fn linear_activate(
        &mut self,
        x: u32,
        weight: u32,
        bias: u32,
        kind: u32,
        element: u32,
        p: f64,
        q: f64,
        cutoff: f64,
    ) -> Result<Handles> {
        const OP: &str = "linearActivate";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let is_dense = settings.is_dense();
        if self.is_activations(x) || !(is_dense || settings.kind.is_relu_family()) {
            let pre = self.linear(x, weight, bias)?;
            return self.activate(pre, kind, element, p, q, cutoff);
        }
        let (rows, inputs) = self.shape(x)?;
        let (cols, _) = self.shape(weight)?;
        check_width(OP, cols)?;
        self.expect(OP, "weight", weight, cols, inputs)?;
        if bias != 0 {
            self.expect_len(OP, "bias", bias, cols)?;
        }
        self.pack(OP, weight, super::packs::Form::Forward)?;
        let isa = self.isa;
        let bias = if bias == 0 {
            None
        } else {
            Some(&self.f32(OP, bias)?[..])
        };
        let panels = self.panels(weight, super::packs::Form::Forward)?;
        let source = self.f32(OP, x)?;
        if is_dense {
            let mut pre = AlignedBuf::uninit(rows * cols)?;
            let dense = DenseActivations::new(isa, settings, rows, cols, panels.row_blocks(rows))?;
            let accumulate = Accumulate::Overwrite;
            matmul_parts(
                isa,
                &self.pool,
                source,
                rows,
                panels,
                bias,
                accumulate,
                &mut pre,
                &|mut part| {
                    let (group, columns) = (part.block, part.columns.clone());
                    // SAFETY: parts are disjoint, and so are the sums of their blocks.
                    let nonzeros = part
                        .rows
                        .clone()
                        .map(|row| unsafe { dense.set(group, row, columns.clone(), part.row(row)) });
                    dense.count(nonzeros.sum());
                },
            );
            let pre = self.new_f32(rows, cols, pre);
            return self.publish_dense(dense, pre);
        }
        let finished = self.finish_blocks(rows, |blocks| {
            matmul_row_blocks(isa, &self.pool, source, rows, panels, bias, &|first, scratch| {
                blocks.set(first / ROW_BLOCK, finish(isa, settings, scratch, cols));
            });
        })?;
        self.collect(rows, cols, finished, 0)
    }

    fn finish_blocks(&self, rows: usize, run: impl FnOnce(&BlockSlots)) -> Result<Vec<Finished>> {
        let mut slots: Vec<Option<Finished>> = (0..rows.div_ceil(ROW_BLOCK)).map(|_| None).collect();
        run(&BlockSlots {
            slots: SendPtr::new(&mut slots),
            count: slots.len(),
        });
        slots
            .into_iter()
            .map(|slot| slot.ok_or_else(|| Error::Internal("a row block was not finished".into())))
            .collect()
    }

    pub(super) fn collect(&mut self, rows: usize, cols: usize, finished: Vec<Finished>, pre: u32) -> Result<Handles> {
        let mut map = AlignedBuf::new_zeroed(cols)?;
        let mut element_sum = 0.0;
        let mut counted = Some(0);
        let mut blocks = Vec::with_capacity(finished.len());
        for part in finished {
            elementwise::add_slice(self.isa, &mut map, &part.column_sums);
            element_sum += part.element_sum;
            counted = counted.zip(part.nonzeros).map(|(total, more)| total + more);
            blocks.push(part.block);
        }
        let o = Activations {
            counted,
            ..Activations::new(rows, cols, blocks)
        };
        self.publish(o, map, element_sum, pre)
    }

    /// The handles of o, of its column sums as means, and of its element-wise sum as a mean.
    fn publish(&mut self, o: Activations, mut map: AlignedBuf, element_sum: f64, pre: u32) -> Result<Handles> {
        let (rows, cols) = (o.rows, o.cols);
        map.iter_mut().for_each(|total| *total /= rows as f32);
        let mut element = AlignedBuf::new_zeroed(1)?;
        element[0] = (element_sum / (rows * cols) as f64) as f32;
        let o = self.tensors.insert(rows, cols, Data::Activations(o));
        let map = self.new_f32(1, cols, map);
        let element = self.new_f32(1, 1, element);
        Ok(vec![o, map, element, pre])
    }

    fn publish_dense(&mut self, dense: DenseActivations, pre: u32) -> Result<Handles> {
        let DenseActivations { rows, cols, .. } = dense;
        let mut map = AlignedBuf::new_zeroed(cols)?;
        for sums in dense.sums.chunks_exact(cols) {
            elementwise::add_slice(self.isa, &mut map, sums);
        }
        let blocks = dense.blocks.into_iter().map(|values| Block::Dense { values });
        let o = Activations {
            counted: Some(dense.nonzeros.into_inner()),
            ..Activations::new(rows, cols, blocks.collect())
        };
        self.publish(o, map, 0.0, pre)
    }

    /// Gradient before the activation: (grad + mapGrad / rows + elementGrad · d(elementMean)/do) · f'(pre), 0 where `cutoff` made o zero, and
    /// elementGrad · d(elementMean)/dpre of a loss on pre-activations; in the blocks of `out`.
    ///
    /// `grad` is the gradient of o (0: none; dense or in o's pattern), `map_grad` that of the feature map `[1, cols]` (0: none),
    /// `element_grad` that of the element-wise mean.
    #[allow(clippy::too_many_arguments)] // one call a backward pass; the binding has no structs
    pub fn activate_backward(
        &mut self,
        grad: u32,
        out: u32,
        pre: u32,
        map_grad: u32,
        element_grad: f64,
        kind: u32,
        element: u32,
        p: f64,
        q: f64,
        cutoff: f64,
    ) -> Result<u32> {
        const OP: &str = "activateBackward";
        let settings = self.mlp_settings(OP, kind, element, p, q, cutoff)?;
        let kind = settings.kind;
        let (rows, cols) = self.shape(out)?;
        if !kind.is_relu_family() {
            self.expect(OP, "pre", pre, rows, cols)?;
        }
        let isa = self.isa;
        let o = self.activations(OP, out)?;
        let gradient = self.out_gradient(OP, out, grad, map_grad, element_grad, settings)?;
        let pre = if kind.is_relu_family() {
            None
        } else {
            Some(&self.f32(OP, pre)?[..])
        };
        let blocks = self.each_block(o.blocks.len(), |index| {
            let first = index * ROW_BLOCK * cols;
            match &o.blocks[index] {
                Block::Compact {
                    row_starts, indices, ..
                } => {
                    let mut values = gradient.compact(isa, o, index);
                    // ReLU's derivative at a non-zero is 1.
                    if let Some(pre) = pre {
                        let pre = gather_pattern(&pre[first..], row_starts, indices, cols);
                        activation::backward_slice(isa, kind, &pre, &mut values);
                    }
                    Block::Compact {
                        row_starts: row_starts.clone(),
                        indices: indices.clone(),
                        values,
                    }
                }
                Block::Dense { values } => {
                    let input = pre.map_or(&values[..], |pre| &pre[first..][..values.len()]);
                    if let (Some(grad), true) = (gradient.plain(index, values.len(), cols), settings.cutoff == 0.0) {
                        let mut values = buffer(values.len());
                        activation::backward_into(isa, kind, input, grad, &mut values);
                        return Block::Dense { values };
                    }
                    let values = gradient.dense(isa, o, index, |at, g| {
                        let o = &values[at..][..g.len()];
                        let input = &input[at..][..g.len()];
                        activation::backward_slice(isa, kind, input, g);
                        if pre.is_none() {
                            return;
                        }
                        if settings.cutoff > 0.0 {
                            activation::mask_slice(isa, o, g);
                        }
                        settings.element.add_pre_gradient(isa, input, gradient.per_element, g);
                    });
                    Block::Dense { values }
                }
            }
        });
        Ok(self
            .tensors
            .insert(rows, cols, Data::Activations(Activations::new(rows, cols, blocks))))
    }

    /// The gradients that meet at o; see [`Engine::activate_backward`].
    pub(super) fn out_gradient(
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
        let sparse = grad != 0 && self.is_activations(grad);
        Ok(OutGradient {
            sparse: if sparse {
                Some(self.activations(op, grad)?)
            } else {
                None
            },
            dense: if grad != 0 && !sparse {
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

    /// `make(i)` for each block, in parallel, in order of i.
    pub(super) fn each_block<T>(&self, count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let mut blocks: Vec<Option<T>> = (0..count).map(|_| None).collect();
        let slots = SendPtr::new(&mut blocks);
        self.pool.run(count, &|index| {
            let block = make(index);
            // SAFETY: each task writes the slot of its own index.
            unsafe { *slots.at(index) = Some(block) };
        });
        blocks.into_iter().flatten().collect()
    }

    /// Exact non-zeros of MLP activations.
    pub fn nonzeros(&mut self, out: u32) -> Result<f64> {
        Ok(self.activations("nonzeros", out)?.nonzeros(self.isa, &self.pool) as f64)
    }

    /// Whether both are MLP activations (or their gradients) with entries at the same places.
    pub(super) fn have_one_pattern(&self, a: u32, b: u32) -> bool {
        match (self.activations("", a), self.activations("", b)) {
            (Ok(a), Ok(b)) => a.has_pattern_of(b),
            _ => false,
        }
    }

    /// y += scale · x for gradients in one pattern; used by `addInPlace`.
    pub(super) fn add_activations(&mut self, y: u32, x: u32, scale: f32) -> Result<u32> {
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

/// What [`Engine::out_gradient`] found.
pub(super) struct OutGradient<'a> {
    sparse: Option<&'a Activations>,
    dense: Option<&'a [f32]>,
    map: Option<&'a [f32]>,
    per_row: f32,
    pub per_element: f32,
    element: ElementLoss,
}

impl OutGradient<'_> {
    /// The gradient of block `index` of o, which is dense and has `len` values, if it is stored as such and nothing is added to it.
    fn plain(&self, index: usize, len: usize, cols: usize) -> Option<&[f32]> {
        if self.map.is_some() || self.per_element != 0.0 {
            return None;
        }
        match self.sparse.map(|g| &g.blocks[index]) {
            Some(Block::Dense { values }) => Some(values),
            Some(Block::Compact { .. }) => None,
            None => self.dense.map(|dense| &dense[index * ROW_BLOCK * cols..][..len]),
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
        let (cols, first) = (o.cols, index * ROW_BLOCK * o.cols);
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
        let (cols, first) = (o.cols, index * ROW_BLOCK * o.cols);
        let mut g = buffer(values.len());
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

struct BlockSlots {
    slots: SendPtr<Option<Finished>>,
    count: usize,
}

impl BlockSlots {
    fn set(&self, index: usize, finished: Finished) {
        assert!(index < self.count);
        // SAFETY: in range, and each block is finished by one task.
        unsafe { *self.slots.at(index) = Some(finished) };
    }
}

/// Activation, statistics and compaction of one block of rows, in place in its scratch; for ReLU.
fn finish(isa: Isa, settings: MlpSettings, scratch: &mut [f32], cols: usize) -> Finished {
    let (mut column_sums, mut element_sum, mut nonzeros) = (vec![0.0; cols], 0.0, 0);
    for row in scratch.chunks_exact_mut(cols) {
        nonzeros += activation::forward_counted_in_place(isa, settings.kind, settings.cutoff, row, &mut column_sums);
        element_sum += settings.element.row_sum(isa, row, None);
    }
    Finished {
        // SAFETY: every row was counted.
        block: unsafe { compact_counted(isa, scratch, cols, settings.crossover, nonzeros) },
        column_sums,
        element_sum,
        nonzeros: Some(nonzeros),
    }
}

/// [`finish`] of values that have to stay as they are.
fn finish_copy(isa: Isa, settings: MlpSettings, pre: &[f32], cols: usize) -> Finished {
    let mut values = buffer(pre.len());
    let (mut column_sums, mut element_sum, mut nonzeros) = (vec![0.0; cols], 0.0, 0);
    for (pre, row) in pre.chunks_exact(cols).zip(values.chunks_exact_mut(cols)) {
        nonzeros += activation::forward_counted(isa, settings.kind, settings.cutoff, pre, row, &mut column_sums);
        element_sum += settings.element.row_sum(isa, row, Some(pre));
    }
    Finished {
        block: if settings.crossover != NEVER {
            // SAFETY: every row was counted.
            unsafe { compact_counted(isa, &values, cols, settings.crossover, nonzeros) }
        } else {
            Block::Dense { values }
        },
        column_sums,
        element_sum,
        nonzeros: Some(nonzeros),
    }
}

/// Activations that stay dense, while tasks make parts of them.
struct DenseActivations {
    isa: Isa,
    settings: MlpSettings,
    rows: usize,
    cols: usize,
    blocks: Vec<AlignedBuf>,
    /// Where `blocks` are.
    targets: Vec<SendPtr<f32>>,
    /// Sums of columns, [groups, cols]: in the order of a group's rows whatever the tasks, and added in the order of the groups.
    sums: Vec<f32>,
    sums_target: SendPtr<f32>,
    nonzeros: AtomicUsize,
}

impl DenseActivations {
    fn new(isa: Isa, settings: MlpSettings, rows: usize, cols: usize, groups: usize) -> Result<DenseActivations> {
        let starts = (0..rows).step_by(ROW_BLOCK);
        let mut blocks = starts
            .map(|first| AlignedBuf::uninit(ROW_BLOCK.min(rows - first) * cols))
            .collect::<Result<Vec<_>>>()?;
        let mut sums = vec![0.0; groups * cols];
        Ok(DenseActivations {
            isa,
            settings,
            rows,
            cols,
            targets: blocks.iter_mut().map(|block| SendPtr::new(block)).collect(),
            blocks,
            sums_target: SendPtr::new(&mut sums),
            sums,
            nonzeros: AtomicUsize::new(0),
        })
    }

    /// f(pre) as `columns` of row `row`, which is in group `group`. The number of non-zeros among them, for [`DenseActivations::count`].
    ///
    /// # Safety
    /// They are there, and no other task has these columns of the row or of the group.
    unsafe fn set(&self, group: usize, row: usize, columns: Range<usize>, pre: &[f32]) -> usize {
        // SAFETY: the caller's promise.
        let (out, sums) = unsafe {
            let at = row % ROW_BLOCK * self.cols + columns.start;
            (
                self.targets[row / ROW_BLOCK].slice(at, columns.len()),
                self.sums_target.slice(group * self.cols + columns.start, columns.len()),
            )
        };
        let MlpSettings { kind, cutoff, .. } = self.settings;
        activation::forward_counted(self.isa, kind, cutoff, pre, out, sums)
    }

    /// Once a task: threads wait for each other there.
    fn count(&self, nonzeros: usize) {
        self.nonzeros.fetch_add(nonzeros, Ordering::Relaxed);
    }
}

/// Statistics of one finished block o of a gated MLP, and its compaction up to a density of `crossover`.
pub(super) fn measure(isa: Isa, o: &[f32], pre: &[f32], cols: usize, element: ElementLoss, crossover: f32) -> Finished {
    let (mut column_sums, mut element_sum) = (vec![0.0; cols], 0.0);
    for (o, pre) in o.chunks_exact(cols).zip(pre.chunks_exact(cols)) {
        elementwise::add_slice(isa, &mut column_sums, o);
        element_sum += element.row_sum(isa, o, Some(pre));
    }
    Finished {
        block: compact_block(isa, o, cols, crossover),
        column_sums,
        element_sum,
        nonzeros: None,
    }
}

/// Room for `len` values inside a task, where no error can be returned: without memory it ends as a `Vec` would.
pub(super) fn buffer(len: usize) -> AlignedBuf {
    AlignedBuf::uninit(len).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn gather_pattern(dense: &[f32], row_starts: &[u32], indices: &[u16], cols: usize) -> Vec<f32> {
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

fn scatter_pattern(values: &[f32], row_starts: &[u32], indices: &[u16], cols: usize, dense: &mut [f32]) {
    for (row, bounds) in row_starts.windows(2).enumerate() {
        for at in bounds[0] as usize..bounds[1] as usize {
            dense[row * cols + indices[at] as usize] = values[at];
        }
    }
}

pub(super) fn activation_kind(op: &'static str, kind: u32) -> Result<ActivationKind> {
    ActivationKind::from_index(kind).ok_or_else(|| Error::Value {
        op,
        what: "activation kind",
        value: kind.to_string(),
        expected: "an index of ActivationKind",
    })
}

/// Compact rows name their neurons with 16 bits.
pub(super) fn check_width(op: &'static str, cols: usize) -> Result<()> {
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

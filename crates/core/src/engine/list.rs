//! The operations that both bindings export, named once. A binding passes a macro that turns each line into an exported method
//! calling the [`super::Engine`] method of the same name, so neither can lack one.

/// Calls `$callback!` with lines `fn rust_name "jsName" (argument: type, ...) -> type;`.
#[macro_export]
macro_rules! backend_ops {
    ($callback:ident) => {
        $callback! {
            fn zeros "zeros" (rows: u32, cols: u32) -> u32;
            fn duplicate "duplicate" (x: u32) -> u32;
            fn free "free" (x: u32) -> u32;
            fn begin_scope "beginScope" () -> u32;
            fn end_scope "endScope" () -> u32;
            fn keep "keep" (x: u32, levels: u32) -> u32;
            fn freeze_weight "freezeWeight" (weight: u32, precision: String) -> u32;
            fn live_tensors "liveTensors" () -> u32;
            fn live_bytes "liveBytes" () -> f64;

            fn add "add" (a: u32, b: u32) -> u32;
            fn add_in_place "addInPlace" (y: u32, x: u32, scale: f64) -> u32;
            fn scale "scale" (x: u32, factor: f64) -> u32;
            fn mul "mul" (a: u32, b: u32) -> u32;
            fn div "div" (a: u32, b: u32) -> u32;
            fn activation "activation" (x: u32, kind: u32) -> u32;
            fn activation_backward "activationBackward" (x: u32, dy: u32, kind: u32) -> u32;
            fn gather_rows "gatherRows" (table: u32, ids: u32) -> u32;
            fn scatter_add_rows "scatterAddRows" (dy: u32, ids: u32, rows: u32) -> u32;
            fn sum_rows "sumRows" (x: u32) -> u32;
            fn sum_squares "sumSquares" (x: u32) -> f64;
            fn to_dense "toDense" (x: u32) -> u32;

            fn concat_sequences "concatSequences" (a: u32, b: u32, cu_a: u32, cu_b: u32) -> u32;
            fn concat_sequences_backward "concatSequencesBackward"
                (dout: u32, front_rows: u32, cu_a: u32, cu_b: u32, want_a: bool, want_b: bool) -> Handles;
            fn slice_cols "sliceCols" (x: u32, start: u32, width: u32) -> u32;
            fn put_cols "putCols" (y: u32, x: u32, start: u32) -> u32;
            fn scale_cols "scaleCols" (x: u32, factors: u32, shift: u32) -> u32;
            fn sum_products "sumProducts" (a: u32, b: u32) -> u32;
            fn row_norms "rowNorms" (x: u32) -> u32;

            fn linear "linear" (x: u32, weight: u32, bias: u32) -> u32;
            fn linear_add "linearAdd" (y: u32, x: u32, weight: u32, scale: f64) -> u32;
            fn linear_backward_input "linearBackwardInput" (dy: u32, weight: u32, pattern: u32) -> u32;
            fn linear_backward_input_add "linearBackwardInputAdd" (dx: u32, dy: u32, weight: u32, scale: f64) -> u32;
            fn linear_backward_weight "linearBackwardWeight" (dy: u32, x: u32, scale: f64) -> u32;

            fn activate "activate" (pre: u32, kind: u32, element: u32, p: f64, q: f64, cutoff: f64) -> Handles;
            fn linear_activate "linearActivate"
                (x: u32, weight: u32, bias: u32, kind: u32, element: u32, p: f64, q: f64, cutoff: f64) -> Handles;
            fn activate_backward "activateBackward"
                (grad: u32, out: u32, pre: u32, map_grad: u32, element_grad: f64, kind: u32,
                 element: u32, p: f64, q: f64, cutoff: f64) -> u32;
            fn gated_activate "gatedActivate"
                (pre: u32, up: u32, kind: u32, element: u32, p: f64, q: f64, cutoff: f64) -> Handles;
            fn gated_activate_backward "gatedActivateBackward"
                (grad: u32, out: u32, pre: u32, up: u32, map_grad: u32, element_grad: f64, kind: u32,
                 element: u32, p: f64, q: f64, cutoff: f64) -> Handles;
            fn nonzeros "nonzeros" (out: u32) -> f64;

            fn layer_norm "layerNorm" (x: u32, gamma: u32, beta: u32, eps: f64) -> Handles;
            fn add_layer_norm "addLayerNorm"
                (x: u32, residual: u32, p: f64, seed: u32, stream: u32, gamma: u32, beta: u32, eps: f64) -> Handles;
            fn layer_norm_backward "layerNormBackward" (dy: u32, x: u32, stats: u32, gamma: u32, affine: bool) -> Handles;
            fn rms_norm "rmsNorm" (x: u32, gamma: u32, eps: f64) -> Handles;
            fn rms_norm_backward "rmsNormBackward" (dy: u32, x: u32, rstd: u32, gamma: u32, affine: bool) -> Handles;
            fn dropout "dropout" (x: u32, p: f64, seed: u32, stream: u32) -> u32;
            fn dropout_add "dropoutAdd" (x: u32, residual: u32, p: f64, seed: u32, stream: u32) -> u32;
            fn attention "attention"
                (q: u32, k: u32, v: u32, cu_q: u32, cu_k: u32, heads: u32, causal: bool, scale: f64, p: f64, seed: u32, stream: u32,
                 bias_table: u32, bidirectional: bool, max_distance: u32, unbiased_keys: u32)
                -> Handles;
            fn attention_backward "attentionBackward"
                (dout: u32, q: u32, k: u32, v: u32, out: u32, lse: u32, cu_q: u32, cu_k: u32,
                 heads: u32, causal: bool, scale: f64, p: f64, seed: u32, stream: u32,
                 bias_table: u32, bidirectional: bool, max_distance: u32, unbiased_keys: u32, want_bias: bool)
                -> Handles;

            fn cross_entropy "crossEntropy" (logits: u32, labels: u32, smoothing: f64) -> Handles;
            fn linear_cross_entropy "linearCrossEntropy"
                (hidden: u32, weight: u32, bias: u32, labels: u32, smoothing: f64,
                 want_hidden: bool, want_weight: bool, want_bias: bool)
                -> Handles;
            fn sequence_cross_entropy "sequenceCrossEntropy" (logits: u32, labels: u32, cu: u32) -> Handles;
            fn mean_squared_error "meanSquaredError" (prediction: u32, target: u32) -> Handles;
            fn density_value "densityValue" (map: u32, kind: u32, parameter: f64) -> f64;
            fn density_gradient "densityGradient" (map: u32, kind: u32, parameter: f64, scale: f64) -> u32;
            fn adamw_step "adamwStep"
                (param: u32, grad: u32, m: u32, v: u32, lr: f64, beta1: f64, beta2: f64, eps: f64, weight_decay: f64,
                 step: u32, grad_scale: f64)
                -> u32;
        }
    };
}

//! The engine against itself: fused against separate, one thread against several, and what misuse gives.

use super::Engine;
use super::tensors::Data;
use crate::Error;
use crate::rng::Stream;
use crate::simd::Isa;
use crate::sparse::{Activations, Blocking};

const RELU: u32 = 0;
const GELU: u32 = 1;
/// Kind, shift and element loss.
const CASES: [(u32, f32, u32); 5] = [
    (RELU, -6.0, 1),
    (RELU, 0.0, 1),
    (RELU, 0.0, 0),
    (GELU, 0.0, 1),
    (GELU, 0.0, 0),
];

fn engine(threads: u32, isa: Isa) -> Engine {
    Engine::new(threads, isa.name()).expect("an available instruction set")
}

/// Values in -1..1, then shifted: a negative shift makes ReLU's output sparse.
fn values(count: usize, seed: u32, shift: f32) -> Vec<f32> {
    let stream = Stream { seed, stream: 1 };
    (0..count as u32)
        .map(|index| stream.uniform(index) * 2.0 - 1.0 + shift)
        .collect()
}

/// Up-projection, activation, down-projection and all gradients, as flat values. Without an element loss nothing is asked of the feature map
/// either: then dense activations are made in parts of rows, and their gradient in one pass.
fn mlp(engine: &mut Engine, kind: u32, bias_shift: f32, element: u32, fused: bool) -> Vec<Vec<f32>> {
    let (rows, d, ff) = (101, 36, 76);
    let x = engine
        .upload_f32(&values(rows * d, 1, 0.0), rows as u32, d as u32)
        .unwrap();
    let up = engine.upload_f32(&values(ff * d, 2, 0.0), ff as u32, d as u32).unwrap();
    let bias = engine.upload_f32(&values(ff, 3, bias_shift), 1, ff as u32).unwrap();
    let down = engine.upload_f32(&values(d * ff, 4, 0.0), d as u32, ff as u32).unwrap();
    let dy = engine
        .upload_f32(&values(rows * d, 5, 0.0), rows as u32, d as u32)
        .unwrap();
    let map_grad = engine.upload_f32(&values(ff, 6, 0.0), 1, ff as u32).unwrap();
    let results = if fused {
        engine
            .linear_activate(x, up, bias, kind, element, 1e-2, 0.0, 0.0)
            .unwrap()
    } else {
        let pre = engine.linear(x, up, bias).unwrap();
        engine.activate(pre, kind, element, 1e-2, 0.0, 0.0).unwrap()
    };
    let (out, map, mean, pre) = (results[0], results[1], results[2], results[3]);
    let nonzeros = engine.read_f32(out).unwrap().iter().filter(|&&o| o != 0.0).count();
    assert_eq!(engine.nonzeros(out).unwrap(), nonzeros as f64);
    let y = engine.linear(out, down, 0).unwrap();
    let grad = engine.linear_backward_input(dy, down, out).unwrap();
    let (map_grad, element_grad) = if element == 0 { (0, 0.0) } else { (map_grad, 0.7) };
    let dpre = engine
        .activate_backward(grad, out, pre, map_grad, element_grad, kind, element, 1e-2, 0.0, 0.0)
        .unwrap();
    let dx = engine.linear_backward_input(dpre, up, 0).unwrap();
    let d_up = engine.linear_backward_weight(dpre, x, 1.0).unwrap();
    let d_down = engine.linear_backward_weight(dy, out, 1.0).unwrap();
    [out, map, mean, y, dpre, dx, d_up, d_down]
        .into_iter()
        .map(|handle| engine.read_f32(handle).unwrap())
        .collect()
}

fn assert_close(name: &str, a: &[Vec<f32>], b: &[Vec<f32>], tolerance: f32) {
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!(a.len(), b.len());
        let scale = b.iter().fold(1e-3f32, |most, value| most.max(value.abs()));
        for (a, b) in a.iter().zip(b) {
            assert!(
                (a - b).abs() <= tolerance * scale,
                "{name}, result {index}: {a} and {b}"
            );
        }
    }
}

#[test]
fn fused_up_projection_equals_the_separate_operations() {
    for isa in Isa::available() {
        for (kind, shift) in [(RELU, -6.0), (RELU, -2.0), (RELU, 0.0), (RELU, 3.0), (GELU, 0.0)] {
            for element in [0, 1] {
                let fused = mlp(&mut engine(2, isa), kind, shift, element, true);
                let separate = mlp(&mut engine(2, isa), kind, shift, element, false);
                assert_close(&format!("{} shift {shift}", isa.name()), &fused, &separate, 1e-5);
            }
        }
    }
}

#[test]
fn every_instruction_set_agrees_with_scalar() {
    let scalar = Isa::choose(Some("scalar")).unwrap();
    for isa in Isa::available() {
        for (kind, shift, element) in CASES {
            let fast = mlp(&mut engine(1, isa), kind, shift, element, true);
            let naive = mlp(&mut engine(1, scalar), kind, shift, element, true);
            assert_close(isa.name(), &fast, &naive, 2e-5);
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    for isa in Isa::available() {
        for (kind, shift, element) in CASES {
            let one = mlp(&mut engine(1, isa), kind, shift, element, true);
            for threads in [2, 3, 8] {
                assert_eq!(
                    one,
                    mlp(&mut engine(threads, isa), kind, shift, element, true),
                    "{} threads",
                    threads
                );
            }
        }
    }
}

/// GELU of rows that are cut in several tasks, and its statistics, against one value at a time.
#[test]
fn wide_activations_are_those_of_each_value() {
    let (rows, cols) = (50, 2085);
    let pre = values(rows * cols, 7, 0.1);
    for isa in Isa::available() {
        let [one, three] = [1, 3].map(|threads| {
            let mut engine = engine(threads, isa);
            let handle = engine.upload_f32(&pre, rows as u32, cols as u32).unwrap();
            let results = engine.activate(handle, GELU, 0, 0.0, 0.0, 0.0).unwrap();
            let plain = engine.activation(handle, GELU).unwrap();
            assert_eq!(results[3], handle);
            let [o, map, plain] = [results[0], results[1], plain].map(|handle| engine.read_f32(handle).unwrap());
            assert_eq!(o, plain);
            for (column, mean) in map.iter().enumerate() {
                let sum: f64 = o.iter().skip(column).step_by(cols).map(|&o| o as f64).sum();
                assert!((*mean as f64 - sum / rows as f64).abs() < 1e-6);
            }
            [o, map]
        });
        assert_eq!(one, three);
    }
}

#[test]
fn scopes_free_what_was_made_in_them() {
    let mut engine = Engine::new(1, "").unwrap();
    let outside = engine.zeros(2, 3).unwrap();
    engine.begin_scope().unwrap();
    let inner = engine.add(outside, outside).unwrap();
    let kept = engine.scale(inner, 2.0).unwrap();
    engine.keep(kept, 1).unwrap();
    assert_eq!(engine.end_scope().unwrap(), 1);
    assert_eq!(engine.read_f32(inner), Err(Error::NoSuchTensor(inner)));
    assert_eq!(engine.read_f32(kept).unwrap().len(), 6);
    assert_eq!(engine.live_tensors().unwrap(), 2);
    assert!(engine.end_scope().is_err());
}

#[test]
fn handles_are_not_given_twice() {
    let mut engine = Engine::new(1, "").unwrap();
    let first = engine.zeros(1, 1).unwrap();
    assert_eq!(engine.free(first), Ok(1));
    assert_eq!(engine.free(first), Ok(0));
    let second = engine.zeros(1, 1).unwrap();
    assert_ne!(first, second);
    assert_eq!(engine.read_f32(first), Err(Error::NoSuchTensor(first)));
    assert_eq!(engine.live_bytes().unwrap(), 4.0);
}

/// Gradients of MLP activations that meet: of one pattern, of two, and dense ones.
#[test]
fn activations_are_added_whatever_their_pattern() {
    let mut engine = Engine::new(2, "").unwrap();
    let (rows, cols) = (101usize, 20usize);
    let mut make = |seed: u32, shift: f32, sparse: bool| {
        let values = values(rows * cols, seed, shift);
        let handle = engine.upload_f32(&values, rows as u32, cols as u32).unwrap();
        if sparse {
            engine.activate(handle, RELU, 0, 0.0, 0.0, 0.0).unwrap()[0]
        } else {
            handle
        }
    };
    let (few, other, many, dense) = (
        make(1, -0.8, true),
        make(2, -0.8, true),
        make(3, 0.8, true),
        make(4, 0.0, false),
    );
    let few_too = make(1, -0.8, true);
    for (a, b) in [
        (few, few_too),
        (few, other),
        (few, many),
        (few, dense),
        (dense, few),
        (many, dense),
    ] {
        let (x, y) = (engine.read_f32(a).unwrap(), engine.read_f32(b).unwrap());
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        let sum = engine.add(a, b).unwrap();
        assert_eq!(engine.read_f32(sum).unwrap(), expected);
        let expected: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + 0.5 * y).collect();
        // A copy of `a`, of its kind: ReLU leaves its own output as it is.
        let copy = engine.upload_f32(&x, rows as u32, cols as u32).unwrap();
        let own = if engine.is_activations(a) {
            engine.activate(copy, RELU, 0, 0.0, 0.0, 0.0).unwrap()[0]
        } else {
            copy
        };
        assert_eq!(engine.add_in_place(own, b, 0.5), Ok(own));
        for (found, expected) in engine.read_f32(own).unwrap().iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-6, "{found} and {expected}");
        }
    }
}

/// Products with weights of another precision cut activations in blocks of other rows: their gradients do not fit each other.
#[test]
fn a_gradient_in_other_blocks_is_refused() {
    let mut engine = Engine::new(2, "").unwrap();
    let (rows, cols) = (101, 20);
    let dense = values(rows * cols, 1, -0.5);
    let [out, same, other] = [48, 48, 96].map(|rows_of_block| {
        let blocking = Blocking {
            rows: rows_of_block,
            crossover: 0.5,
        };
        let made = Activations::from_dense(engine.isa, &engine.pool, &dense, rows, cols, blocking).unwrap();
        engine.tensors.insert(rows, cols, Data::Activations(made))
    });
    let mut backward = |grad: u32| engine.activate_backward(grad, out, 0, 0, 0.0, RELU, 0, 0.0, 0.0, 0.0);
    assert!(backward(same).is_ok());
    let refused = backward(other).unwrap_err().to_string();
    assert!(
        refused.contains("grad") && refused.contains("blocks of 96 rows"),
        "{refused}"
    );
}

#[test]
fn misuse_is_an_error_and_never_a_panic() {
    let mut engine = Engine::new(1, "").unwrap();
    let a = engine.zeros(2, 3).unwrap();
    let ids = engine.upload_i32(&[0, 5], 1, 2).unwrap();
    assert!(matches!(
        engine.linear(a, ids, 0),
        Err(Error::Shape { .. } | Error::Kind { .. })
    ));
    assert!(matches!(
        engine.gather_rows(a, ids),
        Err(Error::IndexRange { value: 5, .. })
    ));
    assert!(matches!(engine.add(a, 99), Err(Error::NoSuchTensor(99))));
    assert!(matches!(engine.add(0, a), Err(Error::NoSuchTensor(0))));
    assert!(matches!(engine.activation(a, 77), Err(Error::Value { .. })));
    assert!(matches!(engine.dropout(a, 1.0, 0, 0), Err(Error::Value { .. })));
    assert!(matches!(engine.upload_f32(&[1.0], 2, 2), Err(Error::Shape { .. })));
    assert!(matches!(
        engine.upload_bytes(&[0; 4], "I64", 1, 1),
        Err(Error::Value { .. })
    ));
    assert!(matches!(
        engine.attention(a, a, a, ids, ids, 2, false, 1.0, 0.0, 0, 0, 0, false, 0, 0),
        Err(Error::Value { .. })
    ));
    assert!(matches!(
        engine.zeros(u32::MAX, u32::MAX),
        Err(Error::OutOfMemory { .. })
    ));
    assert!(engine.add_in_place(a, a, 1.0).is_err());
    assert!(
        engine
            .adamw_step(a, a, a, a, 1.0, 0.9, 0.99, 1e-8, 0.0, 1, 1.0)
            .is_err()
    );
    assert!(matches!(Engine::new(1, "mmx"), Err(Error::UnknownIsa { .. })));
}

#[test]
fn half_precision_is_widened_exactly() {
    let mut engine = Engine::new(1, "").unwrap();
    let bits: [u16; 7] = [0x3c00, 0xc000, 0x0001, 0x8000, 0x7c00, 0x7bff, 0x3555];
    let bytes: Vec<u8> = bits.iter().flat_map(|half| half.to_le_bytes()).collect();
    let half = engine.upload_bytes(&bytes, "F16", 1, 7).unwrap();
    let expected = [1.0, -2.0, 5.960_464_5e-8, -0.0, f32::INFINITY, 65504.0, 0.333_251_95];
    assert_eq!(engine.read_f32(half).unwrap(), expected);
    let brain = engine.upload_bytes(&0x4049u16.to_le_bytes(), "BF16", 1, 1).unwrap();
    assert_eq!(engine.read_f32(brain).unwrap(), [3.140_625]);
}

/// A gated MLP with its gradients; a negative shift makes ReLU's gate sparse.
fn gated_mlp(engine: &mut Engine, kind: u32, shift: f32) -> Vec<Vec<f32>> {
    let (rows, d, ff) = (101, 36, 76);
    let mut upload = |rows: usize, cols: usize, seed, shift| {
        let values = values(rows * cols, seed, shift);
        engine.upload_f32(&values, rows as u32, cols as u32).unwrap()
    };
    let (pre, up) = (upload(rows, ff, 1, shift), upload(rows, ff, 2, 0.0));
    let (down, dy, factors) = (upload(d, ff, 3, 0.0), upload(rows, d, 4, 0.0), upload(1, ff, 5, 0.0));
    let map_grad = upload(1, ff, 6, 0.0);
    let results = engine.gated_activate(pre, up, kind, 1, 1e-2, 0.0, 0.0).unwrap();
    let (out, map, mean) = (results[0], results[1], results[2]);
    let dropped = engine.dropout(out, 0.2, 7, 8).unwrap();
    let scaled = engine.scale_cols(dropped, factors, 0).unwrap();
    let y = engine.linear(scaled, down, 0).unwrap();
    let d_scaled = engine.linear_backward_input(dy, down, scaled).unwrap();
    let d_factors = engine.sum_products(d_scaled, dropped).unwrap();
    let d_dropped = engine.scale_cols(d_scaled, factors, 0).unwrap();
    let grad = engine.dropout(d_dropped, 0.2, 7, 8).unwrap();
    let gradients = engine
        .gated_activate_backward(grad, out, pre, up, map_grad, 0.7, kind, 1, 1e-2, 0.0, 0.0)
        .unwrap();
    let nonzeros = engine.nonzeros(out).unwrap() as f32;
    let mut found: Vec<Vec<f32>> = [out, map, mean, y, d_factors, gradients[0], gradients[1]]
        .into_iter()
        .map(|handle| engine.read_f32(handle).unwrap())
        .collect();
    found.push(vec![nonzeros]);
    found
}

#[test]
fn gated_mlp_is_the_same_on_any_threads_and_instruction_set() {
    let scalar = Isa::choose(Some("scalar")).unwrap();
    for (kind, shift) in [(RELU, -0.9), (RELU, 0.0), (GELU, 0.0)] {
        let naive = gated_mlp(&mut engine(1, scalar), kind, shift);
        for isa in Isa::available() {
            let one = gated_mlp(&mut engine(1, isa), kind, shift);
            assert_close(isa.name(), &one, &naive, 2e-5);
            for threads in [2, 3] {
                assert_eq!(
                    one,
                    gated_mlp(&mut engine(threads, isa), kind, shift),
                    "{threads} threads"
                );
            }
        }
    }
}

#[test]
fn gated_mlp_is_f_of_pre_times_up() {
    let mut engine = Engine::new(2, "").unwrap();
    let (rows, cols) = (60usize, 20usize);
    let (pre, up) = (values(rows * cols, 1, -0.9), values(rows * cols, 2, 0.0));
    let handles = [&pre, &up].map(|x| engine.upload_f32(x, rows as u32, cols as u32).unwrap());
    let results = engine
        .gated_activate(handles[0], handles[1], RELU, 0, 0.0, 0.0, 0.0)
        .unwrap();
    let expected: Vec<f32> = pre.iter().zip(&up).map(|(pre, up)| pre.max(0.0) * up).collect();
    assert_eq!(engine.read_f32(results[0]).unwrap(), expected);
    let nonzeros = expected.iter().filter(|o| **o != 0.0).count();
    assert_eq!(engine.nonzeros(results[0]).unwrap(), nonzeros as f64);
    let map = engine.read_f32(results[1]).unwrap();
    for (column, mean) in map.iter().enumerate() {
        let sum: f32 = (0..rows).map(|row| expected[row * cols + column]).sum();
        assert!((mean - sum / rows as f32).abs() < 1e-6);
    }
    // Where `up` is zero and the gate open, the gradient of `up` is not lost.
    let zero = engine.zeros(rows as u32, cols as u32).unwrap();
    let out = engine.gated_activate(handles[0], zero, RELU, 0, 0.0, 0.0, 0.0).unwrap()[0];
    let dy = engine
        .upload_f32(&vec![1.0; rows * cols], rows as u32, cols as u32)
        .unwrap();
    let gradients = engine
        .gated_activate_backward(dy, out, handles[0], zero, 0, 0.0, RELU, 0, 0.0, 0.0, 0.0)
        .unwrap();
    let gate: Vec<f32> = pre.iter().map(|pre| pre.max(0.0)).collect();
    assert_eq!(engine.read_f32(gradients[1]).unwrap(), gate);
}

#[test]
fn a_frozen_weight_multiplies_reads_and_thaws() {
    for isa in Isa::available() {
        let mut engine = engine(2, isa);
        let (rows, d, ff) = (50u32, 64u32, 128u32);
        let raw = values((d * ff) as usize, 4, 0.0);
        let rounded: Vec<f32> = raw
            .iter()
            .map(|&x| crate::matmul::from_bf16(crate::matmul::to_bf16(x)))
            .collect();
        let x = engine
            .upload_f32(&values((rows * ff) as usize, 1, -0.8), rows, ff)
            .unwrap();
        let dy = engine
            .upload_f32(&values((rows * d) as usize, 2, 0.0), rows, d)
            .unwrap();
        for (precision, expected) in [("f32", &raw), ("bf16", &rounded)] {
            let plain = engine.upload_f32(expected, d, ff).unwrap();
            let before = engine.live_bytes().unwrap();
            let frozen = engine.upload_f32(&raw, d, ff).unwrap();
            assert_eq!(engine.freeze_weight(frozen, precision.into()).unwrap(), frozen);
            let bytes = engine.live_bytes().unwrap() - before;
            assert_eq!(
                bytes as u32,
                d * ff * if precision == "f32" { 4 } else { 2 },
                "{precision}"
            );
            assert_eq!(&engine.read_f32(frozen).unwrap(), expected);
            let o = engine.activate(x, RELU, 0, 0.0, 0.0, 0.0).unwrap()[0];
            for input in [x, o] {
                let of = |engine: &mut Engine, weight: u32| {
                    let y = engine.linear(input, weight, 0).unwrap();
                    let dx = engine.linear_backward_input(dy, weight, input).unwrap();
                    (engine.read_f32(y).unwrap(), engine.read_f32(dx).unwrap())
                };
                let (found, twin) = (of(&mut engine, frozen), of(&mut engine, plain));
                if precision == "bf16" && isa.bf16_unit().is_some() {
                    // Such a unit rounds the rows too (its own tests are exact).
                    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 0.05);
                    assert!(close(&found.0, &twin.0) && close(&found.1, &twin.1), "{}", isa.name());
                } else {
                    assert!(found == twin, "{precision}");
                }
            }
            // Frozen again it changes nothing; written to it is an ordinary tensor.
            engine.freeze_weight(frozen, precision.into()).unwrap();
            engine.add_in_place(frozen, plain, 1.0).unwrap();
            let doubled: Vec<f32> = expected.iter().map(|x| 2.0 * x).collect();
            assert_eq!(engine.read_f32(frozen).unwrap(), doubled);
            engine.add_in_place(frozen, frozen, 1.0).unwrap_err();
        }
        let error = engine.freeze_weight(x, "f16".into()).unwrap_err().to_string();
        assert!(error.contains("f32 or bf16"), "{error}");
        let ids = engine.upload_i32(&[1], 1, 1).unwrap();
        assert!(matches!(
            engine.freeze_weight(ids, "f32".into()),
            Err(Error::Kind { .. })
        ));
        assert!(matches!(
            engine.freeze_weight(999, "f32".into()),
            Err(Error::NoSuchTensor(999))
        ));
    }
}

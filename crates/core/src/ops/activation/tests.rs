use super::kind::ALL;
use super::*;
use crate::ops::testing::*;

fn naive_erf(x: f64) -> f64 {
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-18 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    sum * (-x * x).exp() * 2.0 / std::f64::consts::PI.sqrt()
}

fn naive(kind: ActivationKind, x: f64) -> f64 {
    match kind {
        ActivationKind::Relu => x.max(0.0),
        ActivationKind::Gelu => 0.5 * x * (1.0 + naive_erf(x / 2f64.sqrt())),
        ActivationKind::GeluNew => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        ActivationKind::Silu => x / (1.0 + (-x).exp()),
        ActivationKind::Tanh => x.tanh(),
        ActivationKind::Identity => x,
        ActivationKind::QuickGelu => x / (1.0 + (-1.702 * x).exp()),
        ActivationKind::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        ActivationKind::LeakyRelu => x.max(0.01 * x),
        ActivationKind::Relu2 => x.max(0.0).powi(2),
        ActivationKind::Relu6 => x.clamp(0.0, 6.0),
        ActivationKind::Mish => x * x.exp().ln_1p().tanh(),
    }
}

#[test]
fn matches_naive_and_differences() {
    for kind in ALL {
        for len in [1, 7, 33, 16 * 1024 + 5] {
            let x: Vec<f32> = random(3, len).iter().map(|x| x * 7.0).collect();
            let dy = random(4, len);
            let right: Vec<f64> = x.iter().map(|&x| naive(kind, x as f64)).collect();
            let slope: Vec<f64> = x
                .iter()
                .zip(&dy)
                .map(|(&x, &dy)| {
                    let (x, h) = (x as f64, 1e-6);
                    dy as f64 * (naive(kind, x + h) - naive(kind, x - h)) / (2.0 * h)
                })
                .collect();
            for y in everywhere(|isa, pool| {
                let mut y = vec![0.0; len];
                forward(isa, pool, kind, &x, &mut y);
                let mut z = x.clone();
                forward_slice(isa, kind, &mut z);
                assert_eq!(y, z);
                for cutoff in [0.0, 0.25] {
                    cut_slice(isa, cutoff, &mut z);
                    let nonzeros = z.iter().filter(|&&z| z != 0.0).count();
                    let sums: Vec<f32> = dy.iter().zip(&z).map(|(d, z)| d + z).collect();
                    let (mut out, mut added) = (vec![9.0; len], dy.clone());
                    assert_eq!(forward_counted(isa, kind, cutoff, &x, &mut out, &mut added), nonzeros);
                    assert_eq!((&out, &added), (&z, &sums));
                    let (mut out, mut added) = (x.clone(), dy.clone());
                    assert_eq!(
                        forward_counted_in_place(isa, kind, cutoff, &mut out, &mut added),
                        nonzeros
                    );
                    assert_eq!((&out, &added), (&z, &sums));
                }
                y
            }) {
                close(&y, &right, 2e-6);
            }
            for dx in everywhere(|isa, pool| {
                let mut dx = vec![0.0; len];
                backward(isa, pool, kind, &x, &dy, &mut dx);
                let mut g = dy.clone();
                backward_slice(isa, kind, &x, &mut g);
                assert_eq!(dx, g);
                backward_into(isa, kind, &x, &dy, &mut g);
                assert_eq!(dx, g);
                dx
            }) {
                close(&dx, &slope, 3e-6);
            }
        }
    }
}

#[test]
fn exact_zeros_are_where_pytorch_has_them() {
    everywhere(|isa, pool| {
        let mut y = [1.0; 3];
        forward(
            isa,
            pool,
            ActivationKind::GeluNew,
            &[-1e9, -5.157_84, -5.157_83],
            &mut y,
        );
        assert!(y[0] == 0.0 && y[1] == 0.0 && y[2] < 0.0, "gelu_new {y:?}");
        forward(isa, pool, ActivationKind::Gelu, &[-1e9, -5.56, -5.52], &mut y);
        assert!(y[0] == 0.0 && y[1] == 0.0 && y[2] < 0.0, "gelu {y:?}");
        forward(isa, pool, ActivationKind::Gelu, &[5.6, 8.0, 1e30], &mut y);
        assert_eq!(y, [5.6, 8.0, 1e30], "as x, and PyTorch's");
        vec![]
    });
}

#[test]
fn edges() {
    everywhere(|isa, pool| {
        let mut y = [0.0; 3];
        forward(
            isa,
            pool,
            ActivationKind::Relu,
            &[f32::NAN, -0.0, f32::INFINITY],
            &mut y,
        );
        assert!(y[0].is_nan() && y[1] == 0.0 && y[2] == f32::INFINITY);
        backward(
            isa,
            pool,
            ActivationKind::Relu,
            &[0.0, -1.0, 1.0],
            &[5.0, 5.0, 5.0],
            &mut y,
        );
        assert_eq!(y, [0.0, 0.0, 5.0]);
        for kind in [
            ActivationKind::Gelu,
            ActivationKind::GeluNew,
            ActivationKind::Silu,
            ActivationKind::QuickGelu,
        ] {
            backward(isa, pool, kind, &[1e30, -1e30, 0.0], &[1.0, 1.0, 1.0], &mut y);
            assert!(
                (y[0] - 1.0).abs() < 1e-6 && y[1].abs() < 1e-6 && (y[2] - 0.5).abs() < 1e-6,
                "{kind:?} {y:?}"
            );
        }
        for kind in [ActivationKind::Mish, ActivationKind::Relu6, ActivationKind::LeakyRelu] {
            forward(isa, pool, kind, &[1e30, -1e30, f32::NAN], &mut y);
            let right = match kind {
                ActivationKind::Mish => [1e30, 0.0],
                ActivationKind::Relu6 => [6.0, 0.0],
                _ => [1e30, -1e28],
            };
            assert!(
                y[0] == right[0] && (y[1] - right[1]).abs() <= 1e22 && y[2].is_nan(),
                "{kind:?} {y:?}"
            );
        }
        backward(isa, pool, ActivationKind::Mish, &[1e30, -1e30, 0.0], &[1.0; 3], &mut y);
        assert!(y[0] == 1.0 && y[1].abs() < 1e-6 && (y[2] - 0.6).abs() < 1e-6, "{y:?}");
        backward(isa, pool, ActivationKind::Relu6, &[0.0, 6.0, 3.0], &[1.0; 3], &mut y);
        assert_eq!(y, [0.0, 0.0, 1.0]);
        vec![]
    });
    for (index, kind) in ALL.into_iter().enumerate() {
        assert_eq!(
            (ActivationKind::from_index(index as u32), kind as usize),
            (Some(kind), index)
        );
    }
    assert_eq!(ActivationKind::from_index(12), None);
    assert!(ActivationKind::Relu.needs_no_input() && !ActivationKind::Gelu.needs_no_input());
}

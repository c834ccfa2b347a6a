//! Losses on every element of an activation, per row: for use inside a task, while the row is in the L1. One loss a file; each is a mean
//! over rows and elements, between 0 and 1 where the name says share.

mod hinge;
mod hoyer;
mod l0;
mod l1;

use crate::simd::Isa;

/// A loss on the elements of an activation o, or on what was before it (z).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ElementLoss {
    None,
    /// Mean of `o² / (o² + eps)`.
    L0 {
        eps: f32,
    },
    /// Mean of `|o|`.
    L1,
    /// By row the share `(Σ|o|)² / (n Σo²)`, meaned over rows.
    Hoyer,
    /// Mean of `clamp((z + margin) / (margin + top), 0, 1)`.
    Hinge {
        margin: f32,
        top: f32,
    },
}

impl ElementLoss {
    /// From the number that the bindings pass; the parameters are eps, or margin and top. None: no such loss, or a parameter out of range.
    pub fn from_index(index: u32, p: f64, q: f64) -> Option<ElementLoss> {
        let (p, q) = (p as f32, q as f32);
        match index {
            0 => Some(ElementLoss::None),
            1 if p > 0.0 && p.is_finite() => Some(ElementLoss::L0 { eps: p }),
            2 => Some(ElementLoss::L1),
            3 => Some(ElementLoss::Hoyer),
            4 if p + q > 0.0 && (p + q).is_finite() => Some(ElementLoss::Hinge { margin: p, top: q }),
            _ => None,
        }
    }

    /// Whether it is a loss on z.
    pub fn reads_pre(self) -> bool {
        matches!(self, ElementLoss::Hinge { .. })
    }

    /// The loss of a row, summed over its elements: o `[n]`; z `[n]` where the loss reads it.
    pub fn row_sum(self, isa: Isa, o: &[f32], pre: Option<&[f32]>) -> f64 {
        match self {
            ElementLoss::None => 0.0,
            ElementLoss::L0 { eps } => l0::value_sum(isa, o, eps),
            ElementLoss::L1 => l1::value_sum(isa, o),
            ElementLoss::Hoyer => hoyer::value_sum(isa, o),
            ElementLoss::Hinge { margin, top } => pre.map_or(0.0, |z| hinge::value_sum(isa, z, margin, top)),
        }
    }

    /// `g += scale · d(row_sum)/do`. o may be the row's non-zeros alone, as zeros have no gradient but that of the task.
    pub fn add_gradient(self, isa: Isa, o: &[f32], scale: f32, g: &mut [f32]) {
        match self {
            ElementLoss::None | ElementLoss::Hinge { .. } => {}
            ElementLoss::L0 { eps } => l0::add_gradient(isa, o, scale, eps, g),
            ElementLoss::L1 => l1::add_gradient(isa, o, scale, g),
            ElementLoss::Hoyer => hoyer::add_gradient(isa, o, scale, g),
        }
    }

    /// `g += scale · d(row_sum)/dz`, with g the gradient before the activation.
    pub fn add_pre_gradient(self, isa: Isa, pre: &[f32], scale: f32, g: &mut [f32]) {
        if let ElementLoss::Hinge { margin, top } = self {
            hinge::add_gradient(isa, pre, scale, margin, top, g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testing::*;

    fn naive(loss: ElementLoss, x: &[f64]) -> f64 {
        let n = x.len() as f64;
        match loss {
            ElementLoss::None => 0.0,
            ElementLoss::L0 { eps } => x.iter().map(|o| o * o / (o * o + eps as f64)).sum(),
            ElementLoss::L1 => x.iter().map(|o| o.abs()).sum(),
            ElementLoss::Hoyer => {
                let sum: f64 = x.iter().map(|o| o.abs()).sum();
                n * sum * sum / (n * x.iter().map(|o| o * o).sum::<f64>())
            }
            ElementLoss::Hinge { margin, top } => {
                let (margin, top) = (margin as f64, top as f64);
                x.iter().map(|z| ((z + margin) / (margin + top)).clamp(0.0, 1.0)).sum()
            }
        }
    }

    const LOSSES: [ElementLoss; 4] = [
        ElementLoss::L0 { eps: 0.01 },
        ElementLoss::L1,
        ElementLoss::Hoyer,
        ElementLoss::Hinge { margin: 0.5, top: 0.25 },
    ];

    #[test]
    fn matches_naive_and_differences() {
        for len in [1, 13, 100] {
            for loss in LOSSES {
                let (x, start) = (random(1, len), random(2, len));
                let slopes = numeric_gradient(&wide(&x), |x| naive(loss, x));
                let right: Vec<f64> = start.iter().zip(&slopes).map(|(&g, d)| g as f64 + 0.5 * d).collect();
                for isa in Isa::available() {
                    let sum = loss.row_sum(isa, &x, Some(&x));
                    assert!((sum - naive(loss, &wide(&x))).abs() < 1e-5 * len as f64, "{loss:?}");
                    let mut g = start.clone();
                    if loss.reads_pre() {
                        loss.add_pre_gradient(isa, &x, 0.5, &mut g);
                    } else {
                        loss.add_gradient(isa, &x, 0.5, &mut g);
                    }
                    close(&g, &right, 1e-4);
                }
            }
        }
    }

    #[test]
    fn by_hand() {
        for isa in Isa::available() {
            let o = [1.0, 0.0, 3.0, 0.0];
            // 1/(1+1) + 9/(9+1) = 1.4
            assert!((ElementLoss::L0 { eps: 1.0 }.row_sum(isa, &o, None) - 1.4).abs() < 1e-6);
            assert_eq!(ElementLoss::L1.row_sum(isa, &o, None), 4.0);
            // 16 / 10
            assert!((ElementLoss::Hoyer.row_sum(isa, &o, None) - 1.6).abs() < 1e-6);
            let hinge = ElementLoss::Hinge { margin: 2.0, top: 2.0 };
            // 0, 0.5, 0.75, 1
            assert_eq!(hinge.row_sum(isa, &o, Some(&[-3.0, 0.0, 1.0, 7.0])), 2.25);
        }
    }

    #[test]
    fn rows_of_zeros_have_no_gradient() {
        for isa in Isa::available() {
            for loss in LOSSES {
                let (o, mut g) = ([0.0; 5], [0.25; 5]);
                loss.add_gradient(isa, &o, 1.0, &mut g);
                assert_eq!(g, [0.25; 5]);
                assert!(loss.row_sum(isa, &o, Some(&[-9.0; 5])) == 0.0);
            }
        }
    }

    #[test]
    fn parameters_out_of_range_are_none() {
        assert_eq!(ElementLoss::from_index(1, 0.0, 0.0), None);
        assert_eq!(ElementLoss::from_index(4, 1.0, -1.0), None);
        assert_eq!(ElementLoss::from_index(5, 1.0, 1.0), None);
        assert_eq!(ElementLoss::from_index(0, 0.0, 0.0), Some(ElementLoss::None));
    }
}

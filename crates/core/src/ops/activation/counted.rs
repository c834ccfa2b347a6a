//! Activation with what is measured of it in the same pass: the sums of columns and the number of non-zeros.

use super::ActivationKind;
use super::cutoff::Cut;
use super::kind::with_kind;
use crate::ops::{Map, load, store};
use crate::simd::{Isa, Kernel, Simd, dispatch};

struct Counted<'a, M> {
    map: M,
    cutoff: f32,
    x: *const f32,
    out: *mut f32,
    sums: &'a mut [f32],
}

impl<M: Map<1>> Kernel for Counted<'_, M> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let len = self.sums.len();
        let sums = self.sums.as_mut_ptr();
        let (mut count, mut i) = (0, 0);
        while i < len {
            let n = S::LANES.min(len - i);
            // SAFETY: whoever built the kernel promises `len` values at `x` and `out`, which may be the same; `sums` has as many.
            unsafe {
                let mut y = self.map.map(s, [load(s, self.x.add(i), n)]);
                if self.cutoff > 0.0 {
                    y = Cut(self.cutoff).map(s, [y]);
                }
                store(s, self.out.add(i), y, n);
                store(s, sums.add(i), s.add(load(s, sums.add(i), n), y), n);
                // Lanes past the end are not counted: f(0) may be anything.
                count += (s.mask_bits(s.ne_zero(y)) & (u32::MAX >> (32 - n))).count_ones() as usize;
            }
            i += n;
        }
        count
    }
}

/// `out = f(x)`, 0 where that is at most `cutoff` in magnitude, and `sums += out`, on the calling thread and in one pass; all `[n]`. Returns how
/// many of `out` are not 0.
pub fn forward_counted(
    isa: Isa,
    kind: ActivationKind,
    cutoff: f32,
    x: &[f32],
    out: &mut [f32],
    sums: &mut [f32],
) -> usize {
    assert!(x.len() == out.len() && sums.len() == out.len(), "activation: lengths");
    let (x, out) = (x.as_ptr(), out.as_mut_ptr());
    with_kind!(kind, map => dispatch(isa, Counted { map, cutoff, x, out, sums }))
}

/// [`forward_counted`] with `x` in the place of `out`.
pub fn forward_counted_in_place(isa: Isa, kind: ActivationKind, cutoff: f32, x: &mut [f32], sums: &mut [f32]) -> usize {
    assert_eq!(sums.len(), x.len(), "activation: lengths");
    let out = x.as_mut_ptr();
    let x = out.cast_const();
    with_kind!(kind, map => dispatch(isa, Counted { map, cutoff, x, out, sums }))
}

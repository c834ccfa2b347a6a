import binaryen from 'binaryen';

/** Chains of multiply-adds: enough for the latency of two adders, few enough for the 15 registers that an engine gives. */
const CHAINS = 12;
/** Floating-point operations of a round. */
export const PEAK_FLOPS = CHAINS * 4 * 2;

/**
 * A module whose `run(rounds)` multiplies and adds as the build (`simd128` or `relaxed`) can: from registers where it does both at once. Otherwise one
 * factor is read from the L1, so that no product is the same twice and only the sums wait for each other: products of the sums themselves gave a tenth less
 * on Intel, which adds on more ports than it multiplies on (29.5 and 33.4 GFLOP/s in node 24; relaxed SIMD reads 46.9 and has 47.5 from registers).
 */
export function peakModule(build) {
  const names = Array.from({ length: CHAINS }, (_, index) => `$c${index}`);
  const step = (name, index) =>
    build === 'relaxed'
      ? `(f32x4.relaxed_madd (local.get $a) (local.get $b) (local.get ${name}))`
      : `(f32x4.add (f32x4.mul (local.get $a) (v128.load offset=${index * 16} (i32.const 0))) (local.get ${name}))`;
  const numbers = '\\00\\00\\80\\3f'.repeat(CHAINS * 4);
  const module = binaryen.parseText(`(module (memory 1) (data (i32.const 0) "${numbers}")
   (func (export "run") (param $rounds i32) (result f32)
    (local $a v128) (local $b v128) ${names.map((name) => `(local ${name} v128)`).join(' ')}
    (local.set $a (f32x4.splat (f32.const 0.999)))
    (local.set $b (f32x4.splat (f32.const 0.001)))
    (loop $again
      ${names.map((name, index) => `(local.set ${name} ${step(name, index)})`).join('\n')}
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (f32x4.extract_lane 0 ${names.map((name) => `(local.get ${name})`).reduce((sum, name) => `(f32x4.add ${sum} ${name})`)})))`);
  module.setFeatures(binaryen.Features.SIMD128 | binaryen.Features.RelaxedSIMD);
  const bytes = Buffer.from(module.emitBinary());
  module.dispose();
  return bytes;
}

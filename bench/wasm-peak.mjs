import binaryen from 'binaryen';

/** Chains of multiply-adds: enough for the latency of two multipliers and two adders, few enough for the 15 registers that an engine gives. */
const CHAINS = 12;
/** Floating-point operations of a round. */
export const PEAK_FLOPS = CHAINS * 4 * 2;

/** A module whose `run(rounds)` multiplies and adds as the build (`simd128` or `relaxed`) can, from registers alone. */
export function peakModule(build) {
  const names = Array.from({ length: CHAINS }, (_, index) => `$c${index}`);
  const step = (name) =>
    build === 'relaxed'
      ? `(f32x4.relaxed_madd (local.get $a) (local.get $b) (local.get ${name}))`
      : `(f32x4.add (f32x4.mul (local.get $a) (local.get ${name})) (local.get $b))`;
  const module = binaryen.parseText(`(module (func (export "run") (param $rounds i32) (result f32)
    (local $a v128) (local $b v128) ${names.map((name) => `(local ${name} v128)`).join(' ')}
    (local.set $a (f32x4.splat (f32.const 0.999)))
    (local.set $b (f32x4.splat (f32.const 0.001)))
    (loop $again
      ${names.map((name) => `(local.set ${name} ${step(name)})`).join('\n')}
      (br_if $again (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (f32x4.extract_lane 0 ${names.map((name) => `(local.get ${name})`).reduce((sum, name) => `(f32x4.add ${sum} ${name})`)})))`);
  module.setFeatures(binaryen.Features.SIMD128 | binaryen.Features.RelaxedSIMD);
  const bytes = Buffer.from(module.emitBinary());
  module.dispose();
  return bytes;
}

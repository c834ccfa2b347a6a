// onnxruntime-node's side of bench:infer. Argument: the ONNX file.
import os from 'node:os';
import { serve } from '../ours/serve.mjs';
import { requirePeer } from '../peers.mjs';

const { InferenceSession, Tensor, env } = requirePeer('onnxruntime-node');
const session = await InferenceSession.create(process.argv[2], { intraOpNumThreads: os.cpus().length });

await serve({
  describe: () => `onnxruntime-node ${env?.versions?.node ?? requirePeer('onnxruntime-node/package.json').version}`,
  /** Best seconds of three calls. */
  async forward(text) {
    const length = Number(text);
    const tensor = (value) =>
      new Tensor(
        'int64',
        BigInt64Array.from({ length }, (_, at) => BigInt(value(at))),
        [1, length],
      );
    const feeds = {
      input_ids: tensor((at) => (at * 104_729) % 30_522),
      attention_mask: tensor(() => 1),
      token_type_ids: tensor(() => 0),
    };
    let best = Infinity;
    for (let call = 0; call < 3; call++) {
      const started = performance.now();
      await session.run(feeds);
      best = Math.min(best, (performance.now() - started) / 1000);
    }
    return best;
  },
});

// What a model's or an adapter's config.json says and this library, the model or the command line does not.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bundled, modelWith } from '../fixtures.js';
import { RELU, type Place } from './place.js';
import { refused } from './refused.js';

function withConfig(place: Place, text: string): string {
  const model = modelWith(place.folder, 'relu', {});
  writeFileSync(join(model, 'config.json'), text);
  return model;
}

refused('configs', [
  [
    'another architecture',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { model_type: 'mamba' }) }),
    /config\.json: model_type is "mamba", expected one of bert/,
  ],
  [
    'no architecture',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { model_type: undefined }) }),
    /config\.json: model_type is undefined, expected one of bert/,
  ],
  [
    'an unknown activation',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { hidden_act: 'maxout' }) }),
    /config\.json: hidden_act is "maxout", expected one of relu/,
  ],
  [
    'relative positions',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { position_embedding_type: 'relative_key' }) }),
    /config\.json: position_embedding_type is "relative_key", expected "absolute"/,
  ],
  [
    'a decoder',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { is_decoder: true }) }),
    /config\.json: is_decoder is true, expected false/,
  ],
  [
    'heads that do not divide',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { num_attention_heads: 5 }) }),
    /config\.json: num_attention_heads is 5, expected a divisor of hidden_size \(36\)/,
  ],
  [
    'a missing size',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { intermediate_size: undefined }) }),
    /config\.json: intermediate_size is undefined, expected a whole number/,
  ],
  [
    'a size of the wrong type',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { hidden_size: '36' }) }),
    /config\.json: hidden_size is "36", expected a whole number/,
  ],
  [
    'label names of the wrong type',
    (p) => p.predict({ model: modelWith(p.folder, 'relu', { id2label: 3 }) }),
    /config\.json: id2label is 3, expected an object/,
  ],
  [
    'a config that is no JSON',
    (p) => p.predict({ model: withConfig(p, '{"model_type": "bert",}') }),
    /config\.json:1:23: invalid JSON/,
  ],
  [
    'a config with a key twice',
    (p) => p.predict({ model: withConfig(p, '{"model_type": "bert",\n"model_type": "bert"}') }),
    /config\.json:2:1: key "model_type" appears twice/,
  ],
  [
    'a config that is a list',
    (p) => p.predict({ model: withConfig(p, '[]') }),
    /config\.json: the file holds \[\], expected an object/,
  ],
  [
    'an adapter of another size',
    (p) => p.predict({ model: bundled.model, adapter: RELU.adapter }),
    /adapter: the adapter does not fit the model: .*lora_A\.weight has shape \[3, 36\], expected \[3, 384\]/,
  ],
  [
    'an adapter of another method',
    (p) => p.predict({ adapter: p.adapterWith({ peft_type: 'VERA' }) }),
    /adapter_config\.json: peft_type is "VERA", expected one of LORA/,
  ],
  [
    'an adapter with a setting that is not supported',
    (p) => p.predict({ adapter: p.adapterWith({ use_qalora: true }) }),
    /adapter_config\.json: use_qalora is true, expected false/,
  ],
  [
    'an adapter of another rank',
    (p) => p.predict({ adapter: p.adapterWith({ r: 4 }) }),
    /lora_A\.weight has shape \[3, 36\], expected \[4, 36\]/,
  ],
  [
    'an adapter’s rank of the wrong type',
    (p) => p.predict({ adapter: p.adapterWith({ r: 'x' }) }),
    /adapter_config\.json: r is "x"/,
  ],
  [
    'an adapter with fewer modules',
    (p) => p.predict({ adapter: p.adapterWith({ target_modules: ['query'] }) }),
    /value\.lora_A\.weight is unexpected/,
  ],
  [
    'an adapter for modules the model lacks',
    (p) => p.predict({ adapter: p.adapterWith({ target_modules: ['c_attn'] }) }),
    /'c_attn' matches no linear layer of the model/,
  ],
  [
    'truncated weights of an adapter',
    (p) =>
      p.predict({
        adapter: p.adapterWith({}, readFileSync(join(RELU.adapter, 'adapter_model.safetensors')).subarray(0, 3000)),
      }),
    /adapter_model\.safetensors: .*is it truncated\?/,
  ],
  [
    'an adapter whose setting an option contradicts',
    (p) => p.train('--adapter', RELU.adapter, '--lora-r', '5'),
    /r is 5, expected 3 as in .*adapter/,
  ],
  [
    'an adapter whose method an option contradicts',
    (p) => p.train('--adapter', RELU.adapter, '--method', 'full'),
    /--method is full, expected lora/,
  ],
]);

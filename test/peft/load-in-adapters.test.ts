// What this library writes, read by AdapterHub's `adapters`: set DEFTUNE_ADAPTERS_PYTHON to a python that has it.
import { readByLibrary, type Case } from './real-libraries.js';

const CASES: Readonly<Record<string, Case>> = {
  'Houlsby adapters': ['bert', { method: 'bottleneck', adapterConfig: 'double_seq_bn', reductionFactor: 9 }],
  'Pfeiffer adapters of RoBERTa': ['roberta', { method: 'bottleneck', reductionFactor: 12, nonLinearity: 'gelu' }],
  'parallel adapters of GPT-2': ['gpt2', { method: 'bottleneck', adapterConfig: 'par_bn', reductionFactor: 12 }],
  'adapters of T5': [
    't5',
    { method: 'bottleneck', adapterConfig: 'double_seq_bn', crossAdapter: true, reductionFactor: 9 },
  ],
  'adapters of ViT': ['vit', { method: 'bottleneck', leaveOut: [0], reductionFactor: { default: 6 } }],
  LoRA: ['bert', { method: 'lora', r: 3, loraAlpha: 7 }],
  'rsLoRA on the MLPs of RoBERTa': [
    'roberta',
    { method: 'lora', r: 2, useRslora: true, targetModules: '.*layer\\.1\\.(intermediate|output)\\.dense' },
  ],
  'LoRA on the fused projection of GPT-2': ['gpt2', { method: 'lora', r: 2 }],
  'LoRA on every layer of GPT-2 that adapters knows': [
    'gpt2',
    { method: 'lora', r: 2, targetModules: ['c_attn', 'c_fc', 'mlp.c_proj'] },
  ],
  'LoRA of T5': ['t5', { method: 'lora', r: 2, targetModules: ['q', 'k', 'v', 'wi', 'wo'] }],
  'LoRA of ViT': ['vit', { method: 'lora', r: 2, targetModules: ['k_proj', 'fc1', 'fc2'] }],
  IA3: ['bert', { method: 'ia3', targetModules: ['key', 'value', 'intermediate.dense'], feedforwardModules: [] }],
  'IA3 of GPT-2': ['gpt2', { method: 'ia3', targetModules: ['c_attn', 'c_fc'], feedforwardModules: [] }],
  prefix: ['bert', { method: 'prefix-tuning', numVirtualTokens: 3, movesPositions: false }],
  'prefix through an MLP': [
    'roberta',
    {
      ...{ method: 'prefix-tuning', numVirtualTokens: 2, movesPositions: false, prefixProjection: true },
      ...{ encoderHiddenSize: 5, nonLinearity: 'relu' },
    },
  ],
  'prefix of GPT-2': ['gpt2', { method: 'prefix-tuning', numVirtualTokens: 2, movesPositions: false }],
  'prefix of ViT': ['vit', { method: 'prefix-tuning', numVirtualTokens: 2 }],
  prompt: ['bert', { method: 'prompt-tuning', numVirtualTokens: 3, combine: 'prefix' }],
  'prompt behind the first token': [
    'roberta',
    { method: 'prompt-tuning', numVirtualTokens: 2, combine: 'prefix_after_bos' },
  ],
  'prompt of ViT': ['vit', { method: 'prompt-tuning', numVirtualTokens: 2 }],
};

readByLibrary(
  {
    ...{ library: 'adapters', variable: 'DEFTUNE_ADAPTERS_PYTHON' },
    ...{ script: 'check_adapters.py', format: 'adapters' },
  },
  CASES,
  (t, { missing, unexpected }) => {
    t.deepEqual([missing, unexpected], [[], []]);
  },
);

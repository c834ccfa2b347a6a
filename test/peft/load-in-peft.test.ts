// What this library writes, read by real peft: set DEFTUNE_PYTHON to a python that has it.
import { readByLibrary, type Case } from './real-libraries.js';

const CASES: Readonly<Record<string, Case>> = {
  'rsLoRA with patterns': [
    'bert',
    {
      method: 'lora',
      r: 2,
      useRslora: true,
      targetModules: ['query', 'output.dense'],
      rankPattern: { query: 3 },
      alphaPattern: { dense: 5 },
    },
  ],
  'DoRA with every bias': ['bert', { method: 'lora', r: 2, useDora: true, bias: 'all', initLoraWeights: false }],
  'biases of the adapted layers': ['bert', { method: 'lora', r: 2, bias: 'lora_only', initLoraWeights: 'gaussian' }],
  'one layer without a module': [
    'bert',
    {
      method: 'lora',
      targetModules: ['query', 'dense'],
      layersToTransform: 1,
      layersPattern: 'layer',
      excludeModules: '.*intermediate.*',
    },
  ],
  'all linear layers': ['bert', { method: 'lora', r: 1, targetModules: 'all-linear' }],
  'modules to save': ['bert', { method: 'lora', r: 1, modulesToSave: ['pooler', '0.output.LayerNorm'] }],
  PiSSA: ['bert', { method: 'lora', r: 3, initLoraWeights: 'pissa', alphaPattern: { query: 5 } }],
  'PiSSA of GPT-2, near': [
    'gpt2',
    {
      method: 'lora',
      r: 2,
      initLoraWeights: 'pissa_niter_3',
      useRslora: true,
      rankPattern: { 'attn.c_proj': 1 },
      targetModules: ['c_attn', 'attn.c_proj'],
    },
  ],
  'OLoRA of RoBERTa': ['roberta', { method: 'lora', r: 2, initLoraWeights: 'olora' }],
  'orthogonal LoRA of RoBERTa': ['roberta', { method: 'lora', r: 2, initLoraWeights: 'orthogonal' }],
  'DoRA of GPT-2': ['gpt2', { method: 'lora', r: 2, useDora: true, targetModules: ['c_attn', 'mlp.c_proj'] }],
  'LoRA of T5': ['t5', { method: 'lora', r: 2, targetModules: ['q', 'v', 'wi', 'wo'] }],
  'DoRA of T5': ['t5', { method: 'lora', r: 2, useDora: true }],
  'LoRA of ViT': ['vit', { method: 'lora', r: 2, targetModules: ['q_proj', 'o_proj', 'fc1'] }],
  IA3: ['bert', { method: 'ia3' }],
  'IA3 of RoBERTa': ['roberta', { method: 'ia3' }],
  'IA3 of GPT-2 with modules to save': ['gpt2', { method: 'ia3', modulesToSave: ['ln_f'] }],
  'IA3 of T5': ['t5', { method: 'ia3' }],
  'IA3 of ViT': ['vit', { method: 'ia3', targetModules: ['k_proj', 'v_proj', 'fc2'], feedforwardModules: ['fc2'] }],
  prefix: ['bert', { method: 'prefix-tuning', numVirtualTokens: 3 }],
  'prefix through an MLP': [
    'bert',
    { method: 'prefix-tuning', numVirtualTokens: 2, prefixProjection: true, encoderHiddenSize: 5 },
  ],
  'prefix of GPT-2': ['gpt2', { method: 'prefix-tuning', numVirtualTokens: 2 }],
  'prefix of T5': ['t5 for prompts', { method: 'prefix-tuning', numVirtualTokens: 3 }],
  prompt: ['bert', { method: 'prompt-tuning', numVirtualTokens: 3 }],
  'prompt of RoBERTa': ['roberta', { method: 'prompt-tuning', numVirtualTokens: 2 }],
  'prompt of GPT-2': ['gpt2', { method: 'prompt-tuning', numVirtualTokens: 2 }],
  'prompt of T5': ['t5 for prompts', { method: 'prompt-tuning', numVirtualTokens: 2 }],
};

readByLibrary(
  { library: 'peft', variable: 'DEFTUNE_PYTHON', script: 'check_peft.py', format: 'peft' },
  CASES,
  (t, { keys, unexpected }, model) => {
    // A prompt's table goes into its encoder apart from the others, so that peft counts its key as left over; the logits tell that it is read.
    t.deepEqual(
      unexpected.filter((key) => key !== 'prompt_embeddings'),
      [],
    );
    // With `bias: all` peft saves the head's biases under further names too.
    const own = keys.filter((key) => !/\.(original_module|modules_to_save)\./.test(key));
    t.deepEqual(own, [...model.stateDict().keys()].sort());
  },
);

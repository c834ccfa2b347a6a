import type { Backend, BackendOptions } from '../backend/backend.js';
import { createBackend } from '../backend/create-backend-node.js';
import { diskFolder } from '../io/files-node.js';
import { resolveModelDirectory, type HubOptions } from '../io/hub/resolve-model-directory-node.js';
import type { BuildOptions } from './build-model.js';
import { modelIn } from './model-in-folder.js';
import type { Model } from './model.js';

/** Options of `fromPretrained`: those of the model, and where it lives. */
export interface FromPretrainedOptions extends BuildOptions, HubOptions, Omit<BackendOptions, 'backend'> {
  /** A backend that is already open, or the name of the one to open. */
  backend?: Backend | BackendOptions['backend'];
}

/** Opens models of one head, or (`AutoModel`) of the head that config.json names. */
export interface AutoModelClass {
  /**
   * Opens a Hugging Face model directory (`config.json`, `model.safetensors` or its shards; F32, F16 or BF16), or downloads that of
   * a repository such as `google-bert/bert-base-uncased`.
   *
   * @throws DeftuneError naming the file, the field or the tensors that do not fit, or why there is nothing to download.
   */
  fromPretrained(nameOrPath: string, options?: FromPretrainedOptions): Promise<Model>;
}

function autoModel(head?: string): AutoModelClass {
  return {
    async fromPretrained(nameOrPath, options = {}) {
      const directory = await resolveModelDirectory(nameOrPath, ['model'], options);
      const { backend, ...rest } = options;
      // Before a backend is opened: is there such a model?
      const build = modelIn(diskFolder(directory), { ...options, head: head ?? options.head });
      return build(typeof backend === 'object' ? backend : await createBackend({ ...rest, backend }));
    },
  };
}

/** Models with the head that their config.json names, or `options.head`. */
export const AutoModel: AutoModelClass = autoModel();
/** Models with a head that labels sequences. */
export const AutoModelForSequenceClassification: AutoModelClass = autoModel('SequenceClassification');
/** Models that label each token. */
export const AutoModelForTokenClassification: AutoModelClass = autoModel('TokenClassification');
/** Models that find an answer's span in a text. */
export const AutoModelForQuestionAnswering: AutoModelClass = autoModel('QuestionAnswering');
/** Models that predict masked tokens. */
export const AutoModelForMaskedLM: AutoModelClass = autoModel('MaskedLM');
/** Models that predict the next token. */
export const AutoModelForCausalLM: AutoModelClass = autoModel('CausalLM');
/** Models that turn one text into another. */
export const AutoModelForSeq2SeqLM: AutoModelClass = autoModel('Seq2SeqLM');
/** Models that label images. */
export const AutoModelForImageClassification: AutoModelClass = autoModel('ImageClassification');

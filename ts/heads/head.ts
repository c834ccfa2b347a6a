import type { Example, RaggedBatch } from '../data/batching.js';
import type { ResolvedLabels } from '../data/labels.js';
import type { DataRecord } from '../data/record.js';
import type { TaskWords } from '../data/text-to-text.js';
import type { Tokenizer } from '../data/tokenizer.js';
import type { Tensor } from '../tensor/tensor.js';

/** What a head needs to know of its model. */
export interface HeadInfo {
  /** Sequences are cut to this many tokens; Infinity where positions are relative. */
  maxLength: number;
  vocabSize: number;
  numLabels: number;
  /** Label names by index. */
  labelNames: readonly string[];
  /** First token of a decoder's input; undefined where there is no decoder. */
  decoderStartTokenId?: number | undefined;
  padTokenId?: number | undefined;
  /** Patches of an image and its class token; undefined where the model reads text. */
  tokensPerImage?: number | undefined;
}

/** What turns a record into examples. */
export interface ExampleContext {
  /** Undefined where the model's directory has none: then only `inputIds` can be read. */
  tokenizer?: Tokenizer | undefined;
  /** Decodes an image and turns it into pixelValues; undefined where the model's directory says nothing of images. */
  readImage?: ((image: NonNullable<DataRecord['image']>, where: string) => Promise<Float32Array>) | undefined;
  /** How a head that answers in words puts records into words; undefined: their own text and target. */
  task?: TaskWords | undefined;
  info: HeadInfo;
  /** `file:line` of the record, for messages. */
  where: string;
  /** Told once for each text that had to be cut. */
  onTruncated(): void;
}

/** What evaluation keeps of one example. */
export interface HeadOutput {
  /** Mean task loss over the example's labels; NaN without labels. */
  loss: number;
  /** Labels that the loss is the mean of; 0 without labels. */
  weight: number;
  /** Logits of the example's rows, row after row; empty where the head does not keep them (vocabularies are large). */
  logits: Float32Array;
  /** Labels whose logit is the largest of its row. */
  correct: number;
  /** Tokens written for the example, where a metric asked for them. */
  generatedIds?: readonly number[] | undefined;
}

/**
 * What a model is for: the part after `For` in transformers' class names. It turns records into examples and batches, and says what
 * the loss, the metric and a written prediction are. One file a head, one line in `heads/index.ts`.
 */
export interface Head {
  /** `SequenceClassification`, `CausalLM`, ... */
  readonly name: string;
  /** `task_type` in peft's files. */
  readonly taskType: string | null;
  /** Width of the head follows from the data's labels. */
  readonly hasLabels: boolean;
  /** Whether a record's labels are meant for this head, so that it is opened without being asked for. */
  claims?(record: DataRecord): boolean;
  /** Labels of a whole file: class numbers or values, and the classes' names. */
  resolveLabels(
    records: readonly DataRecord[],
    fileName: string,
    known?: Parameters<typeof import('../data/labels.js').resolveLabels>[2],
  ): ResolvedLabels;
  /** Whether an example can be learned from. */
  isLabelled(example: Example): boolean;
  /** @throws DeftuneError naming file, line and field. */
  toExamples(record: DataRecord, label: number | undefined, context: ExampleContext): Example[];
  /** Loads what examples need before they are collated, e.g. images. */
  ready?(examples: readonly Example[]): Promise<readonly Example[]>;
  /** @param options.seed of what is drawn anew for each batch, e.g. masks */
  collate(examples: readonly Example[], options: { info: HeadInfo; seed?: number | undefined }): RaggedBatch;
  /** Whether {@link Head.loss} has classes whose labels can be smoothed. */
  smoothsLabels(info: HeadInfo): boolean;
  /** Mean loss [1, 1] of a labelled batch. @param labelSmoothing as in `crossEntropy`, 0 to 1; default 0 */
  loss(logits: Tensor, batch: RaggedBatch, labelSmoothing?: number): Tensor;
  /** Labels that the loss is the mean of: its weight when batches are averaged. */
  lossWeight(batch: RaggedBatch): number;
  /** One output an example. */
  outputs(logits: Tensor, batch: RaggedBatch): HeadOutput[];
  /**
   * One object a record: what `predict` writes. Of several examples of one record (windows of a long text) one answer is made.
   *
   * @param options.logits whether to add the logits, where the head keeps them
   */
  predictions(
    outputs: readonly HeadOutput[],
    examples: readonly Example[],
    info: HeadInfo,
    options?: { logits?: boolean | undefined },
  ): Record<string, unknown>[];
  /** Metrics reported without being asked for; the first is the main one. */
  defaultMetrics(info: HeadInfo, examples: readonly Example[]): readonly string[];
  /** Token ids to write on after, of a head that writes text. @throws DeftuneError naming file, line and field. */
  toPrompt?(record: DataRecord, context: ExampleContext): ArrayLike<number>;
  /** Most tokens to write for each example before it can be scored; undefined: none. */
  tokensToGenerate?(metricNames: readonly string[], examples: readonly Example[]): number | undefined;
  /** @throws DeftuneError where the head does not have the metric. */
  score(metricName: string, outputs: readonly HeadOutput[], examples: readonly Example[], info: HeadInfo): number;
  /** What a reader of the score must know, e.g. that the model answers a constant. */
  warnings(outputs: readonly HeadOutput[], examples: readonly Example[], info: HeadInfo): string[];
}

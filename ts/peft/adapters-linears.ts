import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import type { LinearRole, Model } from '../models/model.js';
import { LinearLike } from '../nn/linear.js';
import type { AdaptersConfig } from './adapters-format.js';

// Which linear layers `adapters` changes with LoRA and IA3 (its LoRAConfig): chosen by role, and by layer only as layers to leave out.

/** The fields of its config that choose layers. */
export const linearFields = {
  selfattn_lora: z.boolean().default(true),
  intermediate_lora: z.boolean().default(false),
  output_lora: z.boolean().default(false),
  attn_matrices: z.array(z.string()).default(['q', 'v']),
  leave_out: z.array(z.int().min(0)).default([]),
};

/** Those fields, read. */
export type LinearFields = z.infer<z.ZodObject<typeof linearFields>>;

/** Fields of LoRAConfig that change the mathematics and that this version does not know, with their neutral value. */
const UNSUPPORTED: AdaptersConfig = { use_gating: false, vera_d: null, vera_b: null };

/** What `adapters` writes for the fields that are ours to leave alone. */
export const REMAINING: AdaptersConfig = { ...UNSUPPORTED, dtype: null, init_weights_seed: null };

/** @throws DeftuneError naming a field that is not supported */
export function checkLinearConfig(config: AdaptersConfig, where: string): void {
  for (const [field, neutral] of Object.entries(UNSUPPORTED)) {
    const value = config[field] ?? neutral;
    if (value === neutral) continue;
    throw new DeftuneError(`${where}: ${field} is ${showValue(value)}, expected ${showValue(neutral)} (not supported)`);
  }
}

/** @throws DeftuneError where modules are trained whole beside the head */
export function refuseWholeModules({ modulesToSave = [] }: { modulesToSave?: readonly string[] | undefined }): void {
  if (modulesToSave.length === 0) return;
  throw new DeftuneError(
    `AdapterHub's adapters saves no modules beside the head, expected no modulesToSave, found ${modulesToSave.join(', ')}`,
  );
}

/** Which of a projection's three parts are adapted, where a model has queries, keys and values in one: 0 to 2. */
export function fusedParts({ attn_matrices: matrices }: Pick<LinearFields, 'attn_matrices'>): number[] {
  return ['q', 'k', 'v'].flatMap((name, part) => (matrices.includes(name) ? [part] : []));
}

/** Paths of the layers that the fields choose. @throws DeftuneError where there are none */
export function chosenLinears(model: Model, fields: LinearFields, where: string): string[] {
  const roles = new Set<LinearRole>([
    ...(fields.selfattn_lora ? (['q', 'k', 'v'] as const).filter((name) => fields.attn_matrices.includes(name)) : []),
    ...(fields.selfattn_lora && fusedParts(fields).length > 0 ? (['qkv'] as const) : []),
    ...(fields.intermediate_lora ? (['intermediate'] as const) : []),
    ...(fields.output_lora ? (['output'] as const) : []),
  ]);
  const chosen = linearsOf(model).filter(({ role, layer }) => roles.has(role) && !fields.leave_out.includes(layer));
  if (chosen.length > 0) return chosen.map(({ path }) => path);
  throw new DeftuneError(`${where}: attn_matrices, leave_out and the fields beside them choose no layer of the model`);
}

/**
 * The fields that choose just these layers.
 *
 * @param parts those of fused projections
 * @throws DeftuneError naming a layer because of which there are none
 */
export function fieldsOf(model: Model, paths: readonly string[], parts: readonly number[]): LinearFields {
  const all = linearsOf(model);
  const stranger = paths.find((path) => !all.some((known) => known.path === path));
  if (stranger !== undefined) {
    throw new DeftuneError(
      `AdapterHub's adapters has no place for ${stranger}, expected projections of queries, keys and values, or the MLP's layers`,
    );
  }
  const chosen = all.filter(({ path }) => paths.includes(path));
  const roles = new Set(chosen.map(({ role }) => role));
  const layers = new Set(chosen.map(({ layer }) => layer));
  const own = (['q', 'k', 'v'] as const).filter(
    (name, part) => roles.has(name) || (roles.has('qkv') && parts.includes(part)),
  );
  const fields: LinearFields = {
    selfattn_lora: own.length > 0,
    intermediate_lora: roles.has('intermediate'),
    output_lora: roles.has('output'),
    attn_matrices: own.length > 0 ? own : ['q', 'v'],
    leave_out: [...new Set(all.map(({ layer }) => layer))].filter((layer) => !layers.has(layer)),
  };
  const missing = chosenLinears(model, fields, '').find((path) => !paths.includes(path));
  if (missing === undefined) return fields;
  throw new DeftuneError(
    `AdapterHub's adapters adapts ${missing} too where it adapts others of its kind or layer, expected it among the adapted layers`,
  );
}

/** A layer's path in files of `adapters`, whose transformers is of version 4. */
export function adaptersPath({ info }: Model, path: string): string {
  return info.formerPath?.(path) ?? path;
}

/** Layers with a role, with the number of their layer in the model: an encoder's before a decoder's. */
function linearsOf(model: Model): { path: string; role: LinearRole; layer: number }[] {
  const roles = Object.entries(model.info.linears) as [LinearRole, RegExp][];
  const layers: string[] = [];
  return [...model.namedModules()].flatMap(([path, module]) => {
    const role = roles.find(([, pattern]) => pattern.test(path))?.[0];
    if (!role || !(module instanceof LinearLike)) return [];
    const name = /^.*?\.\d+\./.exec(path)?.[0] ?? '';
    if (!layers.includes(name)) layers.push(name);
    return [{ path, role, layer: layers.indexOf(name) }];
  });
}

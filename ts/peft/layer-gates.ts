import { z } from 'zod';
import { DeftuneError } from '../error.js';
import { showValue } from '../io/show-value.js';
import { validate } from '../io/validate.js';
import type { Model } from '../models/model.js';
import { LayerGate } from '../nn/layer-gate.js';
import { Linear } from '../nn/linear.js';
import { mlpBlocks, type MlpBlock } from '../nn/mlp-block.js';
import { Parameter } from '../nn/parameter.js';

/** Settings of the gates on a model's MLPs, defaults filled in. */
export interface LayerGateSettings {
  /** MLPs whose gate is at most this are skipped at inference, 0 to 1; default 0.05. */
  skipThreshold: number;
  /** Weight of the penalty that closes gates, from 0; default 0.03. */
  penalty: number;
  /** Factor on the learning rate, above 0; default 20: a gate has a way of 1 to go, and a run few steps. */
  rate: number;
}

/** Gates as deftune.json holds them: their settings, and theta by layer, from which a run goes on; the gate is its part from 0 to 1. */
export interface StoredGates extends LayerGateSettings {
  theta: Readonly<Record<string, number>>;
}

const settings = z.strictObject({
  skipThreshold: z.number().min(0).max(1).default(0.05),
  penalty: z.number().min(0).default(0.03),
  rate: z.number().positive().default(20),
});
const stored = settings.extend({ theta: z.record(z.string(), z.number()) });

/** Fills in defaults. @throws DeftuneError naming a setting out of range */
export function gateSettings(given: Partial<LayerGateSettings> | true): LayerGateSettings {
  const own = given === true ? [] : Object.entries(given).filter(([, value]) => value !== undefined);
  return validate(settings, Object.fromEntries(own), 'layerGates');
}

/** The gates of a deftune.json. @throws DeftuneError naming the file and the field */
export function storedGates(value: unknown, where: string): StoredGates {
  return validate(stored, value, `${where}: layerGates`);
}

/** Layers of stored gates whose MLP is skipped. */
export function closedLayers({ theta, skipThreshold }: StoredGates): string[] {
  return Object.keys(theta).filter((name) => Math.min(1, theta[name] as number) <= skipThreshold);
}

/** Puts an open, trainable gate on every MLP. */
export function installGates(model: Model, { skipThreshold, rate }: LayerGateSettings): void {
  for (const block of mlpBlocks(model)) {
    const theta = Parameter.of(model.backend, Float32Array.of(1), [1, 1]);
    Object.assign(theta, { requiresGrad: true, isDecayed: false, rateFactor: rate });
    block.gate = new LayerGate(theta, skipThreshold);
  }
}

/** theta by layer. */
export function readGates(model: Model): Record<string, number> {
  return Object.fromEntries(mlpBlocks(model).flatMap(({ name, gate }) => (gate ? [[name, gate.theta.item()]] : [])));
}

/** Overwrites theta. @throws DeftuneError where the layers are not the model's; nothing is written then */
export function writeGates(model: Model, theta: StoredGates['theta'], where: string): void {
  const gates = new Map(mlpBlocks(model).flatMap(({ name, gate }) => (gate ? [[name, gate] as const] : [])));
  const wrong = [...gates.keys(), ...Object.keys(theta)].find(
    (name) => !gates.has(name) || !Object.hasOwn(theta, name),
  );
  if (wrong !== undefined) {
    const what = gates.has(wrong) ? `has no gate for ${wrong}` : `has a gate for ${showValue(wrong)}`;
    throw new DeftuneError(`${where}: layerGates.theta ${what}, expected one each for ${[...gates.keys()].join(', ')}`);
  }
  for (const [name, gate] of gates) gate.theta.writeStored(Float32Array.of(theta[name] as number));
}

/** Parameters of the gates, which no checkpoint of the model has. */
export function gateParameters(model: Model): ReadonlySet<Parameter> {
  return new Set(mlpBlocks(model).flatMap(({ gate }) => (gate ? [gate.theta] : [])));
}

/** Works the gates into the down-projections and takes them away: the plain model has the same outputs. */
export function foldGates(model: Model): void {
  for (const block of mlpBlocks(model)) {
    if (!block.gate) continue;
    const factor = block.gate.isClosed ? 0 : block.gate.openness;
    for (const parameter of parametersOf(block)) {
      if (factor !== 1)
        parameter.backend.writeF32(
          parameter.handle,
          parameter.toFloats().map((value) => value * factor),
        );
    }
    block.gate.dispose();
    block.gate = undefined;
  }
}

/** Weight and bias of the down-projection. */
function parametersOf({ name, parts }: MlpBlock): Parameter[] {
  const down = parts.down();
  if (down instanceof Linear) return down.bias ? [down.weight, down.bias] : [down.weight];
  throw new DeftuneError(`the gate of ${name} cannot be merged: its down-projection is not a plain layer`);
}

import type { Model } from '../models/model.js';
import { Module } from '../nn/module.js';
import { Parameter } from '../nn/parameter.js';
import { installGates, type LayerGateSettings } from './layer-gates.js';
import type { PeftMethod } from './method.js';

/** A property of a module, or an item of its lists, that an adapter changed. */
interface Slot {
  owner: Record<string, unknown>;
  key: string;
  base: unknown;
  adapted: unknown;
}

/** Modules, parameters and empty places of a model, by what holds them. */
type Snapshot = Map<Record<string, unknown>, Map<string, unknown>>;

/** An adapter that can be put into its model and taken out of it again, whatever its method did: the difference is what it is. */
export class InstalledAdapter {
  private isActive = true;
  private readonly slots: Slot[];
  /** Parameters of the base that it trains, e.g. the head's, with the base's values and its own. */
  private readonly trained: Map<Parameter, { base: Float32Array; own: Float32Array | undefined }>;

  private constructor(
    private readonly model: Model,
    readonly method: PeftMethod<unknown>,
    readonly config: unknown,
    slots: readonly Slot[],
    baseValues: ReadonlyMap<Parameter, Float32Array>,
    private readonly maxLength: { base: number; adapted: number },
    /** Settings of its gates on the MLPs, where it has any. */
    readonly gates: LayerGateSettings | undefined,
  ) {
    this.slots = [...slots];
    this.trained = new Map([...baseValues].map(([parameter, base]) => [parameter, { base, own: undefined }]));
  }

  /** Injects a method into a frozen model; a model that it cannot be injected into stays as it was. */
  static inject(
    model: Model,
    method: PeftMethod<unknown>,
    config: unknown,
    seed: number,
    gates?: LayerGateSettings,
  ): InstalledAdapter {
    const before = snapshot(model);
    const parameters = [...model.namedParameters()].map(([, parameter]) => parameter);
    const { maxLength } = model.info;
    try {
      method.inject(model, config, seed);
      if (gates) installGates(model, gates);
    } catch (error) {
      restore(changes(before), 'base');
      for (const parameter of parameters) parameter.requiresGrad = false;
      throw error;
    }
    model.info.maxLength -= method.virtualTokens?.(config) ?? 0;
    // A method that trains the whole model leaves no base to go back to.
    const kept = method.weightsFile === undefined ? parameters.filter(({ requiresGrad }) => requiresGrad) : [];
    const baseValues = new Map(kept.map((parameter) => [parameter, parameter.toStored()]));
    const lengths = { base: maxLength, adapted: model.info.maxLength };
    return new InstalledAdapter(model, method, config, changes(before), baseValues, lengths, gates);
  }

  /** Takes it out: the base has the bits that it had. */
  deactivate(): void {
    if (!this.isActive) return;
    restore(this.slots, 'base');
    for (const [parameter, values] of this.trained) {
      values.own = parameter.toStored();
      parameter.writeStored(values.base);
      parameter.requiresGrad = false;
    }
    this.model.info.maxLength = this.maxLength.base;
    this.isActive = false;
  }

  /** Puts it in again, where no other is. */
  activate(): void {
    if (this.isActive) return;
    restore(this.slots, 'adapted');
    for (const [parameter, { own }] of this.trained) {
      if (own) parameter.writeStored(own);
      parameter.requiresGrad = true;
    }
    this.model.info.maxLength = this.maxLength.adapted;
    this.isActive = true;
  }

  /** Takes it out and frees its own parameters. */
  dispose(): void {
    this.deactivate();
    const base = new Set([...this.model.namedParameters()].map(([, parameter]) => parameter));
    for (const { adapted } of this.slots) {
      if (!(adapted instanceof Module)) continue;
      for (const [, parameter] of adapted.namedParameters()) if (!base.has(parameter)) parameter.dispose();
    }
  }
}

function snapshot(model: Model): Snapshot {
  const found: Snapshot = new Map();
  const keep = (owner: object): void => {
    const entries = Object.entries(owner) as [string, unknown][];
    const places = entries.filter(
      ([, value]) => value === undefined || value instanceof Module || value instanceof Parameter,
    );
    found.set(owner as Record<string, unknown>, new Map(places));
    for (const [, value] of entries) if (Array.isArray(value)) keep(value);
  };
  for (const module of model.modules()) keep(module);
  return found;
}

function changes(before: Snapshot): Slot[] {
  return [...before].flatMap(([owner, places]) =>
    [...places].flatMap(([key, base]) => (owner[key] === base ? [] : [{ owner, key, base, adapted: owner[key] }])),
  );
}

function restore(slots: readonly Slot[], which: 'base' | 'adapted'): void {
  for (const slot of slots) slot.owner[slot.key] = slot[which];
}

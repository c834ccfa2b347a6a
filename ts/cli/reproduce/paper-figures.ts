import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { densityChange } from '../../density/mean-density.js';
import { readJson } from '../../io/files-node.js';
import { validate } from '../../io/validate.js';
import type { PaperFigure } from '../../report/grid-result.js';
import type { Cell } from './grid.js';

const names = z.array(z.string()).min(1).optional();
const place = { models: names, datasets: names, modules: names, side: z.enum(['encoder', 'decoder']).optional() };
const schema = z.strictObject({
  sources: z.record(z.string(), z.string()),
  figures: z.array(
    z.union([
      z.strictObject({ ...place, change: z.string(), source: z.string() }),
      z.strictObject({ ...place, peft: z.number(), deft: z.number(), source: z.string() }),
    ]),
  ),
});

/**
 * What the paper says of a cell's density change, as far as it could be checked against its source: each figure names it. No more than that is
 * known: the tables' bodies are not in the file, and what the file does not have is shown as a dash.
 */
export function paperFigures(cell: Cell): PaperFigure[] {
  const path = fileURLToPath(new URL('../../../assets/paper/figures.json', import.meta.url));
  const { sources, figures } = validate(schema, readJson(path), 'figures.json');
  const has = (list: readonly string[] | undefined, name: string): boolean => list?.includes(name) ?? true;
  return figures
    .filter(
      ({ models, datasets, modules }) =>
        has(models, cell.model.name) && has(datasets, cell.dataset.name) && has(modules, cell.module.name),
    )
    .map((figure) => ({
      side: figure.side,
      change:
        'change' in figure
          ? figure.change
          : `${densityChange(figure.peft, figure.deft).toFixed(2)} (${figure.peft.toFixed(2)} to ${figure.deft.toFixed(2)})`,
      source: sources[figure.source] ?? figure.source,
    }));
}

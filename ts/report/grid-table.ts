import Table from 'cli-table3';
import { formatSpread, NONE } from './format-spread.js';
import { groupName, type GridGroup, type GridResult, type PaperFigure } from './grid-result.js';
import { plain } from './plain.js';
import { collectWarnings, summarize } from './summarize.js';

/** The cells of a grid's table, shared by the terminal and HTML. */
export interface GridRows {
  head: string[];
  rows: string[][];
  /** What the numbers in brackets stand for. */
  sources: string[];
}

/** Ours beside the paper's: a row a group, and one for each side of an encoder-decoder. */
export function gridRows({ groups }: Pick<GridResult, 'groups'>): GridRows {
  const sources = [...new Set(groups.flatMap(({ paper }) => paper.map(({ source }) => source)))];
  const paperCell = (figures: readonly PaperFigure[]): string =>
    figures.map(({ change, source }) => `${change} [${sources.indexOf(source) + 1}]`).join('; ') || NONE;
  const rows = groups.flatMap((group): string[][] => {
    const { peft, deft, densityChange, encoderChange, decoderChange, metricName } = summarize(group);
    const standIn = (name: string, other: string | undefined): string => (other ? `${name} (${other})` : name);
    const ofSide = (side: PaperFigure['side']): string =>
      paperCell(group.paper.filter((figure) => figure.side === side));
    const main = [
      standIn(group.model, group.modelStandIn),
      standIn(group.dataset, group.dataStandIn),
      group.module,
      metricName,
      formatSpread(peft?.metric, 100),
      formatSpread(deft?.metric, 100),
      formatSpread(peft?.density, 100),
      formatSpread(deft?.density, 100),
      formatSpread(densityChange),
      ofSide(undefined),
      `${peft?.seeds.length ?? 0}, ${deft?.seeds.length ?? 0}`,
    ];
    const sides = [
      { side: 'encoder' as const, of: 'encoderDensity' as const, change: encoderChange },
      { side: 'decoder' as const, of: 'decoderDensity' as const, change: decoderChange },
    ].filter(({ of }) => peft?.[of] ?? deft?.[of]);
    return [
      main,
      ...sides.map(({ side, of, change }) => [
        ...['', '', side, '', '', ''],
        formatSpread(peft?.[of], 100),
        formatSpread(deft?.[of], 100),
        formatSpread(change),
        ofSide(side),
        '',
      ]),
    ];
  });
  const head = [
    ...['model', 'data', 'module', 'metric', 'PEFT %', 'DEFT %', 'density PEFT %', 'density DEFT %'],
    ...['density change %', 'paper: change %', 'seeds'],
  ];
  return { head, rows, sources };
}

/** What a reader of the table must know, a line each. */
export function gridNotes(result: GridResult): string[] {
  const { sources } = gridRows(result);
  return [
    'Mean ± sample standard deviation over seeds (their number: PEFT, DEFT). Density change = (PEFT − DEFT) / PEFT, paired by seed: positive means DEFT is sparser.',
    ...(result.groups.some(({ modelStandIn, dataStandIn }) => modelStandIn ?? dataStandIn)
      ? [
          'In brackets: the checkpoint or data that stands for the paper’s; such rows are no reproduction of its figures.',
        ]
      : []),
    ...sources.map((source, index) => `[${index + 1}] ${source}`),
    `A dash: no run, or no figure of the paper that could be checked.`,
  ];
}

/** Warnings of the runs, with their group. */
export function gridWarnings({ groups, failed }: Pick<GridResult, 'groups' | 'failed'>): string[] {
  return [
    ...failed.map(({ what, reason }) => `${what} failed: ${reason}`),
    ...groups.flatMap((group: GridGroup) =>
      group.runs.length === 0 ? [] : collectWarnings(group).map((warning) => `${groupName(group)}: ${warning}`),
    ),
  ];
}

/** The grid as a terminal table without colours, with its notes, what was skipped and the warnings below. */
export function gridTable(result: GridResult): string {
  const { head, rows } = gridRows(result);
  const table = new Table({
    head: head.map(plain),
    style: { head: [], border: [], compact: true },
    colAligns: head.map((_, index) => (index < 4 ? 'left' : 'right')),
  });
  for (const row of rows) table.push(row.map(plain));
  return [
    plain(result.title),
    ...(rows.length > 0 ? [table.toString()] : []),
    ...gridNotes(result).map(plain),
    ...result.skipped.map(({ what, reason }) => plain(`skipped: ${what}: ${reason}`)),
    ...gridWarnings(result).map((warning) => `warning: ${plain(warning)}`),
    `${result.runsDone} of ${result.runsPlanned} runs done`,
  ].join('\n');
}

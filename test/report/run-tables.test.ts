import test from 'ava';
import { csv } from '../../ts/report/csv.js';
import { runTables } from '../../ts/report/run-tables.js';
import { run } from './sample.js';

test('cells are quoted as RFC 4180 asks', (t) => {
  t.is(
    csv(
      ['a', 'b'],
      [
        ['x,y', 'say "no"\n'],
        [undefined, Number.NaN],
        [0, 1.5],
      ],
    ),
    'a,b\n"x,y","say ""no""\n"\n,\n0,1.5\n',
  );
});

test('runs, layers and curves, with the labels first', (t) => {
  const one = run('DEFT', 2, { alpha: 0.1, metric: 0.5, density: 0.25, layerDensity: [0.2, 0.3], encoderDensity: 0.2 });
  const tables = runTables(['model'], [{ labels: ['bert'], run: one }]);
  t.deepEqual([...tables.keys()], ['runs.csv', 'layers.csv', 'curves.csv']);
  t.is(
    tables.get('runs.csv'),
    'model,variant,alpha,seed,metric_name,metric,density,encoder_density,decoder_density,seconds,steps\n' +
      `bert,DEFT,0.1,2,accuracy,0.5,0.25,0.2,,${one.seconds},500\n`,
  );
  t.is(
    tables.get('layers.csv'),
    'model,variant,alpha,seed,layer,name,density\nbert,DEFT,0.1,2,0,encoder.layer.0.intermediate,0.2\nbert,DEFT,0.1,2,1,encoder.layer.1.intermediate,0.3\n',
  );
  t.is(tables.get('curves.csv')?.split('\n').length, 502);
});

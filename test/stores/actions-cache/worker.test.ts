import { expect, test } from '@jest/globals';
import { tmpdir } from 'node:os';
import { WorkerPool } from '../../../src/stores/actions-cache/worker.ts';

test('a call that is cancelled before it has a worker asks none', async () => {
  const pool = new WorkerPool({ environment: {}, workingDirectory: tmpdir() });
  const neverEnds = () => new Promise<never>(() => undefined);
  const call = pool.use(AbortSignal.abort(), neverEnds);
  await expect(call).rejects.toMatchObject({ code: 'cancelled' });
  await pool.close();
});

/** A key that the toolkit refuses, which takes it no time. */
const REQUEST = { do: 'look-up', keys: [','], workspace: tmpdir() } as const;
const ASKING = { patienceMs: 60_000 };

test('a call that succeeds after the pool was closed leaves no worker', async () => {
  const pool = new WorkerPool({ environment: {}, workingDirectory: tmpdir() });
  const closed = Promise.withResolvers<undefined>();
  const call = pool.use(new AbortController().signal, async (ask) => {
    await closed.promise;
    return () => ask(REQUEST, ASKING);
  });
  try {
    await pool.close();
    closed.resolve(undefined);
    const askAgain = await call;
    await expect(askAgain()).rejects.toMatchObject({ code: 'store-unavailable' });
  } finally {
    await pool.close();
  }
});

test('what a module prints that NODE_OPTIONS loads is no answer, whatever it looks like', async () => {
  const lines = [
    'text',
    '1',
    'null',
    '[]',
    '{"level":30,"msg":"text"}',
    '{"line":1}',
    '{"result":{}}',
  ];
  const script = lines.map((line) => `console.log(${JSON.stringify(line)});`).join('');
  const environment = {
    NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}`,
  };
  const pool = new WorkerPool({ environment, workingDirectory: tmpdir() });
  try {
    const asking = pool.use(new AbortController().signal, (ask) => ask(REQUEST, ASKING));
    expect(await asking).toMatchObject({ result: null, lines: [{ level: 'error' }] });
  } finally {
    await pool.close();
  }
});

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

/** Jobs with a bucket whose server confirms what it doesn't do, or is none; and a layer that is opened by hand. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runProcess } from '../../support/processes.ts';
import type { S3FaultBehaviour } from '../../support/s3/fault.ts';
import { startS3Proxy, type S3Proxy } from '../../support/s3/proxy.ts';
import type { S3Request } from '../../support/s3/request.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { useScenarios, verdict } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const server = s3Servers().find(({ name }) => name === 'ceph');
const describeIf = server === undefined ? describe.skip : describe;

describeIf('a job whose bucket', () => {
  const directories = temporaryDirectories();
  const folder = `lies-test/${randomUUID()}`;
  let stores: S3Stores;
  let proxy: S3Proxy;

  beforeAll(async () => {
    stores = new S3Stores(server!, folder);
    proxy = await startS3Proxy(server!);
  });
  afterEach(async () => {
    proxy.clearFaults();
    await stores.removeAll();
    await directories.removeAll();
  });
  afterAll(async () => {
    stores.close();
    await proxy.stop();
  });

  const options = () => inBucket(proxy.server, `${folder}/store`);
  const isPut =
    (kind: string) =>
    ({ method, key }: S3Request): boolean =>
      method === 'PUT' && key.includes(`/${kind}/`);

  test.each([
    ['drops manifests', 'manifests', { kind: 'drop' }, 'does not have it'],
    ['damages manifests', 'manifests', { kind: 'damage' }, 'holds other bytes than were sent'],
    ['drops layers', 'layers', { kind: 'drop' }, 'does not have it'],
    ['damages layers', 'layers', { kind: 'damage' }, 'holds other bytes than were sent'],
  ] as [string, string, S3FaultBehaviour, string][])(
    '%s says so, blames no other job, and the next one saves',
    async (_, kind, behave, text) => {
      const scenario = await scenarios.create();
      proxy.fault({ on: isPut(kind), behave });
      const { post } = await scenario.run(options());
      expect(verdict(post)).toMatch(/^Nothing saved/);
      expect(post.log).toContain(`the server confirmed it, but ${text}`);
      expect(post.log).toContain(`at ${proxy.endpoint}`);
      expect(post.log).not.toMatch(/another job|meanwhile/);
      proxy.clearFaults();
      const next = await scenario.run(options());
      expect(verdict(next.post)).toMatch(/^Saved snapshot 1-/);
    },
  );

  test('is a web page names it, and nothing else is said of the store', async () => {
    const scenario = await scenarios.create();
    proxy.fault({ on: 'any', behave: { kind: 'html' } });
    const { main, post } = await scenario.run(options());
    expect(main.outputs['provenance']).toBe('cloned');
    const text = 'answers with a web page (text/html, status 200), not as an S3 server';
    expect(main.annotations.length).toBeGreaterThan(0);
    for (const { message } of main.annotations) expect(message).toContain(text);
    expect(verdict(post)).toMatch(/^Nothing saved: the store could not be asked/);
  });

  test.each([400, 304, 405, 501] as const)(
    'refuses conditions with %d is saved to, and restored from',
    async (status) => {
      const scenario = await scenarios.create();
      const isConditional = ({ headers }: S3Request): boolean => 'if-none-match' in headers;
      proxy.fault({ on: isConditional, behave: { kind: 'status', status } });
      expect(verdict((await scenario.run(options())).post)).toMatch(/^Saved snapshot 1-/);
      expect((await scenario.run(options())).main.outputs['provenance']).toBe('restored');
    },
  );

  test('has layers that curl fetches, tar opens and git verifies', async () => {
    const scenario = await scenarios.create();
    await scenario.run(options());
    const layers = (await stores.list('store')).filter((name) => name.includes('/layers/'));
    expect(layers).toEqual([expect.stringMatching(/\.tar$/)]);
    const target = await directories.create('layer');
    const archive = join(target, 'layer.tar');
    const { accessKeyId, secretAccessKey, region, endpoint, bucket } = server!;
    const url = `${endpoint}/${bucket}/${folder}/store/${layers[0]!}`;
    const fetched = await runProcess('curl', [
      ...['--fail', '--silent', '--show-error', '--aws-sigv4', `aws:amz:${region}:s3`],
      ...['--header', 'x-amz-content-sha256: UNSIGNED-PAYLOAD'],
      ...['--user', `${accessKeyId}:${secretAccessKey}`, '--output', archive, url],
    ]);
    expect(fetched).toMatchObject({ exitCode: 0, stderr: '' });
    expect(await runProcess('tar', ['-C', target, '-xf', archive])).toMatchObject({ exitCode: 0 });
    const packs = (await readdir(target)).filter((name) => name.endsWith('.idx'));
    expect(packs.length).toBeGreaterThan(0);
    for (const pack of packs) {
      const verified = await runProcess('git', ['verify-pack', '-v', join(target, pack)]);
      expect(verified).toMatchObject({ exitCode: 0, stderr: '' });
      expect(verified.stdout).toMatch(/ commit /);
    }
  });
});

/** Jobs of several machines that share a bucket. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { addCommits } from '../../support/repository-fixture.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { expectMirrorOf, useScenarios, verdict } from '../scenarios/scenario.ts';
import { expectTipOf } from '../scenarios/tip.ts';

const scenarios = useScenarios();

describe.each(s3Servers())('$name', (server) => {
  const folder = `action-test/${randomUUID()}`;
  const stores = new S3Stores(server, folder);
  afterAll(async () => {
    await stores.removeAll();
    stores.close();
  });

  test.each([
    ['0', expectMirrorOf],
    ['1', expectTipOf],
  ])(
    'a machine restores what another one has saved, and saves what is new: fetch-depth %s',
    async (depth, expectMirror) => {
      const scenario = await scenarios.create();
      const place = `shared-${depth}`;
      const bucket = inBucket(server, `${folder}/${place}`);
      const options = { ...bucket, inputs: { ...bucket.inputs, 'fetch-depth': depth } };
      const cold = await scenario.run(options);
      expect(cold.main.outputs).toMatchObject({ provenance: 'cloned', 'cache-hit': 'false' });
      expect(verdict(cold.post)).toMatch(/^Saved snapshot 1-/);
      const warm = await scenario.run(options);
      expect(warm.main.outputs).toMatchObject({ provenance: 'restored', 'cache-hit': 'true' });
      expect(verdict(warm.post)).toMatch(/^Nothing saved: nothing changed/);
      await addCommits(scenario.upstream);
      const changed = await scenario.run(options);
      expect(changed.main.outputs['provenance']).toBe('restored');
      expect(verdict(changed.post)).toMatch(/^Saved snapshot 2-/);
      await expectMirror(changed.mirror, scenario.upstream);

      const names = await stores.list(place);
      expect(
        names.filter((name) => /\/manifests\/0000000002.*\.json\.gz$/.test(name)),
      ).toHaveLength(1);
      expect(names.filter((name) => name.includes('/layers/'))).toHaveLength(2);
      const said = [cold, warm, changed]
        .flatMap(({ main, post }) => [main.log, post.log])
        .join('\n');
      expect(said).toContain(`s3://${server.bucket}/${folder}/${place}/`);
      expect(said).not.toContain(server.secretAccessKey);
    },
  );

  test.each([
    ['credentials', {}, { AWS_ACCESS_KEY_ID: '', AWS_SECRET_ACCESS_KEY: '' }, 'no AWS credentials'],
    ['the right secret', {}, { AWS_SECRET_ACCESS_KEY: 'another' }, 'does not take these'],
    ['its bucket', { 's3-bucket': 'not-there' }, {}, 'has no such bucket'],
    ['its server', { 's3-endpoint': 'http://127.0.0.1:9' }, {}, 'cannot be reached'],
  ])('without %s a job clones, and says why', async (_, inputs, environment, text) => {
    const scenario = await scenarios.create();
    const options = inBucket(server, `${folder}/none`);
    const { main, post } = await scenario.run({
      inputs: { ...options.inputs, ...inputs },
      environment: { ...options.environment, AWS_EC2_METADATA_DISABLED: 'true', ...environment },
    });
    expect(main.outputs['provenance']).toBe('cloned');
    expect(main.log).toContain(text);
    expect(verdict(post)).toMatch(/^Nothing saved/);
    expect(await stores.list('none')).toEqual([]);
  });
});

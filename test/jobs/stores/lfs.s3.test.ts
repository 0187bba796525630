/** `lfs: true` with snapshots in a bucket. It needs git-lfs as well as the S3 servers. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { lfsOf, randomContents, runLfs, useLfs } from '../scenarios/lfs-scenario.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { useScenarios } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const lfs = useLfs(scenarios);
// More than one part of an upload.
const CONTENTS = [...randomContents(5, 20_000, 21), ...randomContents(1, 20_000_000, 22)];
const BYTES = 20_100_000;

describe.each(s3Servers())('$name', (server) => {
  const folder = `action-lfs-test/${randomUUID()}`;
  const stores = new S3Stores(server, folder);
  afterAll(async () => {
    await stores.removeAll();
    stores.close();
  });

  test('a machine restores the LFS objects that another one downloaded', async () => {
    const scenario = await lfs.create(CONTENTS);
    const bucket = inBucket(server, `${folder}/shared`);
    const { post } = await runLfs(lfs.job(scenario, bucket));
    expect(post.log).toMatch(/LFS objects: Saved snapshot 1-/);
    lfs.reset();
    const warm = await runLfs(lfs.job(scenario, bucket));
    expect(lfsOf(warm.main)).toMatchObject({ restoredBytes: BYTES, primedObjects: 6 });
    expect(warm.post.log).toMatch(/LFS objects: Nothing saved: nothing changed/);
    expect(lfs.server.requests).toEqual([]);
  });
});

/** Checkouts with `fetch-depth: 1` in workspaces that were primed from a bucket. */
import { randomUUID } from 'node:crypto';
import { afterAll, describe, jest } from '@jest/globals';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { useScenarios } from '../scenarios/scenario.ts';
import { describeTipReplays, type StoreOf } from '../scenarios/tip-replays.ts';

jest.setTimeout(180_000);

const scenarios = useScenarios();

describe.each(s3Servers())('$name', (server) => {
  const folder = `tip-replays-test/${randomUUID()}`;
  const stores = new S3Stores(server, folder);
  const storeOf: StoreOf = ({ repository }) => inBucket(server, `${folder}/${repository}`);
  afterAll(async () => {
    await stores.removeAll();
    stores.close();
  });

  describeTipReplays(scenarios, storeOf);
});

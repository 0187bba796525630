/** Checkouts with `fetch-depth: 1` in workspaces that were primed from a bucket. */
import { randomUUID } from 'node:crypto';
import { afterAll, describe, jest, test } from '@jest/globals';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { chooseCases } from '../scenarios/rounds.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { useScenarios } from '../scenarios/scenario.ts';
import {
  TIP_CHANGES,
  TIP_WISHES,
  expectSameCheckout,
  expectSmallFetch,
  type StoreOf,
} from '../scenarios/tip-replays.ts';

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

  test.each(chooseCases(TIP_WISHES))('%s: as in an empty workspace', async (_, wish) => {
    await expectSameCheckout(scenarios, wish, storeOf);
  });

  test.each(chooseCases(TIP_CHANGES))('%s: only what differs is fetched', async (_, happen) => {
    await expectSmallFetch(scenarios, happen, storeOf);
  });
});

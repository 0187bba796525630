/** Damage to what a bucket holds, at random positions. CORRUPTIONS sets how many, TEST_SEED repeats. */
import { afterAll, describe } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { inBucket } from '../scenarios/s3-scenario.ts';
import { useScenarios } from '../scenarios/scenario.ts';
import { testDamage } from '../scenarios/stored-damage.ts';

const scenarios = useScenarios();
const { signal } = new AbortController();

describe.each(s3Servers())('$name is healed of damage to', (server) => {
  const folder = `corruption-test/${randomUUID()}`;
  const stores = new S3Stores(server, folder);
  afterAll(async () => {
    await stores.removeAll();
    stores.close();
  });

  let count = 0;
  testDamage(async () => {
    const prefix = `damaged-${++count}`;
    const { bucket } = stores.open(prefix);
    return {
      scenario: await scenarios.create(),
      options: () => inBucket(server, `${folder}/${prefix}`),
      objects: {
        list: () => stores.list(prefix),
        read: async (name) =>
          (await bucket.read(name, Infinity, signal)) ?? Promise.reject(new Error(`no ${name}`)),
        write: async (name, content) => {
          await bucket.put(name, content, signal);
        },
        remove: (name) => bucket.remove(name, signal),
      },
    };
  });
});

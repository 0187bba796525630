/** The store in a bucket, on the servers that the S3 suites run against. */
import { afterAll, describe } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { s3Servers } from '../../support/s3/servers.ts';
import { S3Stores } from '../../support/s3/stores.ts';
import { describeStoreContract } from '../contract/store-contract.ts';

describe.each(s3Servers())('$name', (server) => {
  const stores = new S3Stores(server, `store-test/${randomUUID()}`);
  afterAll(() => {
    stores.close();
  });

  describeStoreContract(
    'the store in a bucket',
    () => {
      const prefix = randomUUID();
      return Promise.resolve({
        open: () => stores.open(prefix).store,
        openUnreachable: () => stores.open(prefix, 'http://127.0.0.1:9').store,
        close: () => stores.removeAll(prefix),
      });
    },
    { hasOutages: true, hasAtomicCreate: server.hasConditionalWrites },
  );
});

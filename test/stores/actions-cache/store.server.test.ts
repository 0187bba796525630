/** The store in the Actions cache, with the real toolkit, against a service on this machine. */
import { MAIN, useCacheBench } from '../../support/actions-cache/bench.ts';
import { describeStoreContract } from '../contract/store-contract.ts';

const bench = useCacheBench();

describeStoreContract(
  'the store in the Actions cache',
  () =>
    Promise.resolve({
      open: () => bench.open(),
      openUnreachable: () =>
        bench.open({ ...bench.environmentOf(MAIN), ACTIONS_RESULTS_URL: 'http://127.0.0.1:9/' }),
      close: () => Promise.resolve(),
    }),
  { hasOutages: true, canRemove: false },
);

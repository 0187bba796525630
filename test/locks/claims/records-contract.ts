/** What every back end of claim records must do; a short caller per back end. */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ClaimRecords, MAX_RECORD_BYTES } from '../../../src/locks/claims/records.ts';
import { outcomeOf, signal } from '../../stores/contract/store-contract.ts';

export interface RecordsBench {
  /** Records of a key, as another machine would open them; those of one key are the same. */
  open(key: string): ClaimRecords;
  close(): Promise<void>;
}

const KEY = 'github.com_owner_name-0123';
/** What the times of some stores are rounded to. */
const CLOCK_STEP_MS = 1_000;
const text = (content: string): Uint8Array => Buffer.from(content);

export function describeClaimRecordsContract(
  name: string,
  createBench: () => Promise<RecordsBench>,
): void {
  describe(`${name}: claim records`, () => {
    let bench: RecordsBench;
    let records: ClaimRecords;
    beforeEach(async () => {
      bench = await createBench();
      records = bench.open(KEY);
    });
    afterEach(() => bench.close());

    const read = async (record: string, from = records): Promise<string | undefined> => {
      const content = await from.read(record, signal);
      return content === undefined ? undefined : Buffer.from(content).toString();
    };

    const namesIn = async (from: ClaimRecords): Promise<string[]> =>
      (await from.list(signal)).map(({ name }) => name);

    test('there are none at first', async () => {
      expect(await namesIn(records)).toEqual([]);
      expect(await read('1-1.claim')).toBeUndefined();
      await records.remove('1-1.claim', signal);
    });

    test('one is created once, and seen by all at once', async () => {
      expect(await records.create('1-1.claim', text('one'), signal)).toBe(true);
      expect(await bench.open(KEY).create('1-1.claim', text('two'), signal)).toBe(false);
      expect(await read('1-1.claim', bench.open(KEY))).toBe('one');
      expect(await namesIn(bench.open(KEY))).toEqual(['1-1.claim']);
    });

    test('of many who create the same one succeeds', async () => {
      for (let round = 0; round < 10; round++) {
        const created = await Promise.all(
          Array.from({ length: 10 }, (_, index) =>
            bench.open(KEY).create(`${round}.claim`, text(String(index)), signal),
          ),
        );
        expect(created.filter(Boolean)).toHaveLength(1);
        expect(await read(`${round}.claim`)).toBe(String(created.indexOf(true)));
      }
    });

    test('one is written again, and never seen half', async () => {
      const versions = ['a', 'b'].map((letter) => letter.repeat(50_000));
      await records.write('1.heartbeat', text(versions[0]!), signal);
      const over = new AbortController();
      const reading = (async () => {
        const seen = new Set<string | undefined>();
        while (!over.signal.aborted) seen.add(await read('1.heartbeat', bench.open(KEY)));
        return seen;
      })();
      for (let count = 0; count < 30; count++) {
        await records.write('1.heartbeat', text(versions[count % 2]!), signal);
      }
      over.abort();
      for (const content of await reading) expect(versions).toContain(content);
      expect(await read('1.heartbeat')).toBe(versions[1]);
      expect(await records.create('1.heartbeat', text('new'), signal)).toBe(false);
    });

    test('each has an age by the store, which begins again with each write', async () => {
      const ageOf = async (name: string): Promise<number | undefined> =>
        (await bench.open(KEY).list(signal)).find((each) => each.name === name)?.ageMs;
      await records.create('1-1', text('one'), signal);
      await records.create('1-2', text('two'), signal);
      await sleep(3 * CLOCK_STEP_MS);
      await records.write('1-1', text('again'), signal);
      const [written, created] = [await ageOf('1-1'), await ageOf('1-2')];
      // A busy machine makes both older, and neither younger.
      expect(created).toBeGreaterThanOrEqual(2 * CLOCK_STEP_MS);
      expect(created! - written!).toBeGreaterThanOrEqual(2 * CLOCK_STEP_MS);
    });

    test('one that was removed is gone, and its name is free', async () => {
      await records.create('1-1.claim', text('one'), signal);
      await bench.open(KEY).remove('1-1.claim', signal);
      expect(await read('1-1.claim')).toBeUndefined();
      expect(await namesIn(records)).toEqual([]);
      expect(await records.create('1-1.claim', text('two'), signal)).toBe(true);
      expect(await read('1-1.claim')).toBe('two');
    });

    test('those of another key are others', async () => {
      await records.create('1-1.claim', text('one'), signal);
      const others = bench.open(`${KEY}4`);
      expect(await namesIn(others)).toEqual([]);
      expect(await others.create('1-1.claim', text('two'), signal)).toBe(true);
      expect(await read('1-1.claim')).toBe('one');
    });

    test('one has up to the most bytes allowed, and none at all', async () => {
      const most = new Uint8Array(MAX_RECORD_BYTES).fill(7);
      expect(await records.create('most', most, signal)).toBe(true);
      expect(Buffer.compare((await records.read('most', signal))!, most)).toBe(0);
      expect(await records.create('none', text(''), signal)).toBe(true);
      expect(await read('none')).toBe('');
      const more = new Uint8Array(MAX_RECORD_BYTES + 1);
      await expect(records.create('more', more, signal)).rejects.toThrow(TypeError);
      await expect(records.write('more', more, signal)).rejects.toThrow(TypeError);
    });

    test.each(['', '.', '..', 'a/b', 'a\\b', 'ä', 'a b', 'x'.repeat(201)])(
      'the name %j is our bug',
      async (bad) => {
        await expect(records.create(bad, text(''), signal)).rejects.toThrow(TypeError);
        await expect(records.write(bad, text(''), signal)).rejects.toThrow(TypeError);
        await expect(records.read(bad, signal)).rejects.toThrow(TypeError);
        await expect(records.remove(bad, signal)).rejects.toThrow(TypeError);
      },
    );

    test('what is got is a copy', async () => {
      await records.create('copy', Uint8Array.from([1, 2, 3]), signal);
      const got = (await records.read('copy', signal))!;
      got[1] = 9;
      expect([...(await records.read('copy', signal))!]).toEqual([1, 2, 3]);
    });

    test('a cancelled call ends so', async () => {
      const cancelled = AbortSignal.abort();
      for (const call of [
        records.create('c', text(''), cancelled),
        records.write('c', text(''), cancelled),
        records.read('c', cancelled),
        records.list(cancelled),
        records.remove('c', cancelled),
      ]) {
        expect(await outcomeOf(call)).toBe('cancelled');
      }
    });
  });
}

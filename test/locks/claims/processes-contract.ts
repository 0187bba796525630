/**
 * What claims promise among processes that are killed or stopped, whatever store their records are in.
 */
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClaimRecord, ClaimRecords } from '../../../src/locks/claims/records.ts';
import type { ClaimTimes } from '../../../src/locks/claims/times.ts';
import { useHolders, type Holder } from '../../support/locks/holder.ts';
import type { HeldThing } from '../../support/locks/lock-holder.ts';
import { createRandom, testSeed } from '../../support/random.ts';

export interface ClaimProcessesSetting {
  /** What a process is to contend for: always the same number, in a store that is empty at first. */
  thingOf(holder: string, times: Partial<ClaimTimes>): HeldThing;
  /** Of that store. */
  records: ClaimRecords;
  close(): Promise<void>;
}

export interface ClaimProcessesSize {
  times: Partial<ClaimTimes>;
  /** Short, and yet longer than a busy machine leaves a process without a turn. */
  shortLifeMs: number;
  /** The most of them; a claim whose holder is dead has 8 or more. */
  contenders: number;
  rounds: number;
  /** Each takes a life. */
  staleRounds: number;
  raceTimeoutMs: number;
}

export function describeClaimProcesses(
  name: string,
  setUp: () => Promise<ClaimProcessesSetting>,
  size: ClaimProcessesSize,
): void {
  const { times, shortLifeMs, contenders: count, rounds, staleRounds, raceTimeoutMs } = size;
  describe(`${name}: what claims promise among processes`, () => {
    const startHolder = useHolders();
    let setting: ClaimProcessesSetting;
    beforeEach(async () => {
      setting = await setUp();
    });
    afterEach(() => setting.close());

    const start = (holder: string): Promise<Holder> =>
      startHolder(setting.thingOf(holder, { ...times, lifeMs: shortLifeMs }));
    /** A waiting process takes over a dead one's claim after its life and one look. */
    const patienceMs = 10 * shortLifeMs;

    /** Until all records are like that, which are some; gives them. */
    async function waitUntilAll(
      isSo: (record: ClaimRecord) => boolean,
    ): Promise<readonly ClaimRecord[]> {
      for (;;) {
        const records = await setting.records.list(new AbortController().signal);
        if (records.length > 0 && records.every(isSo)) return records;
        await sleep(50);
      }
    }

    async function expectTakenOver(next: Holder, from: string): Promise<void> {
      next.send(`acquire ${String(patienceMs)}`);
      expect(await next.next()).toEqual({ event: 'waiting', holder: from });
      expect((await next.next()).event).toBe('acquired');
    }

    test('the claim of a holder that was killed is taken over after its life', async () => {
      const holder = await start('the dead');
      const next = await start('the next');
      await holder.take();
      await holder.kill();
      // It may still live, for all that anybody knows.
      expect((await next.acquire(0)).event).toBe('timed-out');
      await expectTakenOver(next, 'the dead');
    });

    test('a job that does not wait takes over too, and learns from one look which holder is dead', async () => {
      const holder = await start('the dead');
      const next = await start('the next');
      await holder.take();
      await holder.kill();
      await waitUntilAll(({ ageMs }) => ageMs >= shortLifeMs);
      await next.take();
    });

    test('a claim that was released is free at once', async () => {
      const holder = await start('one');
      await holder.take();
      holder.send('release');
      await holder.expect('released');
      const next = await start('other');
      await next.take();
    });

    test('a holder that was stopped for longer than its life has lost, and learns it', async () => {
      const stopped = await start('the stopped');
      await stopped.take();
      stopped.signal('SIGSTOP');
      const next = await start('the next');
      await expectTakenOver(next, 'the stopped');
      stopped.signal('SIGCONT');
      await stopped.expect('lost');
      // What it does now is its own affair: the other one still holds.
      stopped.send('release');
      await stopped.expect('released');
      const third = await start('the third');
      expect((await third.acquire(0)).event).toBe('timed-out');
      expect((await stopped.acquire(0)).event).toBe('timed-out');
      next.send('release');
      await next.expect('released');
      await third.take();
    });

    test(
      `of ${String(count)} that contend at once one gets it, in each of ${String(rounds)} rounds`,
      async () => {
        const names = Array.from({ length: count }, (_, index) => `contender ${String(index)}`);
        const contenders = await Promise.all(
          names.map((contender) => startHolder(setting.thingOf(contender, times))),
        );
        for (let round = 0; round < rounds; round++) {
          const reports = await Promise.all(contenders.map((contender) => contender.acquire(0)));
          const winners = contenders.filter((_, index) => reports[index]?.event === 'acquired');
          expect(reports.map(({ event }) => event).sort()).toEqual([
            'acquired',
            ...Array.from({ length: count - 1 }, () => 'timed-out'),
          ]);
          winners[0]!.send('release');
          await winners[0]!.expect('released');
        }
        // Those of earlier rounds go when they are older than a life.
        await waitUntilAll(({ ageMs }) => ageMs >= shortLifeMs);
        const last = await start('the last');
        await last.take();
        const { length } = await waitUntilAll(({ ageMs }) => ageMs < shortLifeMs);
        expect(length).toBe(1);
      },
      raceTimeoutMs,
    );

    test(
      `of 8 to ${String(count)} that wait for a dead one's claim one gets it, ${String(staleRounds)} rounds`,
      async () => {
        const random = createRandom(testSeed());
        let started = 0;
        const startNext = (): Promise<Holder> => start(`contender ${String(started++)}`);
        let idle = await Promise.all(Array.from({ length: count + 1 }, startNext));
        let dead = idle.shift()!;
        await dead.take();
        for (let round = 0; round < staleRounds; round++) {
          const ended = dead.kill();
          const replacement = startNext();
          const contenders = idle.splice(0, 8 + random.integer(count - 7));
          // The winner lives on while the others wait for it.
          const reports = await Promise.all(
            contenders.map((contender) => contender.acquire(2 * shortLifeMs)),
          );
          const winners = contenders.filter((_, index) => reports[index]?.event === 'acquired');
          expect({ round, events: reports.map(({ event }) => event).sort() }).toEqual({
            round,
            events: [
              'acquired',
              ...Array.from({ length: contenders.length - 1 }, () => 'timed-out'),
            ],
          });
          await ended;
          dead = winners[0]!;
          idle = [...idle, ...contenders.filter((contender) => contender !== dead)];
          idle.push(await replacement);
        }
      },
      60_000 + staleRounds * 3 * shortLifeMs,
    );
  });
}

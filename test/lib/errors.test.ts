import { describe, expect, test } from '@jest/globals';
import { openGit } from '../../src/git/git.ts';
import { isInterruption, MirrorError, reasonOf, throwIfCancelled } from '../../src/lib/errors.ts';
import { mapEachOf } from '../../src/lib/parallel.ts';
import { silentLog } from '../../src/lib/log.ts';

const lost = new MirrorError('lost-lock', 'the lock file was removed');

/** A signal that fires with that reason, bound to others as a job's is. */
function bound(reason?: unknown): AbortSignal {
  const controller = new AbortController();
  const signal = AbortSignal.any([new AbortController().signal, controller.signal]);
  controller.abort(reason);
  return signal;
}

describe('work that is ended', () => {
  test('by a lost lock says so, and not that the job was cancelled', async () => {
    expect(() => {
      throwIfCancelled(bound(lost));
    }).toThrow(lost);
    await expect(mapEachOf([1], 1, bound(lost), async () => {})).rejects.toBe(lost);
  });

  test('by a cancel says that the job was cancelled, whatever reason the signal has', () => {
    for (const reason of [undefined, new Error('SIGINT'), 'SIGTERM']) {
      expect(reasonOf(bound(reason))).toMatchObject({
        code: 'cancelled',
        message: 'the job was cancelled',
      });
    }
  });

  test('was interrupted, and did not fail', () => {
    expect(isInterruption(lost)).toBe(true);
    expect(isInterruption(new MirrorError('lost-claim', 'taken over'))).toBe(true);
    expect(isInterruption(reasonOf(bound()))).toBe(true);
    expect(isInterruption(new MirrorError('network', 'it broke off'))).toBe(false);
    expect(isInterruption(new Error('cancelled'))).toBe(false);
  });

  test.each([
    ['by a lost lock', lost, 'lost-lock'],
    ['by a cancel', undefined, 'cancelled'],
  ])('while git runs, %s, says so', async (_, reason, code) => {
    const { signal } = new AbortController();
    const environment = process.env;
    const git = await openGit({ environment, workingDirectory: '.', signal, log: silentLog });
    const ending = new AbortController();
    const command = { gitDirectory: '.git', args: ['cat-file', '--batch'] };
    const reading = git.withSignal(ending.signal).read(command, 'reading');
    ending.abort(reason);
    await expect(reading).rejects.toMatchObject({ code });
  });
});

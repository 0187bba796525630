/**
 * A child that shows no sign of life is ended, and one that shows any is not. Nothing here depends on how
 * fast a machine is: the child moves because it was looked at, so it moves at every look.
 */
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { runChild, type ChildOptions, type ChildResult } from '../../src/lib/process.ts';
import { watchForStall } from '../../src/lib/stall.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
let folder: string;

beforeAll(async () => {
  folder = await directories.create('stall');
});

afterAll(() => directories.removeAll());

/** A stall is this long, in milliseconds; a child that is waited for is looked at for far longer. */
const STALL_MS = 80;
const LOOKS = 40;

function runNode(script: string, options: Partial<ChildOptions>): Promise<ChildResult> {
  return runChild([process.execPath, '--eval', script], {
    environment: { PATH: process.env['PATH'], SystemRoot: process.env['SystemRoot'] },
    workingDirectory: folder,
    timeoutMs: 60_000,
    signal: new AbortController().signal,
    stallMs: STALL_MS,
    ...options,
  });
}

/** Passes a line on to `stdout` or `stderr`, and ends when its input does. */
const ECHO = (stream: string) => `process.stdin.pipe(process.${stream})`;

/** Has the child print at every look, and looks on only when that has come. */
async function runPrinting(stream: 'stdout' | 'stderr', ending: string): Promise<ChildResult> {
  const stdin = new Readable({ read: () => undefined });
  let looks = 0;
  let came = (): void => undefined;
  const signsOfLife = async () => {
    const printed = new Promise<void>((resolve) => (came = resolve));
    looks += 1;
    stdin.push(looks < LOOKS ? `x${ending}` : null);
    if (looks < LOOKS) await printed;
    return 0;
  };
  const listen =
    stream === 'stdout'
      ? {
          onOutput: () => {
            came();
          },
        }
      : {
          onErrorLine: () => {
            came();
          },
        };
  const result = await runNode(ECHO(stream), { stdin, signsOfLife, ...listen });
  expect(looks).toBeGreaterThanOrEqual(LOOKS);
  return result;
}

describe('a child', () => {
  test('that is silent is ended, and says for how long it was', async () => {
    const result = await runNode('setInterval(() => {}, 1000)', {});
    expect(result).toMatchObject({ ended: 'stalled', stallMs: STALL_MS });
    expect(result.durationMs).toBeGreaterThanOrEqual(STALL_MS);
  });

  test('that was lively, and then falls silent, is ended', async () => {
    const signs = [1, 2, 3, 4];
    const signsOfLife = () => Promise.resolve(signs.length > 1 ? signs.shift()! : signs[0]!);
    const result = await runNode('setInterval(() => {}, 1000)', { signsOfLife });
    expect(result.ended).toBe('stalled');
    expect(signs).toEqual([4]);
  });

  test('that is silent is waited for where it may be', async () => {
    const script = 'setTimeout(() => {}, 500)';
    for (const stallMs of [undefined, Infinity]) {
      expect(await runNode(script, { stallMs })).toMatchObject({ ended: 'exited', exitCode: 0 });
    }
  });

  test.each([
    ['lines', 'stderr', '\n'],
    ['progress', 'stderr', '\r\r'],
    ['output', 'stdout', ''],
  ] as const)('that prints %s now and then is waited for', async (_, stream, ending) => {
    expect(await runPrinting(stream, ending)).toMatchObject({ ended: 'exited', exitCode: 0 });
  });

  test('whose signs change is waited for, and asked by its process id', async () => {
    const stdin = new Readable({ read: () => undefined });
    const pids = new Set<number>();
    let looks = 0;
    const signsOfLife = (pid: number) => {
      pids.add(pid);
      looks += 1;
      if (looks === LOOKS) stdin.push(null);
      return Promise.resolve(looks);
    };
    const result = await runNode(ECHO('stdout'), { stdin, signsOfLife });
    expect(result).toMatchObject({ ended: 'exited', exitCode: 0 });
    expect([...pids]).toEqual([expect.any(Number)]);
  });

  test('from which nothing more is expected is waited for, and not checked again', async () => {
    let looks = 0;
    const signsOfLife = () => {
      looks += 1;
      return Promise.resolve('done' as const);
    };
    const result = await runNode('setTimeout(() => {}, 500)', { signsOfLife });
    expect(result).toMatchObject({ ended: 'exited', exitCode: 0 });
    expect(looks).toBe(1);
  });

  test('is never looked at twice at the same time, however long a look takes', async () => {
    let running = 0;
    let most = 0;
    const signsOfLife = async () => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, STALL_MS));
      running -= 1;
      return 0;
    };
    const result = await runNode('setInterval(() => {}, 1000)', { signsOfLife });
    expect(result.ended).toBe('stalled');
    expect(most).toBe(1);
  });
});

test('a watch that was ended calls nothing, even if a look was on its way', async () => {
  const looking = Promise.withResolvers<undefined>();
  const answer = Promise.withResolvers<number>();
  let looks = 0;
  let stalls = 0;
  const signsOfLife = (): Promise<number> => {
    looks += 1;
    // The first look sees a new sign; this one would be the eighth without any.
    if (looks < 9) return Promise.resolve(0);
    looking.resolve(undefined);
    return answer.promise;
  };
  const watch = watchForStall(0, { stallMs: STALL_MS, signsOfLife }, () => (stalls += 1));
  await looking.promise;
  watch.end();
  answer.resolve(0);
  await new Promise(setImmediate);
  expect(stalls).toBe(0);
});

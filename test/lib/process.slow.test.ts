/** One child process and all it starts: they end when they must, and nothing is lost on the way. */
import { type ChildProcess, spawn } from 'node:child_process';
import { getEventListeners, once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { runChild, type ChildOptions, type ChildResult } from '../../src/lib/process.ts';
import {
  canListProcesses,
  endProcess,
  isRunning,
  processesWith,
  waitUntil,
} from '../support/processes.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const describeOnPosix = process.platform === 'win32' ? describe.skip : describe;
const describeWithProcessList = canListProcesses ? describe : describe.skip;
const onLinux = process.platform === 'linux' ? test : test.skip;

/** As in child.ts: what a child gets between SIGTERM and SIGKILL. */
const TERM_GRACE_MS = 2_000;

const directories = temporaryDirectories();
const parents: ChildProcess[] = [];
/** On the command line of every process that a test starts. */
let marker: string;

beforeEach(async () => {
  marker = await directories.create('child');
});

afterEach(() => {
  for (const parent of parents.splice(0)) parent.kill('SIGKILL');
  if (!canListProcesses) return;
  // What a test leaves behind is its failure, and must not outlive it.
  const left = processesWith(marker);
  left.forEach(({ pid }) => {
    endProcess(pid);
  });
  expect(left).toEqual([]);
});

afterAll(() => directories.removeAll());

function run(
  command: readonly [string, ...string[]],
  options: Partial<ChildOptions> = {},
): Promise<ChildResult> {
  return runChild(command, {
    environment: { PATH: process.env['PATH'], SystemRoot: process.env['SystemRoot'] },
    workingDirectory: marker,
    timeoutMs: 30_000,
    signal: new AbortController().signal,
    ...options,
  });
}

/** The same program on every platform. */
function runNode(script: string, options: Partial<ChildOptions> = {}): Promise<ChildResult> {
  return run([process.execPath, '--eval', script, marker], options);
}

function runShell(script: string, options: Partial<ChildOptions> = {}): Promise<ChildResult> {
  return run(['/bin/sh', '-c', script, marker], options);
}

describe('a child that ends by itself', () => {
  test('is shown by its exit code, with what it printed', async () => {
    const result = await runNode('console.log("out"); console.error("err"); process.exitCode = 3');
    expect(result).toMatchObject({
      ended: 'exited',
      exitCode: 3,
      stderr: expect.stringMatching(/^err\r?\n$/),
    });
    expect(result.stdout.toString()).toMatch(/^out\r?\n$/);
    expect(result.durationMs).toBeGreaterThan(1);
  });

  test('gets its arguments as they are', async () => {
    const given = [
      '',
      ' ',
      'a b',
      '"',
      "'",
      '$(x)',
      '`x`',
      '\\',
      '-x',
      '--',
      '*',
      '~',
      'é',
      ';x',
      '$1',
      '$@',
    ];
    const script = 'console.log(JSON.stringify(process.argv.slice(1)))';
    const { stdout } = await run([process.execPath, '--eval', script, '--', ...given]);
    expect(JSON.parse(stdout.toString())).toEqual(given);
  });

  test('runs in its folder, with its environment and nothing of ours', async () => {
    process.env['CHILD_CANARY'] = 'x';
    const script = 'console.log(JSON.stringify({ cwd: process.cwd(), env: process.env }))';
    const environment = {
      PATH: process.env['PATH'],
      SystemRoot: process.env['SystemRoot'],
      A: '1',
    };
    const { stdout } = await runNode(script, { environment });
    const { cwd, env } = JSON.parse(stdout.toString()) as { cwd: string; env: NodeJS.ProcessEnv };
    delete process.env['CHILD_CANARY'];
    expect(cwd).toBe(marker);
    expect(env).toMatchObject({ A: '1' });
    expect(env).not.toHaveProperty('CHILD_CANARY');
    expect(env).not.toHaveProperty('HOME');
  });

  test('gets its input whole, however large', async () => {
    const stdin = 'line of input\n'.repeat(300_000);
    const { stdout, exitCode } = await runNode('process.stdin.pipe(process.stdout)', { stdin });
    expect(exitCode).toBe(0);
    expect(stdout.length).toBe(stdin.length);
    expect(stdout.equals(Buffer.from(stdin))).toBe(true);
  });

  test('without input finds none, and does not wait for it', async () => {
    const script = 'process.stdin.on("data", () => {}).on("end", () => process.exit(5))';
    expect((await runNode(script)).exitCode).toBe(5);
  });

  test('is judged by its exit code where it does not read its input', async () => {
    const stdin = 'x'.repeat(5_000_000);
    expect(await runNode('process.exit(4)', { stdin })).toMatchObject({
      ended: 'exited',
      exitCode: 4,
    });
  });

  test('leaves nothing behind in us: no listeners, no timers that keep us alive', async () => {
    const { signal } = new AbortController();
    const countTimers = () =>
      process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = countTimers();
    for (let round = 0; round < 12; round++) await runNode('', { signal });
    expect(getEventListeners(signal, 'abort')).toEqual([]);
    expect(countTimers()).toBeLessThanOrEqual(before);
  });

  test('may have longer than clocks can count', async () => {
    const result = await runNode('setTimeout(() => {}, 100)', { timeoutMs: 35_999_996_400_000 });
    expect(result).toMatchObject({ ended: 'exited', exitCode: 0 });
  });

  test('that cannot be started is an exception', async () => {
    await expect(runNode('', { workingDirectory: join(marker, 'absent') })).rejects.toThrow(
      'ENOENT',
    );
  });
});

describeOnPosix('the exit code of a child', () => {
  test.each([
    ['exit 0', 0],
    ['exit 1', 1],
    ['exit 128', 128],
    ['kill -KILL $$', 137],
    ['kill -TERM $$', 143],
    ['kill -PIPE $$', 141],
  ])('that says %j is %d', async (script, exitCode) => {
    expect(await runShell(script)).toMatchObject({ ended: 'exited', exitCode });
  });

  test('that is not there is 127, as in a shell', async () => {
    expect(await run([join(marker, 'absent')])).toMatchObject({ ended: 'exited', exitCode: 127 });
  });

  onLinux('that looks for a way to us finds none: the line to us is not passed on', async () => {
    const { stdout } = await run(['readlink', '/proc/self/fd/3', '/proc/self/fd/4']);
    expect(stdout.toString()).toBe('');
  });

  test('whose own children go on is not known before they let go of its output', async () => {
    const result = await runShell('(sleep 0.5; echo late) & exit 3');
    expect(result).toMatchObject({ ended: 'exited', exitCode: 3 });
    expect(result.stdout.toString()).toBe('late\n');
  });
});

describe('output', () => {
  test('is given as it comes, whatever its size, where somebody takes it', async () => {
    let bytes = 0;
    const script =
      'const b = Buffer.alloc(1 << 20); for (let i = 0; i < 300; i++) require("fs").writeSync(1, b)';
    const result = await runNode(script, { onOutput: (chunk) => (bytes += chunk.length) });
    expect(result).toMatchObject({ ended: 'exited', exitCode: 0 });
    expect(bytes).toBe(300 * 1024 * 1024);
    expect(result.stdout.length).toBe(0);
  });

  test('that never ends ends the child, within bounded memory', async () => {
    const script = 'const b = Buffer.alloc(1 << 20); for (;;) require("fs").writeSync(1, b)';
    const result = await runNode(script);
    expect(result.ended).toBe('overflow');
    expect(result.exitCode).not.toBe(0);
    expect(result.stdout.length).toBeLessThanOrEqual(256 * 1024 * 1024);
  });
});

describe('stderr', () => {
  const linesOf = async (script: string) => {
    const lines: [string, boolean][] = [];
    const onErrorLine = (line: string, isProgress: boolean) => void lines.push([line, isProgress]);
    const { stderr } = await runNode(script, { onErrorLine });
    return { lines, stderr };
  };

  test('is given line by line, and progress is distinguished from lines that stay', async () => {
    const text = 'a\nReceiving: 1%\rReceiving: 99%\rReceiving: 100%, done.\n\nfatal: b\n';
    const { lines, stderr } = await linesOf(`process.stderr.write(${JSON.stringify(text)})`);
    expect(lines).toEqual([
      ['a', false],
      ['Receiving: 1%', true],
      ['Receiving: 99%', true],
      ['Receiving: 100%, done.', false],
      ['fatal: b', false],
    ]);
    // What is kept for failure.ts is what stays.
    expect(stderr).toBe('a\nReceiving: 100%, done.\n\nfatal: b\n');
  });

  test('has lines that end as on Windows, which stay', async () => {
    const text = 'Receiving: 1%\rPermission denied.\r\nfatal: b\r\n';
    const whole = await linesOf(`process.stderr.write(${JSON.stringify(text)})`);
    const cut = `
      process.stderr.write(${JSON.stringify(text.slice(0, -14))});
      setTimeout(() => process.stderr.write(${JSON.stringify(text.slice(-14))}), 50);`;
    for (const { lines, stderr } of [whole, await linesOf(cut)]) {
      expect(lines).toEqual([
        ['Receiving: 1%', true],
        ['Permission denied.', false],
        ['fatal: b', false],
      ]);
      expect(stderr).toBe('Permission denied.\r\nfatal: b\r\n');
    }
  });

  test('that comes in pieces makes whole lines, also of characters cut in two', async () => {
    const script = `
      const pieces = [...Buffer.from('é: ünterwegs\\nx\\r')].map((byte) => Buffer.from([byte]));
      const next = () => pieces.length && (process.stderr.write(pieces.shift()), setTimeout(next, 5));
      next();`;
    expect((await linesOf(script)).lines).toEqual([
      ['é: ünterwegs', false],
      ['x', true],
    ]);
  });

  test('is given to its last line, also without a line end', async () => {
    const { lines, stderr } = await linesOf('process.stderr.write("a\\nfatal: cut")');
    expect(lines).toEqual([
      ['a', false],
      ['fatal: cut', false],
    ]);
    expect(stderr).toBe('a\nfatal: cut');
  });

  test.each([
    ['of many lines', 'for (let i = 0; i < 100000; i++) fs.writeSync(2, `line ${i}\\n`)'],
    ['of one line', 'for (let i = 0; i < 100; i++) fs.writeSync(2, "y".repeat(100000))'],
    ['of progress', 'for (let i = 0; i < 100000; i++) fs.writeSync(2, `progress ${i}\\r`)'],
    [
      'of lines and one without end',
      'fs.writeSync(2, `${"z\\n".repeat(60000)}${"y".repeat(60000)}`)',
    ],
  ])('%s is kept in its last 64 KiB', async (_, loop) => {
    const result = await runNode(`const fs = require("fs"); ${loop}; fs.writeSync(2, "the end")`);
    expect(result.exitCode).toBe(0);
    expect(result.stderr.length).toBeLessThanOrEqual(64 * 1024);
    expect(result.stderr.endsWith('the end')).toBe(true);
  });
});

/** Takes SIGTERM for nothing, and so do its children: only SIGKILL ends it. */
const STUBBORN = `trap '' TERM HUP INT; while :; do sleep 0.05; done`;

/** A child with two children, one of which has another: the leaves may ignore SIGTERM. */
function plantTree(isStubborn: boolean): string {
  const file = (name: string, text: string): string => {
    mkdirSync(marker, { recursive: true });
    writeFileSync(join(marker, name), text);
    return `/bin/sh '${join(marker, name)}'`;
  };
  const leaf = file('leaf', isStubborn ? STUBBORN : 'while :; do sleep 0.05; done');
  const branch = file('branch', `${leaf} &\nwait`);
  return `${branch} &\n${leaf} &\necho ready >&2\nwait`;
}

/** Whether both leaves of the tree run. */
function isPlanted(): boolean {
  const leaves = processesWith(marker).filter(({ commandLine }) => commandLine.endsWith('/leaf'));
  return leaves.length >= 2;
}

describeWithProcessList('the whole tree of processes', () => {
  /** Runs a tree, and `act` when all of it is there. */
  async function runTree(
    isStubborn: boolean,
    options: Partial<ChildOptions>,
    act: () => void = () => {},
  ): Promise<ChildResult> {
    const running = runShell(plantTree(isStubborn), options);
    await waitUntil(isPlanted, { timeoutMs: 20_000, what: 'the tree' });
    act();
    return running;
  }

  /** Time for the tree to grow, on a busy machine too. */
  const DEADLINE_MS = 2_000;

  test('ends at the deadline by SIGTERM, where it obeys', async () => {
    const result = await runTree(false, { timeoutMs: DEADLINE_MS });
    expect(result).toMatchObject({ ended: 'timeout', exitCode: 128 + constants.signals.SIGTERM });
    expect(result.durationMs).toBeGreaterThan(DEADLINE_MS - 10);
    expect(processesWith(marker)).toEqual([]);
  });

  test('ends at the deadline and a grace where some of it ignores SIGTERM', async () => {
    const result = await runTree(true, { timeoutMs: DEADLINE_MS });
    expect(result.ended).toBe('timeout');
    expect(result.durationMs).toBeGreaterThan(DEADLINE_MS + TERM_GRACE_MS - 50);
    expect(processesWith(marker)).toEqual([]);
  });

  test.each([false, true])('ends on cancel (stubborn: %s)', async (isStubborn) => {
    const cancellation = new AbortController();
    const result = await runTree(isStubborn, { signal: cancellation.signal }, () => {
      cancellation.abort();
    });
    expect(result.ended).toBe('cancelled');
    expect(processesWith(marker)).toEqual([]);
  });

  test('ends with a command that died by a signal, as git does by SIGPIPE before its ssh', async () => {
    const result = await runShell(`(${plantTree(false)}) & sleep 1; kill -PIPE $$`);
    expect(result).toMatchObject({ ended: 'exited', exitCode: 128 + constants.signals.SIGPIPE });
    await waitUntil(() => processesWith(marker).length === 0, { timeoutMs: 20_000 });
  });

  test('has the first of two reasons', async () => {
    const cancellation = new AbortController();
    const running = runTree(true, { timeoutMs: DEADLINE_MS, signal: cancellation.signal });
    await sleep(DEADLINE_MS + 400);
    cancellation.abort();
    expect((await running).ended).toBe('timeout');
  });

  test('ends where the signal had fired before it began', async () => {
    const result = await runShell(plantTree(true), { signal: AbortSignal.abort() });
    expect(result.ended).toBe('cancelled');
    expect(processesWith(marker)).toEqual([]);
  });

  onLinux('is waited for no longer than that, also where one has left the group', async () => {
    const escaped = join(marker, 'escaped');
    writeFileSync(escaped, STUBBORN);
    const result = await runShell(`setsid /bin/sh '${escaped}' & wait`, { timeoutMs: 500 });
    const left = processesWith(escaped);
    left.forEach(({ pid }) => {
      endProcess(pid);
    });
    expect(left).toHaveLength(1);
    expect(result.ended).toBe('timeout');
    await waitUntil(() => processesWith(marker).length === 0, { timeoutMs: 20_000 });
  });

  describe('of a parent', () => {
    const module = new URL('../../src/lib/process.ts', import.meta.url).href;
    const program = `
      const { runChild } = await import(${JSON.stringify(module)});
      const [, script, marker, timeoutMs] = process.argv;
      await runChild(['/bin/sh', '-c', script, marker], {
        environment: { PATH: process.env.PATH },
        workingDirectory: marker,
        timeoutMs: Number(timeoutMs),
        signal: new AbortController().signal,
      });`;

    async function startParent(isStubborn: boolean, timeoutMs = 60_000): Promise<ChildProcess> {
      const parent = spawn(
        process.execPath,
        ['--input-type=module', '--eval', program, plantTree(isStubborn), marker, `${timeoutMs}`],
        { stdio: 'ignore' },
      );
      parents.push(parent);
      await waitUntil(isPlanted, { timeoutMs: 20_000, what: 'the tree of a parent' });
      return parent;
    }

    function grandchildren({ pid }: ChildProcess): number[] {
      return processesWith(marker)
        .map((found) => found.pid)
        .filter((each) => each !== pid);
    }

    test.each([false, true])('that is killed is gone too (stubborn: %s)', async (isStubborn) => {
      const parent = await startParent(isStubborn);
      const tree = grandchildren(parent);
      const exited = once(parent, 'exit');
      endProcess(parent.pid!);
      await exited;
      await waitUntil(() => !tree.some(isRunning), { timeoutMs: 20_000, what: 'the tree to end' });
      expect(processesWith(marker)).toEqual([]);
    });

    test('that ends by an exception is gone as well', async () => {
      const parent = await startParent(true);
      const tree = grandchildren(parent);
      parent.kill('SIGTERM');
      await once(parent, 'exit');
      await waitUntil(() => !tree.some(isRunning), { timeoutMs: 20_000, what: 'the tree to end' });
    });

    test('that goes on keeps running', async () => {
      const parent = await startParent(false);
      const tree = grandchildren(parent);
      await sleep(500);
      expect(isPlanted()).toBe(true);
      parent.kill('SIGKILL');
      await waitUntil(() => !tree.some(isRunning), { timeoutMs: 20_000, what: 'the tree to end' });
    });
  });
});

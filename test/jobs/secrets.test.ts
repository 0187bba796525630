/**
 * A token that must not be found again: not in what the steps leave, tell or print, not on a
 * command line, not in a trace, not at another host.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { JobOptions, RunningStep, StepResult } from '../support/action-runner.ts';
import { git } from '../support/git.ts';
import { canListProcesses, isRunning } from '../support/processes.ts';
import { addCommits, repositorySizes } from '../support/repository-fixture.ts';
import { isMaskCommand } from '../support/runner-commands.ts';
import { chooseCases } from './scenarios/rounds.ts';
import {
  expectMirrorOf,
  failureOf,
  succeed,
  useScenarios,
  type Scenario,
} from './scenarios/scenario.ts';

const scenarios = useScenarios();

const canary = `ghs_${randomBytes(18).toString('hex')}`;

let scenario: Scenario;

beforeAll(async () => {
  scenario = await scenarios.create(repositorySizes.tiny);
});

/** Spellings of a secret: raw, escaped, hexadecimal, and in base64 at any offset of what holds it. */
function spellingsOf(secret: string): string[] {
  const encoded = ['', 'x', 'xx'].map((before) => {
    const text = Buffer.from(before + secret).toString('base64');
    // Characters at the ends depend on what is around the secret.
    return text.slice(before === '' ? 0 : 4, -4);
  });
  return [
    secret,
    Buffer.from(secret).toString('hex'),
    encodeURIComponent(secret),
    ...encoded,
    ...encoded.map((text) => text.replaceAll('+', '-').replaceAll('/', '_')),
  ];
}

const spellings = spellingsOf(canary);

function findIn(text: string | Buffer): string[] {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  return spellings.filter((spelling) => bytes.includes(spelling));
}

/** Files below a folder that hold the token, by their content or their name. */
function filesThatTell(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .map((entry) => ({ entry, path: join(entry.parentPath, entry.name) }))
    .filter(({ entry, path }) => {
      if (findIn(path).length > 0) return true;
      return entry.isFile() && findIn(readFileSync(path)).length > 0;
    })
    .map(({ path }) => path);
}

/** The log as the runner shows it: what was masked so far is starred out. */
function shownLog(step: StepResult, lines: readonly string[]): string {
  const masks: string[] = [];
  const shown = lines.flatMap((line) => {
    if (isMaskCommand(line)) {
      masks.push(line.slice(line.lastIndexOf('::') + 2));
      return [];
    }
    return [masks.reduce((text, mask) => text.replaceAll(mask, '***'), line)];
  });
  expect(masks).toEqual(step.masks);
  return shown.join('\n');
}

interface Sighting {
  /** First words of all command lines seen. */
  commands: Set<string>;
  /** Command lines that tell the token. */
  telling: Set<string>;
}

/** Watches every command line of this machine until the step ends. */
async function watchCommandLines(step: RunningStep): Promise<Sighting> {
  const sighting: Sighting = { commands: new Set(), telling: new Set() };
  while (canListProcesses && isRunning(step.pid)) {
    for (const commandLine of commandLines()) {
      sighting.commands.add(commandLine.split('\0')[0] ?? '');
      if (findIn(commandLine).length > 0) sighting.telling.add(commandLine);
    }
    await sleep(2);
  }
  await step.finished;
  return sighting;
}

function* commandLines(): Generator<string> {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      yield readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    } catch {
      // It has ended meanwhile.
    }
  }
}

interface Watched {
  main: StepResult;
  post: StepResult;
  sightings: Sighting[];
}

/** Both steps, whatever becomes of them, at a server slow enough to be watched. */
async function runWatched(options: Partial<JobOptions> = {}): Promise<Watched> {
  scenario.server.fault({ on: 'fetch', behave: { kind: 'slow', bytesPerSecond: 20_000 } });
  const job = scenario.job({ token: canary, ...options });
  const running = job.startMain();
  const sightings = [await watchCommandLines(running)];
  const main = await running.finished;
  const runningPost = job.startPost();
  sightings.push(await watchCommandLines(runningPost));
  return { main, post: await runningPost.finished, sightings };
}

/** Nothing told the token, but for the commands that tell the runner what to mask. */
function expectSilence({ main, post, sightings }: Watched): void {
  for (const { telling } of sightings) expect([...telling]).toEqual([]);
  for (const step of [main, post]) {
    expect(findIn(step.log)).toEqual([]);
    expect(findIn(step.summary)).toEqual([]);
    expect(findIn(JSON.stringify([step.outputs, step.state, step.annotations]))).toEqual([]);
  }
  expect(filesThatTell(scenario.root)).toEqual([]);
}

test('the search finds the token in every form in which it could leak', () => {
  const basic = Buffer.from(`x-access-token:${canary}`).toString('base64');
  const url = `https://x-access-token:${canary}@github.com/`;
  for (const text of [canary, basic, url, Buffer.from(`a:${canary}`).toString('base64url')]) {
    expect(findIn(`before ${text} after`).length).toBeGreaterThan(0);
  }
  expect(findIn(createHash('sha256').update(canary).digest('hex'))).toEqual([]);
});

describe('with a server that needs the token', () => {
  test('it is nowhere: cold, unchanged, with new commits, on a machine that has the mirror', async () => {
    scenario.server.token = canary;
    const root = scenario.newMachine();
    const cold = await runWatched({ root });
    const unchanged = await runWatched();
    await addCommits(scenario.upstream);
    const warm = await runWatched();
    const existing = await runWatched({ root });
    const provenances = [cold, unchanged, warm, existing].map(
      ({ main }) => main.outputs['provenance'],
    );
    expect(provenances).toEqual(['cloned', 'restored', 'restored', 'existing']);
    for (const run of [cold, unchanged, warm, existing]) {
      // It has looked while there was something to see.
      const seen = [...(run.sightings[0]?.commands ?? [])].map((path) => basename(path));
      if (canListProcesses) expect(seen).toContain('git');
      expectSilence(run);
    }
    await expectMirrorOf(existing.main.outputs['mirror-path'] ?? '', scenario.upstream);
    expect(scenario.server.requests.every(({ hasAuthorization }) => hasAuthorization)).toBe(true);
  });

  test('main and post have it masked, raw and as it is sent, before git starts', async () => {
    scenario.server.token = canary;
    const { main, post } = await runWatched();
    const sent = Buffer.from(`x-access-token:${canary}`).toString('base64');
    for (const step of [main, post]) expect(step.masks).toEqual([canary, sent]);
  });

  test('it is nowhere when it is the wrong one', async () => {
    scenario.server.token = 'another';
    const run = await runWatched();
    expect(failureOf(run.main)).toMatch(/credentials.*`token`/);
    expectSilence(run);
  });

  test('it is nowhere when there is no such repository', async () => {
    scenario.server.token = canary;
    scenario.server.fault({ on: 'any', behave: { kind: 'status', status: 404 } });
    const run = await runWatched();
    expect(run.main.exitCode).toBe(1);
    expectSilence(run);
  });

  test("it is told nowhere by the runner's debug log", async () => {
    scenario.server.token = canary;
    await addCommits(scenario.upstream);
    const run = await runWatched({
      environment: { RUNNER_DEBUG: '1', ACTIONS_STEP_DEBUG: 'true' },
    });
    expect(run.main.log).toMatch(/::debug::git fetch/);
    expectSilence(run);
  });

  test('it is in no trace that the job or its user asks of git', async () => {
    scenario.server.token = canary;
    await addCommits(scenario.upstream);
    const traces = join(scenario.root, 'traces');
    mkdirSync(traces);
    const variables = ['', '_CURL', '_PACKET', '_PACKFILE', '_SETUP', '_PERFORMANCE', '_REFS'];
    const traced = [
      ...variables,
      '_PACK_ACCESS',
      '_SHALLOW',
      '_FSMONITOR',
      '2',
      '2_EVENT',
      '2_PERF',
    ];
    const home = join(scenario.root, 'traced-home');
    mkdirSync(home);
    const values = {
      'trace2.normalTarget': join(traces, 'user'),
      'trace2.eventTarget': join(traces, 'user-event'),
      'trace2.perfTarget': join(traces, 'user-perf'),
      'trace2.configParams': '*',
      'trace2.envVars': '*,GIT_CONFIG_VALUE_13,GIT_CONFIG_VALUE_14,INPUT_TOKEN',
    };
    for (const [name, value] of Object.entries(values)) {
      await git(home, ['config', '--file', join(home, '.gitconfig'), name, value]);
    }
    const run = await runWatched({
      home,
      environment: {
        ...Object.fromEntries(
          traced.map((name) => [`GIT_TRACE${name}`, join(traces, `env${name}`)]),
        ),
        GIT_TRACE_REDACT: '0',
        GIT_TRACE2_ENV_VARS: '*',
        GIT_TRACE2_CONFIG_PARAMS: '*',
        GIT_TRACE_CURL_NO_DATA: '0',
        GIT_CURL_VERBOSE: '1',
      },
    });
    expect(run.main.outputs['provenance']).toBe('restored');
    expectSilence(run);
  });

  test("Node's own debug log shows it only masked", async () => {
    scenario.server.token = canary;
    await addCommits(scenario.upstream);
    const lines: string[] = [];
    const job = scenario.job({
      token: canary,
      environment: { NODE_DEBUG: 'child_process,fs,http,net,stream,timer,worker,module' },
      onLine: (line) => lines.push(line),
    });
    const main = await succeed(job.main());
    expect(main.stderr).toMatch(/CHILD_PROCESS/);
    expect(findIn(shownLog(main, lines))).toEqual([]);
    lines.length = 0;
    const post = await succeed(job.post());
    expect(findIn(shownLog(post, lines))).toEqual([]);
    expect(filesThatTell(scenario.root)).toEqual([]);
  });
});

describe('another host', () => {
  const received: { url: string; headers: IncomingHttpHeaders }[] = [];
  const recorder = createServer(({ url = '', headers }, response) => {
    received.push({ url, headers });
    response.writeHead(404).end();
  });
  let host: string;

  beforeAll(async () => {
    await new Promise<void>((resolve) => recorder.listen(0, '127.0.0.1', resolve));
    host = `http://127.0.0.1:${(recorder.address() as AddressInfo).port}`;
  });

  beforeEach(() => {
    received.length = 0;
  });

  afterAll(async () => {
    recorder.closeAllConnections();
    await new Promise((resolve) => recorder.close(resolve));
  });

  test.each(['probe', 'fetch'] as const)(
    'a redirect of the %s is not followed there',
    async (on) => {
      scenario.server.token = canary;
      const behave = { kind: 'redirect', status: 302, to: `${host}/owner/name` } as const;
      scenario.server.fault({ on, behave });
      const run = await runWatched({ inputs: { 'cache-key': `redirect-${on}` } });
      expect(received).toEqual([]);
      expect(failureOf(run.main)).toMatch(/another address/);
      expectSilence(run);
    },
  );

  test("a user's url.insteadOf does not lead there", async () => {
    const home = join(scenario.root, 'redirected-home');
    mkdirSync(home);
    const redirect = `[url "${host}/"]\n\tinsteadOf = ${scenario.server.url}/\n`;
    writeFileSync(join(home, '.gitconfig'), redirect);
    const before = received.length;
    const run = await runWatched({ home, inputs: { 'cache-key': 'insteadOf' } });
    expect(run.main.exitCode).toBe(0);
    expect(received.length).toBe(before);
    expect(run.main.log).toMatch(
      /The machine's git configuration is not used to reach .*insteadof/,
    );
    expectSilence(run);
  });
});

describe('a server URL that holds the token', () => {
  const [first, rest] = [canary.slice(0, 12), canary.slice(12)];

  const urls = [
    ['as a password', `https://x-access-token:${canary}@github.com`],
    ['as a user', `https://${canary}@github.com`],
    ['with characters that end a password', `https://user:a@${canary}@github.com`],
    ['with a slash before it', `https://user:a/${canary}@github.com`],
    ['with a backslash before it', `https:\\\\user:a\\${canary}@github.com`],
    ['without a scheme', `x-access-token:${canary}@github.com`],
    ['in a query', `https://github.com/?access_token=${canary}`],
    ['in a fragment', `https://github.com/#${canary}`],
    ['of another scheme', `ssh://git:${canary}@github.com`],
    ['with a line end', `https://user:${first}\n${rest}@github.com`],
  ];

  test.each(chooseCases(urls))('%s: refused, and not printed', async (_, url = '') => {
    const told = [...spellings, ...[first, rest].filter(() => url.includes('\n'))];
    for (const options of [
      { inputs: { 'github-server-url': url } },
      { environment: { GITHUB_SERVER_URL: url } },
    ]) {
      const job = scenario.job({ token: 'unrelated', ...options });
      const main = await job.main();
      expect(failureOf(main)).toContain('`github-server-url`');
      const post = await succeed(job.post());
      const all = [main, post].map((step) => `${step.log}${step.summary}`).join('');
      expect(told.filter((text) => all.includes(text))).toEqual([]);
    }
    expect(filesThatTell(scenario.root)).toEqual([]);
  });
});

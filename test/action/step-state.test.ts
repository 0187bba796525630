/** What main hands to post, by the runner's own file and variable. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MirrorError } from '../../src/lib/errors.ts';
import { readStepState, writeStepState, type MirrorState } from '../../src/action/step-state.ts';
import { parseFileCommand } from '../support/runner-commands.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
let file: string;

const mirror: MirrorState = {
  name: '',
  spec: {
    url: 'https://github.com/owner/name',
    refspecs: ['+refs/heads/*:refs/heads/*'],
    depth: 'full',
    cacheKey: 'a "key"',
  },
  objectFormat: 'sha256',
  path: '/work/name/_mirrors/kéy "x"\n.git',
  isPrivate: false,
  isClaimed: true,
  primedFolder: null,
};

const other: MirrorState = {
  ...mirror,
  name: 'deps/ä "x"',
  path: '/work/name/_mirrors/other.git',
  objectFormat: 'sha1',
  isClaimed: false,
};

beforeEach(async () => {
  file = join(await directories.create('state'), 'state');
  writeFileSync(file, '');
  process.env['GITHUB_STATE'] = file;
});

afterEach(() => {
  delete process.env['GITHUB_STATE'];
  delete process.env['STATE_mirrors'];
});

afterAll(() => directories.removeAll());

/** What the runner does between main and post. */
function handOver(): string {
  const values = parseFileCommand(readFileSync(file, 'utf8'));
  for (const [name, value] of Object.entries(values)) process.env[`STATE_${name}`] = value;
  return values['mirrors'] ?? '';
}

test('post gets what main wrote', () => {
  writeStepState([mirror, other]);
  handOver();
  expect(readStepState()).toEqual([mirror, other]);
});

test('post gets nothing where main wrote nothing: nothing may be saved then', () => {
  expect(readStepState()).toEqual([]);
  process.env['STATE_mirrors'] = '';
  expect(readStepState()).toEqual([]);
});

test('it is one value of one line, which no other state of the job can be mistaken for', () => {
  writeStepState([mirror, other]);
  expect(Object.keys(parseFileCommand(readFileSync(file, 'utf8')))).toEqual(['mirrors']);
  expect(handOver()).not.toContain('\n');
});

describe('post refuses', () => {
  const written = { version: 1, mirrors: [mirror] };
  const withChange = (change: object) =>
    JSON.stringify({ version: 1, mirrors: [{ ...mirror, ...change }] });

  test.each<[string, string]>([
    ['a state that is cut short', JSON.stringify(written).slice(0, 40)],
    ['what is no JSON', 'true or false'],
    ['another type', '[]'],
    ['a mirror that is not in a list', JSON.stringify({ version: 1, mirrors: mirror })],
    ['null', 'null'],
    ['another version', JSON.stringify({ ...written, version: 2 })],
    ['no version', JSON.stringify({ mirrors: [mirror] })],
    ['a field more', withChange({ token: 'x' })],
    ['a field less', withChange({ spec: undefined })],
    ['a spec without its refspecs', withChange({ spec: { ...mirror.spec, refspecs: undefined } })],
    ['a field of another type', withChange({ isPrivate: 'false' })],
    ['an unknown object format', withChange({ objectFormat: 'md5' })],
  ])('%s', (_, text) => {
    process.env['STATE_mirrors'] = text;
    expect(readStepState).toThrow(MirrorError);
    expect(readStepState).toThrow(/^The state that main left for post cannot be read: /);
    expect(readStepState).toThrow(expect.objectContaining({ code: 'invalid-input' }));
  });
});

/** What main hands to post, by the runner's own file and variable. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { MirrorError } from '../../src/lib/errors.ts';
import { findStepState, writeStepState, type StepState } from '../../src/action/step-state.ts';
import { parseFileCommand } from '../support/runner-commands.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
let file: string;

const state: StepState = {
  path: '/work/name/_mirrors/kéy "x"\n.git',
  isPrivate: false,
  key: 'github.com_owner_name-0',
  objectFormat: 'sha256',
  isClaimed: true,
};

beforeEach(async () => {
  file = join(await directories.create('state'), 'state');
  writeFileSync(file, '');
  process.env['GITHUB_STATE'] = file;
});

afterEach(() => {
  delete process.env['GITHUB_STATE'];
  delete process.env['STATE_mirror'];
});

afterAll(() => directories.removeAll());

/** What the runner does between main and post. */
function handOver(): string {
  const values = parseFileCommand(readFileSync(file, 'utf8'));
  for (const [name, value] of Object.entries(values)) process.env[`STATE_${name}`] = value;
  return values['mirror'] ?? '';
}

test('post gets what main wrote', () => {
  writeStepState(state);
  handOver();
  expect(findStepState()).toEqual({ version: 1, ...state });
});

test('post gets nothing where main wrote nothing: nothing may be saved then', () => {
  expect(findStepState()).toBeUndefined();
  process.env['STATE_mirror'] = '';
  expect(findStepState()).toBeUndefined();
});

test('it is one value of one line, which no other state of the job can be mistaken for', () => {
  writeStepState(state);
  expect(Object.keys(parseFileCommand(readFileSync(file, 'utf8')))).toEqual(['mirror']);
  expect(handOver()).not.toContain('\n');
});

describe('post refuses', () => {
  const written = { version: 1, ...state };

  test.each<[string, string]>([
    ['a state that is cut short', JSON.stringify(written).slice(0, 40)],
    ['what is no JSON', 'true or false'],
    ['another type', '[]'],
    ['null', 'null'],
    ['another version', JSON.stringify({ ...written, version: 2 })],
    ['no version', JSON.stringify(state)],
    ['a field more', JSON.stringify({ ...written, token: 'x' })],
    ['a field less', JSON.stringify({ ...written, key: undefined })],
    ['a field of another type', JSON.stringify({ ...written, isPrivate: 'false' })],
    ['an unknown object format', JSON.stringify({ ...written, objectFormat: 'md5' })],
  ])('%s', (_, text) => {
    process.env['STATE_mirror'] = text;
    expect(findStepState).toThrow(MirrorError);
    expect(findStepState).toThrow(/^The state that main left for post cannot be read: /);
    expect(findStepState).toThrow(expect.objectContaining({ code: 'invalid-input' }));
  });
});

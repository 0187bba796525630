/** The log as the runner reads it: its own reading of the lines, not ours. */
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { actionsLog, toLogText } from '../../src/action/log.ts';
import { readLog } from '../support/runner-commands.ts';

let output: string;
const { write } = process.stdout;

beforeEach(() => {
  output = '';
  process.stdout.write = (text: string | Uint8Array) => {
    output += String(text);
    return true;
  };
  jest.useFakeTimers();
});

afterEach(() => {
  actionsLog.endGroup();
  process.stdout.write = write;
  jest.useRealTimers();
});

function lines(): string[] {
  return output.split(/\r?\n/).slice(0, -1);
}

describe('a group', () => {
  test('is folded around what is said in it, annotations too', () => {
    actionsLog.group('Fetch');
    actionsLog.info('one');
    actionsLog.warning('two');
    actionsLog.endGroup();
    actionsLog.info('three');
    expect(lines()).toEqual(['::group::Fetch', 'one', '::warning::two', '::endgroup::', 'three']);
    expect(readLog(lines()).annotations).toMatchObject([{ level: 'warning', message: 'two' }]);
  });

  test('that says nothing is not there', () => {
    actionsLog.group('Fetch');
    actionsLog.debug('git fetch');
    actionsLog.endGroup();
    jest.advanceTimersByTime(60_000);
    expect(lines()).toEqual(['::debug::git fetch']);
  });

  test('that says nothing for long shows its title anyway', () => {
    actionsLog.group('Fetch');
    jest.advanceTimersByTime(60_000);
    expect(lines()).toEqual(['::group::Fetch']);
    actionsLog.endGroup();
    expect(lines()).toEqual(['::group::Fetch', '::endgroup::']);
  });

  test('ends before the next begins, and once', () => {
    actionsLog.group('Fetch');
    actionsLog.info('one');
    actionsLog.group('Clone');
    actionsLog.info('two');
    actionsLog.endGroup();
    actionsLog.endGroup();
    expect(lines()).toEqual([
      '::group::Fetch',
      'one',
      '::endgroup::',
      '::group::Clone',
      'two',
      '::endgroup::',
    ]);
  });
});

const commands = [
  '::warning::no',
  'text\n::warning::no',
  'text\r\n  ::warning::no',
  'text\r::warning::no',
  'text\u2028::warning::no',
  'text\u0085\u00a0\t::warning::no',
  '\u200b\u00ad::warning::no',
  'text\n\x1b::warning::no',
  '::\x00warning::no',
  ':\x00:warning::no',
  'text\n:::warning::no',
  'text ##[warning]no',
  'text #\x07#[warning]no',
  '###[warning]no',
  'text\n##[group]no',
];

describe('text of others', () => {
  test.each(commands)('%j is no command to the runner', (text) => {
    actionsLog.group(text);
    actionsLog.info(text);
    actionsLog.endGroup();
    const ours = lines().filter((line) => !/^::(?:group|endgroup)::/.test(line));
    expect(ours.length).toBeGreaterThan(0);
    const bare = ours.map((line) => line.replace(/[^\x20-\x7e]/g, '').trim());
    expect(bare.filter((line) => line.startsWith('::') || line.includes('##['))).toEqual([]);
    expect(readLog(ours).annotations).toEqual([]);
    expect(lines().filter((line) => line.startsWith('::group::'))).toHaveLength(1);
  });

  test.each(commands)('%j in an annotation makes no other', (text) => {
    actionsLog.warning(text);
    expect(readLog(lines()).annotations).toHaveLength(1);
    expect(lines()).toHaveLength(1);
    expect(output).not.toContain('##[');
  });

  test.each([
    'http://[::1]:8080/owner/name says: no',
    'café ✓ 日本語 100% (3/3), done.',
    'a\n  b\tc',
    '# [x] a::b',
  ])('%j stays as it is', (text) => {
    expect(toLogText(text)).toBe(text);
  });
});

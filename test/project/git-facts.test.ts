/** Each fact about git that the code relies on names a test that exists, and comments name facts that exist. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs', 'git-facts.md'), 'utf8');
const facts = [...page.matchAll(/^(\d+)\. (.*(?:\n {3,4}\S.*)*)/gm)].map(([, number, text]) => ({
  number: Number(number),
  text: (text ?? '').replaceAll(/\s+/g, ' '),
}));

test('facts are numbered from 1 without a gap, so that comments can point at them', () => {
  expect(facts.length).toBeGreaterThan(10);
  expect(facts.map(({ number }) => number)).toEqual(facts.map((_, index) => index + 1));
});

test('comments in the sources refer to facts that exist', () => {
  const sources = globSync('src/**/*.ts', { cwd: root });
  const references = sources.flatMap((path) =>
    [
      ...readFileSync(join(root, path), 'utf8').matchAll(
        /git\s+(?:\* )?facts? (\d+)(?: and (\d+))?/g,
      ),
    ]
      .flatMap(([, first, second]) => [first, second])
      .filter((number) => number !== undefined),
  );
  expect(references.length).toBeGreaterThan(10);
  const numbers = facts.map(({ number }) => String(number));
  expect(references.filter((number) => !numbers.includes(number))).toEqual([]);
});

describe.each(facts)('fact $number', ({ text }) => {
  test('names a test that exists', () => {
    const [, file = '', name = ''] = /Test: `([^`]+)`, "([^"]+)"\.$/.exec(text) ?? [];
    expect(file).toMatch(/^test\/.*\.test\.ts$/);
    expect(existsSync(join(root, file))).toBe(true);
    expect(readFileSync(join(root, file), 'utf8')).toContain(`'${name}'`);
  });
});

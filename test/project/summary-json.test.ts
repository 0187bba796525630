/** docs/summary-json.md lists just the fields that the output has, by the approved summaries. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from '@jest/globals';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = readFileSync(join(root, 'docs', 'summary-json.md'), 'utf8');
const documented = [...page.matchAll(/^\| `([^`]+)` +\|/gm)].map(([, field]) => field ?? '');
const summaries = globSync('test/jobs/approved/*.json', { cwd: root }).flatMap((file) =>
  readFileSync(join(root, file), 'utf8').trim().split('\n'),
);

/** Paths of all values: `bytes.clone`, `phases[].name`. */
function fieldsOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) {
    const items: unknown[] = value;
    // A list of nothing says nothing about its items; a list of values is a field itself.
    if (items.length === 0) return /(?:^|\.)fallbacks$/.test(path) ? [path] : [];
    return items.flatMap((item) => (typeof item === 'object' ? fieldsOf(item, `${path}[]`) : path));
  }
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([name, inner]) =>
    fieldsOf(inner, path === '' ? name : `${path}.${name}`),
  );
}

test('there are approved summaries of all kinds', () => {
  const outcomes = summaries.map((line) => (JSON.parse(line) as { outcome: string }).outcome);
  const kinds = ['existing', 'restored', 'cloned', 'failed', 'published', 'unchanged'];
  expect(outcomes).toEqual(expect.arrayContaining(kinds));
});

test('every field is documented, and every documented field exists', () => {
  const found = new Set(summaries.flatMap((line) => fieldsOf(JSON.parse(line))));
  expect([...found].sort()).toEqual(documented.sort());
});

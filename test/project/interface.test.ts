/** README, docs/inputs.md and action-types.yml say what action.yml says. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { parse } from 'yaml';
import { DEEP, rowOf } from '../../bench/contest.ts';
import { medianOf } from '../../bench/cost.ts';
import { tipRatios, type Measured } from '../../bench/report.ts';
import {
  describeAsStep,
  describeInterface,
  firstSentence,
  isInternal,
  parseInterface,
} from '../../scripts/docs/interface.ts';
import { replaceSection } from '../../scripts/docs/sections.ts';
import { findYamlBlocks } from '../../scripts/workflows/fences.ts';
import { lintPage } from '../../scripts/workflows/page.ts';
import { readActionDefinition } from '../support/action-definition.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8').replaceAll('\r\n', '\n');
const action = readActionDefinition(root);
const described = parseInterface(read('action.yml'));

/** What is between the marks of a generated section, without the formatting of tables. */
function sectionOf(page: string, name: string): string {
  const [, after = ''] = page.split(`<!-- ${name} -->`);
  return after.split(`<!-- /${name} -->`)[0]?.trim() ?? '';
}

describe('the block of inputs in the README', () => {
  test('is the one that action.yml makes', () => {
    const made = describeAsStep(described.inputs, 'org/mirror-action@v1');
    expect(sectionOf(read('README.md'), 'inputs')).toBe(made);
  });

  test('gives every input its default, so that a copy changes nothing', () => {
    const [block] = findYamlBlocks(sectionOf(read('README.md'), 'inputs'));
    const [step] = parse(block?.content ?? '') as { with: Record<string, string> }[];
    const given = Object.entries(step?.with ?? {}).map(([name, value]) => [name, value.trim()]);
    const internal = described.inputs.filter(isInternal).map(({ name }) => name);
    const shown = [...action.inputs].filter(([name]) => !internal.includes(name));
    const wanted = shown.map(([name, value]) => [name, value.trim()]);
    expect(given).toEqual(wanted);
  });

  test('holds values that YAML would change in quotes', () => {
    const inputs = ['', 'true', '3', '10m'].map((value) => ({
      ...{ name: `name-${value}`, description: 'A sentence. Another.', heading: undefined },
      default: value,
    }));
    const block = describeAsStep(inputs, 'a/b@v1');
    expect(block).toContain("name-: ''");
    expect(block).toContain("name-true: 'true'");
    expect(block).toContain("name-3: '3'");
    expect(block).toContain('name-10m: 10m');
    expect(block).not.toContain('Another');
  });
});

test.each([
  ['One. Two.', 'One.'],
  ['Hosts such as github.com are known. `x`: y.', 'Hosts such as github.com are known.'],
  ['A choice: `a` (one, e.g. this), or `b`', 'A choice: `a` (one, e.g. this), or `b`'],
])('the first sentence of %s is %s', (text, sentence) => {
  expect(firstSentence(text)).toBe(sentence);
});

test('docs/inputs.md describes all inputs and outputs, each under its group', () => {
  const page = read('docs/inputs.md');
  const names = [...page.matchAll(/^### `(.*)`$/gm)].map(([, name]) => name);
  expect(names).toEqual([...action.inputs.keys()]);
  for (const { description } of described.inputs) expect(page).toContain(description);
  for (const name of action.outputs) expect(page).toContain(`| \`${name}\``);
  const headings = (text: string) => [...text.matchAll(/^## .*$/gm)].map(([line]) => line);
  expect(headings(page)).toEqual(headings(describeInterface(described)));
  expect(headings(page).length).toBeGreaterThan(3);
});

test('the README lists all outputs', () => {
  const [, outputs = ''] = read('README.md').split('## Outputs');
  const names = [...(outputs.split('\n## ')[0] ?? '').matchAll(/^\| `([\w-]+)`/gm)];
  expect(names.map(([, name]) => name)).toEqual(action.outputs);
});

test('the README claims what was measured', () => {
  const page = read('README.md').replaceAll('\n', ' ');
  const claim =
    /: ([\d.]+) times as fast as `fetch-depth: 0` from the Actions cache and ([\d.]+) times from a disk \(300 MB\), for under a hundredth of the bytes/;
  const [, ofCache, ofDisk] = claim.exec(page) ?? [];
  const { contests, trees } = JSON.parse(read('bench/results/bench.json')) as Record<
    'contests' | 'trees',
    Record<string, Measured>
  >;
  const costs = new Map(contests['300 MB']?.costs);
  const total = (what: 'ms' | 'upstreamBytes', ...rows: string[]) =>
    rows.reduce((sum, row) => sum + medianOf(costs.get(row) ?? [], what), 0);
  for (const [store, times] of [
    ['the Actions cache', ofCache],
    ['a disk', ofDisk],
  ] as const) {
    const warm = [rowOf('warm', store, 'main'), rowOf('warm', store, 'checkout')];
    expect(total('ms', DEEP) / total('ms', ...warm)).toBeGreaterThanOrEqual(Number(times));
    expect(total('upstreamBytes', DEEP) / total('upstreamBytes', ...warm)).toBeGreaterThan(100);
  }
  const sizes = /trees of (\d+) MB and more from a disk, and of (\d+) MB and more from S3/.exec(
    page,
  );
  for (const [store, size] of [
    ['a disk', sizes?.[1]],
    ['S3 (Ceph)', sizes?.[2]],
  ] as const) {
    const tree = trees[`a tree of ${String(size)} MB`];
    expect(tree && tipRatios(tree, store)?.here).toBeLessThan(0.9);
  }
});

test('tables in the docs hold no HTML', () => {
  const hasHtml = (row: string) => /<\/?[a-z]+\/?>/i.test(row.replaceAll(/`[^`]*`/g, ''));
  const pages = globSync(['*.md', 'docs/**/*.md', 'bench/results/*.md'], { cwd: root });
  const rows = pages.flatMap((page) => read(page).split('\n')).filter((line) => /^ *\|/.test(line));
  expect(rows.length).toBeGreaterThan(100);
  expect(rows.filter(hasHtml)).toEqual([]);
  expect(['| a<br>b |', '| <p>a</p> |', '| `<path>` |'].filter(hasHtml)).toHaveLength(2);
});

test('a page without the marks of a generated section is refused', () => {
  expect(replaceSection('a <!-- x -->old<!-- /x --> b', 'x', ' new\n')).toBe(
    'a <!-- x -->\n\nnew\n\n<!-- /x --> b',
  );
  expect(() => replaceSection('a <!-- x --> b', 'x', 'new')).toThrow('no section <!-- x -->');
});

interface Type {
  type: string;
  'allowed-values'?: string[];
}

describe('action-types.yml', () => {
  const types = parse(read('action-types.yml')) as Record<
    'inputs' | 'outputs',
    Record<string, Type>
  >;
  const inputs = Object.entries(types.inputs);
  const choices = inputs.flatMap(([name, { 'allowed-values': values = [] }]) =>
    values.map((value) => [name, value] as const),
  );
  const companions: Record<string, string> = {
    'store: disk': 'disk-path: /mnt/mirrors',
    'store: s3': 's3-bucket: mirrors',
    's3-force-path-style': 's3-bucket: mirrors',
  };

  /** What the action says of a step with this value. */
  async function problemsOf(name: string, value: string): Promise<string[]> {
    const more = companions[`${name}: ${value}`] ?? companions[name];
    const lines = [`${name}: '${value}'`, ...(more === undefined ? [] : [more])];
    const step = ['- uses: org/mirror-action@v1', '  with:', ...lines.map((line) => `    ${line}`)];
    const { problems } = await lintPage(['```yaml', ...step, '```'].join('\n'), 'page.md');
    return problems.map(({ message }) => message);
  }

  test('has a type for each input and output, in their order', () => {
    expect(Object.keys(types.inputs)).toEqual([...action.inputs.keys()]);
    expect(Object.keys(types.outputs)).toEqual(action.outputs);
    const known = ['string', 'boolean', 'integer', 'enum', 'list'];
    const all = [...inputs, ...Object.entries(types.outputs)];
    expect(all.filter(([, { type }]) => !known.includes(type))).toEqual([]);
  });

  test.each(choices)('%s may be %s', async (name, value) => {
    expect(await problemsOf(name, value)).toEqual([]);
  });

  test.each([...new Set(choices.map(([name]) => name))])('%s has no other choice', async (name) => {
    const [problem = ''] = await problemsOf(name, 'something-else');
    expect(problem).toContain(`\`${name}\``);
    // The message lists what the action accepts.
    const values = types.inputs[name]?.['allowed-values'] ?? [];
    const listed = problem.slice(problem.indexOf('something-else') + 'something-else'.length);
    const accepted = [...listed.matchAll(/[a-z0-9][a-z0-9-]*/g)].map(([word]) => word);
    expect(accepted.filter((word) => values.includes(word)).sort()).toEqual([...values].sort());
  });

  test.each(inputs.filter(([, { type }]) => type === 'boolean').map(([name]) => name))(
    '%s is a boolean',
    async (name) => {
      expect(await problemsOf(name, 'true')).toEqual([]);
      expect(await problemsOf(name, 'false')).toEqual([]);
      expect(await problemsOf(name, 'perhaps')).not.toEqual([]);
    },
  );

  test.each(inputs.filter(([, { type }]) => type === 'integer').map(([name]) => name))(
    '%s is a whole number',
    async (name) => {
      expect(await problemsOf(name, '2')).toEqual([]);
      expect(await problemsOf(name, '2.5')).not.toEqual([]);
    },
  );
});

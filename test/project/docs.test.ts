/** Links lead to files and headings that exist, and quoted messages and names are those of the sources. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { FAULT_MATRIX } from '../../scripts/fault-matrix.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const pages = globSync(['*.md', 'docs/**/*.md'], { cwd: root }).map((page) => join(root, page));

function read(page: string): string {
  return readFileSync(page, 'utf8').replaceAll('\r\n', '\n');
}

/** Without code: what looks like a link or a heading there is neither. */
function proseOf(page: string): string {
  return read(page)
    .replace(/^ *(`{3,})[^]*?^ *\1$/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ''));
}

/** Headings as GitHub names them in addresses. */
function anchorsOf(page: string): string[] {
  const headings = [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, text = '']) => text);
  return headings.map((text) =>
    text
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

function linksOf(page: string): string[] {
  const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return links.filter((target) => !/^[a-z]+:/.test(target));
}

function isBroken(page: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : resolve(dirname(page), path);
  if (!existsSync(target)) return true;
  return anchor !== undefined && !anchorsOf(target).includes(anchor);
}

test('links and headings are found at all', () => {
  const links = pages.flatMap(linksOf);
  expect(links).toContain('docs/architecture.md');
  expect(links.filter((link) => link.includes('#')).length).toBeGreaterThan(0);
  expect(isBroken(join(root, 'README.md'), 'docs/nothing.md')).toBe(true);
  expect(isBroken(join(root, 'README.md'), '#nothing')).toBe(true);
});

test.each(pages.map((page) => [page.slice(root.length), page]))(
  '%s has no broken link',
  (_, page) => {
    expect(linksOf(page).filter((link) => isBroken(page, link))).toEqual([]);
  },
);

describe('decisions', () => {
  const folder = join(root, 'docs', 'decisions');
  const decisions = globSync('[0-9]*.md', { cwd: folder }).sort();

  test('are all in the index, by their titles', () => {
    const index = read(join(folder, 'README.md'));
    const entries = decisions.map((name) => {
      const title = /^# (.*)$/m.exec(read(join(folder, name)))?.[1] ?? '';
      return `- [${title}](${name})`;
    });
    expect(entries.filter((entry) => !index.includes(entry))).toEqual([]);
  });

  test('have a number that no other has, in their titles too', () => {
    const numbers = decisions.map((name) => basename(name).slice(0, 4));
    expect(new Set(numbers).size).toBe(numbers.length);
    const titles = decisions.map((name) => read(join(folder, name)).slice(2, 6));
    expect(titles).toEqual(numbers);
  });

  test.each(decisions)('%s says what was wrong, what was decided and what it costs', (name) => {
    const parts = [...read(join(folder, name)).matchAll(/^\*\*(.*?)\.?\*\*/gm)].map(
      ([, part]) => part,
    );
    const [problem, constraints, decision, costs, ...rest] = parts;
    expect([problem, constraints, decision, costs]).toEqual([
      'Problem',
      'Constraints',
      'Decision',
      'What it costs',
    ]);
    expect([[], ['Revisit if']]).toContainEqual(rest);
  });
});

describe('the threat model', () => {
  const page = join(root, 'docs', 'threat-model.md');
  /** `[jobs/faults/poison: a forged snapshot]`: a test file, and words that it contains. */
  const references = [
    ...read(page).matchAll(
      /\[((?:action|faults|git|jobs|lib|locks|mirror|project|restore|save|snapshot|stores|submodules)\/[^\]]+)\]/g,
    ),
  ]
    .flatMap(([, text = '']) => text.replace(/\s+/g, ' ').replace(/\.$/, '').split(/[,;] /))
    .map((reference) => reference.split(': '));

  test('names tests', () => {
    expect(references.length).toBeGreaterThan(15);
  });

  test.each(references)('names %s, %s', (file = '', words = '') => {
    const [path = ''] = globSync(`test/${file}{,.test,.slow.test,.server.test,.s3.test}.ts`, {
      cwd: root,
    });
    expect(path).toMatch(/\.ts$/);
    expect(read(join(root, path)).toLowerCase()).toContain(words.toLowerCase());
  });
});

describe('troubleshooting quotes', () => {
  const sources = globSync('src/**/*.ts', { cwd: root }).map((path) => read(join(root, path)));
  const [, tables = ''] = read(join(root, 'docs/troubleshooting.md')).split('<!-- /failures -->');
  const firstCells = tables.match(/^\| [^|]*/gm) ?? [];
  const quotes = firstCells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)]);
  // A single word is the name of an input.
  const messages = quotes.map(([, text = '']) => text).filter((text) => text.includes(' '));

  test('messages', () => {
    expect(messages.length).toBeGreaterThan(15);
  });

  test.each(messages)('%j, which the action says', (message) => {
    expect(sources.some((source) => source.includes(message))).toBe(true);
  });
});

test.each([...new Set(FAULT_MATRIX.flatMap(({ tests }) => tests.map(([file]) => file)))])(
  'the fault matrix names %s, which exists',
  (file) => {
    expect(
      globSync(`test/${file}{.test,.slow.test,.server.test,.s3.test}.ts`, { cwd: root }),
    ).not.toEqual([]);
  },
);

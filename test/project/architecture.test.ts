/** Imports go one way: the action, use cases, the domain, `lib`. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { readActionDefinition } from '../support/action-definition.ts';

const root = fileURLToPath(new URL('../../src', import.meta.url));

/**
 * What each folder may import, besides itself and `lib`. Read it top down: a folder imports those below
 * it, never one above. `types only` imports vanish when the sources are built.
 */
const FOLDERS: Record<string, { imports: readonly string[]; typesOnly?: readonly string[] }> = {
  // What the runner starts.
  action: {
    imports: [
      ...['restore', 'lfs', 'save', 'prime', 'submodules', 'job'],
      ...['mirror', 'snapshot', 'stores', 'locks', 'git'],
    ],
  },
  // Use cases.
  submodules: { imports: ['restore', 'prime', 'job'], typesOnly: ['snapshot', 'git'] },
  restore: { imports: ['job', 'mirror', 'snapshot', 'git'], typesOnly: ['stores', 'locks'] },
  lfs: {
    imports: ['save', 'job', 'mirror', 'snapshot', 'git'],
    typesOnly: ['restore', 'stores', 'locks'],
  },
  save: { imports: ['job', 'mirror', 'snapshot', 'git'], typesOnly: ['stores', 'locks'] },
  prime: { imports: ['job', 'mirror', 'snapshot', 'git'], typesOnly: ['restore'] },
  // What use cases work with.
  job: { imports: [], typesOnly: ['mirror', 'stores', 'locks', 'git'] },
  // The domain.
  snapshot: { imports: ['mirror'], typesOnly: ['stores'] },
  mirror: { imports: ['git'], typesOnly: ['locks'] },
  git: { imports: [] },
  // Back ends. `stores/open.ts` alone imports those of stores, and brings the claims they hold.
  stores: { imports: ['locks'], typesOnly: [] },
  'stores/disk': { imports: ['stores', 'locks'] },
  'stores/s3': { imports: ['stores', 'locks'] },
  'stores/actions-cache': { imports: ['stores', 'locks'] },
  locks: { imports: [] },
  lib: { imports: [] },
};

const OPENER = 'stores/open.ts';
const BACK_ENDS = ['stores/disk', 'stores/s3', 'stores/actions-cache'];

interface Import {
  from: string;
  /** A path relative to src, or a package's name. */
  to: string;
  isOurs: boolean;
  isType: boolean;
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.replaceAll('\\', '/'))
  .sort();

const IMPORT = /^(?:import|export)\s+(type\s+)?([^;'"]*?from\s+)?'([^']+)'/gm;
const DYNAMIC_IMPORT = /\b(?:import|require|getBuiltinModule)\(\s*['"`]([^'"`]+)['"`]/g;

function importsOf(from: string): Import[] {
  const source = readFileSync(join(root, from), 'utf8');
  const found = [...source.matchAll(IMPORT)].map(([, type, names, to]) => ({
    to: to ?? '',
    isType: type !== undefined || holdsTypesOnly(names ?? ''),
  }));
  const dynamic = [...source.matchAll(DYNAMIC_IMPORT)].map(([, to]) => ({
    to: to ?? '',
    isType: false,
  }));
  return [...found, ...dynamic].map(({ to, isType }) => {
    const isOurs = to.startsWith('.');
    const path = relative(root, resolve(root, dirname(from), to)).replaceAll('\\', '/');
    return { from, to: isOurs ? path : to, isOurs, isType };
  });
}

/** `{ type A, type B } from`. */
function holdsTypesOnly(names: string): boolean {
  const braced = /^\{([^}]*)\}\s*from\s*$/.exec(names)?.[1];
  const specifiers = braced?.split(',').filter((part) => part.trim() !== '') ?? [];
  return specifiers.length > 0 && specifiers.every((part) => part.trim().startsWith('type '));
}

const imports = files.flatMap(importsOf);
const ours = imports.filter(({ isOurs }) => isOurs);

/** The longest folder of the table that a file lies in. */
function folderOf(file: string): string {
  const folders = Object.keys(FOLDERS).filter((folder) => file.startsWith(`${folder}/`));
  const [folder] = folders.sort((one, other) => other.length - one.length);
  if (folder === undefined) throw new Error(`${file} has no place in the architecture`);
  return folder;
}

function isAllowed({ from, to, isType }: Import): boolean {
  const [own, other] = [folderOf(from), folderOf(to)];
  if (own === other || other === 'lib') return true;
  if (from === OPENER && BACK_ENDS.includes(other)) return true;
  const { imports: values, typesOnly = [] } = FOLDERS[own] ?? { imports: [] };
  return values.includes(other) || (isType && typesOnly.includes(other));
}

function describeImport({ from, to, isType }: Import): string {
  return `${from} imports ${isType ? 'types of ' : ''}${to}`;
}

/** Files that import a package, or a module of Node with or without its prefix. */
function importersOf(pattern: RegExp): string[] {
  const found = imports.filter(({ to, isOurs }) => !isOurs && pattern.test(to));
  return [...new Set(found.map(({ from }) => from))];
}

/** The same, but for types. */
function startersOf(pattern: RegExp): string[] {
  const types = imports.filter(({ to, isOurs, isType }) => !isOurs && isType && pattern.test(to));
  return importersOf(pattern).filter((file) => !types.some(({ from }) => from === file));
}

describe('imports', () => {
  test('are found at all', () => {
    expect(files.length).toBeGreaterThan(30);
    expect(imports.length).toBeGreaterThan(100);
    const ofPlace = ours.filter(({ from }) => from === 'mirror/place.ts');
    expect(ofPlace.map(describeImport)).toContain('mirror/place.ts imports lib/files.ts');
    // Every line that looks like one has been understood.
    const lines = files.flatMap((file) =>
      readFileSync(join(root, file), 'utf8')
        .split('\n')
        .filter((line) => /^(?:import\b(?!\()|export\b.*\bfrom ')|^\} from '/.test(line))
        .filter((line) => line.includes(" '")),
    );
    expect(imports.length).toBeGreaterThanOrEqual(lines.length);
  });

  test('lead to files that are there, with their extension', () => {
    expect(ours.filter(({ to }) => !files.includes(to)).map(describeImport)).toEqual([]);
  });

  test('of Node have its prefix', () => {
    const bare = /^(?:fs|path|os|crypto|child_process|util|zlib|timers|stream|url|http)(?:\/|$)/;
    expect(importersOf(bare)).toEqual([]);
  });

  test('go down the table of folders, never up', () => {
    expect(ours.filter((each) => !isAllowed(each)).map(describeImport)).toEqual([]);
  });

  test('come from folders that exist, and every file has one', () => {
    const found = new Set(files.map(folderOf));
    expect(Object.keys(FOLDERS).filter((folder) => !found.has(folder))).toEqual([]);
  });

  test('make no circle, not even by types', () => {
    expect(findCircle(files, ours)).toBeUndefined();
  });

  test('make no circle of folders', () => {
    // The opener joins back ends to the interfaces that they fill.
    const folders = Object.keys(FOLDERS);
    const between = ours
      .filter(({ isType, from }) => !isType && from !== OPENER)
      .map((each) => ({ ...each, from: folderOf(each.from), to: folderOf(each.to) }))
      .filter(({ from, to }) => from !== to);
    expect(findCircle(folders, between)).toBeUndefined();
  });
});

function findCircle(nodes: readonly string[], edges: readonly Import[]): string | undefined {
  const done = new Set<string>();
  const visit = (node: string, way: readonly string[]): string | undefined => {
    if (way.includes(node)) return [...way.slice(way.indexOf(node)), node].join(' -> ');
    if (done.has(node)) return undefined;
    for (const { to } of edges.filter(({ from }) => from === node)) {
      const circle = visit(to, [...way, node]);
      if (circle !== undefined) return circle;
    }
    done.add(node);
    return undefined;
  };
  return nodes.map((node) => visit(node, [])).find((circle) => circle !== undefined);
}

describe('only some files', () => {
  test('know that they run in a workflow: those of action/', () => {
    expect(importersOf(/^@actions\/core/).filter((file) => !file.startsWith('action/'))).toEqual(
      [],
    );
  });

  test('run the toolkit of the Actions cache: the program of a process of its own', () => {
    expect(importersOf(/^@actions\/cache/)).toEqual(['stores/actions-cache/cache-worker.ts']);
  });

  test('load the AWS SDK: those of stores/s3, which are loaded only where S3 is used', () => {
    const isS3 = (file: string) => file.startsWith('stores/s3/');
    expect(importersOf(/^@aws-sdk\//).filter((file) => !isS3(file))).toEqual([]);
    const opener = imports.filter(({ from, isType }) => from === OPENER && !isType);
    expect(opener.filter(({ to }) => isS3(to)).map(({ to }) => to)).toEqual(['stores/s3/open.ts']);
    // That one import is dynamic.
    expect(readFileSync(join(root, OPENER), 'utf8')).toContain("await import('./s3/open.ts')");
  });

  test('start processes: one of lib/', () => {
    expect(startersOf(/^(?:node:)?child_process$|^@actions\/exec/)).toEqual(['lib/process.ts']);
  });

  test('reach for the network: none, since git and the stores do', () => {
    expect(importersOf(/^(?:node:)?(?:http|https|net|tls|dgram|http2)$/)).toEqual([]);
  });

  test('read the environment: those of action/', () => {
    const readers = files.filter((file) =>
      /\bprocess\.env\b/.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(readers.filter((file) => !file.startsWith('action/'))).toEqual([]);
  });

  test('name inputs: those of action/, in whose words errors reach people', () => {
    const { inputs } = readActionDefinition(fileURLToPath(new URL('../..', import.meta.url)));
    const named = new RegExp(`\\\\?\`(?:${[...inputs.keys()].join('|')})\\\\?\``);
    const isComment = (line: string) => /^\s*(?:\/\/|\/?\*)/.test(line);
    const below = files.filter((file) => !file.startsWith('action/'));
    const lines = below.flatMap((file) =>
      readFileSync(join(root, file), 'utf8')
        .split('\n')
        .filter((line) => named.test(line) && !isComment(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
    expect(lines).toEqual([]);
  });

  test('use packages: as few as there are', () => {
    const packages = imports
      .filter(({ to, isOurs }) => !isOurs && !to.startsWith('node:'))
      .map(({ to }) => to);
    expect([...new Set(packages)].sort()).toEqual([
      '@actions/cache',
      '@actions/core',
      '@actions/exec',
      '@aws-sdk/client-s3',
      'tar/header',
      'valibot',
    ]);
  });
});

describe('docs/architecture.md', () => {
  const project = join(root, '..');
  const page = readFileSync(join(project, 'docs', 'architecture.md'), 'utf8');

  test('shows the table of folders and what each may import', () => {
    const rows = [...page.matchAll(/^\| `([a-z0-9/-]+)` +\| .+? +\| (.+?) +\|$/gm)];
    const shown = rows.map(([, folder, imported]) => `${folder ?? ''}: ${imported ?? ''}`);
    const code = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ');
    const wanted = Object.entries(FOLDERS).map(([folder, { imports: values, typesOnly = [] }]) => {
      const types = typesOnly.length === 0 ? '' : `types of ${code(typesOnly)}`;
      const cell = [code(values), types].filter((part) => part !== '').join('; ');
      return `${folder}: ${cell === '' ? 'nothing' : cell}`;
    });
    expect(shown).toEqual(wanted);
  });

  test('names only files that exist', () => {
    const named = [...page.matchAll(/`((?:[\w-]+\/)+[\w-]+\.ts)`/g)].map(([, path = '']) => path);
    expect(named.length).toBeGreaterThan(5);
    const isThere = (path: string) => files.includes(path) || existsSync(join(project, path));
    expect(named.filter((path) => !isThere(path))).toEqual([]);
  });
});

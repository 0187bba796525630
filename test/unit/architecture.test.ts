/** Imports run one way: entries, use cases, mirror and snapshot, git, interfaces. */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';

const root = fileURLToPath(new URL('../../src', import.meta.url));

/** What each part is; the first that matches a file is its own. A new file needs a place here. */
const PARTS = {
  entries: /^(?:main|post|step)\.ts$/,
  settings: /^(?:settings|cache-scopes|ssh-inputs|trust)\.ts$/,
  report: /^report(?:\.ts$|\/)/,
  'step state': /^step-state\.ts$/,
  'actions log': /^actions-log\.ts$/,
  'use cases':
    /^(?:restore-mirror|upstream-probe|save-snapshot|maintain-mirror|prime-workspace)\.ts$/,
  job: /^(?:job|account)\.ts$/,
  snapshot: /^snapshot\//,
  mirror: /^mirror\//,
  'child processes': /^git\/child\.ts$/,
  git: /^git\//,
  'store interface': /^store\/store\.ts$/,
  'store opener': /^store\/open-store\.ts$/,
  'store back ends': /^store\//,
  'lock interface': /^lock\/(?:lock|claim-records|claim-entries)\.ts$/,
  'lock back ends': /^lock\//,
  'generic files':
    /^(?:errors|log|progress|files|copy|parallel|deadline|durations|bytes|version)\.ts$/,
} as const;

type Part = keyof typeof PARTS;

const everything = Object.keys(PARTS) as Part[];

/** What a part may import, besides itself; `types` vanish when the sources are built. */
const ALLOWED: Record<Part, { values: readonly Part[]; types?: readonly Part[] }> = {
  entries: { values: everything },
  settings: { values: ['mirror', 'generic files'], types: ['git', 'snapshot', 'store opener'] },
  report: { values: ['git', 'actions log', 'generic files'], types: ['job', 'use cases'] },
  'step state': { values: ['generic files'] },
  'actions log': { values: ['generic files'] },
  'use cases': {
    values: ['job', 'snapshot', 'mirror', 'git', 'generic files'],
    types: ['store interface', 'lock interface'],
  },
  job: {
    values: ['generic files'],
    types: ['mirror', 'git', 'store interface', 'lock interface', 'generic files'],
  },
  snapshot: { values: ['mirror', 'git', 'generic files'], types: ['job', 'store interface'] },
  mirror: { values: ['git', 'generic files'], types: ['child processes', 'lock interface'] },
  'child processes': { values: ['generic files'] },
  git: { values: ['child processes', 'generic files'] },
  'store interface': { values: ['generic files'] },
  // A store comes with the claims in it.
  'store opener': {
    values: ['store back ends', 'lock back ends', 'generic files'],
    types: ['store interface', 'lock interface'],
  },
  // Claims are kept in a store, by records that its back end makes.
  'store back ends': {
    values: ['store interface', 'lock interface', 'child processes', 'generic files'],
  },
  'lock interface': { values: ['generic files'] },
  'lock back ends': { values: ['generic files'], types: ['lock interface'] },
  'generic files': { values: [] },
};

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

function partOf(file: string): Part {
  const part = everything.find((each) => PARTS[each].test(file));
  if (part === undefined) throw new Error(`${file} has no place in the architecture`);
  return part;
}

function isAllowed({ from, to, isType }: Import): boolean {
  const [own, other] = [partOf(from), partOf(to)];
  const { values, types = [] } = ALLOWED[own];
  return own === other || values.includes(other) || (isType && types.includes(other));
}

function describeImport({ from, to, isType }: Import): string {
  return `${from} imports ${isType ? 'types of ' : ''}${to}`;
}

/** Files that import a package, or a module of Node with or without its prefix. */
function importersOf(pattern: RegExp): string[] {
  const found = imports.filter(({ to, isOurs }) => !isOurs && pattern.test(to));
  return [...new Set(found.map(({ from }) => from))];
}

describe('imports', () => {
  test('are found at all', () => {
    expect(files.length).toBeGreaterThan(30);
    expect(imports.length).toBeGreaterThan(100);
    const [first] = ours.filter(({ from }) => from === 'mirror/place.ts');
    expect(describeImport(first!)).toBe('mirror/place.ts imports files.ts');
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

  test('run one way: entries, use cases, mirror and snapshot, git, interfaces', () => {
    expect(ours.filter((each) => !isAllowed(each)).map(describeImport)).toEqual([]);
  });

  test('leave no part that is not there, and no file without a part', () => {
    const parts = new Set(files.map(partOf));
    expect(everything.filter((part) => !parts.has(part))).toEqual([]);
  });

  test('make no circle, not even by types', () => {
    expect(findCircle(files, ours)).toBeUndefined();
  });

  test('make no circle of folders', () => {
    const folderOf = (file: string) => (file.includes('/') ? dirname(file) : file);
    const folders = [...new Set(files.map(folderOf))];
    const between = ours
      .filter(({ isType }) => !isType)
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
  test('know that they run in a workflow', () => {
    expect(importersOf(/^@actions\/core/)).toEqual([
      'actions-log.ts',
      'report.ts',
      'settings.ts',
      'step-state.ts',
    ]);
  });

  test('run the toolkit of the Actions cache: the program of a process of its own', () => {
    expect(importersOf(/^@actions\/cache/)).toEqual(['store/cache-worker.ts']);
  });

  test('know the toolkit of AWS: those that are loaded only where S3 is used', () => {
    const importers = importersOf(/^@aws-sdk\//);
    expect(importers).toEqual(['store/s3-bucket.ts', 'store/s3-client.ts', 'store/s3-open.ts']);
    const opener = imports.filter(({ from, isType }) => from === 'store/open-store.ts' && !isType);
    // The one way to them, which is dynamic.
    expect(opener.filter(({ to }) => to.includes('s3')).map(({ to }) => to)).toEqual([
      'store/s3-open.ts',
    ]);
    const source = readFileSync(join(root, 'store/open-store.ts'), 'utf8');
    expect(source).toContain("await import('./s3-open.ts')");
  });

  test('start processes: one of git/', () => {
    expect(importersOf(/^(?:node:)?child_process$|^@actions\/exec/)).toEqual(['git/child.ts']);
    expect(importersOf(/^@actions\/io/).filter((file) => !file.startsWith('git/'))).toEqual([]);
  });

  test('know the back ends of stores: the one that opens them', () => {
    const outside = ours.filter(
      ({ from, to }) => partOf(to) === 'store back ends' && !from.startsWith('store/'),
    );
    expect(outside.map(describeImport)).toEqual([]);
  });

  test('reach for the network: none, since git and the stores do', () => {
    expect(importersOf(/^(?:node:)?(?:http|https|net|tls|dgram|http2)$/)).toEqual([]);
  });

  test('read the environment: settings, and the report for its file', () => {
    const readers = files.filter((file) =>
      /\bprocess\.env\b/.test(readFileSync(join(root, file), 'utf8')),
    );
    expect(readers).toEqual(['report.ts', 'settings.ts']);
  });

  test('use packages: as few as there are', () => {
    const packages = imports
      .filter(({ to, isOurs }) => !isOurs && !to.startsWith('node:'))
      .map(({ to }) => to);
    expect([...new Set(packages)].sort()).toEqual([
      '@actions/cache',
      '@actions/core',
      '@actions/io',
      '@aws-sdk/client-s3',
      'valibot',
    ]);
  });
});

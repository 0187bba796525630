/** The version that the files of a release name. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** `## 1.2.3, 2026-01-31`; an unreleased version has words instead of the date. */
const HEADING = /^## (\S+), (\d{4}-\d{2}-\d{2})$/;

/** The files that don't name this version as released. */
export function findVersionFaults(folder: string, version: string): string[] {
  const read = (name: string) => readFileSync(join(folder, name), 'utf8');
  const { version: own } = JSON.parse(read('package.json')) as { version: string };
  const lock = JSON.parse(read('package-lock.json')) as {
    version: string;
    packages: Record<string, { version?: string }>;
  };
  const source = /^export const VERSION = '(.*)';$/m.exec(read('src/action/version.ts'))?.[1];
  const newest = /^## .*$/m.exec(read('CHANGELOG.md'))?.[0] ?? 'no heading';
  const said = [
    ['package.json', own],
    ['package-lock.json', lock.version],
    ['package-lock.json, in packages', lock.packages['']?.version],
    ['src/action/version.ts', source],
    [
      'CHANGELOG.md',
      HEADING.exec(newest)?.[1] ?? `"${newest}" (wanted is "## ${version}, <date>")`,
    ],
  ] as const;
  return said
    .filter(([, found]) => found !== version)
    .map(([name, found]) => `${name} says ${String(found)}`);
}

/** The text under CHANGELOG.md's first heading. */
export function readNotes(folder: string): string {
  const [, newest = ''] = readFileSync(join(folder, 'CHANGELOG.md'), 'utf8').split(/^## /m);
  return newest.split('\n').slice(1).join('\n').trim();
}

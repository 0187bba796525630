import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

function read(name: string): string {
  return readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8');
}

test('the lockfile names no address, so that everybody installs from their own registry', () => {
  const lock = JSON.parse(read('package-lock.json')) as { packages: Record<string, object> };
  const packages = Object.entries(lock.packages);
  expect(packages.length).toBeGreaterThan(100);
  expect(packages.filter(([, each]) => 'resolved' in each).map(([name]) => name)).toEqual([]);
});

test('packages are pinned exactly', () => {
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies'] as const;
  const own = JSON.parse(read('package.json')) as Record<
    (typeof kinds)[number],
    Record<string, string>
  >;
  const versions = kinds.flatMap((kind) => Object.entries(own[kind]));
  expect(versions.length).toBeGreaterThan(10);
  expect(versions.filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
});

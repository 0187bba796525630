/** What a tip mirror has, and no more. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from '@jest/globals';
import { git } from '../../support/git.ts';
import { expectSound } from './checkout-comparison.ts';
import { listRefs } from './scenario.ts';

/** It has these refs of upstream, by default the default branch, with all files and without any history. */
export async function expectTipOf(
  mirror: string,
  upstream: string,
  refs?: readonly string[],
): Promise<void> {
  const names = refs ?? [await git(upstream, ['symbolic-ref', 'HEAD'])];
  const wanted = (await listRefs(upstream)).filter((line) =>
    names.includes((line.split('\t')[1] ?? '').replace('^{}', '')),
  );
  expect(await listRefs(mirror)).toEqual(wanted);
  const commits = new Set<string>();
  for (const name of names) commits.add(await git(upstream, ['rev-parse', `${name}^{commit}`]));
  const all = (await git(mirror, ['rev-list', '--all'])).split('\n');
  expect(new Set(all)).toEqual(commits);
  expect(await readShallow(mirror)).toEqual([...commits].sort());
  for (const name of names) {
    const tree = ['ls-tree', '-r', name];
    expect(await git(mirror, tree)).toBe(await git(upstream, tree));
  }
  const walk = ['rev-list', '--objects', '--all', '--quiet'];
  await git(mirror, walk);
  await expectSound(mirror);
}

export async function readShallow(mirror: string): Promise<string[]> {
  return (await readFile(join(mirror, 'shallow'), 'utf8')).trim().split('\n');
}

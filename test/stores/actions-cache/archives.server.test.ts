/** What archives in the Actions cache may hold, with the real toolkit. */
import { describe, expect, test } from '@jest/globals';
import { randomBytes } from 'node:crypto';
import { link, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MAIN, useCacheBench } from '../../support/actions-cache/bench.ts';
import { callToolkit } from '../../support/actions-cache/toolkit.ts';
import { describeContents, describeFolder } from '../../support/layer-files.ts';
import { KEY, outcomeOf } from '../contract/store-contract.ts';

const bench = useCacheBench();

describe('archives', () => {
  /** Saves an entry with the toolkit itself, as anybody could who may write. */
  async function plant(build: (entry: string) => Promise<unknown>): Promise<void> {
    const directory = await bench.directories.create('planted');
    await mkdir(join(directory, 'entry'));
    await build(join(directory, 'entry'));
    const key = `mirror-action/v1/${KEY}/layers/layer/`;
    const call = { kind: 'save' as const, paths: ['entry'], key };
    const environment = bench.service.environmentFor(MAIN, { blobHost: 'loopback' });
    const { results } = await callToolkit([call], directory, environment);
    expect(results).not.toEqual([-1]);
  }
  const layer = {
    name: 'layer',
    files: [
      { name: 'one', bytes: 4 },
      { name: 'two', bytes: 4 },
    ],
  };

  test.each<[string, (entry: string) => Promise<unknown>, string]>([
    ['what is declared', async (entry) => writeFile(join(entry, 'two'), 'text'), 'fulfilled'],
    ['a file too few', async () => {}, 'bad-snapshot'],
    ['a symlink', async (entry) => symlink('/etc/hostname', join(entry, 'two')), 'bad-snapshot'],
    ['a link', async (entry) => link(join(entry, 'one'), join(entry, 'two')), 'bad-snapshot'],
    ['a folder', async (entry) => mkdir(join(entry, 'two')), 'bad-snapshot'],
    [
      'a file too many',
      async (entry) => {
        await writeFile(join(entry, 'two'), 'text');
        await writeFile(join(entry, 'config'), '[core]');
      },
      'bad-snapshot',
    ],
    [
      'folders that may not be written to',
      async (entry) => mkdir(join(entry, 'two', 'three'), { recursive: true, mode: 0o555 }),
      'bad-snapshot',
    ],
  ])('with %s', async (_, build, expected) => {
    await plant(async (entry) => {
      await writeFile(join(entry, 'one'), 'text');
      await build(entry);
    });
    expect(await outcomeOf(bench.get(layer))).toBe(expected);
  });

  test('come from Azure in parts, and tell how far they are', async () => {
    const contents = { a: randomBytes(6_000_000), b: 'small' };
    const azure = bench.open(bench.environmentOf(MAIN, 'azure'));
    const stored = await bench.put(contents, azure);
    expect(await describeFolder(await bench.get(stored, azure))).toEqual(
      describeContents(contents),
    );
    expect(bench.service.requestsOf('download').length).toBeGreaterThan(1);
  });
});

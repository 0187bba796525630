/**
 * Signs that a git that waits for upstream still receives data, in addition to its output (git fact 6):
 *
 * - On disk, bytes of the pack that is being received. git reads whole packets of up to 64 KB, so a slow line shows here
 *   in steps.
 * - On Linux, bytes that the git processes have read. These include single bytes, and the empty packets by which servers
 *   say every 5 s that they are still computing. Bytes that ssh reads are ignored, because the SSH server answers it even
 *   if the git behind it hangs.
 */
import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * For `signsOfLife` of a command in this repository; it need not exist. When a pack is complete nothing
 * more comes from upstream, and checking it may take long.
 */
export async function watchRepository(
  gitDirectory: string,
): Promise<(pid: number) => Promise<number | 'done'>> {
  const folder = join(gitDirectory, 'objects', 'pack');
  const before = new Set(await listFolder(folder));
  return async (group) => {
    const added = (await listFolder(folder)).filter((name) => !before.has(name));
    if (added.some((name) => name.endsWith('.pack'))) return 'done';
    const sizes = added.map((name) => sizeOf(join(folder, name)));
    return sum(await Promise.all([...sizes, countReadBytes(group)]));
  };
}

/** By all git processes of a group. Zero where the system does not say. */
async function countReadBytes(group: number): Promise<number> {
  if (process.platform !== 'linux') return 0;
  const pids = (await listFolder('/proc')).filter((name) => /^\d+$/.test(name));
  return sum(await Promise.all(pids.map((pid) => countOf(pid, group))));
}

async function countOf(pid: string, group: number): Promise<number> {
  // `pid (name) state parent group …`; the name may hold anything.
  const [, name = '', rest = ''] =
    /^\d+ \((.*)\) (.*)/s.exec(await readText(`/proc/${pid}/stat`)) ?? [];
  if (!name.startsWith('git') || rest.split(' ')[2] !== String(group)) return 0;
  return Number(/^rchar: (\d+)/m.exec(await readText(`/proc/${pid}/io`))?.[1] ?? 0);
}

// What is gone meanwhile, or may not be read, is no sign of life.

function readText(path: string): Promise<string> {
  return readFile(path, 'latin1').catch(() => '');
}

function listFolder(folder: string): Promise<string[]> {
  return readdir(folder).catch(() => []);
}

function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

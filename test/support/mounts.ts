import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Real file systems of a test's own: small, full or frozen ones. Linux, as root. */
export interface Mounts {
  /** Mounts an empty file system in memory and gives its path. */
  memory(bytes: number): string;
  /** Mounts an empty file system from an image in a file (`ext4`, `xfs`, …) and gives its path. */
  image(type: string, bytes: number): string;
  /** Mounts a disk that never answers, as a network disk whose server is gone, and gives its path. */
  hung(): string;
  makeReadOnly(path: string): void;
  makeWritable(path: string): void;
  /** For afterEach: thaws, unmounts and removes. */
  removeAll(): void;
}

export function mounts(): Mounts {
  const mounted: { folder: string; path: string }[] = [];
  /** Processes that hold hung disks. */
  const holders = new Map<string, number>();
  const make = (commands: (folder: string, path: string) => string[][]): string => {
    const folder = mkdtempSync(join(tmpdir(), 'mirror-action-mount-'));
    const path = join(folder, 'mounted');
    mkdirSync(path);
    mounted.push({ folder, path });
    commands(folder, path).forEach(run);
    return path;
  };
  return {
    memory: (bytes) =>
      make((_, path) => [['mount', '-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path]]),
    image: (type, bytes) =>
      make((folder, path) => {
        const image = join(folder, 'image');
        writeFileSync(image, '');
        truncateSync(image, bytes);
        return [
          [`mkfs.${type}`, '-q', image],
          ['mount', '-o', 'loop', image, path],
        ];
      }),
    hung() {
      const path = make(() => []);
      // Nobody answers what the kernel asks through this descriptor, which `sleep` holds open.
      const script = `exec 9<>/dev/fuse
        mount -t fuse -o fd=9,rootmode=40000,user_id=0,group_id=0,allow_other none "$1" || exit
        sleep 600 >/dev/null 2>&1 & echo $!`;
      holders.set(path, Number(run(['sh', '-c', script, 'sh', path])));
      return path;
    },
    makeReadOnly(path) {
      run(['mount', '-o', 'remount,ro', path]);
    },
    makeWritable(path) {
      run(['mount', '-o', 'remount,rw', path]);
    },
    removeAll() {
      for (const { folder, path } of mounted.splice(0)) {
        const holder = holders.get(path);
        if (holder === undefined) spawnSync('fsfreeze', ['--unfreeze', path]);
        else process.kill(holder, 'SIGKILL');
        if (holder !== undefined || isMounted(path)) run(['umount', path]);
        rmSync(folder, { recursive: true, force: true });
      }
    },
  };
}

/** Blocks every write in the kernel, as a network disk whose server is gone. Not for memory. */
export function freeze(path: string): void {
  run(['fsfreeze', '--freeze', path]);
}

export function thaw(path: string): void {
  run(['fsfreeze', '--unfreeze', path]);
}

/** Whether a file system can be mounted here: `tmpfs`, `hung`, or one that has a `mkfs.<type>`. */
export function canMount(type: string): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false;
  const trial = mounts();
  try {
    if (type === 'tmpfs') trial.memory(1024 * 1024);
    else if (type === 'hung') trial.hung();
    else trial.image(type, IMAGE_BYTES[type] ?? 0);
    return true;
  } catch {
    return false;
  } finally {
    trial.removeAll();
  }
}

/** The smallest images that their `mkfs` makes, more or less. */
export const IMAGE_BYTES: Record<string, number> = {
  ext4: 32 * 1024 * 1024,
  xfs: 320 * 1024 * 1024,
};

function isMounted(path: string): boolean {
  return spawnSync('mountpoint', ['-q', path]).status === 0;
}

function run([command = '', ...rest]: string[]): string {
  const { error, status, stdout, stderr } = spawnSync(command, rest, { encoding: 'utf8' });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${rest.join(' ')}: ${stderr}`);
  return stdout;
}

/**
 * What git needs to reach upstream over SSH: the key and the known hosts as files in a private folder, and the command
 * that uses them, as in actions/checkout. The machine's ssh_config is read (for a proxy or a jump host), and options that
 * must have a certain value are overridden.
 */
import { mkdtemp, open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, systemCode, toMirrorError } from '../lib/errors.ts';
import { findExecutable } from '../lib/executable.ts';
import { listFolder, removeTree } from '../lib/files.ts';
import { runBrief } from '../lib/process.ts';
import { composeKnownHosts } from './known-hosts.ts';

export interface SshIdentity {
  /** A private key without a passphrase; its last line ends with a line feed. */
  privateKey: string;
  /** Lines of known_hosts, in addition to the user's and those of github.com. */
  knownHosts: string;
  /** False: the key of an unknown host is accepted. */
  isStrict: boolean;
}

export interface SshOptions {
  /** The private folder is created here. The runner empties it after each job. */
  temporaryFolder: string;
  /** The user's home folder, whose known hosts are used; undefined if there is none. */
  home: string | undefined;
  environment: NodeJS.ProcessEnv;
}

/** Files that hold a secret. The caller has to close it in any case. */
export interface Ssh {
  /** For GIT_SSH_COMMAND. */
  command: string;
  /** Removes the files. A second call does nothing. */
  close(): Promise<void>;
}

const FOLDER = 'mirror-action-ssh-';
const KEY = 'key';
const KNOWN_HOSTS = 'known_hosts';

/** Notices a dead network after 30 s * 10. The SSH server answers, while the git behind it may compute for any time. */
const ALIVE_INTERVAL_S = 30;
const ALIVE_COUNT = 10;
/** Until keys are exchanged. Linux would wait two minutes for a firewall that drops packets. */
const CONNECT_TIMEOUT_S = 60;

const FIXED_OPTIONS = [
  // Nobody can answer a prompt.
  'BatchMode=yes',
  // Offer no keys of an agent: a server ends the connection after some wrong keys.
  'IdentitiesOnly=yes',
  // Open a new connection, which ends with the job, instead of using one that a master keeps open.
  'ControlMaster=no',
  'ControlPath=none',
  `ConnectTimeout=${String(CONNECT_TIMEOUT_S)}`,
  `ServerAliveInterval=${String(ALIVE_INTERVAL_S)}`,
  `ServerAliveCountMax=${String(ALIVE_COUNT)}`,
  // Messages are matched in failure.ts.
  'LogLevel=INFO',
  'CheckHostIP=no',
];

/** Writes the files. Throws `ssh-unusable` or `no-space`, and leaves no file behind then. */
export async function openSsh(identity: SshIdentity, options: SshOptions): Promise<Ssh> {
  const executable = await findSsh(options.environment);
  const folder = await mkdtemp(join(options.temporaryFolder, FOLDER)).catch(rethrow);
  const close = () => removeTree(folder);
  try {
    const knownHosts = composeKnownHosts(
      await readUserKnownHosts(options.home),
      identity.knownHosts,
    );
    await writePrivate(join(folder, KEY), identity.privateKey, options);
    await writePrivate(join(folder, KNOWN_HOSTS), knownHosts, options);
  } catch (error) {
    await close();
    return rethrow(error);
  }
  return { command: buildSshCommand(executable, folder, identity.isStrict), close };
}

/** Removes the folders that killed steps left behind. Returns their number. */
export async function sweepSsh(temporaryFolder: string): Promise<number> {
  const left = (await listFolder(temporaryFolder)).filter(({ name }) => name.startsWith(FOLDER));
  for (const { name } of left) await removeTree(join(temporaryFolder, name));
  return left.length;
}

/**
 * git runs it in a shell. ssh starts in the folder, so its options contain only plain names, to which its own rules for
 * spaces, quotes, %, ~ and ${} don't apply (git fact 17).
 */
export function buildSshCommand(executable: string, folder: string, isStrict: boolean): string {
  const options = [
    ...FIXED_OPTIONS,
    // Not `no`: a known host with another key must be refused.
    `StrictHostKeyChecking=${isStrict ? 'yes' : 'accept-new'}`,
    `UserKnownHostsFile=${KNOWN_HOSTS}`,
  ].map((option) => `-o ${option}`);
  return `cd ${quote(folder)} && exec ${quote(executable)} -i ${KEY} ${options.join(' ')}`;
}

/** Quotes a word for a POSIX shell, which expands nothing between single quotes. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

async function findSsh(environment: NodeJS.ProcessEnv): Promise<string> {
  const executable = await findExecutable('ssh', environment);
  if (executable !== undefined) return executable;
  throw new MirrorError(
    'ssh-unusable',
    "ssh is not on PATH, and a private key needs it: install OpenSSH's client in the runner or the job's container",
  );
}

async function readUserKnownHosts(home: string | undefined): Promise<string> {
  if (home === undefined) return '';
  try {
    return await readFile(join(home, '.ssh', 'known_hosts'), 'utf8');
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return '';
    throw error;
  }
}

/** Writes a file that only this user can read: ssh refuses a key that others can read. */
async function writePrivate(path: string, content: string, options: SshOptions): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    // While the file is still empty.
    if (process.platform === 'win32') await shutOut(path, options);
    await file.writeFile(content);
  } finally {
    await file.close();
  }
}

/** Windows: gives access to this user only, and removes inherited access. */
async function shutOut(path: string, { environment }: SshOptions): Promise<void> {
  const user = `${environment['USERDOMAIN'] ?? ''}\\${environment['USERNAME'] ?? ''}`;
  const folder = join(environment['SystemRoot'] ?? 'C:\\Windows', 'System32');
  const icacls = join(folder, 'icacls.exe');
  for (const change of [['/grant:r', `${user}:F`], ['/inheritance:r']]) {
    const { exitCode } = await runBrief([icacls, path, ...change], {
      environment: { SystemRoot: environment['SystemRoot'] },
      workingDirectory: folder,
    });
    if (exitCode !== 0) throw new Error(`icacls ended with exit ${String(exitCode)}`);
  }
}

function rethrow(error: unknown): never {
  throw toMirrorError(error, 'ssh-unusable', "writing the key's files");
}

/**
 * What git needs to reach upstream over SSH: the key and the known hosts as files in a private
 * folder, and the command that uses them. As actions/checkout does it, so that a key that works
 * there works here; the folder is gone before the step ends.
 *
 * The machine owner's ssh_config is read (a proxy, a jump host), with what must hold for us
 * overridden.
 */
import { mkdtemp, open, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MirrorError, systemCode, toMirrorError } from '../lib/errors.ts';
import { findExecutable } from '../lib/executable.ts';
import { removeTree } from '../lib/files.ts';
import { runBrief } from '../lib/process.ts';
import { composeKnownHosts } from './known-hosts.ts';

export interface SshIdentity {
  /** A private key without passphrase, whole lines. */
  privateKey: string;
  /** Lines of known_hosts, beside those that the machine and this file have. */
  knownHosts: string;
  /** False: a host that nobody knows is taken for the right one. */
  isStrict: boolean;
}

export interface SshOptions {
  /** Emptied by the runner after each job; the private folder goes there. */
  temporaryFolder: string;
  /** The user's home, whose known hosts count too; undefined for a user without one. */
  home: string | undefined;
  environment: NodeJS.ProcessEnv;
}

/** Files that hold a secret: whoever opened it has to close it, whatever happens. */
export interface Ssh {
  /** For GIT_SSH_COMMAND. */
  command: string;
  /** Removes the files; a second time does nothing. */
  close(): Promise<void>;
}

const FOLDER = 'mirror-action-ssh-';
const KEY = 'key';
const KNOWN_HOSTS = 'known_hosts';

/**
 * A network that is dead is noticed after 30 s * 10, in the middle of a fetch too. It is the SSH
 * server that answers, beside what it runs: git may compute a large pack for as long as it likes.
 */
const ALIVE_INTERVAL_S = 30;
const ALIVE_COUNT = 10;
/** Until keys are exchanged. A firewall that drops packets would take two minutes (Linux). */
const CONNECT_TIMEOUT_S = 60;

const FIXED_OPTIONS = [
  // Nobody is there to answer.
  'BatchMode=yes',
  // Not with what an agent offers: a server ends the connection after some wrong keys.
  'IdentitiesOnly=yes',
  // A connection of its own, ended with the job, and not one that a user's master keeps open.
  'ControlMaster=no',
  'ControlPath=none',
  `ConnectTimeout=${String(CONNECT_TIMEOUT_S)}`,
  `ServerAliveInterval=${String(ALIVE_INTERVAL_S)}`,
  `ServerAliveCountMax=${String(ALIVE_COUNT)}`,
  // Messages are matched in failure.ts.
  'LogLevel=INFO',
  'CheckHostIP=no',
];

/** Writes the files. Throws `ssh-unusable`, or `no-space`, and leaves nothing then. */
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

/** Removes what killed steps of this job left behind; tells how many there were. */
export async function sweepSsh(temporaryFolder: string): Promise<number> {
  const left = (await findNames(temporaryFolder)).filter((name) => name.startsWith(FOLDER));
  await Promise.all(left.map((name) => removeTree(join(temporaryFolder, name))));
  return left.length;
}

async function findNames(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/**
 * git hands it to a shell. ssh is started in the folder, so that names without any odd character
 * are all that its own rules (spaces, quotes, %, ~, ${}) see.
 */
export function buildSshCommand(executable: string, folder: string, isStrict: boolean): string {
  const options = [
    ...FIXED_OPTIONS,
    // Not `no`: a host that is known and has another key is refused in any case.
    `StrictHostKeyChecking=${isStrict ? 'yes' : 'accept-new'}`,
    `UserKnownHostsFile=${KNOWN_HOSTS}`,
  ].map((option) => `-o ${option}`);
  return `cd ${quote(folder)} && exec ${quote(executable)} -i ${KEY} ${options.join(' ')}`;
}

/** For a POSIX shell, which takes everything between single quotes as it is. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

async function findSsh(environment: NodeJS.ProcessEnv): Promise<string> {
  const executable = await findExecutable('ssh', environment);
  if (executable !== undefined) return executable;
  throw new MirrorError(
    'ssh-unusable',
    "ssh is not on PATH, and a private key needs it: install OpenSSH's client in the runner or the job's container",
    { concern: 'token' },
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

/** ssh refuses a key that others can read. */
async function writePrivate(path: string, content: string, options: SshOptions): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    // Before there is anything to read.
    if (process.platform === 'win32') await shutOut(path, options);
    await file.writeFile(content);
  } finally {
    await file.close();
  }
}

/** Windows: nobody but this user, and nothing from the folder above. */
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

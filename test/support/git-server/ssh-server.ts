/**
 * A real sshd with git repositories behind it. It has a configuration, host key and users of its
 * own and touches none of the machine's, but for the folder that sshd wants to have (/run/sshd).
 *
 * URLs as `git@host:owner/name.git` have no place for a port, so it listens at port 22 of a
 * loopback address of its own: that takes root, and Linux, where all of 127.0.0.0/8 is loopback.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endProcess, runProcess, waitUntil } from '../processes.ts';
import type { Session, SessionBehaviour } from './ssh-session.ts';

const SSHD = '/usr/sbin/sshd';
const SESSION = fileURLToPath(new URL('ssh-session.ts', import.meta.url));

export interface SshServerOptions {
  /** An empty folder, or one that is not there yet. */
  folder: string;
  /** False: as many servers are, which do not let GIT_PROTOCOL pass. */
  acceptsProtocol?: boolean;
}

/** Throws what is missing where the machine cannot have one. */
export async function startSshServer(options: SshServerOptions): Promise<SshServer> {
  const needed = 'tests over SSH need';
  if (process.platform !== 'linux') throw new Error(`${needed} Linux`);
  if (process.getuid?.() !== 0) throw new Error(`${needed} to be root: sshd listens at port 22`);
  if (!existsSync(SSHD)) throw new Error(`${needed} ${SSHD}: apt-get install openssh-server`);
  mkdirSync('/run/sshd', { recursive: true, mode: 0o755 });
  mkdirSync(join(options.folder, 'repositories'), { recursive: true });
  const server = new SshServer(options);
  await createKey(join(options.folder, 'host'));
  writeFileSync(join(options.folder, 'authorized_keys'), '');
  await server.start();
  return server;
}

/** Makes a key pair of files, and gives the private key. */
export async function createKey(file: string, ...kind: string[]): Promise<string> {
  const wanted = kind.length > 0 ? kind : ['-t', 'ed25519', '-N', ''];
  const made = await runProcess('ssh-keygen', ['-q', '-C', 'test', '-f', file, ...wanted]);
  if (made.exitCode !== 0) throw new Error(`ssh-keygen: ${made.stderr}`);
  return readFileSync(file, 'utf8');
}

export class SshServer {
  /** An address of 127.0.0.0/8; the only user is root. */
  readonly host = `127.22.${randomInt(1, 255)}.${randomInt(1, 255)}`;
  /** Below it: `owner/name.git`. */
  readonly repositories: string;
  readonly #folder: string;
  readonly #acceptsProtocol: boolean;
  #process: ChildProcess | undefined;
  #log = '';

  constructor({ folder, acceptsProtocol = true }: SshServerOptions) {
    this.#folder = folder;
    this.#acceptsProtocol = acceptsProtocol;
    this.repositories = join(folder, 'repositories');
    this.behave({ kind: 'serve' });
  }

  /** Lines for known_hosts. */
  get knownHosts(): string {
    return `${this.host} ${readFileSync(join(this.#folder, 'host.pub'), 'utf8')}`;
  }

  /** What sshd has said so far. */
  get log(): string {
    return this.#log;
  }

  get sessions(): Session[] {
    const file = join(this.#folder, 'sessions');
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    return lines.map((line) => JSON.parse(line) as Session);
  }

  /** Lets the owner of a key pair in, by its public file. */
  authorize(publicKey: string): void {
    writeFileSync(join(this.#folder, 'authorized_keys'), readFileSync(publicKey), { flag: 'a' });
  }

  /** From the next session on; what has stalled so far is forgotten. */
  behave(behaviour: SessionBehaviour): void {
    rmSync(join(this.#folder, 'stalled'), { force: true });
    writeFileSync(join(this.#folder, 'behaviour.json'), JSON.stringify(behaviour));
  }

  /** Answers `git-lfs-authenticate` with a URL and the headers for it. */
  offerLfs(href: string, header: Record<string, string>): void {
    writeFileSync(join(this.#folder, 'lfs.json'), JSON.stringify({ href, header }));
  }

  async waitForStall(timeoutMs = 20_000): Promise<void> {
    const what = 'a session that stalls';
    await waitUntil(() => existsSync(join(this.#folder, 'stalled')), { timeoutMs, what });
  }

  async start(): Promise<void> {
    const config = join(this.#folder, 'sshd_config');
    writeFileSync(config, this.#configuration());
    const child = spawn(SSHD, ['-D', '-e', '-f', config], {
      // What sshd gives its sessions comes from it.
      env: { PATH: process.env['PATH'] ?? '' },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#process = child;
    this.#log = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#log += text;
    });
    const isUp = () => this.#log.includes('Server listening') || child.exitCode !== null;
    await waitUntil(isUp, { timeoutMs: 20_000, what: 'sshd' });
    if (child.exitCode !== null) throw new Error(`sshd did not start: ${this.#log}`);
  }

  /** Ends the connections that there are, in the middle of whatever they do. */
  endSessions(): void {
    const pid = this.#process?.pid;
    if (pid !== undefined) descendantsOf(pid).forEach(endProcess);
  }

  /** Ends it with its connections. It can be started again. */
  async stop(): Promise<void> {
    const child = this.#process;
    if (child?.pid === undefined) return;
    const pids = [child.pid, ...descendantsOf(child.pid)];
    pids.forEach(endProcess);
    if (child.exitCode === null && child.signalCode === null) {
      await new Promise((resolve) => child.once('exit', resolve));
    }
    this.#process = undefined;
  }

  #configuration(): string {
    return `
ListenAddress ${this.host}
Port 22
HostKey ${join(this.#folder, 'host')}
AuthorizedKeysFile ${join(this.#folder, 'authorized_keys')}
# The folders above belong to whom they belong.
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
PidFile none
PrintMotd no
LogLevel VERBOSE
SetEnv PATH=${process.env['PATH'] ?? ''}
${this.#acceptsProtocol ? 'AcceptEnv GIT_PROTOCOL' : ''}
ForceCommand exec ${[process.execPath, SESSION, this.#folder].map((word) => `'${word}'`).join(' ')}
`;
  }
}

/** Children, their children, and so on, as long as their parents are there. */
function descendantsOf(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    try {
      const status = readFileSync(`/proc/${name}/stat`, 'latin1').replace(/^.*\)/s, '');
      parents.set(Number(name), Number(status.trim().split(' ')[1]));
    } catch {
      // It has ended meanwhile.
    }
  }
  const found = [pid];
  for (const each of found) {
    for (const [child, parent] of parents) if (parent === each) found.push(child);
  }
  return found.slice(1);
}

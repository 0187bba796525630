/**
 * What the test's SSH server runs for a user who has logged in: `ssh-session.ts <folder>`, instead of
 * the command that was asked for. It serves the repositories below the folder, and behaves as
 * `behaviour.json` says.
 */
import { spawn } from 'node:child_process';
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gitConfiguration, gitEnvironment } from '../git.ts';

export type SessionBehaviour =
  /** With that configuration of the serving git. */
  | { kind: 'serve'; configuration?: Record<string, string> }
  /** Says something and ends, as servers do that know better than git. */
  | { kind: 'refuse'; stderr: string }
  /** Sends that much, then nothing until the client goes away. */
  | { kind: 'stall'; afterBytes: number }
  | { kind: 'slow'; bytesPerSecond: number };

export interface Session {
  command: string;
  /** What the client asked for by GIT_PROTOCOL, and the server let through. */
  protocol: string;
}

const folder = process.argv[2] ?? '';
const behaviour = JSON.parse(
  readFileSync(join(folder, 'behaviour.json'), 'utf8'),
) as SessionBehaviour;
const session: Session = {
  command: process.env['SSH_ORIGINAL_COMMAND'] ?? '',
  protocol: process.env['GIT_PROTOCOL'] ?? '',
};
appendFileSync(join(folder, 'sessions'), `${JSON.stringify(session)}\n`);

/** What an LFS client is told, if this server has LFS. */
const lfsFile = join(folder, 'lfs.json');
const [, name] = /^git-upload-pack '([\w./-]+)'$/.exec(session.command) ?? [];
const directory = join(folder, 'repositories', name ?? 'none');
if (behaviour.kind === 'refuse') end(behaviour.stderr);
else if (/^git-lfs-authenticate [\w./-]+ download$/.test(session.command) && existsSync(lfsFile)) {
  process.stdout.write(readFileSync(lfsFile, 'utf8'));
} else if (name === undefined) end(`unexpected: ${session.command}\n`);
// As GitHub says it.
else if (!existsSync(directory)) end('ERROR: Repository not found.\n');
else serve();

function end(stderr: string): void {
  process.stderr.write(stderr);
  process.exitCode = 1;
}

function serve(): void {
  const { configuration = {} } = behaviour.kind === 'serve' ? behaviour : {};
  const child = spawn('git', ['upload-pack', directory], {
    env: gitEnvironment({ ...gitConfiguration(configuration), GIT_PROTOCOL: session.protocol }),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let sentBytes = 0;
  process.stdin.pipe(child.stdin).on('error', () => {});
  // The client is gone.
  process.stdout.on('error', () => child.kill());
  // The client closes its half of the line when it has said all, so only this tells that it has
  // gone: sshd ends with the connection.
  const parent = process.ppid;
  setInterval(() => {
    if (process.ppid !== parent) process.exit(1);
  }, 50).unref();
  child.stdout.on('data', (chunk: Buffer) => {
    const room = behaviour.kind === 'stall' ? behaviour.afterBytes - sentBytes : chunk.length;
    const part = chunk.subarray(0, room);
    sentBytes += part.length;
    process.stdout.write(part);
    if (behaviour.kind === 'stall' && sentBytes >= behaviour.afterBytes) {
      child.stdout.pause();
      writeFileSync(join(folder, 'stalled'), '');
    }
    if (behaviour.kind === 'slow') {
      child.stdout.pause();
      setTimeout(() => child.stdout.resume(), (part.length / behaviour.bytesPerSecond) * 1_000);
    }
  });
  child.on('close', (code) => {
    process.exitCode = code ?? 1;
  });
}

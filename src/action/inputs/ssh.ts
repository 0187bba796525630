/** The inputs for SSH, checked against what ssh can read. Their values are never shown. */
import { MirrorError } from '../../lib/errors.ts';
import type { SshIdentity } from '../../git/ssh.ts';
import { readAs, readBoolean, type ReadInput } from './reader.ts';

/** Undefined without a key. */
export function parseSsh(read: ReadInput): SshIdentity | undefined {
  const isStrict = readBoolean(read, 'ssh-strict');
  const knownHosts = read('ssh-known-hosts');
  const line = findKnownHostsFault(knownHosts);
  if (line !== undefined) {
    const message = `Line ${String(line)} of input \`ssh-known-hosts\` is not a known host; expected a line as ssh-keyscan prints it: host, kind, key`;
    throw new MirrorError('invalid-input', message);
  }
  const text = read('ssh-key');
  if (text === '') return undefined;
  const parsed = parsePrivateKey(text);
  if ('fault' in parsed) {
    throw new MirrorError('invalid-input', `Input \`ssh-key\` ${parsed.fault}`);
  }
  return { privateKey: parsed.key, knownHosts, isStrict };
}

export function parseSshUser(read: ReadInput): string {
  const expected = 'a user name of letters, digits, ".", "_" and "-"';
  return readAs(read, 'ssh-user', expected, (text) =>
    /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(text) ? text : undefined,
  );
}

/** The marks of a private key and what is between them; `BEGIN` and `END` name the same kind. */
const PRIVATE_KEY = /^-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----\n([^]*?)\n-----END \1-----$/m;

/** The key as ssh reads it, or what is wrong with it, without showing any of it. Pure. */
export function parsePrivateKey(text: string): { key: string } | { fault: string } {
  // Windows ends lines with CRLF, and YAML indents them; ssh accepts neither.
  const lines = text.split(/\r\n|[\r\n]/).map((line) => line.trim());
  const [key, kind = '', body = ''] = PRIVATE_KEY.exec(lines.join('\n')) ?? [];
  if (key === undefined) return { fault: explainNoKey(text) };
  if (isEncrypted(kind, body)) {
    return {
      fault: 'is protected by a passphrase, which nobody can type here; expected a key without one',
    };
  }
  return { key: `${key}\n` };
}

function explainNoKey(text: string): string {
  if (/^(?:ssh|ecdsa|sk)-\S+ AAAA/.test(text) || /-BEGIN (?:[A-Z0-9]+ )*PUBLIC KEY-/.test(text)) {
    return 'is a public key; expected the private one';
  }
  if (text.startsWith('PuTTY-User-Key-File')) {
    return 'is a PuTTY key; expected an OpenSSH key, which PuTTYgen can export';
  }
  return /-BEGIN .*PRIVATE KEY-/.test(text)
    ? 'is not a whole private key; expected all lines from BEGIN to END, one per line'
    : 'is not a private key; expected a first line like -----BEGIN OPENSSH PRIVATE KEY-----';
}

/** An OpenSSH key begins with this, the length of the cipher's name, and that name. */
const OPENSSH_MAGIC = 'openssh-key-v1\0';
const NO_CIPHER = `${OPENSSH_MAGIC}\0\0\0\x04none`;

function isEncrypted(kind: string, body: string): boolean {
  if (kind.startsWith('ENCRYPTED ')) return true;
  if (/^Proc-Type: 4,ENCRYPTED$/m.test(body)) return true;
  const content = Buffer.from(body, 'base64').toString('latin1');
  return content.startsWith(OPENSSH_MAGIC) && !content.startsWith(NO_CIPHER);
}

/** An optional marker, hosts, the kind of key, the key, and an optional comment. */
const KNOWN_HOST = /^(?:@[a-z-]+\s+)?\S+\s+[a-z0-9@.-]+\s+[A-Za-z0-9+/]{16,}={0,2}(?:\s.*)?$/;

/** The first line of known hosts that ssh would not understand, counted from 1. Pure. */
export function findKnownHostsFault(text: string): number | undefined {
  const lines = text.split(/\r\n|\n/).map((line) => line.trim());
  const isOdd = (line: string) => line !== '' && !line.startsWith('#') && !KNOWN_HOST.test(line);
  const index = lines.findIndex(isOdd);
  return index === -1 ? undefined : index + 1;
}

/** What people paste into `ssh-key` and `ssh-known-hosts`, held against what ssh can read. Pure. */

/** The marks of a private key, with what is between; `BEGIN` and `END` are of one kind. */
const PRIVATE_KEY = /^-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----\n([^]*?)\n-----END \1-----$/m;

/** The key as ssh reads it, or what is wrong with it, without showing any of it. */
export function parsePrivateKey(text: string): { key: string } | { fault: string } {
  // Windows ends lines otherwise, and YAML indents them; ssh takes neither.
  const lines = text.split(/\r\n|[\r\n]/).map((line) => line.trim());
  const [key, kind = '', body = ''] = PRIVATE_KEY.exec(lines.join('\n')) ?? [];
  if (key === undefined) return { fault: explainNoKey(text) };
  if (isEncrypted(kind, body)) {
    return { fault: 'is protected by a passphrase, and nobody is there to type it' };
  }
  return { key: `${key}\n` };
}

function explainNoKey(text: string): string {
  if (/^(?:ssh|ecdsa|sk)-\S+ AAAA/.test(text) || /-BEGIN (?:[A-Z0-9]+ )*PUBLIC KEY-/.test(text)) {
    return 'is a public key; the private one belongs there';
  }
  if (text.startsWith('PuTTY-User-Key-File')) {
    return 'is a key of PuTTY; export it as an OpenSSH key';
  }
  return /-BEGIN .*PRIVATE KEY-/.test(text)
    ? 'is not a whole private key: its lines, from BEGIN to END, each on a line of its own'
    : 'is not a private key, which begins with a line like -----BEGIN OPENSSH PRIVATE KEY-----';
}

/** What an OpenSSH key begins with: this, the length of the cipher's name, and the name. */
const OPENSSH_MAGIC = 'openssh-key-v1\0';
const NO_CIPHER = `${OPENSSH_MAGIC}\0\0\0\x04none`;

function isEncrypted(kind: string, body: string): boolean {
  if (kind.startsWith('ENCRYPTED ')) return true;
  if (/^Proc-Type: 4,ENCRYPTED$/m.test(body)) return true;
  const content = Buffer.from(body, 'base64').toString('latin1');
  return content.startsWith(OPENSSH_MAGIC) && !content.startsWith(NO_CIPHER);
}

/** A marker, hosts, the kind of a key, the key, and perhaps a comment. */
const KNOWN_HOST = /^(?:@[a-z-]+\s+)?\S+\s+[a-z0-9@.-]+\s+[A-Za-z0-9+/]{16,}={0,2}(?:\s.*)?$/;

/** Which line of known hosts ssh would not understand, counted from 1, or undefined for none. */
export function findKnownHostsFault(text: string): number | undefined {
  const lines = text.split(/\r\n|\n/).map((line) => line.trim());
  const isOdd = (line: string) => line !== '' && !line.startsWith('#') && !KNOWN_HOST.test(line);
  const index = lines.findIndex(isOdd);
  return index === -1 ? undefined : index + 1;
}

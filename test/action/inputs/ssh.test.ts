/** What people paste for a key and for known hosts. */
import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { findKnownHostsFault, parsePrivateKey } from '../../../src/action/inputs/ssh.ts';

/** What OpenSSH writes, as far as anybody here looks: the cipher's name after the magic. */
function openSshKey(cipher: string): string {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(cipher.length);
  const content = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    length,
    Buffer.from(cipher),
    Buffer.alloc(200, 'canary'),
  ]).toString('base64');
  const lines = content.match(/.{1,70}/g) ?? [];
  return [
    '-----BEGIN OPENSSH PRIVATE KEY-----',
    ...lines,
    '-----END OPENSSH PRIVATE KEY-----',
    '',
  ].join('\n');
}

const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 });
const ec = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const lock = { cipher: 'aes-256-cbc', passphrase: 'secret' };

const pkcs1 = String(rsa.privateKey.export({ format: 'pem', type: 'pkcs1' }));
const pkcs8 = String(rsa.privateKey.export({ format: 'pem', type: 'pkcs8' }));
const sec1 = String(ec.privateKey.export({ format: 'pem', type: 'sec1' }));
const openSsh = openSshKey('none');

describe('a private key', () => {
  test.each([
    ['of OpenSSH', openSsh],
    ['PKCS #1', pkcs1],
    ['PKCS #8', pkcs8],
    ['SEC 1', sec1],
  ])('%s is taken as it is, with a line end', (_, key) => {
    expect(parsePrivateKey(key)).toEqual({ key });
    expect(parsePrivateKey(key.trim())).toEqual({ key });
  });

  test.each([
    ['line ends of Windows', openSsh.replaceAll('\n', '\r\n')],
    ['line ends of old Macs', openSsh.replaceAll('\n', '\r')],
    ['indented lines', openSsh.replaceAll(/^/gm, '    ')],
    ['spaces at the ends of lines', openSsh.replaceAll('\n', ' \t\n')],
    ['something around it', `Bag Attributes\n  name: x\n\n${openSsh}\nssh-ed25519 AAAA x\n`],
  ])('with %s becomes what ssh reads', (_, text) => {
    expect(parsePrivateKey(text)).toEqual({ key: openSsh });
  });

  const publicKey =
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl x';

  test.each<[string, string, RegExp]>([
    ['a public key', publicKey, /is a public key/],
    ['a public key, PEM', String(rsa.publicKey.export({ format: 'pem', type: 'spki' })), /public/],
    ['a key of PuTTY', 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none', /PuTTY/],
    ['a token', 'ghs_canary', /is not a private key/],
    ['a path', '~/.ssh/id_canary', /is not a private key/],
    [
      'a certificate',
      '-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----',
      /is not a pr/,
    ],
    ['half a key', openSsh.slice(0, 150), /not a whole/],
    ['a key on one line', openSsh.replaceAll('\n', ' '), /not a whole/],
    ['a key with its line ends written out', openSsh.replaceAll('\n', '\\n'), /not a whole/],
    ['a key with another end', pkcs1.replace('END RSA', 'END EC'), /not a whole/],
    ['a key with a passphrase', openSshKey('aes256-ctr'), /passphrase/],
    [
      'one of PKCS #1',
      String(rsa.privateKey.export({ format: 'pem', type: 'pkcs1', ...lock })),
      /passphrase/,
    ],
    [
      'one of PKCS #8',
      String(rsa.privateKey.export({ format: 'pem', type: 'pkcs8', ...lock })),
      /passphrase/,
    ],
  ])('is not: %s, and nothing of it is shown', (_, text, fault) => {
    const parsed = parsePrivateKey(text);
    const said = 'fault' in parsed ? parsed.fault : 'nothing';
    expect(said).toMatch(fault);
    for (const line of text.split('\n').filter((each) => each.length > 4)) {
      expect(said).not.toContain(line);
    }
  });
});

describe('known hosts', () => {
  const key = 'AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';

  test.each([
    '',
    '\n\r\n',
    `github.com ssh-ed25519 ${key}`,
    `# github.com:22 SSH-2.0-babeld\n  github.com ssh-ed25519 ${key} a comment\r\n`,
    `a.example,192.0.2.1,[b.example]:2222\tssh-rsa\t${key}==`,
    `|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-rsa ${key}`,
    `@cert-authority *.example ssh-rsa ${key}`,
    `@revoked * sk-ssh-ed25519@openssh.com ${key}`,
  ])('%j are', (text) => {
    expect(findKnownHostsFault(text)).toBeUndefined();
  });

  test.each([
    ['ghs_canary', 1],
    [`\ngithub.com ssh-ed25519 ${key}\nssh-ed25519 ${key}`, 3],
    [`github.com ssh-ed25519 ${key}\n${openSsh}`, 2],
    [`github.com ssh-ed25519 ${key.slice(0, 8)}`, 1],
    ['github.com', 1],
  ])('%j are not, in line %i', (text, line) => {
    expect(findKnownHostsFault(text)).toBe(line);
  });
});

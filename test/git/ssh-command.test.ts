/** The command that git hands to a shell, and the hosts that are known. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { composeKnownHosts } from '../../src/git/known-hosts.ts';
import { buildSshCommand } from '../../src/git/ssh.ts';

describe('the command', () => {
  const command = buildSshCommand('/usr/bin/ssh', '/tmp/x', true);

  test('starts that ssh in the private folder, with the files there', () => {
    expect(command).toMatch(/^cd '\/tmp\/x' && exec '\/usr\/bin\/ssh' -i key -o /);
    expect(command).toMatch(/ -o UserKnownHostsFile=known_hosts( |$)/);
  });

  test.each([
    'BatchMode=yes',
    'IdentitiesOnly=yes',
    'ControlMaster=no',
    'ControlPath=none',
    'CheckHostIP=no',
    'StrictHostKeyChecking=yes',
  ])('has %s', (option) => {
    expect(` ${command} `).toContain(` -o ${option} `);
  });

  test('accepts an unknown host where it need not be strict, and no changed one', () => {
    const lenient = buildSshCommand('/usr/bin/ssh', '/tmp/x', false);
    expect(lenient).toBe(
      command.replace('StrictHostKeyChecking=yes', 'StrictHostKeyChecking=accept-new'),
    );
  });

  // What a shell makes of them is in test/git/ssh.test.ts.
  test.each([
    ['/a b', "'/a b'"],
    ["/it's", "'/it'\\''s'"],
    ['C:\\Program Files\\ssh.exe', "'C:\\Program Files\\ssh.exe'"],
    ['/$(id)`id`"', "'/$(id)`id`\"'"],
  ])('quotes %s as %s', (path, quoted) => {
    expect(buildSshCommand(path, path, true)).toContain(`cd ${quoted} && exec ${quoted} -i`);
  });
});

describe('known hosts', () => {
  const linesOf = (ofUser = '', ofInput = '') => composeKnownHosts(ofUser, ofInput).split('\n');

  test("have github.com's keys, which have the fingerprints that GitHub publishes", () => {
    const fingerprints = linesOf()
      .filter((line) => line !== '')
      .map((line) => {
        const [host, kind, key = ''] = line.split(' ');
        const digest = createHash('sha256').update(Buffer.from(key, 'base64')).digest('base64');
        return `${String(host)} ${String(kind)} SHA256:${digest.replace(/=+$/, '')}`;
      });
    expect(fingerprints).toEqual([
      'github.com ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU',
      'github.com ecdsa-sha2-nistp256 SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM',
      'github.com ssh-rsa SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s',
    ]);
  });

  test("have the user's and the input's lines as well, each whole, without line ends of Windows", () => {
    const [first, second, third, ...others] = linesOf(
      'a ssh-rsa AAAA',
      '\r\nb ssh-rsa BBBB\r\n# c',
    );
    expect([first, second, third]).toEqual(['a ssh-rsa AAAA', 'b ssh-rsa BBBB', '# c']);
    expect(others).toEqual(linesOf());
    expect(others.at(-1)).toBe('');
  });
});

/** What of a machine's settings decides whom git trusts and what it shows of itself, over real TLS. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GitFailure } from '../../src/git/failure.ts';
import { openGit } from '../../src/git/git.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { ChildResult } from '../../src/lib/process.ts';
import {
  createIdentity,
  startTlsFront,
  type Identity,
  type TlsFront,
} from '../support/certificate.ts';
import { startGitServer, type GitServer } from '../support/git-server/server.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { createTemporaryDirectory, removeDirectory } from '../support/temporary-directory.ts';

const TOKEN = 'ghs_canary';
const { signal } = new AbortController();
let root = '';
let home = '';
let server: GitServer;
/** Its authority is its own, which no machine trusts by default. */
let identity: Identity;
let client: Identity;
let front: TlsFront;

function createFolder(name: string): string {
  const folder = join(root, name);
  mkdirSync(folder);
  return folder;
}

beforeAll(async () => {
  root = await createTemporaryDirectory('tls');
  home = createFolder('home');
  const upstream = join(root, 'upstream.git');
  await createRepository(upstream, repositorySizes.tiny);
  server = await startGitServer({ repositories: { 'owner/name': upstream }, token: TOKEN });
  identity = await createIdentity(createFolder('server'));
  client = await createIdentity(createFolder('client'));
  front = await startTlsFront(server.url, identity);
});

afterEach(() => {
  rmSync(join(home, '.gitconfig'), { force: true });
});

afterAll(async () => {
  await server.stop();
  await front.close();
  await removeDirectory(root);
});

/** Asks for refs, with the token, as a job on that machine does. */
async function probe(environment: NodeJS.ProcessEnv, at = front.url): Promise<ChildResult> {
  const git = await openGit({
    environment: { PATH: process.env['PATH'], HOME: home, ...environment },
    ...{ workingDirectory: root, signal, log: silentLog },
  });
  const url = `${at}/owner/name`;
  return git.run({
    gitDirectory: join(root, 'none'),
    args: ['ls-remote', '--', url],
    access: { url, token: TOKEN },
    timeoutMs: 20_000,
  });
}

function expectAnswer({ exitCode, stdout, stderr }: ChildResult): void {
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
  expect(stdout.toString()).toContain('refs/heads/main');
}

function expectDistrust(result: ChildResult): void {
  const { code, message } = new GitFailure(result, 'asking');
  expect(code).toBe('network');
  expect(message).toContain("upstream's TLS certificate is not trusted");
  expect(message).toContain('http.sslCAInfo');
  expect(message).toContain('GIT_SSL_CAINFO');
}

/** A file of configuration with these lines below `[http]`. */
function configure(file: string, ...lines: string[]): string {
  writeFileSync(file, `[http]\n${lines.map((line) => `  ${line}\n`).join('')}`);
  return file;
}

function inVariables(key: string, value: string): NodeJS.ProcessEnv {
  return { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: key, GIT_CONFIG_VALUE_0: value };
}

describe("a server whose certificate is an authority's of its own", () => {
  test('is not trusted by default, and the error says what to set', async () => {
    expectDistrust(await probe({}));
    expect(server.requests).toEqual([]);
  });

  test.each<[string, () => NodeJS.ProcessEnv]>([
    ['GIT_SSL_CAINFO', () => ({ GIT_SSL_CAINFO: identity.certificateFile })],
    ['GIT_SSL_NO_VERIFY', () => ({ GIT_SSL_NO_VERIFY: '1' })],
    [
      'http.sslCAInfo in ~/.gitconfig',
      () => {
        configure(join(home, '.gitconfig'), `sslCAInfo = ${identity.certificateFile}`);
        return {};
      },
    ],
    [
      'http.sslCAInfo in the file of GIT_CONFIG_GLOBAL',
      () => ({
        GIT_CONFIG_GLOBAL: configure(
          join(root, 'global'),
          `sslCAInfo = ${identity.certificateFile}`,
        ),
      }),
    ],
    [
      'http.sslVerify in the file of GIT_CONFIG_SYSTEM',
      () => ({ GIT_CONFIG_SYSTEM: configure(join(root, 'system'), 'sslVerify = false') }),
    ],
    [
      'http.sslCAInfo in GIT_CONFIG_COUNT',
      () => inVariables('http.sslCAInfo', identity.certificateFile),
    ],
    [
      'http.<url>.sslVerify in GIT_CONFIG_COUNT',
      () => inVariables(`http.${front.url}/.sslVerify`, 'false'),
    ],
    [
      'GIT_CONFIG_PARAMETERS',
      () => ({ GIT_CONFIG_PARAMETERS: `'http.sslcainfo'='${identity.certificateFile}'` }),
    ],
  ])('is trusted by %s', async (_, prepare) => {
    expectAnswer(await probe(prepare()));
  });

  test('is not trusted for the sake of another one, nor for settings of other servers', async () => {
    expectDistrust(await probe({ GIT_SSL_CAINFO: client.certificateFile }));
    expectDistrust(await probe(inVariables('http.https://example.com/.sslVerify', 'false')));
  });

  test('that is for another host is named as such', async () => {
    const other = await createIdentity(createFolder('other'), 'git.example.com');
    const stranger = await startTlsFront(server.url, other);
    try {
      const result = await probe({ GIT_SSL_CAINFO: other.certificateFile }, stranger.url);
      const { code, concern, message } = new GitFailure(result, 'asking');
      expect({ code, concern }).toEqual({ code: 'network', concern: 'server' });
      expect(message).toContain("upstream's TLS certificate is for another host");
    } finally {
      await stranger.close();
    }
  });
});

describe('a server that wants a certificate of its client', () => {
  let strict: TlsFront;
  beforeAll(async () => {
    const demands = { ca: client.cert, requestCert: true, rejectUnauthorized: true };
    strict = await startTlsFront(server.url, { ...identity, ...demands });
  });
  afterAll(() => strict.close());

  test('gets the one of the configuration', async () => {
    const file = configure(
      join(root, 'client-configuration'),
      `sslCAInfo = ${identity.certificateFile}`,
      `sslCert = ${client.certificateFile}`,
      `sslKey = ${client.keyFile}`,
    );
    expectAnswer(await probe({ GIT_CONFIG_GLOBAL: file }, strict.url));
  });

  test('gets the one of GIT_SSL_CERT and GIT_SSL_KEY', async () => {
    const environment = {
      GIT_SSL_CAINFO: identity.certificateFile,
      GIT_SSL_CERT: client.certificateFile,
      GIT_SSL_KEY: client.keyFile,
    };
    expectAnswer(await probe(environment, strict.url));
  });

  test('refuses one that has none, which is no lack of trust in the server', async () => {
    const result = await probe({ GIT_SSL_CAINFO: identity.certificateFile }, strict.url);
    const { code, message } = new GitFailure(result, 'asking');
    expect(code).toBe('network');
    expect(message).not.toContain('is not trusted');
  });
});

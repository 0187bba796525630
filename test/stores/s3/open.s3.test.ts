/** Where a job finds its bucket: by inputs, variables, profiles and proxies, as the AWS tools do. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { createServer, request as connect, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { S3Place } from '../../../src/stores/s3/open.ts';
import { createIdentity, startTlsFront, type TlsFront } from '../../support/certificate.ts';
import { runProcess } from '../../support/processes.ts';
import type { OpenerReport } from '../../support/s3/opener.ts';
import { startS3Proxy, type S3Proxy } from '../../support/s3/proxy.ts';
import { s3Servers } from '../../support/s3/servers.ts';
import { temporaryDirectories } from '../../support/temporary-directory.ts';

const OPENER = join(import.meta.dirname, '../../support/s3/opener.ts');
const server = s3Servers().find(({ name }) => name === 'ceph');
const describeIf = server === undefined ? describe.skip : describe;

describeIf('a bucket is found', () => {
  const directories = temporaryDirectories();
  let proxy: S3Proxy;

  beforeAll(async () => {
    proxy = await startS3Proxy(server!);
  });
  afterEach(async () => {
    proxy.resetCounters();
    await directories.removeAll();
  });
  afterAll(() => proxy.stop());

  const credentials = () => ({
    AWS_ACCESS_KEY_ID: server!.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server!.secretAccessKey,
  });

  /** What a process with only this environment, and no settings in its home, reports. */
  async function open(
    environment: Record<string, string>,
    place: Partial<S3Place> = {},
  ): Promise<OpenerReport> {
    const home = await directories.create('home');
    const whole = {
      bucket: server!.bucket,
      prefix: `open-test/${randomUUID()}`,
      region: undefined,
      endpoint: proxy.endpoint,
      isPathStyle: true,
      ...place,
    };
    const { stdout, stderr } = await runProcess(process.execPath, [OPENER, JSON.stringify(whole)], {
      environment: { HOME: home, AWS_EC2_METADATA_DISABLED: 'true', ...environment },
    });
    expect(stderr).toBe('');
    return JSON.parse(stdout) as OpenerReport;
  }

  /** Regions that requests were signed for. */
  const regions = () => [
    ...new Set(
      proxy.requests.map(
        ({ headers }) => /Credential=[^,]*?\/\d{8}\/([^/]*)/.exec(headers.authorization ?? '')?.[1],
      ),
    ),
  ];

  test.each([
    ['nothing says where it is', {}, {}, 'us-east-1'],
    ['AWS_DEFAULT_REGION does', { AWS_DEFAULT_REGION: 'eu-west-3' }, {}, 'eu-west-3'],
    [
      'AWS_REGION does',
      { AWS_REGION: 'eu-west-1', AWS_DEFAULT_REGION: 'eu-west-3' },
      {},
      'eu-west-1',
    ],
    ['the input does', { AWS_REGION: 'eu-west-1' }, { region: 'sa-east-1' }, 'sa-east-1'],
  ])('in a region: %s', async (_, environment, place, region) => {
    expect((await open({ ...credentials(), ...environment }, place)).outcome).toBe('none');
    expect(regions()).toEqual([region]);
  });

  test('by a profile, with its region, address and credentials', async () => {
    const folder = await directories.create('aws');
    const [config, secrets] = [join(folder, 'config'), join(folder, 'credentials')];
    const { accessKeyId, secretAccessKey } = server!;
    await writeFile(
      config,
      `[profile ours]\nregion = ap-south-1\nendpoint_url = ${proxy.endpoint}\n`,
    );
    await writeFile(
      secrets,
      `[ours]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`,
    );
    const environment = {
      AWS_PROFILE: 'ours',
      AWS_CONFIG_FILE: config,
      AWS_SHARED_CREDENTIALS_FILE: secrets,
    };
    expect((await open(environment, { endpoint: undefined })).outcome).toBe('none');
    expect(regions()).toEqual(['ap-south-1']);
  });

  test('by AWS_ENDPOINT_URL_S3', async () => {
    const environment = { ...credentials(), AWS_ENDPOINT_URL_S3: proxy.endpoint };
    expect((await open(environment, { endpoint: undefined })).outcome).toBe('none');
    expect(proxy.requests).toHaveLength(1);
  });

  describe('through a proxy', () => {
    const asked: string[] = [];
    let forward: Server;
    let at = '';
    beforeAll(async () => {
      forward = createServer((message, response) => {
        asked.push(message.url ?? '');
        const { hostname, port, pathname, search } = new URL(message.url ?? '');
        const options = {
          ...{ hostname, port, path: pathname + search },
          ...{ method: message.method, headers: message.headers },
        };
        message.pipe(
          connect(options, (answer) => {
            response.writeHead(answer.statusCode ?? 0, answer.headers);
            answer.pipe(response);
          }),
        );
      });
      await new Promise<void>((resolve) => forward.listen(0, '127.0.0.1', resolve));
      at = `http://127.0.0.1:${String((forward.address() as AddressInfo).port)}`;
    });
    afterEach(() => {
      asked.length = 0;
    });
    afterAll(async () => {
      forward.closeAllConnections();
      await new Promise((resolve) => forward.close(resolve));
    });

    test('that the environment names', async () => {
      expect((await open({ ...credentials(), HTTP_PROXY: at })).outcome).toBe('none');
      expect(asked).toHaveLength(1);
    });

    test('unless it says not to', async () => {
      const environment = { ...credentials(), HTTP_PROXY: at, NO_PROXY: '127.0.0.1' };
      expect((await open(environment)).outcome).toBe('none');
      expect(asked).toEqual([]);
    });
  });

  describe('behind a certificate of an authority of its own', () => {
    const folders = temporaryDirectories();
    let front: TlsFront;
    let endpoint = '';
    let certificate = '';
    beforeAll(async () => {
      const identity = await createIdentity(await folders.create('certificate'));
      front = await startTlsFront(server!.endpoint, identity);
      endpoint = front.url;
      certificate = identity.certificateFile;
    });
    afterAll(async () => {
      await front.close();
      await folders.removeAll();
    });

    test.each(['AWS_CA_BUNDLE', 'NODE_EXTRA_CA_CERTS'])('that %s names', async (variable) => {
      const environment = { ...credentials(), [variable]: certificate };
      expect((await open(environment, { endpoint })).outcome).toBe('none');
    });

    test('unless nothing does, which is said', async () => {
      const { outcome } = await open(credentials(), { endpoint });
      expect(outcome).toContain("name its authority's file in AWS_CA_BUNDLE");
    });

    test('or the file is not there, which is said', async () => {
      const { outcome } = await open(
        { ...credentials(), AWS_CA_BUNDLE: '/not/there' },
        { endpoint },
      );
      expect(outcome).toMatch(/AWS settings of this machine cannot be used.*\/not\/there/);
    });
  });

  test('or it is said that there are no credentials', async () => {
    const { outcome } = await open({ AWS_PROFILE: 'not-there' });
    expect(outcome).toMatch(/there are no AWS credentials: run aws-actions/);
  });
});

/** Inputs that say where snapshots are. */
import type { StoreChoice } from '../../stores/open.ts';
import { deriveCacheScopes } from '../cache-scopes.ts';
import { isWithin, parseAbsolutePath } from './paths.ts';
import {
  DEFAULTS,
  formatPlainUrl,
  hideSecrets,
  invalidInput,
  parsePlainUrl,
  readBoolean,
  readChoice,
  type InputName,
  type ReadInput,
} from './reader.ts';
import { formatEpoch, readEvent, type Runner } from './runner.ts';

export function parseStore(
  read: ReadInput,
  environment: NodeJS.ProcessEnv,
  runner: Runner,
): StoreChoice {
  const kind = readChoice(read, 'store', ['auto', 'actions-cache', 'disk', 's3']);
  const [path, bucket] = [read('disk-path'), read('s3-bucket')];
  if (kind === 's3' && bucket === '') {
    throw invalidInput('s3-bucket', bucket, 'the name of a bucket, since `store` is `s3`');
  }
  if (kind === 'disk' && path === '') {
    const expected = 'the path of an existing folder, since `store` is `disk`';
    throw invalidInput('disk-path', path, expected);
  }
  if ((kind === 'actions-cache' || kind === 'disk') && bucket !== '') {
    throw invalidInput('s3-bucket', bucket, `nothing, since \`store\` is \`${kind}\``);
  }
  if (kind === 'actions-cache' && path !== '') {
    throw invalidInput('disk-path', path, 'nothing, since `store` is `actions-cache`');
  }
  if (bucket !== '' && path !== '') {
    throw invalidInput('disk-path', path, 'nothing, since `s3-bucket` is set');
  }
  if (bucket !== '') return { kind: 's3', place: parseBucket(bucket, read) };
  refuseWithoutBucket(read);
  if (path !== '') return { kind: 'disk', path: parseDiskPath(path, runner) };
  return parseCache(environment, kind === 'actions-cache');
}

function parseCache(environment: NodeJS.ProcessEnv, isAskedFor: boolean): StoreChoice {
  const scopes = deriveCacheScopes({
    event: environment['GITHUB_EVENT_NAME'] ?? '',
    ref: environment['GITHUB_REF'] ?? '',
    baseRef: environment['GITHUB_BASE_REF'] ?? '',
    readPayload: () => readEvent(environment),
  });
  return { kind: 'actions-cache', scopes, epoch: formatEpoch(environment), isAskedFor };
}

function parseDiskPath(text: string, { workspace, home }: Runner): string {
  const path = parseAbsolutePath('disk-path', text, home);
  if (isWithin(path, workspace)) {
    const expected = 'a folder outside the workspace, which actions/checkout empties';
    throw invalidInput('disk-path', text, expected);
  }
  return path;
}

const OF_BUCKETS: readonly InputName[] = [
  's3-endpoint',
  's3-region',
  's3-prefix',
  's3-force-path-style',
];

/** Without the bucket they would have no effect, and the workflow's author expects S3. */
function refuseWithoutBucket(read: ReadInput): void {
  for (const name of OF_BUCKETS) {
    const text = read(name);
    if (text !== DEFAULTS[name] && !isFalse(name, read)) {
      throw invalidInput(name, hideSecrets(text), 'nothing, since `s3-bucket` is not set');
    }
  }
}

function isFalse(name: InputName, read: ReadInput): boolean {
  return name === 's3-force-path-style' && !readBoolean(read, name);
}

type Place = Extract<StoreChoice, { kind: 's3' }>['place'];

function parseBucket(bucket: string, read: ReadInput): Place {
  // Names of buckets, and of access points; servers other than AWS allow capitals and `_`.
  if (!/^(?:arn:[A-Za-z0-9:/._-]{10,200}|[A-Za-z0-9][A-Za-z0-9._-]{1,62})$/.test(bucket)) {
    throw invalidInput('s3-bucket', bucket, "a bucket's name, or the ARN of an access point");
  }
  const region = read('s3-region');
  if (!/^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?$/.test(region)) {
    throw invalidInput('s3-region', region, "a region's name: eu-central-1");
  }
  const endpoint = read('s3-endpoint');
  return {
    bucket,
    prefix: parsePrefix(read('s3-prefix')),
    region: region === '' ? undefined : region,
    endpoint: endpoint === '' ? undefined : parseEndpoint(endpoint),
    isPathStyle: readBoolean(read, 's3-force-path-style'),
  };
}

/** Without slashes at its ends: `/` alone is no prefix. */
function parsePrefix(text: string): string {
  const prefix = text.replace(/^\/+|\/+$/g, '');
  const isName = (part: string) => /^[A-Za-z0-9._-]+$/.test(part) && !/^\.{1,2}$/.test(part);
  if (prefix !== '' && (prefix.length > 200 || !prefix.split('/').every(isName))) {
    const expected = 'names of letters, digits, ".", "_" and "-" with single slashes between them';
    throw invalidInput('s3-prefix', text, expected);
  }
  return prefix;
}

function parseEndpoint(text: string): string {
  const url = parsePlainUrl(text);
  if (url !== undefined) return formatPlainUrl(url);
  const expected = 'an http or https URL without user, query or fragment: https://s3.example.org';
  throw invalidInput('s3-endpoint', hideSecrets(text), expected);
}

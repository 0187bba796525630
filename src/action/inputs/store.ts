/** Inputs that say where snapshots are. */
import type { StoreChoice } from '../../stores/open.ts';
import { deriveCacheScopes } from '../cache-scopes.ts';
import { isWithin, parseAbsolutePath } from './paths.ts';
import {
  DEFAULTS,
  hideSecrets,
  invalidInput,
  parseBoolean,
  parsePlainUrl,
  readAs,
  readBoolean,
  readChoice,
  type ReadInput,
} from './reader.ts';
import { formatEpoch, readEvent, type Runner } from './runner.ts';

export function parseStore(
  read: ReadInput,
  environment: NodeJS.ProcessEnv,
  runner: Runner,
): StoreChoice {
  const kind = readChoice(read, 'store', ['auto', 'actions-cache', 'disk', 's3']);
  const chosen = kind === 'auto' ? findStore(read) : kind;
  const reason = chosen === 's3' ? '`s3-bucket` is set' : `\`store\` is \`${chosen}\``;
  for (const [own, name, what] of STORES) {
    const text = read(name);
    if (own === chosen && text === '') {
      throw invalidInput(name, text, `${what}, since \`store\` is \`${own}\``);
    }
    if (own !== chosen && text !== '') throw invalidInput(name, text, `nothing, since ${reason}`);
  }
  if (chosen === 's3') return { kind: chosen, place: parseBucket(read) };
  refuseWithoutBucket(read);
  if (chosen === 'disk') return { kind: chosen, path: parseDiskPath(read('disk-path'), runner) };
  return parseCache(environment, kind === chosen);
}

/** Inputs that only one store has, and needs. */
const STORES = [
  ['s3', 's3-bucket', 'the name of a bucket'],
  ['disk', 'disk-path', 'the path of an existing folder'],
] as const;

function findStore(read: ReadInput): StoreChoice['kind'] {
  return STORES.find(([, name]) => read(name) !== '')?.[0] ?? 'actions-cache';
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

const OF_BUCKETS = ['s3-endpoint', 's3-region', 's3-prefix', 's3-force-path-style'] as const;

/** Without the bucket they would have no effect, and the workflow's author expects S3. */
function refuseWithoutBucket(read: ReadInput): void {
  for (const name of OF_BUCKETS) {
    const text = read(name);
    if (text !== DEFAULTS[name] && parseBoolean(text) !== false) {
      throw invalidInput(name, hideSecrets(text), 'nothing, since `s3-bucket` is not set');
    }
  }
}

/** Names of buckets, and of access points; servers other than AWS allow capitals and `_`. */
const BUCKET = /^(?:arn:[A-Za-z0-9:/._-]{10,200}|[A-Za-z0-9][A-Za-z0-9._-]{1,62})$/;
/** Empty for none. */
const REGION = /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)?$/;

type Place = Extract<StoreChoice, { kind: 's3' }>['place'];

function parseBucket(read: ReadInput): Place {
  const bucketExpected = "a bucket's name, or the ARN of an access point";
  const bucket = readAs(read, 's3-bucket', bucketExpected, (text) => BUCKET.exec(text)?.[0]);
  const regionExpected = "a region's name: eu-central-1";
  const region = readAs(read, 's3-region', regionExpected, (text) => REGION.exec(text)?.[0]);
  const endpoint = read('s3-endpoint');
  return {
    bucket,
    prefix: parsePrefix(read('s3-prefix')),
    region: region === '' ? undefined : region,
    endpoint:
      endpoint === ''
        ? undefined
        : parsePlainUrl('s3-endpoint', endpoint, 'https://s3.example.org'),
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

/** How inputs are read: their defaults, the common kinds of values, and the error for a bad one. */
import { parseDuration } from '../../lib/durations.ts';
import { MirrorError } from '../../lib/errors.ts';

/**
 * Every input, with its default unless that is an expression. action.yml holds the same defaults; they
 * are repeated here because a workflow may give an input as an empty string, which means the default:
 * `save: ${{ inputs.save }}` in an action whose caller left `save` out.
 */
export const DEFAULTS = {
  repository: '',
  'github-server-url': '',
  token: '',
  'ssh-key': '',
  'ssh-known-hosts': '',
  'ssh-strict': 'true',
  'ssh-user': 'git',
  refs: '+refs/heads/*:refs/heads/*\n+refs/tags/*:refs/tags/*',
  'fetch-depth': '0',
  'mirror-path': '',
  prime: 'auto',
  path: '',
  lfs: 'false',
  submodules: 'false',
  'cache-private-submodules': 'false',
  store: 'auto',
  'disk-path': '',
  's3-bucket': '',
  's3-prefix': 'git-mirrors',
  's3-region': '',
  's3-endpoint': '',
  's3-force-path-style': 'false',
  'cache-key': '',
  'lock-timeout': '10m',
  'fetch-timeout': '60m',
  'stall-timeout': '5m',
  publish: 'post',
  verify: 'standard',
  save: 'auto',
  'max-snapshots': '3',
  'job-total': '1',
} as const;

export type InputName = keyof typeof DEFAULTS;

/** The text of an input, or its default where that is empty. */
export type ReadInput = (name: InputName) => string;

export function withDefaults(read: (name: string) => string): ReadInput {
  return (name) => {
    const text = read(name);
    return text === '' ? DEFAULTS[name] : text;
  };
}

/** The error for an input; `expected` completes "expected …". */
export function invalidInput(name: InputName, value: string, expected: string): MirrorError {
  // JSON makes control characters visible; a pasted file would fill the log.
  const shown = JSON.stringify(value.length > 200 ? `${value.slice(0, 200)}…` : value);
  return new MirrorError('invalid-input', `Input \`${name}\` is ${shown}; expected ${expected}`);
}

export function hasControlCharacters(text: string): boolean {
  // eslint-disable-next-line no-control-regex -- finding them is the purpose
  return /[\x00-\x1f\x7f]/.test(text);
}

/** An input's value; where `parse` gives none, an error that `expected` completes. */
export function readAs<T>(
  read: ReadInput,
  name: InputName,
  expected: string,
  parse: (text: string) => T | undefined,
): T {
  const text = read(name);
  const value = parse(text);
  if (value === undefined) throw invalidInput(name, text, expected);
  return value;
}

export function readChoice<T extends string>(
  read: ReadInput,
  name: InputName,
  choices: readonly T[],
): T {
  const find = (text: string) => choices.find((each) => each === text);
  return readAs(read, name, `one of: ${choices.join(', ')}`, find);
}

export function readBoolean(read: ReadInput, name: InputName): boolean {
  return readAs(read, name, 'true or false', parseBoolean);
}

/** The spellings of YAML 1.2, which core.getBooleanInput takes too; undefined for anything else. */
export function parseBoolean(text: string): boolean | undefined {
  if (/^(?:true|True|TRUE)$/.test(text)) return true;
  return /^(?:false|False|FALSE)$/.test(text) ? false : undefined;
}

/** In milliseconds. */
export function readDuration(read: ReadInput, name: InputName, leastMs: number): number {
  const least = leastMs === 0 ? '' : `, at least ${String(leastMs / 1_000)}s`;
  const expected = `a duration such as 90s, 10m, 1h, or a number of seconds${least}`;
  return readAs(read, name, expected, (text) => {
    const durationMs = parseDuration(text) ?? -1;
    return durationMs < leastMs ? undefined : durationMs;
  });
}

export function readCount(read: ReadInput, name: InputName): number {
  return readAs(read, name, 'a whole number from 1 to 1000', (text) => {
    const count = /^\d{1,4}$/.test(text) ? Number(text) : 0;
    return count >= 1 && count <= 1_000 ? count : undefined;
  });
}

/**
 * The URL in an input, in one spelling: URL lower-cases the host and drops default ports. It must be an http or
 * https URL that holds nothing but an address.
 */
export function parsePlainUrl(name: InputName, text: string, example: string): string {
  const url = URL.canParse(text) && !hasControlCharacters(text) ? new URL(text) : undefined;
  const isPlain =
    url !== undefined &&
    ['http:', 'https:'].includes(url.protocol) &&
    [url.username, url.password, url.search, url.hash].every((part) => part === '');
  if (isPlain) return (url.origin + url.pathname).replace(/\/+$/, '');
  const expected = `an http or https URL without user, query or fragment: ${example}`;
  throw invalidInput(name, hideSecrets(text), expected);
}

/** The text of a bad URL without its user, password, query and fragment: any may hold a secret. */
export function hideSecrets(url: string): string {
  // Up to the last @: a password that was not escaped may hold anything, slashes too.
  return url.replace(/^([a-z]+:\/\/)?.*@/is, '$1***@').replace(/([?#]).+$/s, '$1***');
}

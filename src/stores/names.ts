import { randomBytes } from 'node:crypto';
import { MirrorError } from '../lib/errors.ts';
import type { LayerFiles } from './store.ts';

const NAME = /^[A-Za-z0-9._-]{1,200}$/;
const MAX_NUMBER = 9_999_999_999;

/** Whether a name is safe as one path segment and as part of an object's key. */
export function isSafeName(name: string): boolean {
  return NAME.test(name) && name !== '.' && name !== '..';
}

/** Throws TypeError unless every name is safe: these names were made by us, so it is our bug. */
export function assertNames(what: string, ...names: readonly string[]): void {
  for (const name of names) {
    if (!isSafeName(name)) throw new TypeError(`${what} is not allowed: ${JSON.stringify(name)}`);
  }
}

/** Throws TypeError unless it is an integer from 1 to 9,999,999,999, so that names sort as numbers. */
export function assertManifestNumber(number: number): void {
  if (!Number.isSafeInteger(number) || number < 1 || number > MAX_NUMBER) {
    throw new TypeError(`manifest number is not allowed: ${number}`);
  }
}

/** Throws TypeError for content that is too large for readers. The caller has to check before. */
export function assertSize(what: string, { byteLength }: Uint8Array, maxBytes: number): void {
  if (byteLength > maxBytes)
    throw new TypeError(`${what} of ${byteLength} bytes is over ${maxBytes}`);
}

/** Throws `bad-snapshot` unless names and sizes are valid: they come from a manifest. */
export function assertLayer(layer: LayerFiles): void {
  const names = layer.files.map(({ name }) => name);
  for (const name of [layer.name, ...names]) {
    if (!isSafeName(name)) refuse(layer, `the name ${JSON.stringify(name)} is not allowed`);
  }
  if (names.length === 0) refuse(layer, 'it declares no files');
  if (new Set(names).size !== names.length) refuse(layer, 'it declares a file twice');
  for (const { name, bytes } of layer.files) {
    if (!Number.isSafeInteger(bytes) || bytes < 0) refuse(layer, `${name} has the size ${bytes}`);
  }
}

/** A manifest's number as names hold it. */
export function digitsOf(number: number): string {
  return String(number).padStart(10, '0');
}

/** 24 hexadecimal digits that nobody else chooses. */
export function newNonce(): string {
  return randomBytes(12).toString('hex');
}

function refuse(layer: LayerFiles, reason: string): never {
  throw new MirrorError('bad-snapshot', `layer ${JSON.stringify(layer.name)}: ${reason}`);
}

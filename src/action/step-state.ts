/**
 * What main hands to post: the mirrors that it brought up to date. The runner evaluates inputs again for
 * post, so whatever both must agree on travels here: versioned, validated, without secrets. Only a mirror
 * whose fetch succeeded is in it, so no state means that nothing may be saved.
 */
import { getState, saveState } from '@actions/core';
import * as v from 'valibot';
import { MirrorError, describeError } from '../lib/errors.ts';
import type { PrimeResult } from '../prime/prime-workspace.ts';
import type { RestoredMirror } from '../restore/session.ts';

const NAME = 'mirrors';

const mirrorSchema = v.strictObject({
  /** The path of its submodule in the workspace; empty for the job's own repository. */
  name: v.string(),
  spec: v.strictObject({
    url: v.string(),
    refspecs: v.pipe(v.array(v.string()), v.readonly()),
    depth: v.picklist(['full', 'tip']),
    cacheKey: v.string(),
  }),
  objectFormat: v.picklist(['sha1', 'sha256']),
  path: v.string(),
  isPrivate: v.boolean(),
  /** Whether this job still has main's claim on the snapshot that is to be made. */
  isClaimed: v.boolean(),
  /** The folder that was primed from it, or null. */
  primedFolder: v.nullable(v.string()),
});

const stateSchema = v.strictObject({ version: v.literal(1), mirrors: v.array(mirrorSchema) });

export type MirrorState = v.InferOutput<typeof mirrorSchema>;

export function toSavedState(
  name: string,
  { path, isPrivate, identity }: RestoredMirror,
  isClaimed: boolean,
  primed: PrimeResult | undefined,
): MirrorState {
  const { spec, objectFormat } = identity;
  const primedFolder = primed?.result === 'primed' ? primed.path : null;
  return { name, spec, objectFormat, path, isPrivate, isClaimed, primedFolder };
}

export function writeStepState(mirrors: readonly MirrorState[]): void {
  saveState(NAME, JSON.stringify({ version: 1, mirrors }));
}

/** Empty if main wrote none; throws `invalid-input` for a state that main did not write. */
export function readStepState(): readonly MirrorState[] {
  const text = getState(NAME);
  if (text === '') return [];
  try {
    return v.parse(stateSchema, JSON.parse(text)).mirrors;
  } catch (error) {
    const message = `The state that main left for post cannot be read: ${describeError(error)}`;
    throw new MirrorError('invalid-input', message, { cause: error });
  }
}

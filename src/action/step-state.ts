/**
 * What main hands to post. The runner evaluates inputs again for post, so whatever both must agree
 * on travels here: versioned, validated, without secrets. It is written only when the fetch
 * succeeded, so none means that nothing may be saved.
 */
import { getState, saveState } from '@actions/core';
import * as v from 'valibot';
import { MirrorError, describeError } from '../lib/errors.ts';

const NAME = 'mirror';

const stateSchema = v.strictObject({
  version: v.literal(1),
  path: v.string(),
  isPrivate: v.boolean(),
  key: v.string(),
  objectFormat: v.picklist(['sha1', 'sha256']),
  /** Whether main has the claim on the snapshot that is still to be made. */
  isClaimed: v.boolean(),
});

export type StepState = Omit<v.InferOutput<typeof stateSchema>, 'version'>;

export function writeStepState(state: StepState): void {
  saveState(NAME, JSON.stringify({ version: 1, ...state }));
}

/** Undefined where main wrote none; throws `invalid-input` for what main did not write. */
export function findStepState(): StepState | undefined {
  const text = getState(NAME);
  if (text === '') return undefined;
  try {
    return v.parse(stateSchema, JSON.parse(text));
  } catch (error) {
    const message = `The state that main left for post cannot be read: ${describeError(error)}`;
    throw new MirrorError('invalid-input', message, { cause: error });
  }
}

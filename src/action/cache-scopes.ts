/**
 * Which snapshots in the Actions cache this job's event lets it read and write. GitHub lets a run
 * restore what its own ref, its base branch and the default branch have saved, and save for its own
 * ref. Keys say for whom a snapshot was saved as well, so that each scope is numbered for itself: a
 * branch that once saved would else hide newer snapshots of the default branch for ever. Pure.
 */
import * as v from 'valibot';
import type { CacheScopes } from '../stores/open.ts';

export interface RunOfEvent {
  /** GITHUB_EVENT_NAME, GITHUB_REF and GITHUB_BASE_REF; empty where there is none. */
  event: string;
  ref: string;
  baseRef: string;
  readPayload: () => unknown;
}

/** By a name of its own: what it saved is found also when it is renamed. */
const DEFAULT_SCOPE = 'default';

const payloadSchema = v.object({ repository: v.object({ default_branch: v.string() }) });

export function deriveCacheScopes({ event, ref, baseRef, readPayload }: RunOfEvent): CacheScopes {
  const parsed = v.safeParse(payloadSchema, readPayload());
  const defaultRef = parsed.success
    ? `refs/heads/${parsed.output.repository.default_branch}`
    : undefined;
  const scopeOf = (name: string): string => (name === defaultRef ? DEFAULT_SCOPE : name);
  // Its payload may not tell, and it always runs for the default branch.
  const own = event === 'schedule' ? DEFAULT_SCOPE : scopeOf(ref);
  const base = baseRef === '' ? [] : [scopeOf(`refs/heads/${baseRef}`)];
  const readable = new Set([...base, DEFAULT_SCOPE]);
  readable.delete(own);
  return { own, others: [...readable] };
}

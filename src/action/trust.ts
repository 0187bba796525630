/** Which events others than the repository's own people can cause. Pure. */
import * as v from 'valibot';

/** Only those who may write to the repository can cause these. */
const TRUSTED_EVENTS = new Set([
  'create',
  'delete',
  'deployment',
  'deployment_status',
  'merge_group',
  'push',
  'release',
  'repository_dispatch',
  'schedule',
  'workflow_dispatch',
]);

/** They are trusted where the pull request comes from the repository itself. */
const PULL_REQUEST_EVENTS = new Set([
  'pull_request',
  'pull_request_review',
  'pull_request_review_comment',
]);

const pullRequestEvent = v.object({
  pull_request: v.object({
    head: v.object({ repo: v.nullish(v.object({ full_name: v.string() })) }),
    base: v.object({ repo: v.object({ full_name: v.string() }) }),
  }),
});

/**
 * Why what this event's job saves is not to be restored by others, or undefined where it may be. A
 * pull request whose payload does not tell where it comes from counts as one from a fork.
 */
export function findLowTrust(eventName: string, readPayload: () => unknown): string | undefined {
  if (TRUSTED_EVENTS.has(eventName)) return undefined;
  if (!PULL_REQUEST_EVENTS.has(eventName)) return `anybody may cause the event "${eventName}"`;
  const parsed = v.safeParse(pullRequestEvent, readPayload());
  if (!parsed.success) return 'the pull request does not tell where it comes from';
  const { head, base } = parsed.output.pull_request;
  const isOwn = head.repo?.full_name === base.repo.full_name;
  return isOwn ? undefined : 'the pull request comes from a fork';
}

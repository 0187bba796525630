/** Which events people without write access to the repository can cause. Pure. */
import * as v from 'valibot';

/** Only people with write access can cause these. */
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

/** Trusted if the pull request comes from the repository itself. */
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
 * Why other jobs must not restore what a job of this event saves; undefined if they may. A pull request
 * whose payload does not say where it comes from counts as one from a fork.
 */
export function findUntrustedReason(
  eventName: string,
  readPayload: () => unknown,
): string | undefined {
  if (TRUSTED_EVENTS.has(eventName)) return undefined;
  if (!PULL_REQUEST_EVENTS.has(eventName)) return `anybody can cause the event "${eventName}"`;
  const parsed = v.safeParse(pullRequestEvent, readPayload());
  if (!parsed.success) return 'the payload of the pull request does not say where it comes from';
  const { head, base } = parsed.output.pull_request;
  const isOwn = head.repo?.full_name === base.repo.full_name;
  return isOwn ? undefined : 'the pull request comes from a fork';
}

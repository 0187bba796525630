/** Which events others than the repository's own people can cause. Pure. */
import * as v from 'valibot';

/** They run with the rights of the default branch, on what anybody may have sent. */
const LOW_TRUST_EVENTS = new Set(['pull_request_target', 'workflow_run', 'issue_comment']);

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
  if (LOW_TRUST_EVENTS.has(eventName)) return `${eventName} can be caused by anybody`;
  if (!eventName.startsWith('pull_request')) return undefined;
  const parsed = v.safeParse(pullRequestEvent, readPayload());
  if (!parsed.success) return 'the pull request does not tell where it comes from';
  const { head, base } = parsed.output.pull_request;
  const isOwn = head.repo?.full_name === base.repo.full_name;
  return isOwn ? undefined : 'the pull request comes from a fork';
}

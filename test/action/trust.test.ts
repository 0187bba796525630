import { describe, expect, test } from '@jest/globals';
import { findUntrustedReason } from '../../src/action/trust.ts';

const repository = (name: string) => ({ full_name: name, private: false, fork: name !== 'o/n' });

/** As much of the payload as GitHub sends and trust depends on. */
function pullRequest(head: unknown, base: unknown = repository('o/n')) {
  return {
    action: 'opened',
    number: 1,
    pull_request: {
      id: 1,
      head: { ref: 'topic', sha: 'a'.repeat(40), repo: head },
      base: { ref: 'main', sha: 'b'.repeat(40), repo: base },
    },
    repository: repository('o/n'),
    sender: { login: 'mallory' },
  };
}

const never = (): never => {
  throw new Error('the payload was not to be read');
};

describe('saved for others is', () => {
  test.each(['push', 'schedule', 'workflow_dispatch', 'release', 'merge_group', 'create'])(
    'what the event "%s" makes, without a look at its payload',
    (eventName) => {
      expect(findUntrustedReason(eventName, never)).toBeUndefined();
    },
  );

  test('what a pull request from the repository itself makes', () => {
    const payload = pullRequest(repository('o/n'));
    expect(findUntrustedReason('pull_request', () => payload)).toBeUndefined();
    expect(findUntrustedReason('pull_request_review', () => payload)).toBeUndefined();
    expect(findUntrustedReason('pull_request_review_comment', () => payload)).toBeUndefined();
  });
});

describe('not saved for others is', () => {
  test.each([
    ...['pull_request_target', 'workflow_run', 'issue_comment', 'issues', 'discussion'],
    ...['discussion_comment', 'fork', 'watch', 'gollum', 'an event of next year', ''],
  ])('what "%s" makes, whatever its payload says', (eventName) => {
    expect(findUntrustedReason(eventName, never)).toContain(eventName);
    const own = pullRequest(repository('o/n'));
    expect(findUntrustedReason(eventName, () => own)).toBeDefined();
  });

  test.each(['pull_request', 'pull_request_review', 'pull_request_review_comment'])(
    'what a %s from a fork makes',
    (eventName) => {
      const payload = pullRequest(repository('mallory/n'));
      expect(findUntrustedReason(eventName, () => payload)).toContain('fork');
    },
  );

  test.each<[string, unknown]>([
    ['a repository that is gone', pullRequest(null)],
    ['a repository that is not told', pullRequest(undefined)],
    ['a name that only looks alike', pullRequest(repository('O/n'))],
    ['a longer name', pullRequest(repository('o/n2'))],
  ])('what a pull request from %s makes', (_, payload) => {
    expect(findUntrustedReason('pull_request', () => payload)).toContain('fork');
  });

  test.each<[string, unknown]>([
    ['no payload', undefined],
    ['null', null],
    ['a text', 'pull_request'],
    ['an empty one', {}],
    ['one without a head', { pull_request: { base: { repo: repository('o/n') } } }],
    ['one without a base', { pull_request: { head: { repo: repository('o/n') } } }],
    ['a base that is gone', pullRequest(repository('o/n'), null)],
    ['neither', pullRequest(null, null)],
    ['names that are no text', pullRequest({ full_name: 1 }, { full_name: 1 })],
    ['no names', pullRequest({}, {})],
    ['a list', [pullRequest(repository('o/n'))]],
  ])('what a pull request makes whose payload is %s', (_, payload) => {
    expect(findUntrustedReason('pull_request', () => payload)).toContain('does not say');
  });
});

import { describe, expect, test } from '@jest/globals';
import { deriveCacheScopes, type RunOfEvent } from '../../src/action/cache-scopes.ts';

const payload = { repository: { default_branch: 'trunk' } };

function scopesOf(run: Partial<RunOfEvent>) {
  const readPayload = () => payload;
  return deriveCacheScopes({ event: 'push', ref: '', baseRef: '', readPayload, ...run });
}

describe('a run saves for and restores from', () => {
  test('the default branch alone, on that', () => {
    expect(scopesOf({ ref: 'refs/heads/trunk' })).toEqual({ own: 'default', others: [] });
  });

  test('its own branch, and also the default branch', () => {
    const own = 'refs/heads/feature/1';
    expect(scopesOf({ ref: own })).toEqual({ own, others: ['default'] });
    // A name is no more than a name.
    expect(scopesOf({ ref: 'refs/heads/default' }).own).toBe('refs/heads/default');
    expect(scopesOf({ ref: 'refs/heads/main' }).own).toBe('refs/heads/main');
    expect(scopesOf({ ref: 'refs/tags/trunk' }).own).toBe('refs/tags/trunk');
  });

  test('its pull request, and also the base branch and the default branch', () => {
    const own = 'refs/pull/7/merge';
    const run = { event: 'pull_request', ref: own };
    expect(scopesOf({ ...run, baseRef: 'trunk' })).toEqual({ own, others: ['default'] });
    const others = ['refs/heads/release/2', 'default'];
    expect(scopesOf({ ...run, baseRef: 'release/2' })).toEqual({ own, others });
  });

  test('the default branch on a schedule, whose event need not name it', () => {
    const run = { event: 'schedule', ref: 'refs/heads/trunk', readPayload: () => ({}) };
    expect(scopesOf(run)).toEqual({ own: 'default', others: [] });
  });

  test.each([undefined, null, {}, { repository: null }, { repository: { default_branch: 1 } }])(
    'its own branch, where the event %j does not tell which is the default branch',
    (event) => {
      const own = 'refs/heads/trunk';
      const run = { ref: own, readPayload: () => event };
      expect(scopesOf(run)).toEqual({ own, others: ['default'] });
    },
  );
});

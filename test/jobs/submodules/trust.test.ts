/** Whose credentials the mirrors of submodules are fetched with, and where their snapshots may go. */
import { describe, expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import { createUpstream, eventOf, TOKEN } from '../scenarios/checkout-scenario.ts';
import { inCache, useCacheService } from '../scenarios/cache-scenario.ts';
import {
  commitOf,
  createNeighbour,
  link,
  outcomesOf,
  relativeUrl,
} from '../scenarios/submodule-scenario.ts';
import { useScenarios, type Scenario } from '../scenarios/scenario.ts';

const scenarios = useScenarios();
const cache = useCacheService();

/** A repository with a submodule that anybody can read and one that needs the token, as itself does. */
async function createMixed(): Promise<Scenario> {
  const scenario = await createUpstream(scenarios);
  const { server, upstream, repository } = scenario;
  const links = [];
  for (const name of ['public', 'private']) {
    const commit = await commitOf(await createNeighbour(scenario, name));
    links.push({ path: name, url: relativeUrl(scenario, name), commit });
  }
  const own = { path: 'own', url: `../${repository.split('/')[1] ?? ''}` };
  await link(upstream, [...links, { ...own, commit: await commitOf(upstream) }]);
  server.token = undefined;
  server.fault({
    on: (request) => !request.repository.endsWith('-public') && !request.hasAuthorization,
    behave: { kind: 'status', status: 401 },
  });
  return scenario;
}

async function optionsOf(scenario: Scenario, inputs: Record<string, string> = {}) {
  const { sha = '' } = await eventOf(scenario);
  return { sha, token: TOKEN, inputs: { submodules: 'true', ...inputs } };
}

/** Whether requests for a submodule bore the token; undefined where there were none. */
function hadToken({ server, repository }: Scenario, name: string): boolean | undefined {
  const requests = server.requests.filter((each) => each.repository === `${repository}-${name}`);
  return requests.length === 0 ? undefined : requests.some((each) => each.hasAuthorization);
}

describe('in the Actions cache, which pull requests of forks can read', () => {
  test('only submodules that anybody can read are saved, and these are fetched without the token', async () => {
    const scenario = await createMixed();
    const options = inCache(cache(), scenario.server.url, await optionsOf(scenario));
    const { main, post } = await scenario.run(options);
    expect(hadToken(scenario, 'public')).toBe(false);
    expect(hadToken(scenario, 'private')).toBe(false);
    const why = expect.stringMatching(/^left: cannot be read without credentials.*`cache-private/);
    expect(outcomesOf(main)).toEqual({ own: 'existing', public: 'cloned', private: why });
    expect(outcomesOf(post)).toMatchObject({ public: 'published' });
    expect(post.log).not.toMatch(/^private:/m);
    expect(main.annotations).toEqual([]);
    expect(main.summary).toMatch(
      /^\| <code>private<\/code> \| left to actions\/checkout, because/m,
    );
    expect(cache().entries.filter(({ key }) => key.includes('-private'))).toEqual([]);
  });

  test('the others are as well where that is allowed', async () => {
    const scenario = await createMixed();
    const inputs = await optionsOf(scenario, { 'cache-private-submodules': 'true' });
    const options = inCache(cache(), scenario.server.url, inputs);
    const { main, post } = await scenario.run(options);
    expect(hadToken(scenario, 'private')).toBe(true);
    expect(outcomesOf(main)).toMatchObject({ private: 'cloned' });
    expect(outcomesOf(post)).toMatchObject({ private: 'published' });
    expect(cache().entries.some(({ key }) => key.includes('-private'))).toBe(true);
  });
});

test('on a disk all are saved', async () => {
  const scenario = await createMixed();
  const { main, post } = await scenario.run(await optionsOf(scenario));
  expect(outcomesOf(main)).toEqual({ own: 'existing', public: 'cloned', private: 'cloned' });
  expect(outcomesOf(post)).toMatchObject({ public: 'published', private: 'published' });
});

test('the token never goes to another server, which is not even asked', async () => {
  const scenario = await createMixed();
  const { server, repository, upstream } = scenario;
  const other = `http://localhost:${new URL(server.url).port}`;
  const commit = await commitOf(await createNeighbour(scenario, 'elsewhere'));
  await link(upstream, [{ path: 'elsewhere', url: `${other}/${repository}-elsewhere`, commit }]);
  const { main } = await scenario.run(await optionsOf(scenario));
  expect(outcomesOf(main)).toEqual({
    elsewhere: expect.stringMatching(/^left: is not on http:\/\/127\.0\.0\.1/),
  });
  expect(hadToken(scenario, 'elsewhere')).toBeUndefined();
  const modules = await readdir(scenario.root);
  expect(modules).toContain('elsewhere.git');
});

test('no pull request of a fork saves any', async () => {
  const scenario = await createMixed();
  const repo = (name: string) => ({ repo: { full_name: name } });
  const payload = { pull_request: { head: repo('fork/name'), base: repo(scenario.repository) } };
  const options = { ...(await optionsOf(scenario)), event: { name: 'pull_request', payload } };
  const { main, post } = await scenario.run(options);
  expect(outcomesOf(main)).toMatchObject({ private: 'cloned', public: 'cloned' });
  expect(new Set(Object.values(outcomesOf(post)))).toEqual(new Set(['skipped']));
  expect(await readdir(scenario.store)).toEqual([]);
});

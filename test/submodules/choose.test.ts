/** Which submodules are primed, and why the others are not. */
import { describe, expect, test } from '@jest/globals';
import { chooseSubmodules, parseSections, type Choice } from '../../src/submodules/choose.ts';

const OID = 'a'.repeat(40);
const server = { origin: 'https://host', isSuffixOptional: true };
const parent = 'https://host/owner/name';

interface Given {
  name?: string;
  path?: string;
  url?: string;
  more?: string[];
}

function listing(sections: readonly Given[]): string {
  return sections
    .map(({ name, path = name, url = `../${name}`, more = [] }) =>
      [`path\n${path}`, `url\n${url}`, ...more].map((each) => `submodule.${name}.${each}\0`),
    )
    .flat()
    .join('');
}

function choose(sections: readonly Given[], removed: readonly string[] = []): Choice {
  const paths = sections.map(({ name, path = name }) => path ?? '');
  const linked = paths.filter((path) => !removed.includes(path));
  const gitlinks = new Map(linked.map((path) => [path, OID] as const));
  return chooseSubmodules(parseSections(listing(sections)), gitlinks, parent, server);
}

const servedPaths = ({ served }: Choice) => served.map(({ path }) => path);
const reasonsOf = ({ left }: Choice) => left.map(({ path, reason }) => `${path} ${reason}`);

describe('a submodule is primed', () => {
  test('with its name, the URL that git resolves, and the address of its mirror', () => {
    expect(choose([{ name: 'third party/x', path: 'deps/x', url: 'git@host:a/x.git' }])).toEqual({
      served: [
        {
          ...{ name: 'third party/x', path: 'deps/x', commit: OID },
          ...{ remoteUrl: 'git@host:a/x.git', upstream: 'https://host/a/x' },
        },
      ],
      left: [],
    });
  });

  test.each([['a.b'], ['größe'], ['a/b/c'], ['..a'], ['a..b'], ['.hidden'], ['-x'], ['HEAD']])(
    'if its name is %s',
    (name) => {
      expect(servedPaths(choose([{ name, url: '../x' }]))).toEqual([name]);
    },
  );

  test('if the commit has it: a section of a removed one is of no account', () => {
    const choice = choose([{ name: 'kept' }, { name: 'removed' }], ['removed']);
    expect(choice).toMatchObject({ served: [{ path: 'kept' }], left: [] });
  });

  test.each(['checkout', 'rebase', 'merge'])('with update = %s, which is none', (update) => {
    expect(servedPaths(choose([{ name: 'a', more: [`update\n${update}`] }]))).toEqual(['a']);
  });
});

describe('a submodule is left to the checkout', () => {
  test.each<[string, Given, RegExp]>([
    ['on another server', { name: 'a', url: 'https://other/x' }, /is not on https:\/\/host$/],
    ['past its server', { name: 'a', url: '../../../other/x' }, /is not on/],
    ['without a URL', { name: 'a', url: '' }, /is not on/],
    ['with update = none', { name: 'a', more: ['update\nnone'] }, /`update = none`/],
    ['with a command', { name: 'a', more: ['update\n!touch x'] }, /unknown `update`/],
    ['with two URLs', { name: 'a', more: ['url\n../b'] }, /configured twice/],
  ])('%s', (_, given, reason) => {
    const choice = choose([given, { name: 'other' }]);
    expect(servedPaths(choice)).toEqual(['other']);
    expect(reasonsOf(choice)).toEqual([expect.stringMatching(reason)]);
  });

  test.each([
    ...['..', '../x', 'a/../b', 'a/..', '/etc/x', '', 'a//b', 'a/', './a', 'a\\..\\b', 'C:x'],
    ...['.git', 'a/.GIT/b', 'a\u0001b', 'a.', 'a ', 'nul?', '\ufffd'],
  ])('with an unsafe name: %j', (name) => {
    const choice = choose([{ name, path: 'sub', url: '../x' }]);
    expect(servedPaths(choice)).toEqual([]);
    expect(reasonsOf(choice)).toEqual([expect.stringMatching(/^sub has a name/)]);
  });

  test.each([
    ['a', 'a/b'],
    ['a', 'A'],
    ['A', 'a/modules/b'],
    ['stra\u00dfe/\u00e9', 'stra\u00dfe/e\u0301'],
  ])('with a name that clashes: %s and %s', (one, other) => {
    const given = [
      { name: one, path: 'one', url: '../x' },
      { name: other, path: 'two', url: '../y' },
      { name: 'ab', url: '../z' },
    ];
    const choice = choose(given);
    expect(servedPaths(choice)).toEqual(['ab']);
    expect(reasonsOf(choice)).toEqual([
      expect.stringMatching(/^one has a name that clashes/),
      expect.stringMatching(/^two has a name that clashes/),
    ]);
  });

  test('at a path of two', () => {
    const choice = choose([
      { name: 'a', path: 'sub', url: '../x' },
      { name: 'b', path: 'sub', url: '../y' },
    ]);
    expect(servedPaths(choice)).toEqual([]);
    expect(choice.left).toHaveLength(2);
  });
});

test('sections are read as git lists them: dots in names, values of several lines, no values', () => {
  const text = [
    'core.bare\nfalse',
    'submodule.a.b.path\nx\ny',
    'submodule.a.b.shallow',
    'submodule.a.b.url\n',
    'submodule.active\n.',
  ];
  const [section, ...others] = parseSections(`${text.join('\0')}\0`);
  expect(others).toEqual([]);
  expect(section?.name).toBe('a.b');
  expect([...(section?.values ?? [])]).toEqual([
    ['path', 'x\ny'],
    ['url', ''],
  ]);
});

/** Refs against git's own rules: names, packed-refs, advertisements. A seed repeats a failure. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  digestPackedRefs,
  digestRefs,
  findHeadCommit,
  findHeadFault,
  findMovedRefs,
  findRefsFault,
  formatHead,
  formatPackedRefs,
  isOid,
  isRefName,
  parseAdvertisement,
  parsePackedRefs,
  separateNested,
  sortRefs,
  type Ref,
} from '../../src/mirror/refs.ts';
import { git, gitEnvironment } from '../support/git.ts';
import { runProcess } from '../support/processes.ts';
import { createRandom, testSeed, type Random } from '../support/random.ts';
import { createRepository, repositorySizes } from '../support/repository-fixture.ts';
import { temporaryDirectories } from '../support/temporary-directory.ts';

const directories = temporaryDirectories();
const random = createRandom(testSeed());
const onPosix = process.platform === 'win32' ? test.skip : test;

const OID = 'a'.repeat(40);
const OTHER_OID = 'b'.repeat(40);

let upstream: string;
let commit: string;
let tag: string;

beforeAll(async () => {
  upstream = join(await directories.create('refs'), 'upstream.git');
  commit = (await createRepository(upstream, repositorySizes.tiny)).head;
  tag = await git(upstream, ['rev-parse', 'refs/tags/annotated-1']);
});

afterAll(() => directories.removeAll());

/** Pieces that git's rules are about, and others that they are not about. */
const PIECES = [
  ...['a', 'b', 'A', 'main', 'x-y', '-', '--upload-pack=x', '_', '1', 'HEAD', '@', '!', '"', "'"],
  ...['/', '/', '/', '/', '//', '.', '..', '...', '.lock', '.lock/', '/.', './', '.git', 'lock'],
  ...['@{', '{', '}', '~', '^', ':', '?', '*', '[', ']', '\\', ' ', '\t', '\n', '\r', '\x01'],
  ...['\x1f', '\x7f', '\x80', '\xff', '\xc3\xa9', '\xc3', '$(x)', '`x`', ';', '|', '&', '<', '#'],
];

function randomName(): string {
  const pieces = Array.from({ length: 1 + random.integer(5) }, () => random.pick(PIECES));
  return `refs/${random.integer(4) === 0 ? '' : 'heads/'}${pieces.join('')}`;
}

/** What git says of each name, by a process for each; names are bytes. */
async function askGit(names: readonly string[]): Promise<boolean[]> {
  const script = 'git check-ref-format "$1" && echo yes || echo no';
  const { stdout } = await runProcess('xargs', ['-0', '-n', '1', 'sh', '-c', script, 'sh'], {
    input: Buffer.from(names.map((name) => `${name}\0`).join(''), 'latin1'),
  });
  return stdout
    .trim()
    .split('\n')
    .map((answer) => answer === 'yes');
}

describe('names', () => {
  onPosix('are allowed where git check-ref-format allows them, and nowhere else', async () => {
    const names = [
      ...['refs/stash', 'refs/heads/a', 'refs/heads', 'refs/a/b/c', 'refs/heads/@', 'refs/@'],
      ...['refs/', 'refs//a', 'refs/heads/', 'refs/heads/a.', 'refs/heads/a./b', 'refs/heads/.a'],
      ...['refs/heads/a.lock', 'refs/heads/a.lock/b', 'refs/heads/lock', 'refs/heads/a.lockx'],
      ...['refs/heads/-x', 'refs/../../x', 'refs/heads/../x', 'refs/heads/a..b', 'refs/heads/é'],
      ...Array.from({ length: 250 }, randomName),
    ].map((name) => Buffer.from(name, 'latin1').toString('latin1'));
    const allowed = await askGit(names);
    expect(allowed).toHaveLength(names.length);
    expect(names.map((name) => ({ name, isAllowed: isRefName(name) }))).toEqual(
      names.map((name, index) => ({ name, isAllowed: allowed[index] })),
    );
    expect(allowed.filter(Boolean).length).toBeGreaterThan(40);
    expect(allowed.filter((isAllowed) => !isAllowed).length).toBeGreaterThan(40);
  });

  test.each(['HEAD', 'main', 'heads/main', '/refs/heads/a', 'xrefs/heads/a', 'Refs/heads/a', ''])(
    '%j is refused, since it is not under refs/',
    (name) => {
      expect(isRefName(name)).toBe(false);
    },
  );

  test.each([
    'refs/heads/a\0b',
    // One character must be one byte: written as bytes, these are another name, or another line.
    'refs/heads/\u0100',
    'refs/heads/\u012e\u012e\u012fx',
    `refs/heads/x\u010a${OID}\u0120refs/replace/${OID}`,
    'refs/heads/\ud83d\ude00',
  ])('%j is none, since it is no byte string that git can hold', (name) => {
    expect(isRefName(name)).toBe(false);
  });

  test.each([
    [OID, 'sha1', true],
    [OID, 'sha256', false],
    ['a'.repeat(64), 'sha256', true],
    ['a'.repeat(64), 'sha1', false],
    ['A'.repeat(40), 'sha1', false],
    [`${'a'.repeat(39)}g`, 'sha1', false],
    [`${'a'.repeat(39)}\n`, 'sha1', false],
    ['', 'sha1', false],
  ] as const)('%j is an object id of %s: %s', (text, format, expected) => {
    expect(isOid(text, format)).toBe(expected);
  });
});

/** A sound list of refs; no name is another's folder, since no name has more than one part. */
function randomRefs(source: Random, count: number, oidLength = 40): Ref[] {
  const oid = () => source.bytes(oidLength / 2).toString('hex');
  const refs = new Map<string, Ref>();
  while (refs.size < count) {
    const bytes = source.bytes(1 + source.integer(12)).toString('latin1');
    const name = `refs/${source.pick(['heads', 'tags', 'pull', 'HEADS'])}/${bytes}`;
    if (name.split('/').length > 3 || !isRefName(name)) continue;
    refs.set(name, { name, oid: oid(), ...(source.integer(3) === 0 ? { peeled: oid() } : {}) });
  }
  return sortRefs([...refs.values()]);
}

describe('packed-refs', () => {
  test('gives back what was written, whatever bytes the names are of', () => {
    for (let round = 0; round < 20; round++) {
      const refs = randomRefs(random, 200, round % 2 === 0 ? 40 : 64);
      expect(findRefsFault(refs, round % 2 === 0 ? 'sha1' : 'sha256')).toBeUndefined();
      const written = Buffer.from(formatPackedRefs(refs), 'latin1');
      expect(parsePackedRefs(written.toString('latin1'))).toEqual(refs);
    }
  });

  test('gives back no refs from none', () => {
    expect(parsePackedRefs(formatPackedRefs([]))).toEqual([]);
  });

  test('is read by git as it was written: bytes, case, peeled tags', async () => {
    const mirror = join(await directories.create('packed'), 'mirror.git');
    await git(upstream, ['clone', '--quiet', '--mirror', upstream, mirror]);
    const names = [
      ...['refs/heads/case', 'refs/heads/CASE', 'refs/heads/Case', 'refs/heads/-x', 'refs/stash'],
      ...['refs/heads/not-utf8-\xff\x80', 'refs/heads/utf8-\xc3\xa9', 'refs/tags/a./b', 'refs/z/@'],
    ];
    const refs = sortRefs([
      ...names.map((name) => ({ name, oid: commit })),
      { name: 'refs/tags/annotated', oid: tag, peeled: commit },
    ]);
    expect(findRefsFault(refs, 'sha1')).toBeUndefined();
    await writeFile(join(mirror, 'packed-refs'), Buffer.from(formatPackedRefs(refs), 'latin1'));
    const listing = ['for-each-ref', '--format=%(objectname) %(refname)'];
    const listed = gitBytes(mirror, listing);
    expect(listed.split('\n')).toEqual([...refs.map(({ oid, name }) => `${oid} ${name}`), '']);
    const peeled = gitBytes(mirror, ['show-ref', '--dereference', 'annotated']);
    expect(peeled).toBe(`${tag} refs/tags/annotated\n${commit} refs/tags/annotated^{}\n`);
  });

  test.each([
    ['a peeled id before any ref', `^${OID}\n`],
    ['a line without a space', `${OID}\n`],
    ['a line of garbage', 'garbage\n'],
  ])('refuses %s', (_, text) => {
    expect(() => parsePackedRefs(text)).toThrow(SyntaxError);
  });

  test('says of garbage no more than its beginning', () => {
    expect(() => parsePackedRefs('x'.repeat(100_000))).toThrow(/^.{1,200}$/);
  });
});

/** git's output as a byte string. */
function gitBytes(directory: string, gitArguments: string[]): string {
  const output = execFileSync('git', gitArguments, { cwd: directory, env: gitEnvironment() });
  return output.toString('latin1');
}

describe('lists of refs', () => {
  const ref = (name: string, oid = OID): Ref => ({ name, oid });

  test.each([
    ['no ref name', [ref('refs/heads/../x')], '"refs/heads/../x" is not a valid ref name'],
    ['a name that looks like an option', [ref('--upload-pack=x')], 'is not a valid ref name'],
    [
      'a name with a line end',
      [ref('refs/heads/a\nb')],
      '"refs/heads/a\\nb" is not a valid ref name',
    ],
    ['refs out of order', [ref('refs/heads/b'), ref('refs/heads/a')], 'is out of order'],
    ['a ref twice', [ref('refs/heads/a'), ref('refs/heads/a')], 'or a duplicate'],
    ['an id of another format', [ref('refs/heads/a', 'a'.repeat(64))], 'has no sha1 object id'],
    ['no id', [ref('refs/heads/a', '')], 'has no sha1 object id'],
    ['a bad peeled id', [{ ...ref('refs/tags/a'), peeled: 'x' }], 'has an invalid peeled id'],
    ['a ref under a ref', [ref('refs/heads/a'), ref('refs/heads/a/b')], 'lies under refs/heads/a'],
    [
      'a ref under a ref, with others sorted between them',
      [ref('refs/heads/a'), ref('refs/heads/a-b'), ref('refs/heads/a.b'), ref('refs/heads/a/b/c')],
      'refs/heads/a/b/c lies under refs/heads/a',
    ],
    ['a ref under one of two parts', [ref('refs/x'), ref('refs/x/y')], 'lies under refs/x'],
  ])('%s cannot stand in one repository', (_, refs, fault) => {
    expect(findRefsFault(refs, 'sha1')).toContain(fault);
  });

  test('names that differ only in case, or share a beginning, can exist together', () => {
    const names = ['A', 'A-b', 'B/a', 'a', 'ab', 'b/a', 'b/a-b', 'b/ab'];
    const refs = names.map((name) => ref(`refs/heads/${name}`));
    expect(findRefsFault(refs, 'sha1')).toBeUndefined();
  });

  test('are sorted by bytes, not by language', () => {
    const names = [
      'refs/heads/b',
      'refs/heads/\xe9',
      'refs/heads/B',
      'refs/heads/a-',
      'refs/heads/a',
    ];
    const bytes = (name: string) => Buffer.from(name, 'latin1');
    const sorted = sortRefs(names.map((name) => ref(name))).map(({ name }) => name);
    expect(sorted).toEqual([...names].sort((a, b) => Buffer.compare(bytes(a), bytes(b))));
  });

  test('tell what is new or moved against others, and not what is gone', () => {
    const before = [ref('refs/heads/a'), ref('refs/heads/b'), ref('refs/heads/c')];
    const moved = ref('refs/heads/b', OTHER_OID);
    const added = ref('refs/heads/d');
    expect(findMovedRefs(before, [ref('refs/heads/a'), moved, added])).toEqual([moved, added]);
  });

  test.each([
    [
      'that points at no ref name',
      { ref: 'refs/heads/..', oid: OID },
      'does not point at a valid ref',
    ],
    ['that points out of refs/', { ref: 'config', oid: OID }, 'does not point at a valid ref'],
    [
      'that looks like two lines',
      { ref: 'refs/heads/a\nb', oid: OID },
      'does not point at a valid ref',
    ],
    ['without an id', { ref: 'refs/heads/a', oid: 'x' }, 'has no sha1 object id'],
    ['detached at no id', { oid: 'ref: refs/heads/a' }, 'has no sha1 object id'],
  ])('a HEAD %s is refused', (_, head, fault) => {
    expect(findHeadFault(head, 'sha1')).toContain(fault);
  });

  test('a HEAD at a ref, detached or absent is allowed', () => {
    for (const head of [{ ref: 'refs/heads/a', oid: OID }, { oid: OID }, undefined]) {
      expect(findHeadFault(head, 'sha1')).toBeUndefined();
    }
  });
});

describe('HEAD', () => {
  const refs: Ref[] = [
    { name: 'refs/heads/main', oid: OID },
    { name: 'refs/tags/v1', oid: 'c'.repeat(40), peeled: OTHER_OID },
  ];

  test('leads to the commit of its ref', () => {
    expect(findHeadCommit({ ref: 'refs/heads/main', oid: OID }, refs)).toBe(OID);
  });

  test('leads nowhere where its ref is not mirrored, or there is none', () => {
    expect(findHeadCommit({ ref: 'refs/heads/other', oid: OID }, refs)).toBeUndefined();
    expect(findHeadCommit(undefined, refs)).toBeUndefined();
  });

  test('that is detached leads to its commit where a mirrored ref keeps it', () => {
    expect(findHeadCommit({ oid: OID }, refs)).toBe(OID);
    expect(findHeadCommit({ oid: OTHER_OID }, refs)).toBe(OTHER_OID);
    expect(findHeadCommit({ oid: 'd'.repeat(40) }, refs)).toBeUndefined();
  });

  test('is written as git writes it', () => {
    expect(formatHead({ ref: 'refs/heads/x', oid: OID })).toBe('ref: refs/heads/x\n');
    expect(formatHead({ oid: OID })).toBe(`${OID}\n`);
    expect(formatHead(undefined)).toBe('ref: refs/heads/main\n');
  });
});

describe('digests', () => {
  test('differ with every change of a name, an id, the order and HEAD', () => {
    const refs = randomRefs(random, 20);
    const head = { ref: 'refs/heads/trunk', oid: OID };
    const first = refs[0]!;
    const changed = [
      digestRefs(head, refs),
      digestRefs(undefined, refs),
      digestRefs({ ref: 'refs/heads/other', oid: OID }, refs),
      digestRefs({ oid: OID }, refs),
      digestRefs(head, refs.slice(1)),
      digestRefs(head, [{ ...first, oid: OTHER_OID }, ...refs.slice(1)]),
      digestRefs(head, [{ ...first, name: `${first.name}x` }, ...refs.slice(1)]),
      digestRefs(head, [...refs].reverse()),
    ];
    expect(new Set(changed).size).toBe(changed.length);
  });

  test('are SHA-256 over HEAD and a line for each ref, in bytes: others can compute them', () => {
    const bytes = Buffer.from(`HEAD ref: refs/heads/\xff\n${OID} refs/heads/\xff\n`, 'latin1');
    const refs = [{ name: 'refs/heads/\xff', oid: OID, peeled: OTHER_OID }];
    expect(digestRefs({ ref: 'refs/heads/\xff', oid: OID }, refs)).toBe(
      createHash('sha256').update(bytes).digest('hex'),
    );
  });
});

test('digests of packed-refs are those of its refs, whatever is peeled', () => {
  const refs = randomRefs(random, 300);
  expect(refs.some(({ peeled }) => peeled !== undefined)).toBe(true);
  for (const head of [undefined, { oid: OID }, { ref: 'refs/heads/main', oid: OID }]) {
    expect(digestPackedRefs(head, formatPackedRefs(refs))).toBe(digestRefs(head, refs));
  }
  const last = formatPackedRefs(refs).trimEnd();
  expect(digestPackedRefs(undefined, last)).not.toBe(digestRefs(undefined, refs));
});

test('a ref under another is found with others between them', () => {
  const names = ['refs/heads/a', 'refs/heads/a!', 'refs/heads/a-b', 'refs/heads/a-b.c'];
  const refs = names.map((name) => ({ name, oid: OID }));
  expect(findRefsFault(refs, 'sha1')).toBeUndefined();
  for (const name of ['refs/heads/a/b', 'refs/heads/a-b/c', 'refs/heads/a!/x/y']) {
    const all = sortRefs([...refs, { name, oid: OID }]);
    expect(findRefsFault(all, 'sha1')).toMatch(`${name} lies under refs/heads/a`);
    const { kept, conflicts } = separateNested(all, undefined);
    expect(kept).toEqual(refs);
    expect(conflicts).toMatchObject([{ omitted: name }]);
  }
});

test('refs without conflicts are the same list', () => {
  const refs = randomRefs(random, 300);
  expect(separateNested(refs, undefined)).toEqual({ kept: refs, conflicts: [] });
});

test("HEAD's branch is kept where it lies under other refs, and so are all other refs", () => {
  const names = ['refs/heads/a', 'refs/heads/a-b', 'refs/heads/a/b', 'refs/heads/a/b/c'];
  const refs = names.map((name) => ({ name, oid: OID }));
  const branch = 'refs/heads/a/b/c';
  const { kept, conflicts } = separateNested(refs, { ref: branch, oid: OID });
  expect(kept.map(({ name }) => name)).toEqual(['refs/heads/a-b', branch]);
  expect(conflicts).toEqual([
    { omitted: 'refs/heads/a', kept: branch },
    { omitted: 'refs/heads/a/b', kept: branch },
  ]);
  // A branch that is not mirrored displaces none.
  const other = separateNested(refs, { ref: `${branch}/d`, oid: OID });
  expect(other.kept.map(({ name }) => name)).toEqual(['refs/heads/a', 'refs/heads/a-b']);
});

describe('an advertisement', () => {
  test('gives HEAD and refs, sorted, with tags peeled', () => {
    const text = [
      'ref: refs/heads/main\tHEAD',
      `${OID}\tHEAD`,
      `${OTHER_OID}\trefs/tags/v1`,
      `${OID}\trefs/tags/v1^{}`,
      `${OID}\trefs/heads/main`,
      '',
    ].join('\n');
    expect(parseAdvertisement(text)).toEqual({
      head: { ref: 'refs/heads/main', oid: OID },
      refs: [
        { name: 'refs/heads/main', oid: OID },
        { name: 'refs/tags/v1', oid: OTHER_OID, peeled: OID },
      ],
    });
  });

  test('gives back random refs, whatever bytes their names are of', () => {
    const refs = randomRefs(random, 300);
    const lines = refs.flatMap(({ name, oid, peeled }) => [
      `${oid}\t${name}\n`,
      ...(peeled === undefined ? [] : [`${peeled}\t${name}^{}\n`]),
    ]);
    expect(parseAdvertisement(lines.join('')).refs).toEqual(refs);
  });

  test('of real git says where HEAD points: at a branch, at a commit, nowhere', async () => {
    const ask = () => parseAdvertisement(gitBytes(upstream, ['ls-remote', '--symref', '.']));
    const whole = ask();
    expect(whole.head).toEqual({ ref: 'refs/heads/main', oid: commit });
    expect(whole.refs).toContainEqual({
      name: 'refs/tags/annotated-1',
      oid: tag,
      peeled: commitOf(whole.refs),
    });
    expect(findRefsFault(whole.refs, 'sha1')).toBeUndefined();

    await git(upstream, ['update-ref', '--no-deref', 'HEAD', commit]);
    expect(ask().head).toEqual({ oid: commit });

    await git(upstream, ['symbolic-ref', 'HEAD', 'refs/heads/unborn']);
    expect(ask()).toEqual({ head: undefined, refs: whole.refs });
    await git(upstream, ['symbolic-ref', 'HEAD', 'refs/heads/main']);
  });

  test('takes no other symbolic ref for HEAD', () => {
    const text = `ref: refs/heads/x\trefs/remotes/origin/HEAD\n${OID}\trefs/remotes/origin/HEAD\n`;
    expect(parseAdvertisement(text)).toEqual({
      head: undefined,
      refs: [{ name: 'refs/remotes/origin/HEAD', oid: OID }],
    });
  });

  test('that is empty has nothing, and is no error here', () => {
    expect(parseAdvertisement('')).toEqual({ head: undefined, refs: [] });
  });

  test('with a HEAD that points at no ref yet has none', () => {
    expect(parseAdvertisement('ref: refs/heads/main\tHEAD\n')).toEqual({
      head: undefined,
      refs: [],
    });
  });

  test.each(['<!DOCTYPE html>', OID, `${OID} refs/heads/main`, 'x'.repeat(100_000)])(
    'with an invalid line is refused',
    (line) => {
      expect(() => parseAdvertisement(`${OID}\tHEAD\n${line}\n`)).toThrow(SyntaxError);
      expect(() => parseAdvertisement(line)).toThrow(/^not a line of ls-remote: .{0,80}$/);
    },
  );

  test('with an invalid name or id is found afterwards', () => {
    for (const line of [`${OID}\trefs/heads/../x`, `x\trefs/heads/a`, `${OID}\t-x`, `\trefs/x/y`]) {
      expect(findRefsFault(parseAdvertisement(line).refs, 'sha1')).toBeDefined();
    }
  });
});

function commitOf(refs: readonly Ref[]): string | undefined {
  return refs.find(({ name }) => name === 'refs/tags/annotated-1')?.peeled;
}

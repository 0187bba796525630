/** The manifest: what goes in comes out, and nothing else gets in. A seed repeats a failure. */
import { gunzipSync, gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { MirrorError } from '../../src/lib/errors.ts';
import { partnerOf } from '../../src/mirror/packs.ts';
import { digestRefs, sortRefs, type Head, type Ref } from '../../src/mirror/refs.ts';
import {
  CHUNK_BYTES,
  FORMAT_VERSION,
  encodeManifest,
  parseManifest,
  snapshotId,
  type Layer,
  type LayerFile,
  type Manifest,
  type Revocation,
  type Snapshot,
} from '../../src/snapshot/manifest.ts';
import { identify } from '../../src/snapshot/identity.ts';
import { findIdentityFault } from '../../src/snapshot/look-up.ts';
import { runProcess } from '../support/processes.ts';
import { createRandom, testSeed } from '../support/random.ts';

const random = createRandom(testSeed());
const hex = (length: number): string => random.bytes(length / 2).toString('hex');

const NUMBER = 7;
const OID = 'a'.repeat(40);

function createFile(name: string, bytes: number): LayerFile {
  const chunks = Array.from({ length: Math.ceil(bytes / CHUNK_BYTES) }, () => hex(64));
  return { name, bytes, chunks };
}

function createLayer(idLength = 40): Layer {
  const pack = `pack-${hex(idLength)}.pack`;
  const files = [createFile(pack, 40 * 1024 * 1024), createFile(partnerOf(pack), 1_100)];
  return { name: `${hex(64)}-${hex(16)}`, bytes: 40 * 1024 * 1024 + 1_100, files };
}

function createSnapshot(changed: Partial<Snapshot> = {}): Snapshot {
  const refs = changed.refs ?? [
    { name: 'refs/heads/caf\xc3\xa9', oid: hex(40) },
    { name: 'refs/heads/main', oid: OID },
    { name: 'refs/heads/not-utf8-\xff', oid: hex(40) },
    { name: 'refs/tags/V1', oid: hex(40), peeled: hex(40) },
    { name: 'refs/tags/v1', oid: hex(40), peeled: OID },
  ];
  const head = 'head' in changed ? changed.head : { ref: 'refs/heads/main', oid: OID };
  return {
    version: FORMAT_VERSION,
    number: NUMBER,
    createdAt: '2026-11-22T16:00:00.000Z',
    run: 'owner/name/1000/1/build',
    git: '2.39.5',
    action: '0.1.0',
    kind: 'repository',
    upstream: 'https://github.com/owner/name',
    objectFormat: 'sha1',
    depth: 'full',
    refspecs: ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'],
    layers: [createLayer(), createLayer()],
    savesSinceFullWalk: 3,
    unreachableBytes: 0,
    ...changed,
    head,
    refs,
    refsDigest: changed.refsDigest ?? digestRefs(head, refs),
  };
}

const revocation: Revocation = {
  version: FORMAT_VERSION,
  number: NUMBER,
  createdAt: '2026-11-22T16:00:00.000Z',
  run: '',
  git: '2.39.5',
  action: '0.1.0',
  kind: 'revocation',
  reason: 'an object is missing',
};

type Json = Record<string, unknown>;

async function toJson(manifest: Manifest): Promise<Json> {
  return JSON.parse(gunzipSync(await encodeManifest(manifest)).toString()) as Json;
}

/** A parsed manifest, or the message of its `bad-snapshot`; whatever else is thrown fails. */
async function read(content: Uint8Array, number = NUMBER): Promise<Manifest | string> {
  try {
    return await parseManifest(content, number);
  } catch (error) {
    if (error instanceof MirrorError && error.code === 'bad-snapshot') return error.message;
    throw error;
  }
}

function readText(text: string): Promise<Manifest | string> {
  return read(gzipSync(text));
}

describe('what was written is read', () => {
  test('with refs of any bytes, peeled tags and layers of any size', async () => {
    const snapshot = createSnapshot();
    expect(await read(await encodeManifest(snapshot))).toEqual(snapshot);
  });

  test.each<[string, Head | undefined]>([
    ['absent', undefined],
    ['detached', { oid: OID }],
    ['detached at what no ref keeps', { oid: 'c'.repeat(40) }],
    ['at a ref that is not mirrored', { ref: 'refs/pull/1/head', oid: OID }],
    ['at a ref whose name is not UTF-8', { ref: 'refs/heads/not-utf8-\xff', oid: OID }],
  ])('with a HEAD that is %s', async (_, head) => {
    const snapshot = createSnapshot({ head });
    expect(await read(await encodeManifest(snapshot))).toEqual(snapshot);
  });

  test('with ids of SHA-256', async () => {
    const refs = [{ name: 'refs/heads/main', oid: hex(64) }];
    const snapshot = createSnapshot({
      objectFormat: 'sha256',
      head: { ref: 'refs/heads/main', oid: refs[0]!.oid },
      refs,
      layers: [createLayer(64)],
    });
    expect(await read(await encodeManifest(snapshot))).toEqual(snapshot);
  });

  test('for a revocation, which has neither refs nor layers', async () => {
    expect(await read(await encodeManifest(revocation))).toEqual(revocation);
  });

  test('with an empty file, which has no chunks', async () => {
    const name = `pack-${hex(40)}.pack`;
    const files = [createFile(name, 0), createFile(partnerOf(name), CHUNK_BYTES)];
    const layers = [{ ...createLayer(), bytes: CHUNK_BYTES, files }];
    const snapshot = createSnapshot({ layers });
    expect(await read(await encodeManifest(snapshot))).toEqual(snapshot);
  });

  test.each(['sha1', 'sha256'] as const)(
    'with 100,000 refs of %s, in seconds of processor time',
    async (format) => {
      const oids = Array.from({ length: 1_000 }, () => hex(format === 'sha1' ? 40 : 64));
      const refs = sortRefs(
        Array.from({ length: 100_000 }, (_, index): Ref => {
          const name = `refs/heads/team-${index % 100}/topic-${index}`;
          const oid = oids[index % 1_000]!;
          return { name, oid, ...(index % 10 === 0 ? { peeled: oid } : {}) };
        }),
      );
      const snapshot = createSnapshot({ objectFormat: format, head: undefined, refs });
      const before = process.cpuUsage();
      const content = await encodeManifest(snapshot);
      const parsed = await read(content);
      const { user, system } = process.cpuUsage(before);
      expect((user + system) / 1_000_000).toBeLessThan(10);
      // jest takes longer to compare 100,000 objects than all the rest.
      const found = typeof parsed === 'object' && parsed.kind === 'repository' ? parsed.refs : [];
      expect(found.map(({ name, oid, peeled }) => `${name} ${oid} ${peeled}`).join()).toBe(
        refs.map(({ name, oid, peeled }) => `${name} ${oid} ${peeled}`).join(),
      );
    },
  );
});

describe('damage', () => {
  test('of single bits anywhere is refused, or changes nothing', async () => {
    const snapshot = createSnapshot();
    const content = await encodeManifest(snapshot);
    let refused = 0;
    for (let round = 0; round < 300; round++) {
      const damaged = Buffer.from(content);
      const position = random.integer(damaged.length);
      damaged.writeUInt8(damaged.readUInt8(position) ^ (1 << random.integer(8)), position);
      const result = await read(damaged);
      if (typeof result === 'string') refused++;
      // Flags of gzip's header and the bits that fill its last byte mean nothing.
      else expect(result).toEqual(snapshot);
    }
    expect(refused).toBeGreaterThan(270);
  });

  test('of single bits of the text inside never gives other refs', async () => {
    const snapshot = createSnapshot();
    const text = Buffer.from(JSON.stringify(await toJson(snapshot)));
    const namesAndIds = ({ refs }: Snapshot) => refs.map(({ name, oid }) => `${oid} ${name}`);
    for (let round = 0; round < 300; round++) {
      const damaged = Buffer.from(text);
      const position = random.integer(damaged.length);
      damaged.writeUInt8(damaged.readUInt8(position) ^ (1 << random.integer(8)), position);
      const result = await read(gzipSync(damaged, { level: 1 }));
      if (typeof result === 'string' || result.kind !== 'repository') continue;
      // The rest is compared with the files (layers.ts), the objects (unpack.ts) or the identity.
      expect(namesAndIds(result)).toEqual(namesAndIds(snapshot));
    }
  });

  test('by truncation is refused, wherever it is cut', async () => {
    const content = await encodeManifest(createSnapshot());
    for (let length = 0; length < content.length; length += 1 + random.integer(40)) {
      expect(typeof (await read(content.subarray(0, length)))).toBe('string');
    }
    expect(typeof (await read(content.subarray(0, -1)))).toBe('string');
  });

  test('by bytes that follow is refused, or changes nothing', async () => {
    const snapshot = createSnapshot();
    const content = await encodeManifest(snapshot);
    for (const tail of [Buffer.from('x'), Buffer.alloc(100), gzipSync(' '), random.bytes(50)]) {
      const result = await read(Buffer.concat([content, tail]));
      if (typeof result !== 'string') expect(result).toEqual(snapshot);
    }
    expect(typeof (await read(Buffer.concat([content, gzipSync('{}')])))).toBe('string');
  });

  test.each<[string, Uint8Array]>([
    ['nothing', Buffer.alloc(0)],
    ['no gzip', Buffer.from('{"version":2}')],
    ['a web page', Buffer.from('<html>')],
    ['random bytes', createRandom(1).bytes(2_000)],
    ['no JSON', gzipSync('<html>')],
    ['JSON that is cut', gzipSync('{"version":2,')],
    ['nothing inside', gzipSync('')],
    ['null', gzipSync('null')],
    ['a number', gzipSync('1')],
    ['a text', gzipSync('"snapshot"')],
    ['a list', gzipSync('[]')],
    ['an empty object', gzipSync('{}')],
  ])('that leaves %s is refused', async (_, content) => {
    expect(await read(content)).toMatch(/^the manifest is not usable: ./);
  });
});

/** Changes to the JSON of a sound snapshot; digests over refs are made to agree again. */
type Change = (json: Json & { refs: string[][]; layers: WrittenLayer[] }) => void;

interface WrittenLayer extends Json {
  name: unknown;
  bytes: unknown;
  files: (Json & { name: unknown; bytes: unknown; chunks: unknown[] })[];
}

async function readChanged(change: Change): Promise<Manifest | string> {
  const json = (await toJson(createSnapshot())) as Parameters<Change>[0];
  change(json);
  const refs = Array.isArray(json.refs) ? json.refs : [];
  const head = json['head'];
  // As a hostile writer would.
  const isDigestWanted = json['refsDigest'] !== 'f'.repeat(64) && refs.every(Array.isArray);
  if (isDigestWanted) {
    json['refsDigest'] = digestRefs(
      isHead(head) ? head : undefined,
      refs.map(([name = '', oid = '']) => ({ name, oid })),
    );
  }
  return readText(JSON.stringify(json));
}

function isHead(head: unknown): head is Head {
  return typeof head === 'object' && head !== null && 'oid' in head;
}

function withRefs(...names: string[]): Change {
  return (json) => {
    json['refspecs'] = ['+refs/*:refs/*'];
    json.refs = names.map((name) => [name, OID]);
    json['head'] = null;
  };
}

function withFile(index: number, change: (file: WrittenLayer['files'][number]) => void): Change {
  return (json) => {
    change(json.layers[0]!.files[index]!);
  };
}

describe('a manifest is refused', () => {
  test('where nothing was changed it is not', async () => {
    expect(await readChanged(() => {})).toMatchObject({ kind: 'repository' });
  });

  test.each<[string, Change, RegExp]>([
    ['of an unknown version', (json) => (json['version'] = 3), /version/],
    ['of no version', (json) => delete json['version'], /version/],
    ['of a version that is a text', (json) => (json['version'] = '2'), /version/],
    ['of another number', (json) => (json['number'] = 8), /it says it is number 8/],
    ['of the number 0', (json) => (json['number'] = 0), /number/],
    ['of a negative number', (json) => (json['number'] = -7), /number/],
    ['of a number that is a text', (json) => (json['number'] = '7'), /number/],
    ['of a number between two', (json) => (json['number'] = 7.5), /number/],
    ['of an unknown kind', (json) => (json['kind'] = 'delta'), /kind/],
    ['of no kind', (json) => delete json['kind'], /kind/],
    ['of another kind than its fields', (json) => (json['kind'] = 'revocation'), /./],
    ['with a field more', (json) => (json['config'] = '[core]'), /config/],
    ['with a field more in a layer', (json) => (json.layers[0]!['path'] = 'x'), /layers\.0\.path/],
    ['with a field more in a file', withFile(0, (file) => (file['mode'] = 0o4755)), /mode/],
    ['with a field more in HEAD', (json) => (json['head'] = { oid: OID, x: 1 }), /head/],
    ['without refs', (json) => (json.refs = []), /refs/],
    ['without layers', (json) => (json.layers = []), /layers/],
    ['with a layer without files', (json) => (json.layers[0]!.files = []), /files/],
    ['with a time that is none', (json) => (json['createdAt'] = 'yesterday'), /createdAt/],
    ['with a text that never ends', (json) => (json['run'] = 'x'.repeat(5_000)), /run/],
    ['with an unknown object format', (json) => (json['objectFormat'] = 'md5'), /objectFormat/],
    ['with another object format', (json) => (json['objectFormat'] = 'sha256'), /sha256/],
    ['with a digest of other refs', (json) => (json['refsDigest'] = 'f'.repeat(64)), /digest/],
    ['with a bad count of saves', (json) => (json['savesSinceFullWalk'] = -1), /savesSince/],
  ])('%s', async (_, change, reason) => {
    const result = await readChanged(change);
    expect(result).toMatch(/^the manifest is not usable: /);
    expect(result).toMatch(reason);
  });

  test.each<[string, Change, RegExp]>([
    ['out of order', withRefs('refs/heads/b', 'refs/heads/a'), /out of order/],
    ['twice', withRefs('refs/heads/a', 'refs/heads/a'), /a duplicate/],
    ['under another', withRefs('refs/heads/a', 'refs/heads/a/b'), /lies under refs/],
    ['under another, far away', withRefs('refs/a', 'refs/a-b', 'refs/a/b/c'), /lies under refs/],
    ['named ../x', withRefs('../x'), /not among its refspecs/],
    ['named refs/heads/../../config', withRefs('refs/heads/../../config'), /not a valid ref name/],
    ['named refs/../x', withRefs('refs/../x'), /not a valid ref name/],
    ['named /etc/passwd', withRefs('/etc/passwd'), /not among/],
    ['named HEAD', withRefs('HEAD'), /not among/],
    ['named -x', withRefs('-x'), /not among/],
    ['named nothing', withRefs(''), /not among/],
    ['that replaces objects', withRefs(`refs/replace/${OID}`), /not among its refspecs/],
    ['that is a lock', withRefs('refs/heads/a.lock'), /not a valid ref name/],
    ['of two lines', withRefs(`refs/heads/a\n${OID} refs/replace/${OID}`), /not a valid ref name/],
    ['with a NUL', withRefs('refs/heads/a\0b'), /not a valid ref name/],
    [
      'of characters that are no bytes',
      withRefs('refs/heads/\u012e\u012e\u012fx'),
      /not a valid ref name/,
    ],
    ['of a line end that is no byte', withRefs(`refs/heads/a\u010a${OID}`), /not a valid ref name/],
    ['outside of its refspecs', (json) => (json['refspecs'] = ['+refs/x/*:refs/x/*']), /not among/],
    [
      'that its refspecs leave out',
      (json) => (json['refspecs'] as string[]).push('^refs/heads/main'),
      /"refs\/heads\/main" is not among/,
    ],
    ['without any refspec', (json) => (json['refspecs'] = []), /not among/],
    ['without an id', (json) => (json.refs[0] = ['refs/heads/a', '']), /no sha1 object id/],
    [
      'with an id in capitals',
      (json) => (json.refs[0]![1] = OID.toUpperCase()),
      /no sha1 object id/,
    ],
    ['with an id of two lines', (json) => (json.refs[0]![1] = `${OID}\n`), /no sha1 object id/],
    ['peeled to no id', (json) => (json.refs[0]![2] = 'x'), /has an invalid peeled id/],
    ['of four parts', (json) => json.refs[0]!.push(OID, OID), /refs\.0/],
    ['of one part', (json) => (json.refs[0] = ['refs/heads/a']), /refs\.0/],
    ['that is no list', (json) => ((json.refs as unknown[])[0] = 'refs/heads/a'), /refs\.0/],
  ])('that has a ref %s', async (_, change, reason) => {
    const result = await readChanged(change);
    expect(result).toMatch(/^the manifest is not usable: /);
    expect(result).toMatch(reason);
  });

  test.each<[string, unknown]>([
    ['at not a valid ref name', { ref: '../../x', oid: OID }],
    ['at a file', { ref: 'config', oid: OID }],
    ['of two lines', { ref: 'refs/heads/a\nx', oid: OID }],
    ['of characters that are no bytes', { ref: 'refs/heads/\u012e\u012e', oid: OID }],
    ['without an id', { ref: 'refs/heads/main' }],
    ['at a bad id', { ref: 'refs/heads/main', oid: 'x' }],
    ['that is a text', 'ref: refs/heads/main'],
    ['that is a list', [OID]],
  ])('that has a HEAD %s', async (_, head) => {
    const result = await readChanged((json) => (json['head'] = head));
    expect(result).toMatch(/^the manifest is not usable: .*(?:HEAD|head)/s);
  });

  test.each([
    '../x.pack',
    '../../hooks/post-checkout',
    '/etc/passwd',
    'config',
    'hooks/pre-receive',
    'objects/info/alternates',
    `pack-${OID}.keep`,
    `pack-${OID}.rev`,
    `pack-${OID}.bitmap`,
    `pack-${OID}.promisor`,
    'multi-pack-index',
    `pack-${OID}`,
    `pack-${OID}.pack\n`,
    `pack-${OID}.pack/../x`,
    `x/pack-${OID}.pack`,
    `pack-${'A'.repeat(40)}.pack`,
    'pack-aa.pack',
    `pack-${'a'.repeat(41)}.pack`,
    `tmp_pack_${OID}`,
    '',
    '.',
    'CON',
  ])('that has a file named %j', async (name) => {
    expect(await readChanged(withFile(0, (file) => (file.name = name)))).toMatch(/files\.0\.name/);
  });

  test.each(['../x', 'x', 'a'.repeat(64), `${'a'.repeat(64)}-${'b'.repeat(15)}`, '/', ''])(
    'that has a layer named %j',
    async (name) => {
      expect(await readChanged((json) => (json.layers[0]!.name = name))).toMatch(/layers\.0\.name/);
    },
  );

  test.each<[string, Change, RegExp]>([
    ['without its index', (json) => json.layers[0]!.files.pop(), /has no pack-.*\.idx/],
    ['without its pack', (json) => json.layers[0]!.files.shift(), /has no pack-.*\.pack/],
    [
      'whose index lies in another layer',
      ({ layers: [one, other] }) => {
        const index = one!.files.pop()!;
        other!.files.push(index);
        one!.bytes = Number(one!.bytes) - Number(index.bytes);
        other!.bytes = Number(other!.bytes) + Number(index.bytes);
      },
      /has no pack-.*\.idx/,
    ],
    [
      'that two layers hold',
      ({ layers: [one, other] }) => {
        other!.files.push(...one!.files);
        other!.bytes = Number(other!.bytes) + Number(one!.bytes);
      },
      /two layers hold a file/,
    ],
    [
      'that one layer holds twice',
      ({ layers: [one] }) => one!.files.push(one!.files[0]!),
      /two|file/,
    ],
    [
      'with a chunk less',
      withFile(0, ({ chunks }) => chunks.pop()),
      /chunk digests; its size needs/,
    ],
    [
      'with a chunk more',
      withFile(1, ({ chunks }) => chunks.push(chunks[0])),
      /chunk digests; its size/,
    ],
    ['with a chunk that is none', withFile(0, ({ chunks }) => (chunks[1] = 'x')), /chunks\.1/],
    [
      'with chunks for nothing',
      withFile(1, (file) => (file.bytes = 0)),
      /chunk digests; its size needs/,
    ],
    ['of another size', withFile(1, (file) => (file.bytes = 1_101)), /not as large as its files/],
    ['in a layer of another size', ({ layers: [one] }) => (one!.bytes = 1), /not as large as/],
    ['in a layer that is there twice', (json) => json.layers.push(json.layers[0]!), /two layers/],
  ])('that has a pack %s', async (_, change, reason) => {
    const result = await readChanged(change);
    expect(result).toMatch(/^the manifest is not usable: /);
    expect(result).toMatch(reason);
  });

  test.each(['NaN', 'Infinity', '-Infinity', 'undefined', '0x10', '01', '1_000', '+1'])(
    'that has the number %s, which is no JSON',
    async (number) => {
      const text = JSON.stringify(await toJson(createSnapshot()));
      expect(typeof (await readText(text.replace('"bytes":1100', `"bytes":${number}`)))).toBe(
        'string',
      );
    },
  );

  test.each(['1e400', '-1e400', '1e21', '9007199254740993', '-1', '1.5', 'null', '"1100"', 'true'])(
    'that has a size of %s',
    async (number) => {
      const text = JSON.stringify(await toJson(createSnapshot()));
      for (const field of ['bytes', 'number', 'savesSinceFullWalk']) {
        const changed = text.replace(new RegExp(`"${field}":\\d+`), `"${field}":${number}`);
        expect(changed).not.toBe(text);
        expect(typeof (await readText(changed))).toBe('string');
      }
    },
  );

  test('that was written with an invalid number', async () => {
    for (const savesSinceFullWalk of [NaN, Infinity, -1, 1.5, 2 ** 53]) {
      const content = await encodeManifest(createSnapshot({ savesSinceFullWalk }));
      expect(await read(content)).toContain('savesSinceFullWalk');
    }
  });

  test('that names an object twice: what is read is what was checked', async () => {
    const text = JSON.stringify(await toJson(createSnapshot()));
    const doubled = text.replace('"kind":', '"version":2,"kind":"revocation","reason":"x","kind":');
    expect(typeof (await readText(doubled))).toBe('string');
  });

  test('whose fields are those that every object has', async () => {
    const text = JSON.stringify(await toJson(createSnapshot()));
    for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
      const result = await readText(text.replace('{', `{"${name}":{"kind":"snapshot"},`));
      // Unknown either way: refused, or not seen by anybody.
      if (typeof result !== 'string') expect(Object.hasOwn(result, name)).toBe(false);
      expect(Object.hasOwn(Object.prototype, 'kind')).toBe(false);
    }
  });

  test('by a message of bounded length, whatever is in it', async () => {
    const long = 'x'.repeat(1_000_000);
    for (const result of [
      await readText(JSON.stringify(long)),
      await readChanged((json) => (json['kind'] = long)),
      await readChanged((json) => (json[long] = 1)),
      await readChanged(withRefs(long)),
      await readChanged(withRefs(`refs/heads/${long}/`)),
      await readChanged((json) => (json['head'] = { ref: long, oid: OID })),
      await readChanged(withFile(0, (file) => (file.name = long))),
    ]) {
      expect(result).toMatch(/^.{20,400}$/);
    }
  });
});

describe('a revocation is refused', () => {
  const readRevocation = (changed: Json): Promise<Manifest | string> =>
    readText(JSON.stringify({ ...revocation, ...changed }));

  test.each<[string, Json]>([
    ['of another number', { number: 8 }],
    ['of an unknown version', { version: 1 }],
    ['without a reason', { reason: undefined }],
    ['with a reason that is none', { reason: 1 }],
    ['with refs', { refs: [['refs/heads/a', OID]] }],
    ['with a field more', { key: 'x' }],
  ])('%s', async (_, changed) => {
    expect(await readRevocation(changed)).toMatch(/^the manifest is not usable: /);
  });
});

describe('a decompression bomb', () => {
  /** In a process of its own: one without memory ends, and no promise can catch that. */
  const script = `
    import { createGzip } from 'node:zlib';
    import { once } from 'node:events';
    import { buffer } from 'node:stream/consumers';
    const { parseManifest } = await import(process.argv[1]);
    const [, , start, unit, mebibytes, end] = process.argv;
    const gzip = createGzip({ level: 1 });
    const content = buffer(gzip);
    gzip.write(start);
    const block = unit.repeat(Math.ceil(1048576 / unit.length));
    for (let index = 0; index < Number(mebibytes); index++) {
      if (!gzip.write(block)) await once(gzip, 'drain');
    }
    gzip.end(end);
    const before = process.cpuUsage();
    const thrown = await parseManifest(await content, 7).catch((error) => error);
    const { user, system } = process.cpuUsage(before);
    const seconds = (user + system) / 1_000_000;
    const { maxRSS } = process.resourceUsage();
    console.log(JSON.stringify({ code: thrown.code, message: thrown.message, seconds, maxRSS }));
  `;
  const module = new URL('../../src/snapshot/manifest.ts', import.meta.url).href;

  const detonate = async (start: string, unit: string, mebibytes: number, end = '') => {
    const flags = ['--max-old-space-size=1024', '--input-type=module', '--eval', script];
    const bomb = [module, start, unit, String(mebibytes), end];
    const { stdout, stderr } = await runProcess(process.execPath, [...flags, ...bomb]);
    return JSON.parse(stdout || JSON.stringify({ crashed: stderr.slice(0, 300) })) as object;
  };

  test('is refused within bounded processor time and memory', async () => {
    const results = await Promise.all([
      detonate('', '0', 140),
      detonate('', '[', 30),
      detonate('{"version":2,"kind":"repository","refs":[', '[],', 30),
      // Each number is an issue of its own.
      detonate('{"version":2,"kind":"repository","refs":[', '1111111111111,', 70, '1]}'),
    ]);
    for (const result of results as { code?: string; seconds: number; maxRSS: number }[]) {
      expect(result).toMatchObject({ code: 'bad-snapshot' });
      expect(result.seconds).toBeLessThan(10);
      expect(result.maxRSS / 1024).toBeLessThan(1_000);
    }
  });
});

describe('a snapshot of something else', () => {
  const refspecs = ['+refs/heads/*:refs/heads/*', '+refs/tags/*:refs/tags/*'];
  const spec = {
    url: 'https://github.com/owner/name',
    refspecs,
    depth: 'full',
    cacheKey: '',
  } as const;
  const identity = identify(spec, 'sha1');

  test('is distinguished from one of this upstream with these settings', () => {
    expect(findIdentityFault(createSnapshot(), identity)).toBeUndefined();
  });

  test.each([
    [{ upstream: 'https://github.com/owner/other' }, 'it is of https://github.com/owner/other'],
    [{ upstream: 'https://github.com/Owner/name' }, 'it is of https://github.com/Owner/name'],
    [{ upstream: 'http://github.com/owner/name' }, 'it is of http://github.com/owner/name'],
    [{ objectFormat: 'sha256' as const }, 'it has sha256 ids'],
    [{ depth: 'tip' as const }, 'it has the depth tip'],
    [{ refspecs: ['+refs/*:refs/*'] }, 'it was made with other refspecs'],
    [{ refspecs: [...refspecs, '^refs/x'] }, 'it was made with other refspecs'],
    [{ refspecs: [refspecs.join('","')] }, 'it was made with other refspecs'],
    [{ refspecs: [...refspecs].reverse() }, 'it was made with other refspecs'],
  ])('is refused for %j', (changed, fault) => {
    expect(findIdentityFault({ ...createSnapshot(), ...changed }, identity)).toBe(fault);
  });
});

test('an id names a number and a content: others have another', async () => {
  const content = await encodeManifest(createSnapshot());
  expect(snapshotId(7, content)).toMatch(/^7-[0-9a-f]{12}$/);
  expect(snapshotId(7, content)).toBe(snapshotId(7, Buffer.from(content)));
  expect(snapshotId(7, content)).not.toBe(snapshotId(8, content));
  expect(snapshotId(7, content)).not.toBe(snapshotId(7, content.subarray(1)));
});

/**
 * A process that contends for a lock: `lock-holder.ts <a HeldThing as JSON>`. It obeys commands,
 * one a line on stdin, and tells what happened, one JSON object a line on stdout: `lost` too, when
 * that happens. It ends when stdin does, so that none outlives the test that started it.
 *
 *   acquire <timeoutMs>    (waiting,) then acquired, timed-out, unavailable or cancelled
 *   release                released
 *   cancel                 ends a wait
 *   forget                 drops the hold without releasing it, and collects garbage: forgotten
 *   create <number>        creates that manifest, told by its holder's name: created or refused
 *   publish <number>       publishes that manifest by the claim it holds, if it does: published,
 *                          superseded, or failed
 *   count <file> <rounds>  adds one to the number in a file, each time under the lock: counted
 *   guard <file>           enters and leaves for ever, entered each time; violated if another
 *                          process was inside as well
 */
import { readFile, writeFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { describeError, MirrorError } from '../../../src/lib/errors.ts';
import { createClaimLock } from '../../../src/locks/claims/claims.ts';
import type { ClaimTimes } from '../../../src/locks/claims/times.ts';
import type { Acquisition, Hold, Lock } from '../../../src/locks/lock.ts';
import { createMachineLock } from '../../../src/locks/machine.ts';
import { FORMAT_VERSION, type Manifest } from '../../../src/snapshot/manifest.ts';
import { publishManifest } from '../../../src/save/publish.ts';
import { createDiskRecords } from '../../../src/stores/disk/records.ts';
import type { OpenedS3, S3Place } from '../s3/stores.ts';

/** What it contends for. */
export type HeldThing =
  | { kind: 'machine'; file: string }
  | { kind: 'claim'; path: string; number: number; holder: string; times: Partial<ClaimTimes> }
  | {
      kind: 's3-claim';
      place: S3Place;
      key: string;
      number: number;
      holder: string;
      times: Partial<ClaimTimes>;
    };

export interface Report {
  event: Acquisition['outcome'] | Progress;
  waitedMs?: number;
  reason?: string;
  /** Who is waited for. */
  holder?: string;
  /** Of the manifest that was published, or is the newest. */
  number?: number;
}

type Progress =
  | 'ready'
  | 'waiting'
  | 'cancelled'
  | 'lost'
  | 'released'
  | 'forgotten'
  | 'counted'
  | 'created'
  | 'refused'
  | 'published'
  | 'superseded'
  | 'failed'
  | 'entered'
  | 'violated';

const PATIENCE_MS = 60_000;

const held = JSON.parse(process.argv[2] ?? '') as HeldThing;
const lock = await createLock(held);
const cancellation = new AbortController();
let hold: Hold | undefined;

async function createLock(thing: HeldThing): Promise<Lock> {
  if (thing.kind === 'machine') return createMachineLock(thing.file);
  if (thing.kind === 's3-claim') {
    const { place, key, ...options } = thing;
    return createClaimLock((await openS3(place)).recordsOf(key), options);
  }
  const { path, ...options } = thing;
  return createClaimLock(createDiskRecords({ path, key: 'key' }), options);
}

/** The toolkit of AWS takes a while to load. */
async function openS3(place: S3Place): Promise<OpenedS3> {
  const { S3Stores } = await import('../s3/stores.ts');
  return S3Stores.at(place);
}

function tell(report: Report): void {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

async function obey(command: string, first = '', second = ''): Promise<void> {
  switch (command) {
    case 'acquire':
      return acquire(Number(first));
    case 'release':
      await hold?.release();
      tell({ event: 'released' });
      return;
    case 'cancel':
      cancellation.abort();
      return;
    case 'forget':
      hold = undefined;
      await collectGarbage();
      tell({ event: 'forgotten' });
      return;
    case 'create':
      return create(Number(first));
    case 'publish':
      return publish(Number(first));
    case 'count':
      return count(first, Number(second));
    case 'guard':
      return guard(first);
    default:
      throw new Error(`no such command: ${command}`);
  }
}

async function acquire(timeoutMs: number): Promise<void> {
  try {
    const acquisition = await lock.acquire({
      timeoutMs,
      signal: cancellation.signal,
      onWait: (holder) => {
        tell({ event: 'waiting', ...(holder === undefined ? {} : { holder }) });
      },
    });
    const { outcome: event, ...details } = acquisition;
    if ('hold' in details) {
      hold = details.hold;
      hold.lost.addEventListener('abort', () => {
        tell({ event: 'lost' });
      });
      tell({ event, waitedMs: details.waitedMs });
    } else {
      tell({ event, ...details });
    }
  } catch (error) {
    if (!(error instanceof MirrorError) || error.code !== 'cancelled') throw error;
    tell({ event: 'cancelled' });
  }
}

async function create(number: number): Promise<void> {
  if (held.kind !== 's3-claim') throw new Error('it is for buckets');
  const content = Buffer.from(held.holder);
  const { store } = await openS3(held.place);
  const { signal } = cancellation;
  const isCreated = await store.createManifest(held.key, number, content, signal);
  tell({ event: isCreated ? 'created' : 'refused' });
}

async function publish(number: number): Promise<void> {
  if (held.kind !== 's3-claim') throw new Error('it is for buckets');
  const { store } = await openS3(held.place);
  // The smallest manifest that there is.
  const manifest: Manifest = {
    ...{ version: FORMAT_VERSION, kind: 'revocation', number, reason: held.holder },
    ...{ createdAt: new Date().toISOString(), run: 'a test', git: '2.50.0', action: '0' },
  };
  const signal = AbortSignal.any([cancellation.signal, ...(hold === undefined ? [] : [hold.lost])]);
  try {
    const { is, number: newest } = await publishManifest(store, held.key, manifest, signal);
    tell({ event: is, number: newest });
  } catch (error) {
    tell({ event: 'failed', reason: describeError(error) });
  }
}

async function enter(): Promise<Hold> {
  const acquisition = await lock.acquire({
    timeoutMs: PATIENCE_MS,
    signal: cancellation.signal,
  });
  if (acquisition.outcome === 'acquired') return acquisition.hold;
  throw new Error(`the lock was not had: ${JSON.stringify(acquisition)}`);
}

async function count(file: string, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const turn = await enter();
    const before = Number(await readFile(file, 'utf8'));
    await sleep(Math.random() * 3);
    await writeFile(file, String(before + 1));
    await turn.release();
  }
  tell({ event: 'counted' });
}

async function guard(file: string): Promise<void> {
  for (let round = 0; ; round++) {
    const turn = await enter();
    const name = `${process.pid}/${round}`;
    await writeFile(file, name);
    for (let look = 0; look < 3; look++) {
      await sleep(Math.random() * 4);
      if ((await readFile(file, 'utf8')) !== name) tell({ event: 'violated' });
    }
    tell({ event: 'entered' });
    await turn.release();
    await sleep(Math.random() * 5);
  }
}

/** Needs `node --expose-gc`. */
async function collectGarbage(): Promise<void> {
  for (let pass = 0; pass < 5; pass++) {
    await sleep(10);
    if (globalThis.gc === undefined) throw new Error('start me with --expose-gc');
    globalThis.gc();
  }
}

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void obey(...(line.split(' ') as [string, string?, string?])));
lines.on('close', () => process.exit(0));
tell({ event: 'ready' });

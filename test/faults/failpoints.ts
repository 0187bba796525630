/**
 * Preloaded (`node --import`) into a step that runs from the sources: makes something go wrong at a
 * point of its work, as the variable MIRROR_TEST_FAULTS says (JSON, StepFaults). It reaches into the
 * classes from outside, so that nothing of it is in what is shipped.
 */
import { chmodSync, readdirSync, statSync, truncateSync, writeSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PhaseSignal, StepFaults, StoreFault, Weakness } from './step-faults.ts';

const faults = JSON.parse(process.env['MIRROR_TEST_FAULTS'] ?? '{}') as StepFaults;
const step = basename(process.argv[1] ?? '', '.ts');
// Before anything of ours is loaded.
if (faults.weakness !== undefined) weaken(faults.weakness);
if (step === 'main' || step === 'post') {
  const { signal, store } = faults[step] ?? {};
  if (signal !== undefined) await signalAtPhase(signal);
  if (store !== undefined) await spoilStore(store);
}

/** What the harness waits for, and later counts. */
function tell(what: string): void {
  writeSync(2, `failpoint: ${what}\n`);
}

async function signalAtPhase({ phase, when, signal }: PhaseSignal): Promise<void> {
  const { Account } = await import('../../src/job/account.ts');
  interface Measuring {
    measure(name: string, work: unknown, countBytes: unknown): Promise<unknown>;
  }
  const prototype = Account.prototype as Measuring;
  const measure = prototype.measure;
  let isDone = false;
  const raise = async (): Promise<void> => {
    if (isDone) return;
    isDone = true;
    tell(`${signal} ${when} ${phase}`);
    process.kill(process.pid, signal);
    // It arrives at the next turn; SIGKILL never lets us see it.
    await sleep(20);
  };
  prototype.measure = async function (name, work, countBytes) {
    if (name !== phase) return measure.call(this, name, work, countBytes);
    if (when === 'before') await raise();
    try {
      return await measure.call(this, name, work, countBytes);
    } finally {
      if (when === 'after') await raise();
    }
  };
}

async function spoilStore({ method, kind, times }: StoreFault): Promise<void> {
  const { createDiskStore } = await import('../../src/stores/disk/store.ts');
  const { MirrorError } = await import('../../src/lib/errors.ts');
  const store = Object.getPrototypeOf(createDiskStore({ path: '/' })) as Record<
    string,
    (...parameters: unknown[]) => Promise<unknown>
  >;
  const original = store[method];
  if (original === undefined) throw new Error(`a store has no ${method}`);
  let count = 0;
  store[method] = async function (...parameters) {
    if (count >= times) return original.apply(this, parameters);
    count++;
    tell(`${kind} ${method}`);
    const failure = new MirrorError('store-unavailable', `${method} fails on purpose`);
    switch (kind) {
      case 'fail':
        throw failure;
      case 'late':
        await sleep(300);
        return original.apply(this, parameters);
      case 'lost-reply':
        await original.apply(this, parameters);
        throw failure;
      case 'cut':
        return cut(method, parameters, await original.apply(this, parameters));
    }
  };
}

/** The download is shorter than the stored file. */
function cut(method: string, parameters: readonly unknown[], result: unknown): unknown {
  if (method === 'findManifest' && result !== undefined) {
    const found = result as { content: Uint8Array };
    return { ...found, content: found.content.subarray(0, found.content.length >> 1) };
  }
  if (method === 'getLayer') {
    const directory = parameters[2] as string;
    const [name = ''] = readdirSync(directory).filter((each) => each.endsWith('.pack'));
    const path = join(directory, name);
    chmodSync(path, 0o644);
    truncateSync(path, statSync(path).size >> 1);
  }
  return result;
}

/** Takes a check out of the sources as they are loaded, to show that the harness would notice. */
function weaken(weakness: Weakness): void {
  const changes: Record<Weakness, { file: string; from: string; to: string }[]> = {
    'digests are not compared': [
      {
        file: '/src/snapshot/layer-check.ts',
        from: 'return digest === this.#chunks[index];',
        to: "return digest !== '';",
      },
    ],
    'a failed fetch is only logged': [
      {
        file: '/src/mirror/candidate.ts',
        from: 'listNeededOids(head, probed), deadline);',
        to: 'listNeededOids(head, probed), deadline).catch(() => undefined);',
      },
      {
        file: '/src/mirror/candidate.ts',
        from: 'peelRefs(asking.git, directory, probed)',
        to: 'peelRefs(asking.git, directory, candidate.refs)',
      },
    ],
    'manifests are created over others': [
      {
        file: '/src/stores/disk/store.ts',
        from: 'folders.createIfAbsent(folders.manifest(number), content, signal)',
        to: 'removeTree(folders.manifest(number)).then(() => folders.createIfAbsent(folders.manifest(number), content, signal))',
      },
    ],
  };
  registerHooks({
    load(url, context, nextLoad) {
      const loaded = nextLoad(url, context);
      return changes[weakness]
        .filter(({ file }) => url.endsWith(file))
        .reduce((changed, { from, to }) => {
          const source = Buffer.from(changed.source as Uint8Array | string).toString();
          if (!source.includes(from)) throw new Error(`${url} has nothing like ${from}`);
          return { ...changed, source: source.replace(from, to) };
        }, loaded);
    },
  });
}

/** Steps that are killed, stopped or refused at one of their changes to a folder (test/support/locks/kill-at-call.ts). */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { KillPlan } from '../../support/locks/kill-at-call.ts';
import { createRandom, testSeed } from '../../support/random.ts';

const PRELOAD = new URL('../../support/locks/kill-at-call.ts', import.meta.url).href;
/** A soak tries every moment. */
export const IS_KILL_SOAK = Number(process.env['KILLS'] ?? 0) > 0;
/** Moments that are tried otherwise. */
const SAMPLE = 2;

export class Killer {
  /** Of the job whose steps it may kill. */
  readonly environment: Record<string, string>;
  readonly #plan: string;
  readonly #root: string;

  /** `plan` is a file of its own, `root` the folder whose changes count. */
  constructor(plan: string, root: string) {
    this.#plan = plan;
    this.#root = root;
    this.environment = { KILL_AT_CALL: plan, NODE_OPTIONS: `--import=${PRELOAD}` };
    this.arrange();
  }

  /** What becomes of the next step's calls; by default all are made. */
  arrange(steps: Partial<KillPlan> = {}): void {
    const whole: KillPlan = { root: this.#root, before: Infinity, ...steps };
    writeFileSync(this.#plan, JSON.stringify(whole));
    rmSync(`${this.#plan}.calls`, { force: true });
  }

  /** Of the step since `arrange`: names of the calls and the paths they changed, below the root. */
  get calls(): string[] {
    const file = `${this.#plan}.calls`;
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
  }
}

export interface Moment {
  /** Number of the call. */
  before: number;
  /** Its kind. */
  call: string;
}

/** A call with a star for each id. */
export function kindOf(call: string): string {
  return call.replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,}/g, '*');
}

/** The first call of each kind that matches, from `start` on; only a few of them at random, unless it is a soak. */
export function chooseMoments(calls: readonly string[], pattern: RegExp, start = 0): Moment[] {
  const kinds = new Map<string, Moment>();
  for (const [index, name] of calls.entries()) {
    const call = kindOf(name);
    if (index >= start && pattern.test(call) && !kinds.has(call))
      kinds.set(call, { before: index + 1, call });
  }
  const left = [...kinds.values()];
  const random = createRandom(testSeed());
  while (!IS_KILL_SOAK && left.length > SAMPLE) left.splice(random.integer(left.length), 1);
  return left;
}

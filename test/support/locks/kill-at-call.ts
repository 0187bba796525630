/**
 * Preloaded (`node --import`) into a step: kills it at one of the calls that change a store's folder, or
 * lets calls fail, as the file at KILL_AT_CALL says (KillPlan), which names the calls that were made.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';

export interface KillPlan {
  /** The store's folder. */
  root: string;
  /** Counted from 1, the call before which the process dies; one that never comes lets it live. */
  before: number;
  /** It is stopped instead, until somebody resumes it. */
  stops?: boolean;
  /** Calls on such paths fail so instead, from first to last. */
  failing?: { folder: string; code: string };
}

const file = process.env['KILL_AT_CALL'] ?? '';
const { root, before, stops, failing } = JSON.parse(fs.readFileSync(file, 'utf8')) as KillPlan;
let calls = 0;

function note(name: string, path: string): void {
  calls += 1;
  fs.appendFileSync(`${file}.calls`, `${name} ${path.slice(root.length + 1)}\n`);
  if (calls === before) process.kill(process.pid, stops === true ? 'SIGSTOP' : 'SIGKILL');
  if (failing !== undefined && path.split(/[\\/]/).includes(failing.folder)) {
    throw Object.assign(new Error(`${failing.code}: on purpose, ${name} '${path}'`), {
      ...{ code: failing.code, syscall: name, path },
    });
  }
}

type Call = (...given: unknown[]) => Promise<unknown>;
const promises = fs.promises as unknown as Record<string, Call>;
for (const name of ['link', 'mkdir', 'open', 'rename', 'rm']) {
  const original = promises[name]!;
  promises[name] = async (...given) => {
    // Of two paths the second is the one that changes.
    const path = String(name === 'link' || name === 'rename' ? given[1] : given[0]);
    const flags = typeof given[1] === 'string' ? given[1] : 'r';
    const isRead = name === 'open' && !flags.startsWith('w');
    if (!isRead && path.startsWith(join(root, ''))) note(name, path);
    return original(...given);
  };
}
syncBuiltinESMExports();

/**
 * The program of a process of its own that runs the toolkit of the Actions cache, which knows neither
 * signals nor deadlines, works in its process's folder, writes workflow commands, and turns failures
 * into misses. Requests come as lines of JSON, one at a time; each is answered by lines with what the
 * toolkit says, and one with the result. It works in the folder that a request names, and waits for the next
 * one outside: Windows removes no folder that a process is in. It ends with its input.
 */
import { createInterface } from 'node:readline';
import { restoreCache, saveCache } from '@actions/cache';
import type { CacheMessage, CacheOrder, CacheRequest } from './protocol.ts';

/** The same everywhere: the toolkit makes it a part of an entry's identity. */
const PATHS = ['entry'];
const COMMAND = /^::(debug|notice|warning|error)[^:]*::(.*)$/;
const PROGRESS = /^(?:Received|Sent) (\d+) of (\d+) /;
/** What tells why; other debug messages hold signed addresses. */
const TELLING = /^(?:Failed to reserve cache:|Cache not found for version )/;
const MAX_TEXT_LENGTH = 2_000;

const write = process.stdout.write.bind(process.stdout);
let partial = '';

function tell(message: CacheMessage): void {
  write(`${JSON.stringify(message)}\n`);
}

function take(line: string): void {
  const [, moved, total] = PROGRESS.exec(line) ?? [];
  if (moved !== undefined && total !== undefined) {
    tell({ share: Number(total) === 0 ? 1 : Number(moved) / Number(total) });
    return;
  }
  const [, level = 'info', told = line] = COMMAND.exec(line) ?? [];
  const text = told.replaceAll('%0D', '').replaceAll('%0A', '\n').replaceAll('%25', '%').trim();
  if (text === '' || (level === 'debug' && !TELLING.test(text))) return;
  tell({ line: { level, text: text.slice(0, MAX_TEXT_LENGTH) } });
}

function listen(chunk: unknown): boolean {
  const text = chunk instanceof Uint8Array ? Buffer.from(chunk).toString() : String(chunk);
  const lines = (partial + text).split(/\r?\n/);
  partial = lines.pop() ?? '';
  lines.forEach(take);
  return true;
}

const home = process.cwd();

async function run(request: CacheRequest): Promise<string | number | null> {
  switch (request.do) {
    case 'look-up': {
      const [key = '', ...others] = request.keys;
      return (await restoreCache(PATHS, key, others, { lookupOnly: true })) ?? null;
    }
    case 'restore':
      return (await restoreCache(PATHS, request.key)) ?? null;
    case 'save':
      return saveCache(PATHS, request.key);
  }
}

process.stdout.write = listen;
process.stderr.write = listen;
for await (const line of createInterface({ input: process.stdin })) {
  let result: string | number | null = null;
  try {
    const order = JSON.parse(line) as CacheOrder;
    process.chdir(order.workspace);
    result = await run(order);
  } catch (error) {
    listen(`\n::error::${Error.isError(error) ? error.message : String(error)}`);
  }
  process.chdir(home);
  listen('\n');
  tell({ result });
}
// Idle connections that are kept alive would hold it for a while.
process.exit();

/**
 * The program of a process of its own that runs the toolkit of the Actions cache, which knows neither
 * signals nor deadlines, works in its process's folder, writes workflow commands, and turns failures
 * into misses. Requests come as lines of JSON, one at a time; each is answered by one line with the
 * result and all that the toolkit said. It ends with its input.
 */
import { createInterface } from 'node:readline';
import { restoreCache, saveCache } from '@actions/cache';
import type { CacheAnswer, CacheRequest, CacheWord } from './protocol.ts';

/** The same everywhere: the toolkit makes it a part of an entry's identity. */
const PATHS = ['entry'];
const COMMAND = /^::(debug|notice|warning|error)[^:]*::(.*)$/;
const PROGRESS = /^(?:Received|Sent) (\d+) of (\d+) /;
/** What tells why; the rest of what is said for debugging holds signed addresses. */
const TELLING = /^(?:Failed to reserve cache:|Cache not found for version )/;
/** tar may complain about each file. */
const MAX_WORDS = 40;

const answer = process.stdout.write.bind(process.stdout);
let words: CacheWord[] = [];
let partial = '';

function take(line: string): void {
  const [, moved, total] = PROGRESS.exec(line) ?? [];
  if (moved !== undefined && total !== undefined) {
    const share = Number(total) === 0 ? 1 : Number(moved) / Number(total);
    answer(`${JSON.stringify({ share })}\n`);
    return;
  }
  const [, level = 'info', told = line] = COMMAND.exec(line) ?? [];
  const text = told.replaceAll('%0D', '').replaceAll('%0A', '\n').replaceAll('%25', '%').trim();
  if (text === '' || (level === 'debug' && !TELLING.test(text))) return;
  if (words.length < MAX_WORDS) words.push({ level, text: text.slice(0, 2_000) });
}

function listen(chunk: unknown): boolean {
  const lines = (
    partial + (chunk instanceof Uint8Array ? Buffer.from(chunk).toString() : String(chunk))
  ).split(/\r?\n/);
  partial = lines.pop() ?? '';
  lines.forEach(take);
  return true;
}

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

async function serve(request: CacheRequest): Promise<CacheAnswer> {
  words = [];
  partial = '';
  try {
    const result = await run(request);
    listen('\n');
    return { result, words };
  } catch (error) {
    listen('\n');
    const text = Error.isError(error) ? error.message : String(error);
    return { result: null, words: [...words, { level: 'error', text }] };
  }
}

process.stdout.write = listen;
process.stderr.write = listen;
for await (const line of createInterface({ input: process.stdin })) {
  answer(`${JSON.stringify(await serve(JSON.parse(line) as CacheRequest))}\n`);
}
// Idle connections that are kept alive would hold it for a while.
process.exit();

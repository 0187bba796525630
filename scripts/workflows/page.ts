/** The examples of a page of Markdown, linted as the workflows that they are parts of. */
import { checkActionUses } from './action-use.ts';
import { lintWorkflow } from './actionlint.ts';
import { completeWorkflow } from './example.ts';
import { SKIP_MARK, findYamlBlocks, type Block } from './fences.ts';
import type { Problem } from './problem.ts';

export interface PageReport {
  /** How many blocks were linted, and how many the page says are no workflows. */
  linted: number;
  skipped: number;
  /** Lines are those of the page. */
  problems: Problem[];
}

export async function lintPage(markdown: string, path: string): Promise<PageReport> {
  const blocks = findYamlBlocks(markdown);
  const examples = blocks.filter(({ isSkipped }) => !isSkipped);
  const problems: Problem[] = [];
  for (const example of examples) problems.push(...(await lintExample(example, path)));
  return { linted: examples.length, skipped: blocks.length - examples.length, problems };
}

async function lintExample({ content, line: start }: Block, path: string): Promise<Problem[]> {
  const workflow = completeWorkflow(content);
  if ('message' in workflow) {
    const advice = `(put \`${SKIP_MARK}\` before a block that is none)`;
    return [{ line: start + workflow.line - 1, message: `${workflow.message} ${advice}` }];
  }
  const found = [...(await lintWorkflow(workflow.text, path)), ...checkActionUses(workflow)];
  return found
    .map(({ line, message }) => ({ line: start + workflow.lineOf(line) - 1, message }))
    .sort((one, other) => one.line - other.line);
}

/** Lints the examples of a page of Markdown as whole workflows. */
import { checkActionUses } from './action-use.ts';
import { lintWorkflow } from './actionlint.ts';
import { completeWorkflow } from './example.ts';
import { SKIP_MARK, findYamlBlocks, type Block } from './fences.ts';
import type { Problem } from './problem.ts';

export interface PageReport {
  /** Numbers of blocks linted, and of blocks that the page marks as not a workflow. */
  linted: number;
  skipped: number;
  /** With the lines of the page. */
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
    const advice = `(if it isn't meant to be one, put \`${SKIP_MARK}\` before the block)`;
    return [{ line: start + workflow.line - 1, message: `${workflow.message} ${advice}` }];
  }
  const found = [...(await lintWorkflow(workflow.text, path)), ...checkActionUses(workflow)];
  return found
    .map(({ line, message }) => ({ line: start + workflow.lineOf(line) - 1, message }))
    .sort((one, other) => one.line - other.line);
}

/** Completes a block of YAML to a whole workflow. Pure. */
import { LineCounter, isMap, isScalar, isSeq, parseDocument, type Document, type Node } from 'yaml';
import type { Problem } from './problem.ts';

export interface Workflow {
  text: string;
  document: Document;
  /** The line of the block for a line of the workflow, both from 1. */
  lineOf(line: number): number;
  /** The line of the workflow that a node starts on, from 1. */
  lineOfNode(node: Node): number;
}

const TRIGGER = 'on: push';
const RUNNER = 'runs-on: ubuntu-latest';

/** The lines before a part of a workflow, and the part's indentation. */
interface Frame {
  head: readonly string[];
  indent: number;
}

/** The block as a whole workflow, or the problem that prevents it. */
export function completeWorkflow(block: string): Workflow | Problem {
  const part = parse(block, 0);
  if ('message' in part) return part;
  const frame = findFrame(part.document);
  if (frame === undefined) return { line: 1, message: NEITHER };
  const text = [...frame.head, indentBy(block, frame.indent)].join('\n');
  return parse(text, frame.head.length);
}

const NEITHER = 'this is not a workflow, jobs, a job or a list of steps';

function parse(text: string, linesBefore: number): Workflow | Problem {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter });
  // Later errors often follow from the first.
  const [fault] = document.errors;
  const lineOf = (line: number) => Math.max(1, line - linesBefore);
  if (fault !== undefined) {
    const line = lineOf(counter.linePos(fault.pos[0]).line);
    return { line, message: `this is not valid YAML: ${fault.message.split('\n')[0] ?? ''}` };
  }
  return {
    text,
    document,
    lineOf,
    lineOfNode: ({ range }) => counter.linePos(range?.[0] ?? 0).line,
  };
}

function findFrame({ contents }: Document): Frame | undefined {
  if (isSeq(contents)) {
    if (contents.items.length === 0 || !contents.items.every(isStep)) return undefined;
    return { head: [TRIGGER, 'jobs:', '  example:', `    ${RUNNER}`, '    steps:'], indent: 6 };
  }
  if (!isMap(contents)) return undefined;
  if (contents.has('jobs')) return { head: contents.has('on') ? [] : [TRIGGER], indent: 0 };
  if (isJob(contents)) {
    const runner = contents.has('runs-on') || contents.has('uses') ? [] : [`    ${RUNNER}`];
    return { head: [TRIGGER, 'jobs:', '  example:', ...runner], indent: 4 };
  }
  const jobs = contents.items.map(({ value }) => value);
  if (jobs.length === 0 || !jobs.every(isJob)) return undefined;
  return { head: [TRIGGER, 'jobs:'], indent: 2 };
}

function isStep(node: unknown): boolean {
  return isMap(node) && (isText(node.get('uses', true)) || isText(node.get('run', true)));
}

function isText(node: unknown): boolean {
  return isScalar(node) && typeof node.value === 'string';
}

/** A job has steps, or calls a workflow. */
function isJob(node: unknown): boolean {
  return isMap(node) && (node.has('steps') || /\.ya?ml(?:@|$)/.test(String(node.get('uses'))));
}

/** Empty lines stay empty, because a block scalar keeps them. */
function indentBy(text: string, columns: number): string {
  return text.replace(/^(?=.)/gm, ' '.repeat(columns));
}

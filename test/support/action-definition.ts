import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ActionDefinition {
  using: string;
  /** Entries, relative to the action. */
  main: string;
  post: string | undefined;
  postIf: string;
  /** Default of each input, expressions and all. */
  inputs: ReadonlyMap<string, string>;
  outputs: readonly string[];
}

type Tree = Map<string, Tree | string>;

export function readActionDefinition(actionPath: string): ActionDefinition {
  const root = parseYaml(readFileSync(join(actionPath, 'action.yml'), 'utf8'));
  const branch = (tree: Tree, name: string): Tree => {
    const value = tree.get(name);
    return value instanceof Map ? value : new Map<string, Tree | string>();
  };
  const leaf = (tree: Tree, name: string): string | undefined => {
    const value = tree.get(name);
    return typeof value === 'string' ? value : undefined;
  };
  const runs = branch(root, 'runs');
  const main = leaf(runs, 'main');
  if (main === undefined) throw new Error(`${actionPath}/action.yml has no runs.main`);
  const inputs = branch(root, 'inputs');
  return {
    using: leaf(runs, 'using') ?? '',
    main,
    post: leaf(runs, 'post'),
    postIf: leaf(runs, 'post-if') ?? 'always()',
    inputs: new Map(
      [...inputs.keys()].map((name) => [name, leaf(branch(inputs, name), 'default') ?? '']),
    ),
    outputs: [...branch(root, 'outputs').keys()],
  };
}

/** `${{ … }}` by a table of the expressions an action.yml uses; one that is not there throws. */
export function evaluate(text: string, expressions: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\{\{\s*(.*?)\s*\}\}/g, (_, expression: string) => {
    const value = expressions[expression];
    if (value === undefined) throw new Error(`no value for the expression ${expression}`);
    return value;
  });
}

interface Line {
  indent: number;
  text: string;
}

/** As much YAML as an action.yml is written in: nested maps and scalars, no lists, no anchors. */
export function parseYaml(text: string): Tree {
  const lines = text.split(/\r?\n/).map((line) => ({
    indent: line.length - line.trimStart().length,
    text: line.trimStart(),
  }));
  return parseMap(lines, 0, 0).tree;
}

function parseMap(lines: readonly Line[], start: number, indent: number) {
  const tree: Tree = new Map();
  let index = start;
  for (let line = lines[index]; line !== undefined; line = lines[index]) {
    if (line.text === '' || line.text.startsWith('#') || line.text === '---') {
      index++;
      continue;
    }
    if (line.indent < indent) break;
    const [, key, rest] = /^['"]?([\w.-]+)['"]?:(?:\s+(.*))?$/.exec(line.text) ?? [];
    if (key === undefined || line.indent !== indent) {
      throw new Error(`action.yml line ${index + 1} is beyond this parser: ${line.text}`);
    }
    const value = (rest ?? '').replace(/^#.*/, '');
    const next = parseValue(lines, index + 1, indent, value);
    tree.set(key, next.value);
    index = next.index;
  }
  return { tree, index };
}

function parseValue(
  lines: readonly Line[],
  start: number,
  parentIndent: number,
  text: string,
): { value: Tree | string; index: number } {
  const block = /^([|>])([+-]?)\s*(?:#.*)?$/.exec(text);
  if (block === null && text !== '') return continued(lines, start, parentIndent, text);
  const first = lines.slice(start).find((line) => line.text !== '');
  const indent = first?.indent ?? 0;
  if (indent <= parentIndent) return { value: '', index: start };
  if (block === null) {
    const { tree, index } = parseMap(lines, start, indent);
    return { value: tree, index };
  }
  let end = start;
  while (end < lines.length && (lines[end]?.text === '' || (lines[end]?.indent ?? 0) >= indent)) {
    end++;
  }
  const body = lines
    .slice(start, end)
    .map((line) => (line.text === '' ? '' : ' '.repeat(line.indent - indent) + line.text))
    .join('\n')
    .trimEnd();
  const joined = block[1] === '>' ? body.replaceAll(/(?<!\n)\n(?!\n)/g, ' ') : body;
  return { value: block[2] === '-' ? joined : `${joined}\n`, index: end };
}

/** A plain or quoted scalar may go on on deeper lines. */
function continued(lines: readonly Line[], start: number, parentIndent: number, text: string) {
  let index = start;
  let value = text;
  for (let line = lines[index]; line !== undefined; line = lines[index]) {
    if (line.text === '' || line.indent <= parentIndent) break;
    value += ` ${line.text}`;
    index++;
  }
  return { value: unquote(value), index };
}

function unquote(text: string): string {
  const single = /^'((?:[^']|'')*)'\s*(?:#.*)?$/.exec(text);
  if (single?.[1] !== undefined) return single[1].replaceAll("''", "'");
  const double = /^("(?:[^"\\]|\\.)*")\s*(?:#.*)?$/.exec(text);
  if (double?.[1] !== undefined) return JSON.parse(double[1]) as string;
  return text.replace(/\s+#.*$/, '').trimEnd();
}

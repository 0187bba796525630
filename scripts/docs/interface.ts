/** The action's inputs and outputs, as action.yml describes them, for people to read. Pure. */
import { isMap, isScalar, parseDocument, type Node, type Pair } from 'yaml';

export interface Entry {
  name: string;
  description: string;
  /** As it is written, expressions included; undefined for an output. */
  default: string | undefined;
  /** The comment above it in action.yml, which is the heading of a group. */
  heading: string | undefined;
}

export interface ActionInterface {
  inputs: readonly Entry[];
  outputs: readonly Entry[];
}

/** Throws if an input or output has no description. */
export function parseInterface(actionYaml: string): ActionInterface {
  const document = parseDocument(actionYaml);
  const entriesOf = (key: string): Entry[] => {
    const map = document.get(key, true);
    if (!isMap(map)) throw new Error(`action.yml has no ${key}`);
    return map.items.map((item, index) =>
      parseEntry(item, index === 0 ? map.commentBefore : undefined),
    );
  };
  return { inputs: entriesOf('inputs'), outputs: entriesOf('outputs') };
}

/** A comment above the first entry of a map belongs to the map. */
function parseEntry({ key, value }: Pair, mapComment: string | null | undefined): Entry {
  const name = textOf(key);
  const field = (part: string) => (isMap(value) ? value.get(part, true) : undefined);
  const description = textOf(field('description')).replace(/\s+/g, ' ').trim();
  if (description === '') throw new Error(`${name} has no description in action.yml`);
  const standard = field('default');
  const comment = (key as Node).commentBefore ?? mapComment ?? undefined;
  return {
    name,
    description,
    default: standard === undefined ? undefined : textOf(standard),
    heading: comment?.trim(),
  };
}

function textOf(node: unknown): string {
  return isScalar(node) ? String(node.value) : '';
}

/** Whether users should leave it alone. */
export function isInternal({ description }: Entry): boolean {
  return description.startsWith('Internal:');
}

/** A step that gives every input its default, each with the first sentence of its description. */
export function describeAsStep(inputs: readonly Entry[], uses: string): string {
  const shown = inputs.filter((input) => !isInternal(input));
  const lines = shown.flatMap(({ name, description, default: value = '', heading }, index) => [
    ...(heading === undefined ? [] : [...(index === 0 ? [] : ['']), `    # --- ${heading} ---`]),
    ...wrap(firstSentence(description), 92).map((line) => `    # ${line}`),
    ...describeValue(name, value).map((line) => `    ${line}`),
  ]);
  return ['```yaml', `- uses: ${uses}`, '  with:', ...lines, '```'].join('\n');
}

export function firstSentence(text: string): string {
  return /^.*?\.(?=\s+[A-Z`]|$)/.exec(text)?.[0] ?? text;
}

function describeValue(name: string, value: string): string[] {
  const lines = value.trimEnd().split('\n');
  if (lines.length > 1) return [`${name}: |`, ...lines.map((line) => `  ${line}`)];
  // What YAML would read as another type or as nothing is quoted, as action.yml does it.
  const needsQuotes = /^(?:|true|false|\d+)$/.test(value);
  return [`${name}: ${needsQuotes ? `'${value}'` : value}`];
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > columns) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}

/** docs/inputs.md. */
export function describeInterface({ inputs, outputs }: ActionInterface): string {
  const groups = inputs.map(({ name, description, default: value = '', heading }) => {
    const shown = value
      .trimEnd()
      .split('\n')
      .filter((line) => line !== '');
    const standard = shown.length === 0 ? 'empty' : shown.map((line) => `\`${line}\``).join(', ');
    const title = heading === undefined ? '' : `## ${heading}\n\n`;
    return `${title}### \`${name}\`\n\n${description}\n\nDefault: ${standard}\n`;
  });
  const rows = outputs.map(({ name, description }) => `| \`${name}\` | ${description} |`);
  return `# Inputs and outputs

Generated from [action.yml](../action.yml) by \`npm run docs\`. The README has [all inputs in one block](../README.md#inputs)
to copy. An input that has a wrong value fails the step. The error names the input, its value and what is expected.

${groups.join('\n')}
## Outputs

| output | value |
| --- | --- |
${rows.join('\n')}
`;
}

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';

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

interface ActionFile {
  runs?: { using?: string; main?: string; post?: string; 'post-if'?: string };
  inputs?: Record<string, { default?: string | number | boolean | null } | null>;
  outputs?: Record<string, unknown>;
}

export function readActionDefinition(actionPath: string): ActionDefinition {
  const file = parse(readFileSync(join(actionPath, 'action.yml'), 'utf8')) as ActionFile;
  const { runs = {}, inputs = {}, outputs = {} } = file;
  if (runs.main === undefined) throw new Error(`${actionPath}/action.yml has no runs.main`);
  const defaults = Object.entries(inputs).map(([name, input]): [string, string] => [
    name,
    String(input?.default ?? ''),
  ]);
  return {
    using: runs.using ?? '',
    main: runs.main,
    post: runs.post,
    postIf: runs['post-if'] ?? 'always()',
    inputs: new Map(defaults),
    outputs: Object.keys(outputs),
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

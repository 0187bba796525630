/** Checks how an example uses this action: names against action.yml, values by the action's own parser. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isMap, isScalar, visit, type Node, type YAMLMap } from 'yaml';
import { describeError } from '../../src/lib/errors.ts';
import { parseSettings } from '../../src/action/inputs/settings.ts';
import { readActionDefinition } from '../../test/support/action-definition.ts';
import type { Workflow } from './example.ts';
import type { Problem } from './problem.ts';

const action = readActionDefinition(fileURLToPath(new URL('../..', import.meta.url)));

const THIS_ACTION = /^[^/@]+\/mirror-action@/;

/** Inputs of actions/checkout v7; actionlint only knows those of v4. */
const CHECKOUT = 'actions/checkout@';
const CHECKOUT_INPUTS = [
  ...['allow-unsafe-pr-checkout', 'clean', 'fetch-depth', 'fetch-tags', 'filter'],
  ...['github-server-url', 'lfs', 'path', 'persist-credentials', 'ref', 'repository'],
  ...['set-safe-directory', 'show-progress', 'sparse-checkout', 'sparse-checkout-cone-mode'],
  ...['ssh-key', 'ssh-known-hosts', 'ssh-strict', 'ssh-user', 'submodules', 'token'],
];

/** A push to owner/name on a GitHub-hosted runner. */
const ENVIRONMENT = {
  GITHUB_EVENT_NAME: 'push',
  GITHUB_REPOSITORY: 'owner/name',
  GITHUB_SERVER_URL: 'https://github.com',
  GITHUB_WORKSPACE: resolve('/home/runner/work/name/name'),
  HOME: resolve('/home/runner'),
  RUNNER_TEMP: resolve('/home/runner/work/_temp'),
  RUNNER_WORKSPACE: resolve('/home/runner/work/name'),
};

const UNKNOWN = 'unknown';

/** The values of expressions in that run. Others are known only when a workflow runs. */
const EXPRESSIONS = new Map([
  ['github.repository', ENVIRONMENT.GITHUB_REPOSITORY],
  ['github.token', UNKNOWN],
  ['github.server_url', ENVIRONMENT.GITHUB_SERVER_URL],
  ['github.workspace', ENVIRONMENT.GITHUB_WORKSPACE],
  ['runner.temp', ENVIRONMENT.RUNNER_TEMP],
  ['strategy.job-total', '1'],
]);
/** Valid stand-ins for unknown values of inputs that have no default. */
const PLAUSIBLE = new Map([
  // In two parts, so that scanners for keys don't report it.
  ['ssh-key', ['BEGIN', 'END'].map((mark) => `-----${mark} PRIVATE KEY-----`).join('\nAAAA\n')],
  ['ssh-known-hosts', 'host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5'],
]);

/** All problems of the steps that use this action or actions/checkout. */
export function checkActionUses(workflow: Workflow): Problem[] {
  const problems: Problem[] = [];
  const ids = new Set<string>();
  visit(workflow.document, {
    Map: (_, step) => {
      const uses = textOf(step.get('uses', true));
      if (uses.startsWith(CHECKOUT)) problems.push(...checkNames(workflow, step, CHECKOUT_INPUTS));
      if (!THIS_ACTION.test(uses)) return;
      ids.add(textOf(step.get('id', true)));
      problems.push(...checkNames(workflow, step, [...action.inputs.keys()]));
      problems.push(...checkValues(workflow, step));
    },
  });
  return [...problems, ...checkOutputs(workflow, ids)];
}

/** The inputs that a step gives, as text, as the runner passes them. */
function givenInputs(step: YAMLMap): { name: string; value: string; node: Node }[] {
  const given = step.get('with', true);
  if (!isMap(given)) return [];
  return given.items.flatMap(({ key, value }) =>
    isScalar(key) ? [{ name: textOf(key), value: textOf(value), node: key }] : [],
  );
}

/** The text of a scalar; empty for anything else. */
function textOf(node: unknown): string {
  const value = isScalar(node) ? node.value : undefined;
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

function checkNames(workflow: Workflow, step: YAMLMap, known: readonly string[]): Problem[] {
  return givenInputs(step)
    .filter(({ name }) => !known.includes(name))
    .map(({ name, node }) => ({
      line: workflow.lineOfNode(node),
      message: `\`${name}\` is not an input of ${textOf(step.get('uses', true))}`,
    }));
}

/** The error that the action itself would report for the values. */
function checkValues(workflow: Workflow, step: YAMLMap): Problem[] {
  const given = givenInputs(step);
  const input = (name: string) => {
    const text = given.find((each) => each.name === name)?.value;
    return evaluate(name, text ?? action.inputs.get(name) ?? '').trim();
  };
  try {
    parseSettings(input, ENVIRONMENT);
    return [];
  } catch (error) {
    const message = describeError(error);
    const blamedName = /`([^`]+)`/.exec(message)?.[1];
    const blamed = given.find(({ name }) => name === blamedName);
    return [{ line: workflow.lineOfNode(blamed?.node ?? step), message }];
  }
}

/** The value of an input, with a valid stand-in for an unknown value. */
function evaluate(name: string, text: string): string {
  const alone = /^\$\{\{\s*([^{}]*?)\s*\}\}$/.exec(text.trim())?.[1];
  const isUnknown = alone !== undefined && !EXPRESSIONS.has(alone);
  return (isUnknown ? findAllowed(name) : text).replaceAll(
    /\$\{\{\s*(.*?)\s*\}\}/gs,
    (_, expression: string) => EXPRESSIONS.get(expression) ?? UNKNOWN,
  );
}

function findAllowed(name: string): string {
  const standard = action.inputs.get(name) ?? '';
  return PLAUSIBLE.get(name) ?? (standard === '' ? UNKNOWN : standard);
}

/** actionlint doesn't know this action's outputs and accepts every name. */
function checkOutputs(workflow: Workflow, ids: ReadonlySet<string>): Problem[] {
  return workflow.text.split('\n').flatMap((text, index) => {
    const named = [...text.matchAll(/\bsteps\.([\w-]+)\.outputs\.([\w-]+)/g)];
    return named
      .filter(([, id = '', name = '']) => ids.has(id) && !action.outputs.includes(name))
      .map(([, , name]) => ({
        line: index + 1,
        message: `\`${String(name)}\` is not an output of this action`,
      }));
  });
}

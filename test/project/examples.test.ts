/** Examples in the docs are linted as if somebody had copied them into a workflow. */
import { describe, expect, test } from '@jest/globals';
import { lintPage } from '../../scripts/workflows/page.ts';
import { findUnpinned } from '../../scripts/workflows/pins.ts';

const FENCE = '```';

function pageOf(yaml: string, before = 'An example:'): string {
  return ['# Title', '', before, '', `${FENCE}yaml`, yaml, FENCE, '', 'More.', ''].join('\n');
}

/** The first line of the YAML in pageOf. */
const FIRST = 6;

async function problemsOf(yaml: string): Promise<string[]> {
  const { problems, linted } = await lintPage(pageOf(yaml), 'page.md');
  expect(linted).toBe(1);
  return problems.map(({ line, message }) => `${line - FIRST + 1}: ${message}`);
}

const steps = (...lines: string[]) => ['- uses: org/mirror-action@v1', ...lines].join('\n');
const using = (...inputs: string[]) => steps('  with:', ...inputs.map((input) => `    ${input}`));

describe('a valid example', () => {
  test.each([
    ['a list of steps', using('disk-path: /mnt/mirrors', 'lock-timeout: 90', 'save: never')],
    [
      'steps that use outputs',
      steps(
        '  id: mirror',
        '- run: git clone "$FROM" to',
        '  env:',
        '    FROM: ${{ steps.mirror.outputs.mirror-path }}',
      ),
    ],
    ['a job', 'strategy:\n  matrix:\n    n: [1, 2]\nsteps:\n  - run: echo ${{ matrix.n }}'],
    ['jobs', 'one:\n  steps:\n    - run: "true"\n  runs-on: ubuntu-latest'],
    [
      'a whole workflow',
      `on: push\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n      - run: "true"`,
    ],
    [
      'values that are known only when the workflow runs',
      using('verify: ${{ vars.VERIFY }}', 'ssh-key: ${{ secrets.KEY }}', 'path: ${{ vars.A }}/b'),
    ],
  ])('passes: %s', async (_, yaml) => {
    expect(await problemsOf(yaml)).toEqual([]);
  });

  test('passes in a list, with its indentation', async () => {
    const page = `1. First:\n\n   ${FENCE}yml\n   - run: |\n       true\n   ${FENCE}\n`;
    expect(await lintPage(page, 'page.md')).toEqual({ linted: 1, skipped: 0, problems: [] });
  });
});

describe('an example that would not work', () => {
  test('names an input that the action does not have', async () => {
    expect(await problemsOf(using('disk-pth: /mnt'))).toEqual([
      '3: `disk-pth` is not an input of org/mirror-action@v1',
    ]);
  });

  test('gives a value that the action refuses', async () => {
    const found = await problemsOf(using('save: never', 'verify: fully'));
    expect(found).toEqual([
      expect.stringMatching(/^4: Input `verify` is "fully"; expected one of/),
    ]);
  });

  test('gives values that contradict each other', async () => {
    const found = await problemsOf(using('store: disk'));
    expect(found).toEqual([expect.stringMatching(/Input `disk-path` is ""/)]);
  });

  test('uses an output that the action does not have', async () => {
    const found = await problemsOf(
      steps('  id: mirror', '- run: echo ${{ steps.mirror.outputs.path }}'),
    );
    expect(found).toEqual(['3: `path` is not an output of this action']);
  });

  test('uses a step that does not exist', async () => {
    const found = await problemsOf(steps('- run: echo ${{ steps.mirror.outputs.head }}'));
    expect(found).toEqual([expect.stringMatching(/^2: property "mirror" is not defined/)]);
  });

  test.each(['actions/checkout@v7', 'actions/checkout@v4'])(
    'names an input that %s does not have',
    async (uses) => {
      const found = await problemsOf(`- uses: ${uses}\n  with:\n    fetch-dept: 0`);
      expect(found).toContainEqual(`3: \`fetch-dept\` is not an input of ${uses}`);
    },
  );

  test('names an input that another action of GitHub does not have', async () => {
    const found = await problemsOf('- uses: actions/cache@v4\n  with:\n    paths: a\n    key: b');
    expect(found).toContainEqual(expect.stringContaining('input "paths" is not defined'));
  });

  test('is not YAML', async () => {
    const found = await problemsOf('- uses: org/mirror-action@v1\n  with: [a');
    expect(found).toEqual([expect.stringMatching(/^[234]: this is not valid YAML: /)]);
  });

  test('has a key twice', async () => {
    const found = await problemsOf(using('save: never', 'save: auto'));
    expect(found).toEqual([expect.stringMatching(/^4: this is not valid YAML: .*unique/)]);
  });

  test('has an unknown key', async () => {
    const found = await problemsOf(steps('  wiht:', '    save: never'));
    expect(found).toEqual([expect.stringMatching(/^2: unexpected key "wiht"/)]);
  });

  test('is not a part of a workflow', async () => {
    const found = await problemsOf('permissions:\n  contents: read');
    expect(found).toEqual([expect.stringMatching(/^1: this is not a workflow, jobs/)]);
  });
});

describe('a page', () => {
  test('can mark one block as not a workflow', async () => {
    const mark = '<!-- not a workflow -->';
    const marked = pageOf('version: 1', mark);
    const report = await lintPage(`${marked}\n${pageOf('version: 2')}`, 'page.md');
    expect(report).toMatchObject({ linted: 1, skipped: 1, problems: [{ line: 16 }] });
  });

  test('with a block that is never closed is refused', async () => {
    const page = `${FENCE}yaml\n- run: "true"\n`;
    await expect(lintPage(page, 'page.md')).rejects.toThrow(SyntaxError);
  });

  test('may show other languages, even with fences in them', async () => {
    const page = ['````md', `${FENCE}yaml`, 'nothing: here', FENCE, '````', ''].join('\n');
    expect(await lintPage(page, 'page.md')).toEqual({ linted: 0, skipped: 0, problems: [] });
  });
});

test('our own workflows pin actions to commits and name the version', () => {
  const commit = 'a'.repeat(40);
  const uses = [
    './',
    './.github/workflows/ci.yml',
    `a/b@${commit} # v1.2.3`,
    `a/b@${commit}`,
    'a/b@v1',
    'a/b@v1 # v1.2.3',
    `a/b@${commit.slice(1)} # v1.2.3`,
  ];
  const text = uses.map((each) => `      - uses: ${each}\n`).join('');
  expect(findUnpinned(text).map(({ line }) => line)).toEqual([4, 5, 6, 7]);
});

/** Tables of measured times for the README and docs/how-it-works.md, from what `npm run bench` measured. Pure. */
import { DEEP, HOME_CHECKOUT, SHALLOW, UNPACK, rowOf } from '../../bench/contest.ts';
import { medianOf, type Cost } from '../../bench/cost.ts';
import { LINKS, tipRatios, type Measured } from '../../bench/report.ts';

const MIB = 2 ** 20;

interface Row {
  name: string;
  /** Rows of the benchmark that together make a checked-out tree. */
  steps: readonly string[];
}

const STORES = ['a disk', 'S3 (Ceph)', 'the Actions cache'] as const;

const ROWS: readonly Row[] = [
  { name: '`actions/checkout`, `fetch-depth: 0`', steps: [DEEP] },
  ...STORES.map((store) => ({
    name: `mirror-action, snapshot from ${store}`,
    steps: [rowOf('warm', store, 'main'), rowOf('warm', store, 'checkout')],
  })),
  {
    name: 'mirror-action, mirror still on the machine',
    steps: [rowOf('at home', 'a disk', 'main'), rowOf('at home', 'a disk', 'checkout')],
  },
  { name: 'home-made archive of `.git` on a disk', steps: [UNPACK, HOME_CHECKOUT] },
  { name: '`actions/checkout`, `fetch-depth: 1` (no history)', steps: [SHALLOW] },
];

/** Seconds to a checked-out tree for each repository, and what upstream sent for one of them. */
export function measuredTable(
  contests: Readonly<Record<string, Measured>>,
  names: readonly string[],
  transferOf: string,
): string {
  const columns = names.map((name) => `${name}, s`);
  const head = ['to a checked-out tree', ...columns, `MiB from the server (${transferOf})`];
  const rows = ROWS.map(({ name, steps }) => {
    const times = names.map((each) => total(contests[each], steps, 'ms') / 1_000);
    const bytes = total(contests[transferOf], steps, 'upstreamBytes');
    return [name, ...times.map(figure), figure(bytes / MIB)];
  });
  return drawTable([head, head.map(() => '---'), ...rows]);
}

/** Times without history, with a snapshot from each store, to those of a checkout alone. */
export function tipTable(
  trees: readonly { size: string; measured: Measured | undefined }[],
): string {
  const head = ['snapshot from', ...trees.map(({ size }) => size)];
  const networks = ['', ...LINKS.map(({ name }) => `, ${name}`)];
  const rows = STORES.flatMap((store) =>
    networks.map((network, index) => {
      const ratios = trees.map(({ measured }) => {
        const found = measured === undefined ? undefined : tipRatios(measured, store);
        return (index === 0 ? found?.here : found?.over[index - 1]) ?? NaN;
      });
      return [`${store}${network}`, ...ratios.map(ratioFigure)];
    }),
  );
  return drawTable([head, head.map(() => '---'), ...rows]);
}

/** Undefined steps, as of a store that was not measured with a repository, make NaN. */
function total(
  contest: Measured | undefined,
  steps: readonly string[],
  what: 'ms' | 'upstreamBytes',
): number {
  const costsOf = (step: string): readonly Cost[] =>
    contest?.costs.find(([row]) => row === step)?.[1] ?? [];
  const medians = steps.map((step) => {
    const costs = costsOf(step);
    return costs.length === 0 ? NaN : medianOf(costs, what);
  });
  return medians.reduce((sum, each) => sum + each, 0);
}

function figure(value: number): string {
  if (Number.isNaN(value)) return 'not measured';
  return value.toFixed(value < 10 ? 1 : 0);
}

function ratioFigure(value: number): string {
  if (Number.isNaN(value)) return 'not measured';
  return value < 0.95 ? `**${value.toFixed(2)}**` : value.toFixed(2);
}

function drawTable(rows: readonly (readonly string[])[]): string {
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** The results of `npm run bench` as tables in Markdown and as a picture. Pure. */
import type { Churn } from './churn.ts';
import {
  COPY,
  DEEP,
  DIGEST,
  HOME_CHECKOUT,
  SHALLOW,
  TOOLKIT,
  UNPACK,
  WRITE,
  rowOf,
  type Situation,
} from './contest.ts';
import { medianOf, type Cost } from './cost.ts';
import type { Growth } from './growth.ts';
import { median } from './measure.ts';
import type { Start } from './start.ts';
import type { VerifyCosts } from './verify.ts';
import { barsPart, drawPicture, linear, panelPart, type Bar, type Part } from './plot.ts';

export interface Measured {
  /** `300 MB`, or a repository's name. */
  name: string;
  packBytes: number;
  objects: number;
  newBytes: number;
  rounds: number;
  stores: readonly string[];
  /** By row. */
  costs: readonly (readonly [string, readonly Cost[]])[];
}

const DISK = 'a disk';
const MIB = 2 ** 20;

export function costTable({ costs }: Measured): string {
  const base = medianOf(costsOf(costs, costsOf(costs, DEEP).length > 0 ? DEEP : SHALLOW));
  const rows = costs.map(([name, each]) => {
    const times = each.map(({ ms }) => ms);
    const peak = Math.max(...each.map(({ peakBytes }) => peakBytes));
    const cells = [
      name,
      seconds(medianOf(each)),
      `${seconds(Math.min(...times))} to ${seconds(Math.max(...times))}`,
      (medianOf(each) / base).toFixed(3),
      seconds(medianOf(each, 'cpuMs')),
      mib(medianOf(each, 'upstreamBytes')),
      mib(medianOf(each, 'storeBytes')),
      peak === 0 ? '' : String(Math.round(peak / MIB)),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| step | median, s | range, s | ratio | CPU, s | MiB from upstream | MiB from or to a store | peak, MiB |',
    '|---|---|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

/** Where main's and post's time goes. Phases that run in parallel overlap. */
export function phaseTable({ costs }: Measured): string {
  const steps = costs.filter(([, each]) => Object.keys(each[0]?.phases ?? {}).length > 0);
  const names = [
    ...new Set(steps.flatMap(([, each]) => each.flatMap(({ phases }) => Object.keys(phases)))),
  ];
  const rows = steps.map(([name, each]) => {
    const cells = names.map((phase) => {
      const times = each.flatMap(({ phases }) => phases[phase] ?? []);
      return times.length === 0
        ? ''
        : seconds(times.toSorted((a, b) => a - b)[times.length >> 1] ?? 0);
    });
    return `| ${name} | ${cells.join(' | ')} |`;
  });
  return [
    `| median, s | ${names.join(' | ')} |`,
    `|---|${'---|'.repeat(names.length)}`,
    ...rows,
  ].join('\n');
}

type Aim = [what: string, value: number, wanted: number, isMost: boolean];

/** Where the Actions cache contended. */
function cacheAim(costs: Measured['costs']): Aim[] {
  const alone = costsOf(costs, TOOLKIT);
  if (alone.length === 0) return [];
  const mains = costsOf(costs, rowOf('warm', 'the Actions cache', 'main'));
  const restoreMs = median(mains.map(({ phases }) => phases['Restore'] ?? NaN));
  const what = 'restoring from the Actions cache / its toolkit alone, for the same packs';
  return [[what, restoreMs / medianOf(alone), 1.15, true]];
}

/** The project's aims, compared with the measured figures. */
export function aimTable({ costs, newBytes }: Measured, start: Start): string {
  const of = (name: string) => costsOf(costs, name);
  const ms = (name: string) => medianOf(of(name));
  const main = rowOf('warm', DISK, 'main');
  const whole = ms(main) + ms(rowOf('warm', DISK, 'checkout'));
  const limit = Math.max(ms(COPY), ms(DIGEST));
  const allowed = 1.3 * limit + start.nodeMs + median(of(main).map(askMsOf));
  const post = rowOf('warm', DISK, 'post');
  const peak = Math.max(
    ...costs.flatMap(([, each]) => each.map(({ peakBytes }) => peakBytes / MIB)),
  );
  const aims: Aim[] = [
    [`${DEEP} / warm main and checkout`, ms(DEEP) / whole, 12, false],
    [`warm main and checkout / ${SHALLOW}`, whole / ms(SHALLOW), 1, true],
    [
      'warm main, s; aim: 1.3 times the slower of `cp` and SHA-256, plus Node’s start and the fetch',
      ms(main) / 1_000,
      allowed / 1_000,
      true,
    ],
    ['post with one day of new commits, s', ms(post) / 1_000, 1, true],
    [
      'post with one day of new commits, KiB stored; aim: 1.1 times their size plus 64 KiB',
      medianOf(of(post), 'storeBytes') / 1024,
      (1.1 * newBytes) / 1024 + 64,
      true,
    ],
    ['post unchanged, s', ms(rowOf('at home', DISK, 'post')) / 1_000, 0.5, true],
    ['peak memory of main and post, MiB', peak, 256, true],
    ...cacheAim(costs),
  ];
  const rows = aims.map(([what, value, wanted, isMost]) => {
    const isMet = isMost ? value <= wanted : value >= wanted;
    const aim = `${isMost ? 'at most' : 'at least'} ${figure(wanted)}`;
    return `| ${what} | ${figure(value)} | ${aim} | ${isMet ? 'met' : '**not met**'} |`;
  });
  return ['| | measured | aim | |', '|---|---|---|---|', ...rows].join('\n');
}

/** Where the time of warm main and its checkout goes, compared with copying and writing alone. */
export function limitTable({ costs }: Measured, start: Start): string {
  const ms = (name: string) => medianOf(costsOf(costs, name));
  const main = costsOf(costs, rowOf('warm', DISK, 'main'));
  const checkoutMs = ms(rowOf('warm', DISK, 'checkout'));
  const restoreMs = median(main.map(({ phases }) => phases['Restore'] ?? 0));
  const askMs = median(main.map(askMsOf));
  const restMs = medianOf(main) - restoreMs - askMs - start.mainMs;
  const floorMs = ms(COPY) + ms(WRITE);
  const rows = [
    ['restoring and checking the packs', restoreMs, COPY, ms(COPY)],
    ['fetching, and the part of the probe that outlasts the restore', askMs],
    ['starting Node and loading the bundle', start.mainMs],
    ['the rest of main', restMs],
    ['the commands of `actions/checkout`', checkoutMs, WRITE, ms(WRITE)],
    ['**total**', medianOf(main) + checkoutMs, '**total**', floorMs],
  ] as const;
  return [
    '| part of warm main and checkout | s | lower limit | s |',
    '|---|---|---|---|',
    ...rows.map(([what, time, limit = '', limitMs]) => {
      const cells = [what, seconds(time), limit, limitMs === undefined ? '' : seconds(limitMs)];
      return `| ${cells.join(' | ')} |`;
    }),
    '',
    `Copying and writing alone would be ${figure(ms(DEEP) / floorMs)} times as fast as ${DEEP} and take ${figure(floorMs / ms(SHALLOW))} times as long as ${SHALLOW}.`,
  ].join('\n');
}

function costsOf(costs: Measured['costs'], name: string): readonly Cost[] {
  return costs.find(([row]) => row === name)?.[1] ?? [];
}

/** How long main waits for upstream: the probe runs in parallel with the restore. */
function askMsOf({ phases: { Probe = 0, Restore = 0, Fetch = 0 } }: Cost): number {
  return Math.max(0, Probe - Restore) + Fetch;
}

export function growthTable({ what, points }: Growth): string {
  const [first] = points;
  const rows = points.map(({ x, mainMs, postMs }) => {
    const ratio = (ms: number, base = NaN) => (ms / base).toFixed(2);
    return `| ${x.toLocaleString('en')} | ${seconds(mainMs)} | ${ratio(mainMs, first?.mainMs)} | ${seconds(postMs)} | ${ratio(postMs, first?.postMs)} |`;
  });
  const head = `| ${what} | main, s | ratio | post, s | ratio |`;
  return [head, '|---|---|---|---|---|', ...rows].join('\n');
}

/** The largest ratio of main and post, compared with the aim: at most twice the first. */
export function growthVerdict({ points }: Growth): string {
  const [first] = points;
  const most = Math.max(
    ...points.flatMap(({ mainMs, postMs }) => [
      mainMs / (first?.mainMs ?? NaN),
      postMs / (first?.postMs ?? NaN),
    ]),
  );
  return `At most ${most.toFixed(2)} times the first. The aim is 2: ${most <= 2 ? 'met' : '**not met**'}.`;
}

/** `fetch-depth: 1` with this action and without, here and, as computed from that, over a network. */
export function tipTables(all: readonly Measured[]): string[] {
  const rows = all.flatMap((measured) => measured.stores.map((store) => tipRow(measured, store)));
  const measured = rows.filter((row) => row !== undefined);
  if (measured.length === 0) return [];
  const links = LINKS.map(({ name }) => name);
  return [
    [
      `| repository | snapshot from | main and checkout / ${SHALLOW} | bytes from upstream / without | ${links.join(' | ')} |`,
      `|---|---|---|---|${'---|'.repeat(links.length)}`,
      ...measured,
    ].join('\n'),
    'The last columns are the same ratio of times, computed: to the measured time comes the time that the link needs for the bytes from upstream and from the store, and 20 ms for each of about eight answers that are waited for. A disk needs no link.',
  ];
}

/** Networks for which times are computed. */
export const LINKS = [
  { name: 'over 1 Gbit/s', bytesPerMs: 125_000 },
  { name: 'over 100 Mbit/s', bytesPerMs: 12_500 },
];
const WAITS_MS = 8 * 20;

export interface TipRatios {
  /** Times of main and checkout to that of a checkout alone, as measured. */
  here: number;
  /** For each of LINKS, as computed. */
  over: number[];
  /** Bytes from upstream to those without this action. */
  bytes: number;
}

/** Without history, with a snapshot from that store. Undefined if it wasn't measured. */
export function tipRatios({ costs }: Measured, store: string): TipRatios | undefined {
  const steps = (['main', 'checkout'] as const).map((step) =>
    costsOf(costs, rowOf('tip', store, step)),
  );
  const plain = costsOf(costs, SHALLOW);
  if (plain.length === 0 || steps.some((step) => step.length === 0)) return undefined;
  const sum = (figure: 'ms' | 'upstreamBytes' | 'storeBytes') =>
    steps.reduce((total, step) => total + medianOf(step, figure), 0);
  const storeBytes = store === DISK ? 0 : sum('storeBytes');
  const over = LINKS.map(({ bytesPerMs }) => {
    const ours = sum('ms') + (sum('upstreamBytes') + storeBytes) / bytesPerMs + WAITS_MS;
    return ours / (medianOf(plain) + medianOf(plain, 'upstreamBytes') / bytesPerMs + WAITS_MS);
  });
  const here = sum('ms') / medianOf(plain);
  return { here, over, bytes: sum('upstreamBytes') / medianOf(plain, 'upstreamBytes') };
}

function tipRow(measured: Measured, store: string): string | undefined {
  const ratios = tipRatios(measured, store);
  if (ratios === undefined) return undefined;
  const { here, over, bytes } = ratios;
  const shares = [here.toFixed(2), `${(100 * bytes).toFixed(1)} %`];
  const cells = [measured.name, store, ...shares, ...over.map((ratio) => ratio.toFixed(2))];
  return `| ${cells.join(' | ')} |`;
}

/** Time by size, for all contests. */
export function sizeTable(all: readonly Measured[]): string {
  const rows = all.map(({ name, packBytes, costs }) => {
    const of = (step: 'main' | 'checkout' | 'post') =>
      medianOf(costsOf(costs, rowOf('warm', DISK, step)));
    const perMb = (ms: number) => `${((ms / packBytes) * 1e6).toFixed(1)} ms`;
    return `| ${name} | ${String(Math.round(packBytes / 1e6))} | ${seconds(of('main'))} | ${perMb(of('main'))} | ${seconds(of('post'))} | ${seconds(medianOf(costsOf(costs, DEEP)))} |`;
  });
  return [
    `| repository | MB of packs | warm main, s | for each MB | post, s | ${DEEP}, s |`,
    '|---|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

export function verifyTable({ costs }: VerifyCosts): string {
  const base = medianOf(costs[0]?.[1] ?? []);
  const rows = costs.map(([method, each]) => {
    const cells = [
      `\`${method}\``,
      seconds(medianOf(each)),
      (medianOf(each) / base).toFixed(2),
      seconds(medianOf(each, 'cpuMs')),
    ];
    return `| ${cells.join(' | ')} |`;
  });
  return [
    '| `verify` | restoring main, median, s | ratio | CPU, s |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n');
}

export function churnTable(churn: Churn): string {
  const rows = [
    ['the repository, as packs', churn.snapshotBytes],
    ['stored in the disk store', churn.heldBytes],
    ['sent to the disk store in total', churn.sentBytes],
    ['the last archive of `.git`', churn.lastArchiveBytes],
    ['archives of `.git`, one a day, in total', churn.archivedBytes],
  ] as const;
  return [
    `| after ${String(churn.days)} days | MiB |`,
    '|---|---|',
    ...rows.map(([what, bytes]) => `| ${what} | ${mib(bytes)} |`),
  ].join('\n');
}

const BLUE = '#0969da';
const GREEN = '#1a7f37';
const GREY = '#6e7781';

export function draw(all: readonly Measured[], growths: readonly Growth[]): string {
  return drawPicture([...all.map(contestPart), ...growths.map(growthPart)]);
}

function contestPart({ name, costs, stores }: Measured): Part {
  const ms = (row: string) => medianOf(costsOf(costs, row)) / 1_000;
  const bar = (label: string, get: number, checkout: number): Bar => ({
    name: label,
    parts: [
      { value: get, color: BLUE },
      { value: checkout, color: GREY },
    ],
    label: `${figure(get + checkout)} s`,
  });
  const ours = (label: string, situation: Situation, store: string) =>
    bar(label, ms(rowOf(situation, store, 'main')), ms(rowOf(situation, store, 'checkout')));
  const title = `${name}: seconds to a checked-out tree`;
  const colors = [
    ['restore or clone', BLUE],
    ['checkout', GREY],
  ] as const;
  return barsPart(title, colors, [
    bar('checkout, fetch-depth: 0', 0, ms(DEEP)),
    bar('checkout, fetch-depth: 1', 0, ms(SHALLOW)),
    bar('cached .git, fetch-depth: 0', ms(UNPACK), ms(HOME_CHECKOUT)),
    ours('mirror-action, cold', 'cold', DISK),
    ...stores.map((store) => ours(`mirror-action, from ${store}`, 'warm', store)),
    ours('mirror-action, fetch-depth: 1', 'tip', DISK),
    ours('mirror-action, mirror on the machine', 'at home', DISK),
  ]);
}

function growthPart({ what, points }: Growth): Part {
  const ratio = (pick: (point: Growth['points'][number]) => number) => {
    const [first] = points;
    return points.map((point, x) => ({ x, y: pick(point) / (first ? pick(first) : NaN) }));
  };
  const main = ratio(({ mainMs }) => mainMs);
  const post = ratio(({ postMs }) => postMs);
  const most = Math.max(...[...main, ...post].map(({ y }) => y), 2);
  const panel = linear(
    `Time of an unchanged run by ${what}, as a ratio to the first`,
    Math.ceil(most / 2) * 2,
    (tick) => tick.toFixed(1).replace('.0', ''),
    [
      { name: 'main', color: BLUE, points: main },
      { name: 'post', color: GREEN, points: post },
    ],
  );
  return panelPart(
    panel,
    points.map(({ x }, index) => ({ x: index, label: x.toLocaleString('en') })),
  );
}

function seconds(ms: number): string {
  return (ms / 1_000).toFixed(ms < 9_995 ? 2 : 1);
}

function mib(bytes: number): string {
  return bytes === 0 ? '' : (bytes / MIB).toFixed(bytes < 100 * MIB ? 2 : 0);
}

function figure(value: number): string {
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}

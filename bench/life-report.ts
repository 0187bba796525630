/** The cost of repeated saves over time, as a page in Markdown. Pure. */
import { formatBytes } from '../src/lib/bytes.ts';
import { summarize, type LifeSave, type SaveKind } from '../test/support/life.ts';

export interface LifeReport {
  /** The argument, for the page. */
  repository: string;
  machine: string;
  /** Days after which another machine comes; half of that later another, which saves at once. */
  every: number;
  /** That upstream's refs reached in the end. */
  objects: number;
  /** The first is that of the clone. */
  saves: readonly LifeSave[];
  restores: { day: number; restoreMs: number }[];
  /** Of `git fsck --strict`, on upstream's own history, by name. */
  complaints: Record<string, number>;
}

const KINDS: Record<SaveKind, string> = {
  delta: 'what its fetch brought',
  merge: 'small layers again, as one',
  everything: 'everything, packed again',
  nothing: 'nothing',
};

export function describeLife(report: LifeReport): string {
  const { saves, restores, every } = report;
  const all = summarize(saves);
  const [first, ...later] = saves;
  const last = saves.at(-1);
  const mirrorBytes = first?.snapshotBytes ?? NaN;
  const percent = (part: number) => `${(100 * part).toFixed(2)} %`;
  const ratios = restores.map(({ restoreMs }) => restoreMs / (restores[0]?.restoreMs ?? NaN));
  const facts: [string, string][] = [
    ['days', String(later.length)],
    ['first and last', `${String(first?.label)}, ${String(last?.label)}`],
    ['objects on the last day', String(report.objects)],
    ['sent by upstream', formatBytes(all.wireBytes)],
    ['fetched, as packs and indexes', formatBytes(all.fetchedBytes)],
    ['stored', formatBytes(all.layerBytes)],
    ['stored, relative to what was fetched', (all.layerBytes / all.fetchedBytes).toFixed(2)],
    ['the bound', formatBytes(all.boundBytes)],
    ['first snapshot', formatBytes(mirrorBytes)],
    ['last snapshot', formatBytes(last?.snapshotBytes ?? NaN)],
    ['median save', formatBytes(all.medianUploadBytes)],
    ['median save, relative to the first snapshot', percent(all.medianUploadBytes / mirrorBytes)],
    ['median save, relative to what is allowed', all.medianOfAllowed.toFixed(2)],
    ['layers at most', String(all.mostLayers)],
    ['packs at most', String(all.mostPacks)],
    [
      'restore, as a ratio to the first: median',
      ratios.toSorted((a, b) => a - b)[Math.floor(ratios.length / 2)]?.toFixed(2) ?? '',
    ],
    ['restore, as a ratio to the first: last', ratios.at(-1)?.toFixed(2) ?? ''],
  ];
  return [
    '# Daily saves over time',
    '',
    `Made by \`npm run bench:life -- ${report.repository} ${later.length} ${every}\`, ${report.machine}.`,
    '[Growth](../../docs/growth.md) explains these figures.',
    '',
    '| what | |',
    '| --- | --- |',
    ...facts.map(([name, value]) => `| ${name} | ${value} |`),
    '',
    'Allowed for the median: 1.1 times what the fetch brought, plus 64 KiB and the manifest.',
    '',
    '| the save stored | times | stored in all |',
    '| --- | --- | --- |',
    ...Object.entries(KINDS).flatMap(([kind, name]) => describeKind(kind, name, later)),
    '',
    ...describeChecks(report),
    '',
  ].join('\n');
}

function describeKind(kind: string, name: string, saves: readonly LifeSave[]): string[] {
  const those = saves.filter((save) => save.kind === kind);
  const bytes = those.reduce((sum, { layerBytes }) => sum + layerBytes, 0);
  return those.length === 0 ? [] : [`| ${name} | ${those.length} | ${formatBytes(bytes)} |`];
}

function describeChecks({ saves, restores, complaints }: LifeReport): string[] {
  const known = Object.entries(complaints).map(([name, count]) => `${name} (${count})`);
  return [
    `After each of ${saves.length} saves the mirror and the snapshot's files in the store had all of`,
    "upstream's refs with the same ids, and HEAD, and every object that upstream's refs reach was in",
    `one of the snapshot's packs. ${restores.length} times a machine that had nothing restored the`,
    'snapshot by the action and needed no pack from upstream. In the end `git fsck --full --strict`',
    known.length === 0
      ? 'had nothing to say.'
      : `complained about nothing but what it says of upstream itself: ${known.join(', ')}.`,
  ];
}

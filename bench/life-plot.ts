/** A life as an SVG: what was stored and fetched, each save, layers, restores. Pure. */
import { summarize, type LifeSave, type SaveKind } from '../test/support/life.ts';
import type { LifeReport } from './life-report.ts';
import { drawPicture, linear, logarithmic, panelPart, type Panel, type Series } from './plot.ts';

const KINDS: Record<Exclude<SaveKind, 'nothing'>, { name: string; color: string }> = {
  delta: { name: 'new objects', color: '#1a7f37' },
  merge: { name: 'layers merged', color: '#bc4c00' },
  everything: { name: 'everything', color: '#8250df' },
};

export function drawLife(report: LifeReport): string {
  const { saves } = report;
  const panels = [drawTotals(saves), drawSaves(saves), drawLayers(saves), drawRestores(report)];
  const days = saves.length - 1;
  const places = [0, 1, 2, 3, 4]
    .map((part) => Math.round((part * days) / 4))
    .map((x) => ({ x, label: x === 0 ? 'day 0' : String(x) }));
  return drawPicture(panels.map((panel) => panelPart(panel, places)));
}

/** The first save is that of a clone: whatever is compared with it would look like a flat line. */
function drawTotals(saves: readonly LifeSave[]): Panel {
  const first = saves[0]?.snapshotBytes ?? 0;
  const lifeUpTo = (day: number) => summarize(saves.slice(0, day + 1));
  const sumOf = (name: string, color: string, pick: (save: LifeSave) => number): Series => {
    let y = 0;
    const points = saves.slice(1).map((save, index) => ({ x: index + 1, y: (y += pick(save)) }));
    return { name, color, points };
  };
  const bound = saves
    .slice(1)
    .map((_, index) => ({ x: index + 1, y: lifeUpTo(index + 1).boundBytes - first }));
  const whole = sumOf('all at every save', '#6e7781', (save) => save.snapshotBytes);
  return logarithmic('All days together, without the first clone and its save', [
    { ...whole, dash: '2 4' },
    { name: 'bound of what is stored', color: '#cf222e', points: bound, dash: '6 4' },
    sumOf('stored', '#0969da', (save) => save.layerBytes + save.manifestBytes),
    sumOf('fetched, as packs', '#1a7f37', (save) => save.fetchedBytes),
    sumOf('sent by upstream', '#bc4c00', (save) => save.wireBytes),
  ]);
}

function drawSaves(saves: readonly LifeSave[]): Panel {
  const series = Object.entries(KINDS).map(([kind, { name, color }]) => ({
    ...{ name, color, isDots: true },
    points: saves.flatMap((save, x) =>
      save.kind === kind ? [{ x, y: save.layerBytes + save.manifestBytes }] : [],
    ),
  }));
  const mirror = {
    ...{ name: 'the whole mirror', color: '#6e7781', dash: '6 4' },
    points: saves.map((save, x) => ({ x, y: save.snapshotBytes })),
  };
  return logarithmic('What each save put into the store, by what it was', [mirror, ...series]);
}

function drawLayers(saves: readonly LifeSave[]): Panel {
  const of = (pick: (save: LifeSave) => number) => saves.map((save, x) => ({ x, y: pick(save) }));
  const most = Math.max(...saves.map(({ layers, packs }) => Math.max(layers, packs)));
  const packs = { name: 'packs', color: '#bc4c00', points: of((save) => save.packs) };
  const isSame = saves.every((save) => save.layers === save.packs);
  const name = isSame ? 'layers, of one pack each' : 'layers';
  const layers = { name, color: '#0969da', points: of((save) => save.layers) };
  const title = 'Layers of the snapshot';
  return linear(title, Math.ceil(most / 4) * 4, String, isSame ? [layers] : [packs, layers]);
}

function drawRestores({ saves, restores }: LifeReport): Panel {
  const [first] = restores;
  const ratio = restores.map(({ day, restoreMs }) => ({
    ...{ x: day, y: restoreMs / (first?.restoreMs ?? NaN) },
  }));
  const size = saves.map(({ snapshotBytes }, x) => ({
    ...{ x, y: snapshotBytes / (saves[0]?.snapshotBytes ?? NaN) },
  }));
  const most = Math.max(...ratio.map(({ y }) => y), ...size.map(({ y }) => y));
  const title = 'Time of a restore and size of the snapshot, as ratios to the first';
  return linear(title, Math.ceil(most), (tick) => tick.toFixed(2).replace(/\.?0+$/, ''), [
    { name: 'size', color: '#6e7781', points: size },
    { name: 'time', color: '#0969da', points: ratio, isDots: true },
  ]);
}

/** A life as an SVG: what was stored and fetched, each save, layers, restores. Pure. */
import { summarize, type LifeSave, type SaveKind } from '../test/support/life.ts';
import type { LifeReport } from './life-report.ts';

const WIDTH = 900;
const PANEL = { height: 210, gap: 72, left: 78, right: 184, top: 46 };
const RIGHT = WIDTH - PANEL.right;

const MIB = 2 ** 20;

interface Point {
  x: number;
  y: number;
}

interface Series {
  name: string;
  color: string;
  points: Point[];
  /** Dots instead of a line. */
  isDots?: boolean;
  dash?: string;
}

interface Panel {
  title: string;
  isLogarithmic?: boolean;
  /** Where the axis begins and ends. */
  from: number;
  to: number;
  ticks: number[];
  label: (tick: number) => string;
  series: Series[];
}

const KINDS: Record<Exclude<SaveKind, 'nothing'>, { name: string; color: string }> = {
  delta: { name: 'the news', color: '#1a7f37' },
  merge: { name: 'layers merged', color: '#bc4c00' },
  everything: { name: 'everything', color: '#8250df' },
};

export function drawLife(report: LifeReport): string {
  const { saves } = report;
  const panels = [drawTotals(saves), drawSaves(saves), drawLayers(saves), drawRestores(report)];
  const height = PANEL.top + panels.length * (PANEL.height + PANEL.gap) - 10;
  const days = saves.length - 1;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13" fill="#1f2328">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...panels.map((panel, index) =>
      drawPanel(panel, PANEL.top + index * (PANEL.height + PANEL.gap), days),
    ),
    '</svg>',
    '',
  ].join('\n');
}

/** The first save is that of a clone: whatever is compared with it would look like a flat line. */
function drawTotals(saves: readonly LifeSave[]): Panel {
  const first = saves[0]?.snapshotBytes ?? 0;
  const lifeUpTo = (day: number) => summarize(saves.slice(0, day + 1));
  const news = (name: string, color: string, pick: (save: LifeSave) => number): Series => {
    let y = 0;
    const points = saves.slice(1).map((save, index) => ({ x: index + 1, y: (y += pick(save)) }));
    return { name, color, points };
  };
  const bound = saves
    .slice(1)
    .map((_, index) => ({ x: index + 1, y: lifeUpTo(index + 1).boundBytes - first }));
  const whole = news('all at every save', '#6e7781', (save) => save.snapshotBytes);
  return logarithmic('All days together, without the first clone and its save', [
    { ...whole, dash: '2 4' },
    { name: 'bound of what is stored', color: '#cf222e', points: bound, dash: '6 4' },
    news('stored', '#0969da', (save) => save.layerBytes + save.manifestBytes),
    news('fetched, as packs', '#1a7f37', (save) => save.fetchedBytes),
    news('sent by upstream', '#bc4c00', (save) => save.wireBytes),
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

function linear(
  title: string,
  to: number,
  label: (tick: number) => string,
  series: Series[],
): Panel {
  const ticks = [0, 1, 2, 3, 4].map((part) => (part * to) / 4);
  return { title, from: 0, to, ticks, label, series };
}

/** In bytes, by fours of tens. */
function logarithmic(title: string, series: Series[]): Panel {
  const values = series.flatMap(({ points }) => points.map(({ y }) => y));
  const units = ['KiB', 'MiB', 'GiB'].flatMap((unit, power) =>
    [1, 10, 100].map((count) => ({ text: `${count} ${unit}`, bytes: count * 1024 ** (power + 1) })),
  );
  const from = units.findLast(({ bytes }) => bytes <= Math.min(...values))?.bytes ?? MIB;
  const to = units.find(({ bytes }) => bytes >= Math.max(...values))?.bytes ?? MIB;
  const label = (tick: number) => units.find(({ bytes }) => bytes === tick)?.text ?? '';
  const ticks = units.map(({ bytes }) => bytes).filter((bytes) => bytes >= from && bytes <= to);
  return { title, isLogarithmic: true, from, to, ticks, label, series };
}

function drawPanel(panel: Panel, top: number, days: number): string {
  const bottom = top + PANEL.height;
  const scale = panel.isLogarithmic === true ? Math.log : (value: number) => value;
  const [low, high] = [scale(panel.from), scale(panel.to)];
  const xOf = (x: number) => PANEL.left + ((RIGHT - PANEL.left) * x) / Math.max(1, days);
  const yOf = (y: number) => bottom - (PANEL.height * (scale(y) - low)) / (high - low);
  const place = ({ x, y }: Point) => `${xOf(x).toFixed(1)},${yOf(y).toFixed(1)}`;
  return [
    text(PANEL.left, top - 14, panel.title, 'font-weight="bold" font-size="15"'),
    ...panel.ticks.flatMap((tick) => [
      line(PANEL.left, yOf(tick), RIGHT, '#d0d7de'),
      text(PANEL.left - 8, yOf(tick) + 4, panel.label(tick), 'text-anchor="end"'),
    ]),
    ...[0, 1, 2, 3, 4]
      .map((part) => Math.round((part * days) / 4))
      .map((day) =>
        text(xOf(day), bottom + 20, day === 0 ? 'day 0' : String(day), 'text-anchor="middle"'),
      ),
    ...panel.series.flatMap((series) => drawSeries(series, place)),
    ...drawNames(panel.series, yOf, top),
  ].join('\n');
}

function drawSeries({ points, color, isDots, dash }: Series, place: (point: Point) => string) {
  if (isDots === true) {
    return points.map((point) => {
      const [x = '', y = ''] = place(point).split(',');
      return `<circle cx="${x}" cy="${y}" r="3" fill="${color}" fill-opacity="0.75"/>`;
    });
  }
  const style = dash === undefined ? '' : ` stroke-dasharray="${dash}"`;
  const path = points.map(place).join(' ');
  return [`<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2"${style}/>`];
}

/** At the right of each line's end, or below each other where these are too near. */
function drawNames(series: readonly Series[], yOf: (y: number) => number, top: number): string[] {
  const shown = series.filter(({ points }) => points.length > 0);
  const places = shown
    .map((each) => ({ ...each, y: yOf(each.points.at(-1)?.y ?? 0) }))
    .sort((one, other) => one.y - other.y);
  let free = top;
  return places.map(({ name, color, isDots, y }) => {
    const at = Math.max(y + 4, free);
    free = at + 17;
    const mark = isDots === true ? '● ' : '';
    return text(RIGHT + 10, at, mark + name, `fill="${color}"`);
  });
}

function line(x: number, y: number, toX: number, color: string): string {
  return `<line x1="${x}" y1="${y.toFixed(1)}" x2="${toX}" y2="${y.toFixed(1)}" stroke="${color}"/>`;
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${content}</text>`;
}

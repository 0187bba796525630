/** Pictures as SVG: panels of lines and dots below each other, and bars. Pure. */

const WIDTH = 900;
const PANEL = { height: 210, gap: 72, left: 78, right: 184, top: 46 };
const RIGHT = WIDTH - PANEL.right;
const BAR = { height: 18, gap: 8, left: 300, right: 90 };

const MIB = 2 ** 20;

export interface Point {
  x: number;
  y: number;
}

export interface Series {
  name: string;
  color: string;
  points: Point[];
  /** Dots instead of a line. */
  isDots?: boolean;
  dash?: string;
}

export interface Panel {
  title: string;
  isLogarithmic?: boolean;
  /** Where the axis begins and ends. */
  from: number;
  to: number;
  ticks: number[];
  label: (tick: number) => string;
  series: Series[];
}

/** What stands along the panels; the first at 0. */
export interface Place {
  x: number;
  label: string;
}

/** A part of a picture, which is drawn from a line on. */
export interface Part {
  height: number;
  draw: (top: number) => string;
}

export interface Bar {
  name: string;
  /** One after the other. */
  parts: { value: number; color: string }[];
  /** Behind it. */
  label: string;
}

export function drawPicture(parts: readonly Part[]): string {
  const height = parts.reduce((sum, part) => sum + part.height, 0);
  let top = 0;
  const drawn = parts.map((part) => {
    const svg = part.draw(top);
    top += part.height;
    return svg;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="13" fill="#1f2328">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...drawn,
    '</svg>',
    '',
  ].join('\n');
}

export function panelPart(panel: Panel, places: readonly Place[]): Part {
  const height = PANEL.height + PANEL.gap;
  return { height, draw: (top) => drawPanel(panel, top + PANEL.top, places) };
}

/** Bars below each other, of which the longest fills the width; colors are told below the title. */
export function barsPart(
  title: string,
  colors: readonly (readonly [string, string])[],
  bars: readonly Bar[],
): Part {
  const height = 84 + bars.length * (BAR.height + BAR.gap);
  const longest = Math.max(...bars.map(lengthOf));
  const scale = (WIDTH - BAR.left - BAR.right) / longest;
  return {
    height,
    draw: (top) =>
      [
        text(16, top + 32, title, 'font-weight="bold" font-size="15"'),
        ...colors.map(([name, color], index) =>
          text(BAR.left + 180 * index, top + 56, `■ ${name}`, `fill="${color}"`),
        ),
        ...bars.flatMap((bar, index) =>
          drawBar(bar, top + 70 + index * (BAR.height + BAR.gap), scale),
        ),
      ].join('\n'),
  };
}

function lengthOf({ parts }: Bar): number {
  return parts.reduce((sum, { value }) => sum + value, 0);
}

function drawBar(bar: Bar, top: number, scale: number): string[] {
  let x = BAR.left;
  const rectangles = bar.parts.map(({ value, color }) => {
    const width = value * scale;
    const svg = `<rect x="${x.toFixed(1)}" y="${top}" width="${width.toFixed(1)}" height="${BAR.height}" fill="${color}"/>`;
    x += width;
    return svg;
  });
  const base = top + BAR.height - 5;
  return [
    text(BAR.left - 10, base, bar.name, 'text-anchor="end"'),
    ...rectangles,
    text(x + 6, base, bar.label, ''),
  ];
}

/** From 0. */
export function linear(
  title: string,
  to: number,
  label: (tick: number) => string,
  series: Series[],
): Panel {
  const ticks = [0, 1, 2, 3, 4].map((part) => (part * to) / 4);
  return { title, from: 0, to, ticks, label, series };
}

/** In bytes, by fours of tens. */
export function logarithmic(title: string, series: Series[]): Panel {
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

function drawPanel(panel: Panel, top: number, places: readonly Place[]): string {
  const bottom = top + PANEL.height;
  const scale = panel.isLogarithmic === true ? Math.log : (value: number) => value;
  const [low, high] = [scale(panel.from), scale(panel.to)];
  const last = Math.max(1, places.at(-1)?.x ?? 1);
  const xOf = (x: number) => PANEL.left + ((RIGHT - PANEL.left) * x) / last;
  const yOf = (y: number) => bottom - (PANEL.height * (scale(y) - low)) / (high - low);
  const place = ({ x, y }: Point) => `${xOf(x).toFixed(1)},${yOf(y).toFixed(1)}`;
  return [
    text(PANEL.left, top - 14, panel.title, 'font-weight="bold" font-size="15"'),
    ...panel.ticks.flatMap((tick) => [
      line(PANEL.left, yOf(tick), RIGHT, '#d0d7de'),
      text(PANEL.left - 8, yOf(tick) + 4, panel.label(tick), 'text-anchor="end"'),
    ]),
    ...places.map(({ x, label }) => text(xOf(x), bottom + 20, label, 'text-anchor="middle"')),
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

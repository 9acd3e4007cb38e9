// Why a score is low, in the browser: the measures of image/factors.py, where their formulas and
// sources stand. Limits, words and the reference set come from there, too, by models.json.

import type { Causes, Factor, FactorReference, Factors, Reason } from "./models";

const LUMA = [0.299, 0.587, 0.114];
const BLOCK = 8; // px of JPEG's blocks
const BLOCK_WINDOW = 1024; // px of the native square that are looked at
const NOISE_CELL = 16;
const NOISE_QUANTILE = 0.25;
const CLIPPED = [8, 247];
const LIGHT_CELL = 8;
const STEP_RATIO = 1.83;
const LEAST_EDGES = 1e-3;
const ROUNDING = 0.1;
const CAST_POWER = 5;
const CAST_LEAST = 250;
const LIGHT_FIELDS = 4;
const LEAST_LIGHT = 4;

interface Plane {
  width: number;
  height: number;
  values: Float32Array; // row by row
}

function blank(width: number, height: number): Plane {
  return { width, height, values: new Float32Array(width * height) };
}

type Pixels = Uint8ClampedArray | Uint8Array;

/** The luma of the middle of a square of pixels, `step` bytes each. */
function lumaOf(pixels: Pixels, side: number, step: number, window: number): Plane {
  const luma = blank(window, window);
  const margin = Math.floor((side - window) / 2);
  for (let y = 0, to = 0; y < window; y++)
    for (let x = 0, at = step * ((y + margin) * side + margin); x < window; x++, at += step)
      luma.values[to++] = LUMA[0] * pixels[at] + LUMA[1] * pixels[at + 1] + LUMA[2] * pixels[at + 2];
  return luma;
}

/**
 * Measure all factors of one face.
 *
 * @param rgba the native square that is scored, side x side
 * @param prepared the same as the network sees it, RGB, input x input
 */
export function measureFactors(rgba: Pixels, side: number, prepared: Pixels, input: number): Factors {
  const luma = lumaOf(prepared, input, 3, input);
  const cells = cellMeans(luma, LIGHT_CELL);
  const native = lumaOf(rgba, side, 4, Math.min(side, BLOCK_WINDOW));
  const measured: Factors = {
    sharpness: sharpnessOf(luma),
    noise: Math.max(noiseOf(luma, NOISE_CELL), noiseOf(halfOf(luma.values, input), NOISE_CELL / 2)),
    blockiness: (gridExcess(native, 1, native.width) + gridExcess(native, native.width, 1)) / 2,
    brightness: brightnessOf(luma, cells),
    contrast: contrastOf(cells),
    colour_cast: colourCastOf(prepared, input),
    uneven_light: unevenLightOf(cells),
    face_px: side,
  };
  for (const name in measured) measured[name as Factor] = Math.round(1e4 * measured[name as Factor]) / 1e4;
  return measured;
}

/** Say what is unusually bad, the most extreme first, as `explain` does; `face` as for `small face`, or null. */
export function explain(
  factors: Factors,
  reference: FactorReference,
  causes: Causes,
  score: number,
  input: number,
  face: number | null,
): Reason[] {
  const square = factors.face_px;
  const small = face === null ? "small photo:" : `small face: ${face} px, its square`;
  const found: [number, Reason][] = [
    [1 - square / (causes.small_share * input), { code: causes.small, words: `${small} ${square} px enlarged to ${input}` }],
  ];
  for (const { factor, is_low_bad, share, reason } of causes.causes) {
    if (factor === "blockiness" && square > causes.blocks_show * input) continue;
    const value = factors[factor];
    const [lowest, highest] = reference.good[factor];
    const below = shareBelow(reference.quantiles[factor], value);
    if (is_low_bad ? value < lowest : value > highest) found.push([1 - (is_low_bad ? below : 1 - below) / share, reason]);
  }
  const least = score >= causes.good ? causes.extreme : 0;
  const reasons = found.filter(([extremity]) => extremity > least).sort((a, b) => b[0] - a[0]);
  if (!reasons.length && score < causes.poor) return [causes.no_single_cause];
  return reasons.map(([, reason]) => reason);
}

/** Where a value lies among quantiles, the lowest at 0 and the highest at 1; linear between them. */
export function shareBelow(quantiles: number[], value: number): number {
  const above = quantiles.findIndex((q) => q > value);
  if (above <= 0) return above < 0 ? 1 : 0;
  const [low, high] = [quantiles[above - 1], quantiles[above]];
  return (above - 1 + (value - low) / (high - low)) / (quantiles.length - 1);
}

function sharpnessOf(luma: Plane): number {
  const fine = smoothed(luma, 1);
  const odd = (side: number) => Math.floor((side - 1) / 2) * 2 + 1;
  const every = blank((odd(fine.width) - 1) / 2, (odd(fine.height) - 1) / 2); // every other pixel has two neighbours
  for (let y = 0, to = 0; y < every.height; y++)
    for (let x = 0; x < every.width; x++) every.values[to++] = fine.values[(2 * y + 1) * fine.width + 2 * x + 1];
  const coarse = smoothed(smoothed(every, 1), 2);
  const [f, c, w, n] = [fine.values, coarse.values, coarse.width, fine.width];
  const hh = [0, 0, 0]; // xx, xy, yy
  const hg = [0, 0, 0, 0]; // xx, xy, yx, yy
  for (let y = 1; y < coarse.height - 1; y++)
    for (let x = 1; x < w - 1; x++) {
      const at = y * w + x;
      const hx = (c[at + 1] - c[at - 1]) / 4;
      const hy = (c[at + w] - c[at - w]) / 4;
      const same = (2 * (y + 3) + 1) * n + 2 * (x + 3) + 1; // the pixel in `fine`
      const gx = (f[same + 1] - f[same - 1]) / 2;
      const gy = (f[same + n] - f[same - n]) / 2;
      const weight = hx * hx + hy * hy;
      hh[0] += weight * hx * hx;
      hh[1] += weight * hx * hy;
      hh[2] += weight * hy * hy;
      hg[0] += weight * hx * gx;
      hg[1] += weight * hx * gy;
      hg[2] += weight * hy * gx;
      hg[3] += weight * hy * gy;
    }
  return Math.max(0, (lowestRatio(hh, hg) - 1) / (STEP_RATIO - 1));
}

/** The lowest eigenvalue of the symmetric part of hg, in units of hh's directions. */
function lowestRatio([a, b, d]: number[], hg: number[]): number {
  const [middle, reach] = [(a + d) / 2, Math.hypot((a - d) / 2, b)];
  const strengths = [middle - reach, middle + reach];
  if (strengths[1] < LEAST_EDGES) return 1;
  const angle = Math.atan2(2 * b, a - d) / 2; // of the stronger direction
  const directions = [
    [-Math.sin(angle), Math.cos(angle)],
    [Math.cos(angle), Math.sin(angle)],
  ];
  const units = directions
    .map((direction, i) => direction.map((part) => part / Math.sqrt(strengths[i])))
    .filter((_, i) => strengths[i] > 0.01 * strengths[1]);
  const cross = (hg[1] + hg[2]) / 2;
  const form = (u: number[], v: number[]) => u[0] * v[0] * hg[0] + (u[0] * v[1] + u[1] * v[0]) * cross + u[1] * v[1] * hg[3];
  const [p, q] = units;
  if (!q) return form(p, p);
  const [pp, qq] = [form(p, p), form(q, q)];
  return (pp + qq) / 2 - Math.hypot((pp - qq) / 2, form(p, q));
}

/** Smooth by 1 2 1 with gaps, along both axes; the result is 2 gaps smaller. */
function smoothed({ width, height, values }: Plane, gap: number): Plane {
  const rows = blank(width, height - 2 * gap);
  const step = gap * width;
  for (let at = 0; at < rows.values.length; at++)
    rows.values[at] = (values[at] + values[at + 2 * step]) / 4 + values[at + step] / 2;
  const smooth = blank(width - 2 * gap, rows.height);
  for (let y = 0, to = 0; y < smooth.height; y++)
    for (let x = 0, at = y * width; x < smooth.width; x++, at++)
      smooth.values[to++] = (rows.values[at] + rows.values[at + 2 * gap]) / 4 + rows.values[at + gap] / 2;
  return smooth;
}

/** The means of 2 x 2 px of values that stand `step` apart, the first at `first`. */
function halfOf(values: Pixels | Float32Array, side: number, step = 1, first = 0): Plane {
  const half = blank(Math.floor(side / 2), Math.floor(side / 2));
  const line = step * side;
  for (let y = 0, to = 0; y < half.height; y++)
    for (let x = 0, at = first + 2 * y * line; x < half.width; x++, at += 2 * step)
      half.values[to++] = (values[at] + values[at + step] + values[at + line] + values[at + line + step]) / 4;
  return half;
}

function noiseOf({ width, height, values }: Plane, cell: number): number {
  const cells = blank(Math.floor((width - 2) / cell), Math.floor((height - 2) / cell));
  const light = new Float32Array(cells.values.length);
  const along = (at: number) => values[at - 1] - 2 * values[at] + values[at + 1];
  for (let y = 0; y < cells.height * cell; y++)
    for (let x = 0, at = (y + 1) * width + 1; x < cells.width * cell; x++, at++) {
      const to = Math.floor(y / cell) * cells.width + Math.floor(x / cell);
      cells.values[to] += Math.abs(along(at - width) - 2 * along(at) + along(at + width)) / cell ** 2;
      light[to] += values[at] / cell ** 2;
    }
  const seen = cells.values.filter((_, i) => light[i] > CLIPPED[0] && light[i] < CLIPPED[1]);
  return seen.length ? (Math.sqrt(Math.PI / 2) / 6) * quantile(seen, NOISE_QUANTILE) : 0;
}

/** The means of square cells of a window from `margin` on; what is left over at the right and below is dropped. */
function cellMeans({ width, height, values }: Plane, cell: number, margin = 0): Plane {
  const count = (side: number) => Math.floor((side - 2 * margin) / cell);
  const means = blank(count(width), count(height));
  for (let y = 0; y < means.height * cell; y++)
    for (let x = 0, at = (y + margin) * width + margin; x < means.width * cell; x++, at++)
      means.values[Math.floor(y / cell) * means.width + Math.floor(x / cell)] += values[at] / cell ** 2;
  return means;
}

function quantile(values: Float32Array, share: number): number {
  const sorted = values.slice().sort();
  const place = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(place)], sorted[Math.ceil(place)]];
  return low + (place - Math.floor(place)) * (high - low);
}

/** The excess of steps along one axis: neighbours stand `step` apart, lines `line`. */
function gridExcess({ width, values }: Plane, step: number, line: number): number {
  const steps = new Float64Array(width - 1); // the window is square
  for (let y = 0; y < width; y++)
    for (let x = 0, at = y * line; x < steps.length; x++, at += step) steps[x] += Math.abs(values[at + step] - values[at]);
  for (let x = 0; x < steps.length; x++) steps[x] /= width;
  const whole = Math.floor((steps.length - 2) / BLOCK) * BLOCK;
  const phases = new Float32Array(BLOCK);
  for (let x = 0; x < whole; x++)
    phases[x % BLOCK] += ((steps[x + 1] - (steps[x] + steps[x + 2]) / 2) * BLOCK) / whole;
  const mean = steps.reduce((a, b) => a + b, 0) / steps.length;
  return (Math.max(...phases) - quantile(phases, 0.5)) / (mean + ROUNDING);
}

function brightnessOf(luma: Plane, cells: Plane): number {
  const middle = cellMeans(luma, LIGHT_CELL, Math.floor(luma.height / 4));
  return (quantile(middle.values, 0.9) + quantile(cells.values, 0.95)) / 2 / 255;
}

function contrastOf(cells: Plane): number {
  const [low, high] = [quantile(cells.values, 0.01), quantile(cells.values, 0.99)];
  return high > 0 ? (high - low) / (high + low) : 0;
}

function colourCastOf(prepared: Pixels, side: number): number {
  const [red, green, blue] = [0, 1, 2].map((c) => smoothed(halfOf(prepared, side, 3, c), 1));
  const { width, height } = red;
  const norms = [red, green, blue].map(({ values }) => {
    let sum = 0;
    for (let y = 1; y < height - 1; y++)
      for (let x = 1, at = y * width + 1; x < width - 1; x++, at++) {
        if (Math.max(red.values[at], green.values[at], blue.values[at]) > CAST_LEAST) continue;
        const across = values[at + 1] - values[at - 1];
        const down = values[at + width] - values[at - width];
        sum += Math.sqrt((across * across + down * down) / 255 ** 2) ** CAST_POWER;
      }
    return sum ** (1 / CAST_POWER);
  });
  const length = Math.hypot(...norms);
  if (!length) return 0;
  const cosine = (norms[0] + norms[1] + norms[2]) / Math.sqrt(3) / length;
  return (Math.acos(Math.min(1, cosine)) * 180) / Math.PI;
}

function unevenLightOf(cells: Plane): number {
  const edges = (n: number) => Array.from({ length: LIGHT_FIELDS + 1 }, (_, i) => i * Math.floor(n / LIGHT_FIELDS) + Math.min(i, n % LIGHT_FIELDS));
  const [columns, rows] = [edges(cells.width), edges(cells.height)];
  const half = LIGHT_FIELDS / 2;
  let [sides, heights] = [0, 0];
  for (let r = 0; r < LIGHT_FIELDS; r++)
    for (let c = 0; c < LIGHT_FIELDS; c++) {
      const field = new Float32Array((rows[r + 1] - rows[r]) * (columns[c + 1] - columns[c]));
      for (let y = rows[r], to = 0; y < rows[r + 1]; y++)
        for (let x = columns[c]; x < columns[c + 1]; x++)
          field[to++] = 2.2 * Math.log2((cells.values[y * cells.width + x] + LEAST_LIGHT) / 255);
      const light = quantile(field, 0.9) / (LIGHT_FIELDS * half);
      sides += c < half ? light : -light;
      heights += r < half ? light : -light;
    }
  return Math.max(Math.abs(sides), Math.abs(heights));
}

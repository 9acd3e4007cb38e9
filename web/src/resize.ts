// The project's one resize (image/preprocess.py), in the browser: an antialiased cubic filter with
// a = -0.5, first along rows, then along columns, in 8 bits. Both agree to a grey level or two.

const SUPPORT = 2; // of the filter, in px of the smaller of both scales

/** Catmull-Rom: Keys' cubic with a = -0.5. */
function cubic(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2;
  return 0;
}

interface Window {
  first: number;
  weights: Float32Array; // their sum is 1
}

function windowsOf(from: number, to: number): Window[] {
  const scale = from / to;
  const widened = Math.max(1, scale);
  return Array.from({ length: to }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.floor(centre - SUPPORT * widened + 0.5));
    const last = Math.min(from, Math.floor(centre + SUPPORT * widened + 0.5));
    const raw = Array.from({ length: last - first }, (_, i) => cubic((first + i + 0.5 - centre) / widened));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: Float32Array.from(raw, (w) => w / sum) };
  });
}

/** Resize a square of RGBA to RGB of another side; the alpha is left out. */
export function resizeSquare(rgba: Uint8ClampedArray, from: number, to: number): Uint8Array {
  const windows = windowsOf(from, to);
  const rows = new Uint8ClampedArray(from * to * 3); // (from, to, 3)
  for (let y = 0, place = 0; y < from; y++)
    for (let x = 0; x < to; x++, place += 3) {
      const { first, weights } = windows[x];
      let r = 0;
      let g = 0;
      let b = 0;
      for (let i = 0, at = 4 * (y * from + first); i < weights.length; i++, at += 4) {
        const weight = weights[i];
        r += weight * rgba[at];
        g += weight * rgba[at + 1];
        b += weight * rgba[at + 2];
      }
      rows[place] = r;
      rows[place + 1] = g;
      rows[place + 2] = b;
    }
  const out = new Uint8ClampedArray(to * to * 3);
  const line = new Float32Array(to * 3);
  for (let y = 0; y < to; y++) {
    const { first, weights } = windows[y];
    line.fill(0);
    for (let i = 0; i < weights.length; i++) {
      const at = (first + i) * to * 3;
      const weight = weights[i];
      for (let x = 0; x < line.length; x++) line[x] += weight * rows[at + x];
    }
    out.set(line, y * to * 3);
  }
  return new Uint8Array(out.buffer);
}

// Scores on the device, beside the page's own thread: decode -> [faces] -> crop -> resize -> network.
//
// In:   {open: models.json's address, name, runtime} once, then {id, photo: Blob, detect} each.
// Out:  {ready: runtime} or {error}, then {id, rows}. Nothing is sent anywhere.

import type * as Ort from "onnxruntime-web";
import { explain, measureFactors, shareBelow } from "./factors";
import { FaceFinder, faceSquare, type Square } from "./faces";
import type { Model, Models, Row, Runtime } from "./models";
import { resizeSquare } from "./resize";

const CROP_PX = 640; // the largest side of the picture that cards show
const MOST_THREADS = 4;
const BAND_PX = 2 ** 22; // of a photo that are drawn at a time: phones allow no canvas of all of it

// What runs a model: onnxruntime-web's files, which lie beside this one.
const BUILDS: Record<Runtime, { script: string; glue: string; wasm: string }> = {
  wasm: {
    script: "./ort.wasm.min.js",
    glue: "./ort-wasm-simd-threaded.js",
    wasm: "./ort-wasm-simd-threaded.wasm",
  },
  webgpu: {
    script: "./ort.jspi.min.js",
    glue: "./ort-wasm-simd-threaded.jspi.js",
    wasm: "./ort-wasm-simd-threaded.jspi.wasm",
  },
};
const SAME = 0.02; // of scores, between a graphics processor and the package
const FAST_MS = 100; // a picture on a graphics processor; WebAssembly is about as fast

const here = import.meta.url;
let ort: typeof Ort;
let session: Ort.InferenceSession;
let runtime: Runtime;
let model: Model;
let about: Models;
let place: string; // models.json's address
let finder: Promise<FaceFinder> | null = null; // loaded when faces are first asked for

/** Load a model: for a graphics processor that computes it right and fast, else for WebAssembly. */
async function open(address: string, name: string, wanted: Runtime | null): Promise<void> {
  place = address;
  about = await (await fetch(address)).json();
  model = about.models[name];
  if (wanted) return start(wanted);
  if (await hasGpu())
    try {
      await start("webgpu");
      if (await isRightAndFast()) return;
      await session.release();
    } catch (error) {
      console.info(`scored by WebAssembly, not WebGPU: ${error}`);
    }
  await start("wasm");
}

async function start(which: Runtime): Promise<void> {
  const { script, glue, wasm } = BUILDS[which];
  ort = await import(/* @vite-ignore */ new URL(script, here).href);
  ort.env.wasm.wasmPaths = { mjs: new URL(glue, here).href, wasm: new URL(wasm, here).href };
  ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(MOST_THREADS, navigator.hardwareConcurrency) : 1;
  const file = new URL(model.file, place).href;
  // Of its remarks, errors alone: that some nodes stay on the processor is as it should be.
  session = await ort.InferenceSession.create(file, { executionProviders: [which], logSeverityLevel: 3 });
  runtime = which;
  finder = null;
}

/** WebGPU, as far as it is asked for here; TypeScript does not know it yet. */
interface Gpu {
  requestAdapter(wish: object): Promise<{ info: { isFallbackAdapter: boolean } } | null>;
}

/** Tell whether there is a graphics processor, not a program that plays one, and WebAssembly can wait for it. */
async function hasGpu(): Promise<boolean> {
  if (!("Suspending" in WebAssembly)) return false;
  const { gpu } = navigator as { gpu?: Gpu };
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
  return Boolean(adapter && !adapter.info.isFallbackAdapter);
}

/** Compare the score of a known picture with the package's; the first run prepares the processor. */
async function isRightAndFast(): Promise<boolean> {
  const bitmap = await createImageBitmap(await (await fetch(new URL(about.probe, place))).blob());
  const pixels = resizeSquare(pixelsOf(bitmap, 0, 0, bitmap.width), bitmap.width, model.crop_side);
  bitmap.close();
  await infer(pixels);
  const begun = performance.now();
  const value = await infer(pixels);
  return performance.now() - begun <= FAST_MS && Math.abs(value - model.probe_score) <= SAME;
}

async function infer(pixels: Uint8Array): Promise<number> {
  const input = new ort.Tensor("uint8", pixels, [1, model.crop_side, model.crop_side, 3]);
  const output = await session.run({ [session.inputNames[0]]: input });
  return Number(output[session.outputNames[0]].data[0]);
}

/** Score what the network sees; a graphics processor that is taken away is done without. */
async function inferOrFallBack(pixels: Uint8Array): Promise<number> {
  try {
    return await infer(pixels);
  } catch (error) {
    if (runtime === "wasm") throw error;
    await start("wasm");
    return infer(pixels);
  }
}

async function score(photo: Blob, detect: boolean): Promise<Row[]> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(photo, { imageOrientation: "from-image", premultiplyAlpha: "none" });
  } catch {
    return [failed("unreadable", photo.size ? "not an image that this browser can decode" : "the file is empty")];
  }
  try {
    return detect ? await scoreFaces(bitmap) : [await scoreWhole(bitmap)];
  } finally {
    bitmap.close();
  }
}

async function scoreWhole(bitmap: ImageBitmap): Promise<Row> {
  const { width, height } = bitmap;
  const wrong = wrongSize(width, height);
  if (wrong) return wrong;
  const side = Math.round((Math.min(width, height) * model.crop_side) / model.short_side);
  const [left, top] = [Math.floor((width - side) / 2), Math.floor((height - side) / 2)];
  return scoreSquare(bitmap, [left, top, left + side, top + side], null);
}

async function scoreFaces(bitmap: ImageBitmap): Promise<Row[]> {
  const { width, height } = bitmap;
  const wrong = wrongSize(width, height);
  if (wrong) return [wrong];
  finder ??= FaceFinder.open(ort, new URL(about.detector!, place).href).catch((error) => {
    finder = null; // the next photo tries again
    throw error;
  });
  const boxes = await (await finder).find(bitmap);
  if (!boxes.length) return [{ ...failed("no_face", "no face was found"), width, height, n_faces: 0 }];
  const rows: Row[] = [];
  for (const [face, box] of boxes.slice(0, about.max_faces).entries()) {
    const square = faceSquare(width, height, box.square, model.face_margin);
    const side = square[2] - square[0];
    const small = wrongSize(side, side);
    const own = Math.round(Math.min(box.square[2] - box.square[0], box.square[3] - box.square[1]));
    const row = small
      ? { ...small, error: `the face's square is ${small.error}` }
      : await scoreSquare(bitmap, square, own);
    rows.push({ ...row, width, height, face, n_faces: boxes.length });
  }
  return rows;
}

function wrongSize(width: number, height: number): Row | null {
  if (width * height > about.max_pixels)
    return failed("too_large", `${width} x ${height} px is more than the ${about.max_pixels} pixels allowed`);
  if (Math.min(width, height) < about.min_side_px)
    return failed("too_small", `${width} x ${height} px: the short side is below the ${about.min_side_px} px needed`);
  return null;
}

/** Score a square; `face` is the shorter side of the face's box in it, in px, if it has one. */
async function scoreSquare(bitmap: ImageBitmap, square: Square, face: number | null): Promise<Row> {
  const [left, top, right] = square;
  const side = right - left;
  const rgba = pixelsOf(bitmap, left, top, side);
  const pixels = resizeSquare(rgba, side, model.crop_side);
  const value = await inferOrFallBack(pixels);
  const factors = measureFactors(rgba, side, pixels, model.crop_side);
  const reasons = explain(factors, model.factors, about.causes, value, model.crop_side, face);
  return {
    ...failed("ok", ""),
    score: Math.round(1e6 * value) / 1e6,
    percentile: Math.round(1000 * shareBelow(model.quantiles, value)) / 10,
    band: about.bands[Math.min(about.bands.length - 1, Math.floor(value * about.bands.length))],
    width: bitmap.width,
    height: bitmap.height,
    ...factors,
    reasons: reasons.map(({ words }) => words).join("; "),
    reason_codes: reasons.map(({ code }) => code).filter(Boolean).join(" "),
    square,
    crop: await asJpeg(drawn(bitmap, left, top, side, Math.min(side, CROP_PX))),
  };
}

/** Return a square's pixels, RGBA, over white. */
function pixelsOf(bitmap: ImageBitmap, left: number, top: number, side: number): Uint8ClampedArray {
  const rows = Math.min(side, Math.max(1, Math.floor(BAND_PX / side)));
  const context = new OffscreenCanvas(side, rows).getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white";
  const rgba = new Uint8ClampedArray(4 * side * side);
  for (let row = 0; row < side; row += rows) {
    const height = Math.min(rows, side - row);
    context.fillRect(0, 0, side, height);
    context.drawImage(bitmap, left, top + row, side, height, 0, 0, side, height);
    rgba.set(context.getImageData(0, 0, side, height).data, 4 * side * row);
  }
  return rgba;
}

/** Draw a square of a photo on white, as the package lays transparent photos over white. */
function drawn(bitmap: ImageBitmap, left: number, top: number, side: number, to: number): OffscreenCanvas {
  const canvas = new OffscreenCanvas(to, to);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.fillStyle = "white";
  context.fillRect(0, 0, to, to);
  context.drawImage(bitmap, left, top, side, side, 0, 0, to, to);
  return canvas;
}

async function asJpeg(canvas: OffscreenCanvas): Promise<string> {
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

function failed(status: Row["status"], error: string): Row {
  return {
    score: null,
    percentile: null,
    band: null,
    status,
    error,
    face: null,
    n_faces: null,
    width: null,
    height: null,
    model: model.label,
    reasons: "",
    reason_codes: "",
    square: null,
    crop: "",
  };
}

interface Asked {
  open?: string;
  name: string;
  runtime: Runtime | null;
  id: number;
  photo: Blob;
  detect: boolean;
}

let before: Promise<void> = Promise.resolve();
// One photo after another: a decoded one takes hundreds of megabytes, and they share the threads.
self.onmessage = ({ data }) => {
  before = before.then(() => answer(data));
};

async function answer(data: Asked): Promise<void> {
  try {
    if (data.open) {
      await open(data.open, data.name, data.runtime);
      self.postMessage({ ready: runtime });
    } else {
      self.postMessage({ id: data.id, rows: await score(data.photo, data.detect) });
    }
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error) });
  }
}

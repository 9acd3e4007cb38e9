// Where the faces of a photo are: YuNet, in the browser as inference/faces.py runs it by OpenCV. Of
// very large and long photos the package looks at tiles, too; here the whole is looked at.

import type * as Ort from "onnxruntime-web";

const SIDE = 640; // px of what the detector sees; larger photos are reduced, smaller ones are not
const STRIDES = [8, 16, 32]; // px between the places that each of its outputs speaks of
const MIN_SCORE = 0.7;
const MAX_OVERLAP = 0.3; // of two boxes (IoU) that are two faces
const SMALL = 60; // px of a face as it was seen: smaller ones are looked at again
const WINDOW = 5.5; // times a face's box: what is looked at then

export type Square = [number, number, number, number]; // x1, y1, x2, y2, px

export interface Box {
  square: Square; // not square itself: the face's box, in px of the photo
  score: number;
}

export class FaceFinder {
  private constructor(
    private readonly ort: typeof Ort,
    private readonly session: Ort.InferenceSession,
  ) {}

  static async open(ort: typeof Ort, address: string): Promise<FaceFinder> {
    return new FaceFinder(ort, await ort.InferenceSession.create(address, { executionProviders: ["wasm"] }));
  }

  /** Return the faces of a photo, the largest first. */
  async find(photo: ImageBitmap): Promise<Box[]> {
    const found = await this.findIn(photo, [0, 0, photo.width, photo.height]);
    const boxes = [];
    for (const box of found) boxes.push(await this.lookCloser(photo, box));
    return boxes.sort((a, b) => area(b.square) - area(a.square));
  }

  /** Return a face's box as it is seen in a window around it, if it was seen small. */
  private async lookCloser(photo: ImageBitmap, box: Box): Promise<Box> {
    const [x1, y1, x2, y2] = box.square;
    const size = Math.max(x2 - x1, y2 - y1);
    if ((size * SIDE) / Math.max(photo.width, photo.height) >= SMALL) return box;
    const reach = (WINDOW * size) / 2;
    const [x, y] = [(x1 + x2) / 2, (y1 + y2) / 2];
    const seen = await this.findIn(photo, [
      Math.max(0, Math.round(x - reach)),
      Math.max(0, Math.round(y - reach)),
      Math.min(photo.width, Math.round(x + reach)),
      Math.min(photo.height, Math.round(y + reach)),
    ]);
    const nearest = seen.sort((a, b) => overlap(b.square, box.square) - overlap(a.square, box.square))[0];
    return nearest && overlap(nearest.square, box.square) > 0 ? nearest : box;
  }

  /** Return the faces in a part of a photo, the surest first. */
  private async findIn(photo: ImageBitmap, [left, top, right, bottom]: Square): Promise<Box[]> {
    const [width, height] = [right - left, bottom - top];
    const scale = Math.min(1, SIDE / Math.max(width, height));
    const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true })!;
    context.fillRect(0, 0, SIDE, SIDE); // black behind the photo, as OpenCV pads
    context.fillStyle = "white"; // and white below what is transparent
    context.fillRect(0, 0, w, h);
    context.imageSmoothingQuality = "high";
    context.drawImage(photo, left, top, width, height, 0, 0, w, h);
    const input = blueGreenRed(context.getImageData(0, 0, SIDE, SIDE).data);
    const tensor = new this.ort.Tensor("float32", input, [1, 3, SIDE, SIDE]);
    const output = await this.session.run({ [this.session.inputNames[0]]: tensor });
    const boxes = STRIDES.flatMap((stride) => decode(output, stride));
    return withoutDoubles(boxes).flatMap(({ square: [x1, y1, x2, y2], score }) => {
      const clip = (value: number, most: number) => Math.min(Math.max(value, 0), most);
      const square: Square = [
        left + clip((x1 * width) / w, width),
        top + clip((y1 * height) / h, height),
        left + clip((x2 * width) / w, width),
        top + clip((y2 * height) / h, height),
      ];
      return area(square) > 0 ? [{ square, score }] : [];
    });
  }
}

/** The square around a face: image/crop.py's one rule for it. */
export function faceSquare(width: number, height: number, [x1, y1, x2, y2]: Square, margin: number): Square {
  const longer = Math.max(x2 - x1, y2 - y1);
  const side = Math.max(1, Math.min(Math.round(longer * (1 + 2 * margin)), height, width));
  const place = (wanted: number, last: number) => Math.min(Math.max(Math.round(wanted), 0), last);
  const left = place((x1 + x2 - side) / 2, width - side);
  const top = place((y1 + y2 - side) / 2, height - side);
  return [left, top, left + side, top + side];
}

function blueGreenRed(rgba: Uint8ClampedArray): Float32Array {
  const count = SIDE * SIDE;
  const planes = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) {
    planes[i] = rgba[4 * i + 2];
    planes[count + i] = rgba[4 * i + 1];
    planes[2 * count + i] = rgba[4 * i];
  }
  return planes;
}

/** Turn what the network says of each place into boxes, in px of what it saw. */
function decode(output: Ort.InferenceSession.OnnxValueMapType, stride: number): Box[] {
  const of = (name: string) => output[`${name}_${stride}`].data as Float32Array;
  const [cls, obj, bbox] = [of("cls"), of("obj"), of("bbox")];
  const columns = SIDE / stride;
  const boxes: Box[] = [];
  for (let place = 0; place < cls.length; place++) {
    const within = (value: number) => Math.min(Math.max(value, 0), 1);
    const score = Math.sqrt(within(cls[place]) * within(obj[place]));
    if (score < MIN_SCORE) continue;
    const [right, down, wide, high] = bbox.subarray(4 * place, 4 * place + 4);
    const x = ((place % columns) + right) * stride;
    const y = (Math.floor(place / columns) + down) * stride;
    const [w, h] = [Math.exp(wide) * stride, Math.exp(high) * stride];
    boxes.push({ square: [x - w / 2, y - h / 2, x + w / 2, y + h / 2], score });
  }
  return boxes;
}

/** Return boxes of different faces: of two that overlap the surer one. */
function withoutDoubles(boxes: Box[]): Box[] {
  const kept: Box[] = [];
  for (const box of boxes.sort((a, b) => b.score - a.score))
    if (kept.every((other) => overlap(box.square, other.square) <= MAX_OVERLAP)) kept.push(box);
  return kept;
}

const area = ([x1, y1, x2, y2]: Square) => (x2 - x1) * (y2 - y1);

function overlap(a: Square, b: Square): number {
  const across = Math.min(a[2], b[2]) - Math.max(a[0], b[0]);
  const down = Math.min(a[3], b[3]) - Math.max(a[1], b[1]);
  const shared = Math.max(0, across) * Math.max(0, down);
  return shared / (area(a) + area(b) - shared);
}

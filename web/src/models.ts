// What models.json says: written by the package itself (serve/device.py), so that limits, grades and
// what a model sees are defined once.

export interface Model {
  label: string; // how rows name it: base@10
  file: string; // beside models.json
  crop_side: number; // px of the square that the network sees
  short_side: number; // px of the photo's short side at that scale
  quantiles: number[]; // scores at 0, 1, ... 100 % of the reference set
  probe_score: number; // of the picture `probe`, by the package
  face_margin: number; // of the box's longer side, around a face
  factors: FactorReference;
}

/** How factors spread over a set of images, seen at a model's input (image/factors.py). */
export interface FactorReference {
  quantiles: Record<Factor, number[]>; // at 0, 1, ... 100 %
  good: Record<Factor, [number, number]>; // usual in its good photos
}

export interface Reason {
  code: string;
  words: string;
}

/** When a factor is a reason (image/factors.py). */
export interface Causes {
  causes: { factor: Factor; is_low_bad: boolean; share: number; reason: Reason }[];
  small: string; // code of a square below `small_share` of the network's input
  small_share: number;
  blocks_show: number; // times the network's input: in larger squares blocks are no reason
  good: number; // scores from which on only extreme causes count, `extreme` of their share
  extreme: number;
  poor: number; // scores below which some reason is given
  no_single_cause: Reason;
}

export interface Models {
  models: Record<string, Model>; // none where the page was not built for the device
  server: boolean; // whether a server can score, too
  probe: string; // a picture beside models.json
  detector: string | null; // a YuNet file beside models.json, where there is one
  max_faces: number; // scored of a photo, the largest
  bands: string[]; // the grades, the worst first
  causes: Causes;
  min_side_px: number;
  max_pixels: number;
}

/** What computes the network: the processor, or a graphics processor. */
export type Runtime = "wasm" | "webgpu";

export type Factor =
  | "sharpness"
  | "noise"
  | "blockiness"
  | "brightness"
  | "contrast"
  | "colour_cast"
  | "uneven_light"
  | "face_px"; // side of the native square

export type Factors = Record<Factor, number>;

/** One row, as the server answers it with the factors, as far as it can be known here. */
export interface Row extends Partial<Factors> {
  score: number | null;
  percentile: number | null;
  band: string | null;
  status: "ok" | "unreadable" | "too_small" | "too_large" | "no_face";
  face: number | null; // 0 is the largest
  n_faces: number | null;
  error: string;
  width: number | null;
  height: number | null;
  model: string;
  reasons: string;
  reason_codes: string;
  square: [number, number, number, number] | null;
  crop: string; // base64 of a JPEG
}

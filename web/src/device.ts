// The page's side of scoring on the device: a worker that holds the model, asked for one photo at a
// time.

import type { Row, Runtime } from "./models";

export class Device {
  private readonly waiting = new Map<number, { done: (rows: Row[]) => void; failed: (error: Error) => void }>();
  private last = 0;

  private constructor(
    private readonly worker: Worker,
    readonly runtime: Runtime,
  ) {}

  /** Load a model, for the faster of what there is or for `runtime`; rejects with an error for people. */
  static async open(models: string, name: string, runtime: Runtime | null = null): Promise<Device> {
    const here = import.meta.url; // spelt out so that Vite leaves the worker a module of its own
    const worker = new Worker(new URL("./worker.js", here), { type: "module" });
    const ready = await new Promise<Runtime>((done, failed) => {
      worker.onmessage = ({ data }) => (data.ready ? done(data.ready) : failed(new Error(data.error)));
      worker.onerror = (event) => failed(new Error(event.message || "the worker cannot be loaded"));
      worker.postMessage({ open: models, name, runtime });
    });
    const device = new Device(worker, ready);
    worker.onmessage = ({ data }) => device.answer(data);
    worker.onerror = (event) => device.fail(event.message || "the worker stopped");
    return device;
  }

  /** Let the worker and its memory go; photos that wait are given back by errors named `Closed`. */
  close(): void {
    this.worker.terminate();
    this.fail("this device was closed", "Closed");
  }

  private fail(why: string, name = "Error"): void {
    for (const { failed } of this.waiting.values()) failed(Object.assign(new Error(why), { name }));
    this.waiting.clear();
  }

  /** Score a photo's centred square, or its faces; it stays in this browser. */
  score(photo: Blob, detect: boolean): Promise<Row[]> {
    const id = ++this.last;
    return new Promise((done, failed) => {
      this.waiting.set(id, { done, failed });
      this.worker.postMessage({ id, photo, detect });
    });
  }

  private answer({ id, rows, error }: { id: number; rows?: Row[]; error?: string }): void {
    const asked = this.waiting.get(id);
    this.waiting.delete(id);
    if (rows) asked?.done(rows);
    else asked?.failed(new Error(error));
  }
}

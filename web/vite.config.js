// Builds what the page needs to score on the device: our two modules, and onnxruntime-web as it is
// published, which loads its parts from beside itself.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";

const OUT = "../src/mspt/serve/page/device";
const RUNTIME = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];

const copyRuntime = {
  name: "copy-onnxruntime",
  writeBundle() {
    for (const name of RUNTIME) copyFileSync(join("node_modules/onnxruntime-web/dist", name), join(OUT, name));
  },
};

export default defineConfig({
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    lib: { entry: { device: "src/device.ts", worker: "src/worker.ts" }, formats: ["es"] },
    rolldownOptions: { output: { entryFileNames: "[name].js" } },
  },
  plugins: [copyRuntime],
});

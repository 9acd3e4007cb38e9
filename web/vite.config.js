// Builds what the page needs to score on the device: our two modules, and onnxruntime-web as it is
// published, which loads its parts from beside itself.
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";

const OUT = "../src/mspt/serve/page/device";
// Some web servers, such as nginx as it comes, do not know .mjs for what it is.
const RUNTIME = {
  "ort.wasm.min.mjs": "ort.wasm.min.js",
  "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
  "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
  "ort.jspi.min.mjs": "ort.jspi.min.js",
  "ort-wasm-simd-threaded.jspi.mjs": "ort-wasm-simd-threaded.jspi.js",
  "ort-wasm-simd-threaded.jspi.wasm": "ort-wasm-simd-threaded.jspi.wasm",
};

const copyRuntime = {
  name: "copy-onnxruntime",
  writeBundle() {
    for (const [name, as] of Object.entries(RUNTIME))
      copyFileSync(join("node_modules/onnxruntime-web/dist", name), join(OUT, as));
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

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { defineConfig } from "vite";

const HERE = import.meta.dirname;
const OUT = resolve(HERE, "../src/changedet/view/static");

/** The licences of everything in the bundle lie beside it. */
function licences() {
  return {
    name: "licences",
    closeBundle() {
      const { packages } = JSON.parse(readFileSync(resolve(HERE, "package-lock.json"), "utf8"));
      const texts = Object.entries(packages)
        .filter(([place, facts]) => place.startsWith("node_modules/") && !facts.dev && !place.includes("/@types/"))
        .map(([place, facts]) => licence(place, facts));
      writeFileSync(`${OUT}/LICENSES.txt`, texts.join(`\n${"-".repeat(80)}\n\n`));
    },
  };
}

function licence(place, { version, license }) {
  const folder = resolve(HERE, place);
  const file = readdirSync(folder).find((name) => /^(licen[cs]e|copying)/i.test(name));
  const text = file ? readFileSync(resolve(folder, file), "utf8").replace(/[ \t\r]+$/gm, "").trim() : "";
  return `${place.replace("node_modules/", "")} ${version}: ${license}\n\n${text}\n`;
}

// Names without hashes: the server tells browsers to ask whether a file has changed, and the
// committed bundle changes only where its sources do.
export default defineConfig({
  base: "./",
  plugins: [licences()],
  worker: { format: "es", rollupOptions: { output: { entryFileNames: "assets/trace-worker.js" } } },
  build: {
    outDir: OUT,
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: false,
    chunkSizeWarningLimit: 2000,
    rollupOptions: {
      output: {
        entryFileNames: "assets/main.js",
        chunkFileNames: "assets/[name].js",
        assetFileNames: (asset) =>
          asset.names.some((name) => name.endsWith("worker.mjs"))
            ? "assets/maplibre-worker.js"
            : asset.names.some((name) => name.endsWith(".css"))
              ? "assets/main.css"
              : "assets/[name][extname]",
      },
    },
  },
});

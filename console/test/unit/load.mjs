// Loads a module of src as the page has it.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";

export async function load(name) {
  const made = await build({
    entryPoints: [fileURLToPath(new URL(`../../src/${name}`, import.meta.url))],
    bundle: true, write: false, format: "esm", target: "es2022",
  });
  return import(`data:text/javascript;base64,${Buffer.from(made.outputFiles[0].contents).toString("base64")}`);
}

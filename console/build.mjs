// Makes dist from src. With --check it compares instead, and fails when dist is not what src makes.
import { build } from "esbuild";
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { dirname, join } from "node:path";

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, "dist");

/** files makes everything that belongs into dist: path → bytes. Names of assets hold the hash of what is in them. */
async function files() {
  const out = new Map();
  const named = (name, ext, bytes) => {
    const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 10);
    const path = `assets/${name}-${hash}.${ext}`;
    out.set(path, Buffer.from(bytes));
    return "/" + path;
  };
  const bundle = async (entry) => {
    const made = await build({
      absWorkingDir: here,
      entryPoints: [entry],
      bundle: true,
      minify: true,
      write: false,
      format: "esm",
      target: "es2022",
      legalComments: "none",
    });
    return made.outputFiles[0].contents;
  };
  const html = (await readFile(join(here, "src/index.html"), "utf8"))
    .replace("%icon%", named("icon", "svg", await readFile(join(here, "src/icon.svg"))))
    .replace("%style%", named("app", "css", await bundle("src/app.css")))
    .replace("%script%", named("app", "js", await bundle("src/main.ts")));
  out.set("index.html", Buffer.from(html));
  return out;
}

async function check(made) {
  const there = (await readdir(dist, { recursive: true, withFileTypes: true }))
    .filter((f) => f.isFile())
    .map((f) => join(f.parentPath, f.name).slice(dist.length + 1));
  const wrong = there.filter((path) => !made.has(path)).map((path) => `${path} does not belong there`);
  for (const [path, bytes] of made) {
    const is = await readFile(join(dist, path)).catch(() => undefined);
    if (!is || !is.equals(bytes)) wrong.push(`${path} ${is ? "is another" : "is missing"}`);
  }
  if (wrong.length > 0) {
    console.error(`console/dist is not what console/src makes; run npm run build:\n  ${wrong.join("\n  ")}`);
    process.exit(1);
  }
}

async function write(made) {
  await rm(dist, { recursive: true, force: true });
  for (const [path, bytes] of made) {
    await mkdir(dirname(join(dist, path)), { recursive: true });
    await writeFile(join(dist, path), bytes);
  }
}

const made = await files();
await (process.argv.includes("--check") ? check(made) : write(made));

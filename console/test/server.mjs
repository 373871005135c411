// A bank of the test's own: the program that BANKFORGE_BINARY names, on free ports, with a new data directory.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const patience = 30_000; // milliseconds until a server must be ready

export class Server {
  #data = mkdtempSync(join(tmpdir(), "bankforge-browser-"));
  #said = "";

  static async start(binary) {
    const s = new Server();
    s.binary = binary;
    s.http = `127.0.0.1:${await freePort()}`;
    s.admin = `127.0.0.1:${await freePort()}`;
    s.url = `http://${s.http}`;
    process.once("exit", () => s.#remove());
    await s.run();
    return s;
  }

  /** run starts the program, also again after a kill: with the same addresses and data. */
  async run() {
    this.program = spawn(this.binary, ["serve", "--http", this.http, "--admin", this.admin, "--data", this.#data], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    for (const out of [this.program.stdout, this.program.stderr]) out.on("data", (text) => (this.#said += text));
    const until = Date.now() + patience;
    while (!(await this.#ready())) {
      if (this.program.exitCode !== null || Date.now() > until) throw new Error(`the server does not start:\n${this.#said}`);
      await pause(50);
    }
  }

  async #ready() {
    try {
      return (await fetch(`${this.url}/readyz`)).ok;
    } catch {
      return false;
    }
  }

  token(role = "teller") {
    const args = ["token", "--role", role, "--subject", "browser", "--data", this.#data];
    return execFileSync(this.binary, args, { encoding: "utf8" }).trim();
  }

  /** kill ends the program as a loss of power would, or with SIGTERM in order. */
  async kill(signal = "SIGKILL") {
    const gone = once(this.program, "exit");
    this.program.kill(signal);
    await gone;
  }

  async stop() {
    if (this.program.exitCode === null && this.program.signalCode === null) await this.kill("SIGTERM");
    this.#remove();
  }

  #remove() {
    this.program?.kill("SIGKILL");
    rmSync(this.#data, { recursive: true, force: true });
  }
}

async function freePort() {
  const s = createServer().listen(0, "127.0.0.1");
  await once(s, "listening");
  const { port } = s.address();
  s.close();
  await once(s, "close");
  return port;
}

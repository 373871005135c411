// What a tab sees when its way to the bank is cut: everything that it has missed, each version once.
import assert from "node:assert/strict";
import { connect, createServer } from "node:net";
import { after, before, test } from "node:test";
import { ask, end, launch, row, seen, token, url, versions } from "./browser.mjs";

/** wire is a way to the bank that can be cut. */
class Wire {
  sockets = new Set();
  whole = true;
  server = createServer((near) => {
    if (!this.whole) return near.destroy();
    const { hostname, port } = new URL(url);
    const far = connect(Number(port), hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      this.sockets.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy());
      one.on("close", () => {
        this.sockets.delete(one);
        other.destroy();
      });
    }
  });

  async open() {
    await new Promise((done) => this.server.listen(0, "127.0.0.1", done));
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  cut() {
    this.whole = false;
    for (const s of this.sockets) s.destroy();
  }

  mend() {
    this.whole = true;
  }

  close() {
    this.cut();
    this.server.close();
  }
}

let browser;
before(async () => {
  browser = await launch();
});
after(end);

test("after the connection was lost, everything missed comes once", async () => {
  const { id } = await ask("POST", "/v1/accounts", { currency: "EUR", label: "Cut off" });
  const deposit = () => ask("POST", "/v1/deposits", { account_id: id, amount: { amount: "100", currency: "EUR" } });
  const wire = new Wire();
  const page = await (await browser.newContext()).newPage();
  try {
    await page.goto(`${await wire.open()}/?trace=1#token=${token}`);
    await page.waitForSelector("#status[data-state=connected]");
    await deposit();
    await page.waitForSelector(`${row(id)}[data-minor="100"]`);
    for (let round = 1; round <= 3; round++) {
      wire.cut();
      await page.waitForSelector("#status[data-state=reconnecting]");
      await page.waitForSelector(`${row(id)}.stale`);
      for (let i = 0; i < 4; i++) await deposit();
      wire.mend();
      await page.waitForSelector(`${row(id)}[data-minor="${100 + round * 400}"]:not(.stale)`);
      assert.ok(await page.isHidden("#banner"));
    }
    assert.deepEqual(await seen(page, id), versions(2, 14));
    await page.click(`${row(id)} button`);
    await page.waitForFunction(() => document.querySelectorAll("#entries li").length === 13);
  } finally {
    await page.context().close();
    wire.close();
  }
});

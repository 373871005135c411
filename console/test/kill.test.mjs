// A server that is killed in the middle of its work, and started again: a tab that was open goes on by itself.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { ask, end, launch, open, row, seen, server, versions } from "./browser.mjs";

let browser;
before(async () => {
  browser = await launch();
});
after(end);

test("a tab outlives the server, and sees each version once", async () => {
  assert.ok(server, "this test kills the server, so it needs one of its own: set BANKFORGE_BINARY, not BANKFORGE_URL");
  const { id } = await ask("POST", "/v1/accounts", { currency: "EUR", label: "Survivor" });
  const page = await open(browser);
  page.setDefaultTimeout(30_000);
  await page.waitForSelector(row(id));
  let acknowledged = 0;
  let going = true;
  const worker = async () => {
    while (going) {
      await deposit(id);
      acknowledged++;
    }
  };
  const workers = Array.from({ length: 8 }, worker);
  for (const signal of ["SIGKILL", "SIGTERM", "SIGKILL"]) {
    const before = acknowledged;
    while (acknowledged < before + 100) await pause(10);
    await server.kill(signal);
    await page.waitForSelector("#status[data-state=reconnecting]");
    await server.run();
  }
  going = false;
  await Promise.all(workers);
  const account = await ask("GET", `/v1/accounts/${id}`);
  assert.equal(account.balance.amount, String(acknowledged), "what was acknowledged is there, once");
  await page.waitForSelector(`${row(id)}[data-minor="${acknowledged}"]:not(.stale)`);
  assert.deepEqual(await seen(page, id), versions(2, account.version));
  assert.deepEqual(page.faults, []);
});

/** deposit pays one cent in, and asks again with the same key until there is an answer. */
async function deposit(id) {
  const key = crypto.randomUUID();
  for (;;) {
    try {
      return await ask("POST", "/v1/deposits", { account_id: id, amount: { amount: "1", currency: "EUR" } }, key);
    } catch (e) {
      if (/: 4\d\d /.test(e.message)) throw e;
      await pause(50);
    }
  }
}

// A browser tab on the bank, driven line by line over standard input, for journeys that kill the server:
//
//   state STATE          waits until the tab's connection is connected, reconnecting or refused
//   wait ACCOUNT VERSION waits until the tab shows the account at this version or a later one
//   seen ACCOUNT         prints the versions that the tab has got live, in their order, as a JSON array
//   balance ACCOUNT      prints the balance that the tab shows, in minor units
//   quit
//
// Each line is answered with one line; "ready" comes first. What goes wrong ends it with status 1.
import { createInterface } from "node:readline";
import { end, launch, open, row, seen } from "./browser.mjs";

const patience = 60_000; // milliseconds for one line

const browser = await launch();
const page = await open(browser);
page.setDefaultTimeout(patience);

const does = {
  state: async (state) => {
    await page.waitForSelector(`#status[data-state=${state}]`);
    return "ok";
  },
  wait: async (account, version) => {
    await page.waitForFunction(
      ([a, v]) => Number(document.querySelector(`#accounts [data-account="${a}"]`)?.dataset.version ?? 0) >= v,
      [account, Number(version)],
    );
    return "ok";
  },
  seen: async (account) => JSON.stringify(await seen(page, account)),
  balance: (account) => page.getAttribute(row(account), "data-minor"),
};

console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [word, ...rest] = line.trim().split(/\s+/);
  if (word === "quit") break;
  const run = does[word];
  if (!run) throw new Error(`unknown line: ${line}`);
  console.log(await run(...rest));
}
await end();

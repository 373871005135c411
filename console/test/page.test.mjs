// The page as people see it, in a real browser, against a real bank.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { ask, end, launch, open, row, seen, token, url, versions } from "./browser.mjs";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

let browser;
before(async () => {
  browser = await launch();
});
after(end);

/** pair opens two accounts of its own for a test, the first with 100.00 in it. */
async function pair() {
  const name = crypto.randomUUID().slice(0, 8);
  const rich = await ask("POST", "/v1/accounts", { currency: "EUR", label: `Rich ${name}` });
  const poor = await ask("POST", "/v1/accounts", { currency: "EUR", label: `Poor ${name}` });
  await ask("POST", "/v1/deposits", { account_id: rich.id, amount: eur(100_00), reference: "first money" });
  return { rich: rich.id, poor: poor.id };
}

const eur = (minor) => ({ amount: String(minor), currency: "EUR" });

/** balance waits until the page shows the account with this balance. */
const balance = (page, id, minor) => page.waitForSelector(`${row(id)}[data-minor="${minor}"]`);

test("balances move when money is moved elsewhere, each version once", async () => {
  const { rich, poor } = await pair();
  const page = await open(browser);
  await balance(page, rich, 100_00);
  await balance(page, poor, 0);
  for (let i = 1; i <= 5; i++) {
    await ask("POST", "/v1/transfers", { from_account_id: rich, to_account_id: poor, amount: eur(i * 10) });
  }
  await balance(page, rich, 98_50);
  await balance(page, poor, 1_50);
  assert.match(await page.textContent(`${row(poor)} .balance`), /1\.50/);
  assert.deepEqual(await seen(page, rich), versions(3, 7));
  assert.deepEqual(await seen(page, poor), versions(2, 6));
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("the form moves money, and the entry comes by itself", async () => {
  const { rich, poor } = await pair();
  const page = await open(browser);
  await page.click(`${row(poor)} button`);
  await page.waitForSelector(`#entries[data-account="${poor}"]`, { state: "attached" });
  await page.selectOption("#from", rich);
  await page.selectOption("#to", poor);
  await page.fill("#amount", "12.34");
  assert.equal(await page.textContent("#amount-help"), "That is €12.34.");
  await page.fill("#reference", "invoice 7");
  await page.click("#send");
  await page.waitForSelector("#outcome[data-transaction^=txn_]");
  await balance(page, rich, 87_66);
  await balance(page, poor, 12_34);
  const entry = page.locator(`#entries[data-account="${poor}"] li`).first();
  await entry.getByText("invoice 7").waitFor();
  assert.match(await entry.textContent(), /\+€12\.34.*€12\.34/);
  assert.equal((await ask("GET", `/v1/accounts/${poor}`)).balance.amount, "1234");
  assert.equal(await page.inputValue("#amount"), "", "the form is ready for the next payment");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("deposits and withdrawals", async () => {
  const { rich } = await pair();
  const page = await open(browser);
  await page.check("[name=kind][value=deposit]", { force: true });
  assert.ok(await page.isHidden("#from-field"));
  await page.selectOption("#to", rich);
  await page.fill("#amount", "1");
  await page.press("#amount", "Enter");
  await balance(page, rich, 101_00);
  await page.check("[name=kind][value=withdrawal]", { force: true });
  assert.ok(await page.isHidden("#to-field"));
  await page.selectOption("#from", rich);
  await page.fill("#amount", "0.01");
  await page.click("#send");
  await balance(page, rich, 100_99);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("what is refused is said where it is wrong", async () => {
  const { rich, poor } = await pair();
  const page = await open(browser);
  await page.selectOption("#from", rich);
  await page.selectOption("#to", poor);
  await page.fill("#amount", "1,000.00");
  await page.click("#send");
  assert.match(await page.textContent("#amount-error"), /Write an amount like/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "amount");
  await page.fill("#amount", "100.01");
  await page.click("#send");
  await page.waitForSelector("#problem[data-code=insufficient_funds]");
  assert.equal(await page.inputValue("#amount"), "100.01", "what was written is still there");
  await page.selectOption("#to", "elsewhere");
  await page.fill("#to-other", "acc_00000000000000000000000000");
  await page.fill("#amount", "1");
  await page.click("#send");
  await page.waitForSelector("#problem[data-code=account_not_found]");
  assert.equal(await page.getAttribute("#to-other", "aria-invalid"), "true");
  await balance(page, rich, 100_00);
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

test("a payment whose answer is lost is not made twice", async () => {
  const { rich, poor } = await pair();
  const page = await open(browser);
  await page.selectOption("#from", rich);
  await page.selectOption("#to", poor);
  await page.fill("#amount", "5");
  await page.route("**/v1/transfers", async (route) => {
    await route.fetch(); // the bank does it
    await route.abort(); // and its answer is lost
  }, { times: 1 });
  await page.click("#send");
  await page.getByText("It is not known whether the money moved.").waitFor();
  await balance(page, poor, 5_00);
  await page.click("#send");
  await page.waitForSelector("#outcome[data-transaction^=txn_]");
  assert.equal((await ask("GET", `/v1/accounts/${poor}`)).balance.amount, "500");
  await page.context().close();
});

test("the token leaves the address, lives in the tab, and is forgotten on signing out", async () => {
  const page = await open(browser);
  assert.equal(page.url(), `${url}/?trace=1`);
  await page.reload();
  await page.waitForSelector("#status[data-state=connected]");
  await page.click("#sign-out");
  await page.waitForSelector("#sign-in:not([hidden])");
  const kept = await page.evaluate(() => [sessionStorage.length, localStorage.length, document.cookie]);
  assert.deepEqual(kept, [0, 0, ""]);
  await page.fill("#token", "not a token");
  await page.click("#sign-in-form button");
  await page.waitForFunction(() => document.getElementById("token-error").textContent !== "");
  assert.ok(await page.isVisible("#sign-in"));
  await page.fill("#token", token);
  await page.press("#token", "Enter");
  await page.waitForSelector("#status[data-state=connected]");
  assert.deepEqual(page.faults, []);
  await page.context().close();
});

for (const [name, options] of Object.entries({
  "on a desk": {},
  "on a desk in the dark": { colorScheme: "dark" },
  "on a small phone": { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true },
  "on a small phone in the dark": { viewport: { width: 360, height: 740 }, colorScheme: "dark" },
})) {
  test(`nothing keeps anybody out ${name}`, async () => {
    const { rich } = await pair();
    const page = await open(browser, { ...options, reducedMotion: "reduce" });
    await balance(page, rich, 100_00);
    await page.click(`${row(rich)} button`);
    await page.locator("#entries li").first().waitFor();
    await page.fill("#amount", "no amount");
    await page.click("#send");
    await clean(page);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, page.viewportSize().width, "it is too wide");
    await page.click("#sign-out");
    await clean(page);
    await page.context().close();
  });
}

/** clean has axe look at the page as it is. It is handed over as text: the page's policy lets no foreign script in. */
async function clean(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  assert.deepEqual(found.violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html).join(" ")}`), []);
}

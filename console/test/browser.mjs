// A bank and a browser. BANKFORGE_BINARY names the program, of which a server is started; or else BANKFORGE_URL and
// BANKFORGE_TOKEN (role teller) say where a bank is. The browser is Debian's Chromium, or the one that CHROMIUM names.
import { chromium } from "playwright-core";
import { Server } from "./server.mjs";

/** The server that the tests have started, or undefined when the bank is somebody else's. */
export const server = process.env.BANKFORGE_URL ? undefined : await Server.start(need("BANKFORGE_BINARY"));
export const url = (server?.url ?? need("BANKFORGE_URL")).replace(/\/$/, "");
export const token = server?.token() ?? need("BANKFORGE_TOKEN");

function need(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: it says which bank to test`);
  return value;
}

let browser;

/** launch starts a browser. */
export async function launch() {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
  return browser;
}

/** end closes the browser, and stops the server where it is the tests' own. */
export async function end() {
  await browser?.close();
  await server?.stop();
}

/** open opens the page as somebody who has followed the link that --demo prints. What goes wrong in it is noted. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.faults = [];
  page.on("pageerror", (e) => page.faults.push(`error: ${e.message}`));
  page.on("console", (m) => {
    // Chromium itself writes one line for each answer that is an error, and for each lost socket.
    if (m.type() === "error" && !/Failed to load resource|WebSocket connection to/.test(m.text())) {
      page.faults.push(m.text());
    }
  });
  page.on("request", (r) => {
    if (!r.url().startsWith(url) && !r.url().startsWith("data:")) page.faults.push(`asked another host: ${r.url()}`);
  });
  await page.goto(`${url}/?trace=1#token=${token}`);
  await page.waitForSelector("#status[data-state=connected]");
  return page;
}

/** ask uses the API as any client does. The same key makes the same command. */
export async function ask(method, path, body, key = crypto.randomUUID()) {
  const answer = await fetch(url + path, {
    method,
    headers: {
      Authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "Content-Type": "application/json", "Idempotency-Key": key }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

/** row is where the page shows an account. */
export const row = (id) => `#accounts [data-account="${id}"]`;

/** seen are the versions of an account that the page has got live, in their order. */
export const seen = (page, id) =>
  page.evaluate((a) => window.__seen.filter((s) => s.account === a).map((s) => s.version), id);

/** versions are all from the first to the last. */
export const versions = (first, last) => Array.from({ length: last - first + 1 }, (_, i) => first + i);

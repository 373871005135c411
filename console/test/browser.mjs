// Starts Debian's Chromium, and says where the bank is. The environment gives BANKFORGE_URL and BANKFORGE_TOKEN (role
// teller or service), and CHROMIUM where it is not /usr/bin/chromium.
import { chromium } from "playwright-core";

export const url = need("BANKFORGE_URL").replace(/\/$/, "");
export const token = need("BANKFORGE_TOKEN");

function need(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: it says which bank to test`);
  return value;
}

export function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
  });
}

/** open opens the page as somebody who has followed the link that --demo prints. What goes wrong in it fails the test. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ locale: "en-GB", viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.faults = [];
  page.on("pageerror", (e) => page.faults.push(`error: ${e.message}`));
  page.on("console", (m) => {
    // Chromium itself writes one line for each answer that is an error, and for each lost socket.
    if (m.type() === "error" && !/Failed to load resource|WebSocket connection to/.test(m.text())) page.faults.push(m.text());
  });
  page.on("request", (r) => {
    if (!r.url().startsWith(url) && !r.url().startsWith("data:")) page.faults.push(`asked another host: ${r.url()}`);
  });
  await page.goto(`${url}/?trace=1#token=${token}`);
  await page.waitForSelector("#status[data-state=connected]");
  return page;
}

/** ask uses the API as any client does. */
export async function ask(method, path, body) {
  const answer = await fetch(url + path, {
    method,
    headers: {
      Authorization: `Bearer ${token}`,
      ...(body === undefined ? {} : { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
  return JSON.parse(text);
}

import { Api, Problem } from "./api";
import { Bank } from "./bank";
import type { Change } from "./live";
import { element } from "./page";
import { forget, keep, takeToken } from "./session";

declare global {
  interface Window {
    /** Every live message that the page has got, in order: only with ?trace=1, for tests. */
    __seen?: { account: string; version: number; type: string }[];
  }
}

if (new URLSearchParams(location.search).get("trace") === "1") window.__seen = [];

function seen(account: string, c: Change): void {
  window.__seen?.push({ account, version: c.version, type: c.type });
}

let bank: Bank | undefined;
let trying = 0; // which attempt to sign in counts

function showSignIn(why: string): void {
  element("bank").hidden = true;
  element("status").hidden = true;
  element("sign-out").hidden = true;
  element("sign-in").hidden = false;
  element("token-error").textContent = why;
  const field = element<HTMLInputElement>("token");
  field.value = "";
  if (why === "") field.removeAttribute("aria-invalid");
  else field.setAttribute("aria-invalid", "true");
}

function leave(why: string): void {
  trying++;
  bank?.close();
  bank = undefined;
  forget();
  showSignIn(why);
}

async function enter(token: string): Promise<void> {
  const mine = ++trying;
  element("sign-in").hidden = true;
  element("status").hidden = false;
  element("status-text").textContent = "Connecting…";
  element("sign-out").hidden = false;
  element("bank").hidden = false;
  try {
    const opened = await Bank.open(new Api(token), token, leave, seen);
    if (mine === trying) bank = opened;
    else opened.close();
  } catch (e) {
    if (mine !== trying) return;
    if (e instanceof Problem && e.status === 401) leave("This token is not valid, or has expired.");
    else if (e instanceof Problem) leave(`${e.title}. ${e.detail}`);
    else again(token, mine);
  }
}

/** again tries once more in a while: the bank is down, and the token may well be good. */
function again(token: string, mine: number): void {
  const banner = element("banner");
  banner.hidden = false;
  banner.textContent = "The bank cannot be reached. Trying again…";
  window.setTimeout(() => {
    if (mine !== trying) return;
    banner.hidden = true;
    void enter(token);
  }, 1_000);
}

element<HTMLFormElement>("sign-in-form").addEventListener("submit", (e) => {
  e.preventDefault();
  const token = element<HTMLInputElement>("token").value.trim();
  if (token === "") {
    showSignIn("Paste a token.");
    element("token").focus();
    return;
  }
  keep(token);
  void enter(token);
});
element("sign-out").addEventListener("click", () => {
  leave("");
  element("token").focus();
});

function start(): void {
  const token = takeToken();
  if (token === "") showSignIn("");
  else void enter(token);
}

window.addEventListener("hashchange", () => {
  if (!location.hash.startsWith("#token=")) return;
  bank?.close();
  bank = undefined;
  start();
});
start();

import type { Account } from "./api";
import { show } from "./money";
import type { Money } from "./money";

/** element finds what index.html has under an id. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found as T;
}

/** make makes an element. Text is always text, never markup. */
export function make(tag: string, className = "", text = ""): HTMLElement {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text) e.textContent = text;
  return e;
}

/** Money as the reader writes it, with the exponents that the bank has told. */
export class Shown {
  private exponents = new Map<string, number>();

  constructor(currencies: { code: string; exponent: number }[]) {
    for (const c of currencies) this.exponents.set(c.code, c.exponent);
  }

  exponent(currency: string): number {
    return this.exponents.get(currency) ?? 2;
  }

  money(m: Money): string {
    return show(m, this.exponent(m.currency));
  }
}

/** nameOf is what people call an account. */
export function nameOf(a: Account): string {
  if (a.label) return a.label;
  if (a.type === "internal") return `Cash ${a.currency}`;
  return `${a.type === "savings" ? "Savings" : "Current"} account`;
}

/** shortId keeps what tells ids apart, their end. */
export function shortId(id: string): string {
  return id.length > 14 ? `${id.slice(0, 4)}…${id.slice(-6)}` : id;
}

const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** time shows an instant where the reader is. */
export function time(instant: string): string {
  return times.format(new Date(instant));
}

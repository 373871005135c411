import type { Account, Entry } from "./api";
import { element, make, nameOf, shortId, time } from "./page";
import type { Shown } from "./page";

const kinds: Record<string, string> = {
  deposit: "Deposit",
  withdrawal: "Withdrawal",
  transfer: "Transfer",
  capture: "Capture",
  reversal: "Reversal",
};

/** EntryList shows what has happened on the chosen account, the newest first. */
export class EntryList {
  private readonly list = element("entries");
  private readonly of = element("entries-of");
  private readonly none = element("no-entries");

  constructor(private readonly shown: Shown) {}

  /** show changes only what differs: what stays in its place keeps its animation, and the reader's selection. */
  show(account: Account, entries: Entry[]): void {
    if (this.list.dataset["account"] !== account.id) this.list.replaceChildren();
    this.list.dataset["account"] = account.id;
    this.of.textContent = `${nameOf(account)} · ${shortId(account.id)}`;
    this.none.hidden = entries.length > 0;
    this.none.textContent = "Nothing has been paid in or out yet.";
    const there = new Map<string, HTMLElement>();
    for (const row of this.list.children) there.set((row as HTMLElement).dataset["version"] ?? "", row as HTMLElement);
    let place = this.list.firstElementChild;
    for (const e of entries) {
      const known = there.get(String(e.version));
      there.delete(String(e.version));
      if (known) {
        this.name(known, e);
        place = known.nextElementSibling;
      } else {
        this.list.insertBefore(this.row(e), place);
      }
    }
    for (const row of there.values()) row.remove();
  }

  private row(e: Entry): HTMLElement {
    const heard = e.kind === undefined; // live, just now
    const row = make("li", heard ? "entry fresh" : "entry");
    row.dataset["version"] = String(e.version);
    row.title = e.transaction_id;
    const when = make("time", "when", time(e.posted_at));
    when.setAttribute("datetime", e.posted_at);
    const sign = e.direction === "credit" ? "+" : "−";
    const amount = make("span", `amount ${e.direction}`, `${sign}${this.shown.money(e.amount)}`);
    const after = make("span", "after", this.shown.money(e.balance_after));
    after.prepend(make("span", "hidden", "Balance after: "));
    row.append(make("span", "what"), amount, when, after);
    this.name(row, e);
    return row;
  }

  /** name says what an entry is. What has been heard live does not tell; the query that follows does. */
  private name(row: HTMLElement, e: Entry): void {
    const what = row.querySelector(".what");
    const name = e.reference || kinds[e.kind ?? ""] || (e.direction === "credit" ? "Paid in" : "Paid out");
    if (what && what.textContent !== name) what.textContent = name;
  }

  clear(): void {
    this.list.replaceChildren();
    delete this.list.dataset["account"];
    this.of.textContent = "";
    this.none.hidden = false;
    this.none.textContent = "Choose an account to see what happens on it.";
  }
}

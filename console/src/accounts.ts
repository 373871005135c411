import type { Account } from "./api";
import { make, nameOf, shortId } from "./page";
import type { Shown } from "./page";

/** AccountList shows accounts with their balances, and lets one be chosen. */
export class AccountList {
  private readonly rows = new Map<string, Row>();
  private chosen = "";

  constructor(private readonly list: HTMLElement, private readonly shown: Shown, private readonly choose: (id: string) => void) {}

  /** show adds the account, or changes what is there. Moved: its balance has just changed, which catches the eye. */
  show(account: Account, moved = 0n): void {
    let row = this.rows.get(account.id);
    if (!row) {
      row = new Row(account, () => this.choose(account.id));
      this.rows.set(account.id, row);
      this.list.append(row.item);
    }
    row.show(account, this.shown, moved);
  }

  /** mark says which accounts are not as new as they could be. */
  mark(id: string, stale: boolean): void {
    this.rows.get(id)?.mark(stale);
  }

  select(id: string): void {
    this.rows.get(this.chosen)?.select(false);
    this.chosen = id;
    this.rows.get(id)?.select(true);
  }

  clear(): void {
    this.rows.clear();
    this.list.replaceChildren();
  }
}

class Row {
  readonly item = make("li");
  private readonly button = make("button", "account");
  private readonly balance = make("span", "balance");
  private readonly rest = make("span", "rest");
  private readonly badges = make("span", "badges");
  private status = "";
  private stale = false;

  constructor(account: Account, choose: () => void) {
    this.item.dataset["account"] = account.id;
    this.button.setAttribute("type", "button");
    this.button.addEventListener("click", choose);
    const name = make("span", "name", nameOf(account));
    const id = make("span", "id", shortId(account.id));
    id.title = account.id;
    this.button.append(name, this.balance, id, this.rest, this.badges);
    this.item.append(this.button);
  }

  show(account: Account, shown: Shown, moved: bigint): void {
    this.item.dataset["version"] = String(account.version);
    this.item.dataset["minor"] = account.balance.amount;
    this.balance.textContent = shown.money(account.balance);
    this.balance.classList.toggle("negative", account.balance.amount.startsWith("-"));
    this.rest.textContent = account.type === "internal" ? "internal" : `${shown.money(account.available)} available`;
    this.status = account.status;
    this.badge();
    if (moved !== 0n) this.flash(moved > 0n ? "up" : "down");
  }

  mark(stale: boolean): void {
    this.stale = stale;
    this.item.classList.toggle("stale", stale);
    this.badge();
  }

  select(chosen: boolean): void {
    if (chosen) this.button.setAttribute("aria-current", "true");
    else this.button.removeAttribute("aria-current");
  }

  private badge(): void {
    const badges: HTMLElement[] = [];
    if (this.status !== "active") badges.push(make("span", `badge ${this.status}`, this.status));
    if (this.stale) badges.push(make("span", "badge old", "not live"));
    this.badges.replaceChildren(...badges);
  }

  private flash(direction: "up" | "down"): void {
    this.balance.classList.remove("up", "down");
    void this.balance.offsetWidth; // else the browser would not start the animation again
    this.balance.classList.add(direction);
  }
}

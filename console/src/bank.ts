import { AccountList } from "./accounts";
import { Problem, Unreachable } from "./api";
import type { Account, Api, Currency, Entry, Page } from "./api";
import { Book, maxEntries } from "./book";
import { EntryList } from "./entries";
import { Live } from "./live";
import type { Change, State } from "./live";
import { element, Shown } from "./page";
import { PaymentForm } from "./payment";

const pageSize = 50;
const settle = 400; // milliseconds after which entries that were heard live are asked for in full
const retryEvery = 1_000; // milliseconds

/** Bank is the page of somebody who has signed in. */
export class Bank {
  private readonly book = new Book();
  private readonly gone = new AbortController();
  private readonly live: Live;
  private readonly accounts: AccountList;
  private readonly entries: EntryList;
  private readonly payment: PaymentForm;
  private readonly behind = new Set<string>(); // accounts that are not live
  private connected = false;
  private chosen = "";
  private cursor: string | null = null;
  private settling = 0;

  private constructor(
    private readonly api: Api, token: string, shown: Shown,
    private readonly leave: (why: string) => void, private readonly seen: (account: string, c: Change) => void,
  ) {
    const signal = this.gone.signal;
    this.accounts = new AccountList(element("accounts"), shown, (id) => void this.choose(id));
    this.entries = new EntryList(shown);
    this.payment = new PaymentForm(api, shown, (e) => this.expelled(e), signal);
    element("more").addEventListener("click", () => void this.load(this.cursor), { signal });
    element("reload").addEventListener("click", () => void this.load(null), { signal });
    this.live = new Live(token, {
      state: (s) => this.state(s),
      change: (id, c) => this.change(id, c),
      missed: (id, version) => void this.reload(id, version),
    });
  }

  /** open loads the bank, and follows it from there. */
  static async open(
    api: Api, token: string, leave: (why: string) => void, seen: (account: string, c: Change) => void,
  ): Promise<Bank> {
    const currencies = await api.get<Page<Currency>>("/v1/currencies");
    const bank = new Bank(api, token, new Shown(currencies.body.data), leave, seen);
    await bank.load(null);
    const first = bank.book.all()[0];
    if (first) await bank.choose(first.id);
    return bank;
  }

  close(): void {
    this.gone.abort();
    clearTimeout(this.settling);
    this.live.close();
    this.accounts.clear();
    this.entries.clear();
  }

  /** load reads a page of the list; without a cursor the first one. */
  private async load(cursor: string | null): Promise<void> {
    try {
      const after = cursor ? `&cursor=${encodeURIComponent(cursor)}` : "";
      const { body } = await this.api.get<Page<Account>>(`/v1/accounts?limit=${pageSize}${after}`);
      this.cursor = body.next_cursor ?? null;
      element("more").hidden = !this.cursor;
      for (const a of body.data) {
        if (this.book.put(a)) this.accounts.show(a);
        if (!this.live.follow(a)) this.behind.add(a.id);
        this.mark(a.id);
      }
      element("no-accounts").hidden = this.book.all().length > 0;
      this.payment.offer(this.book.all());
    } catch (e) {
      this.trouble(e);
    }
  }

  /** choose shows an account's entries. */
  private async choose(id: string): Promise<void> {
    this.chosen = id;
    this.accounts.select(id);
    this.showEntries();
    await this.loadEntries(id);
  }

  private async loadEntries(id: string): Promise<void> {
    try {
      const { body } = await this.api.get<Page<Entry>>(`/v1/accounts/${encodeURIComponent(id)}/entries?limit=${maxEntries}`);
      this.book.add(id, body.data);
      if (id === this.chosen) this.showEntries();
    } catch (e) {
      this.trouble(e);
    }
  }

  private showEntries(): void {
    const account = this.book.account(this.chosen);
    if (account) this.entries.show(account, this.book.entriesOf(this.chosen));
  }

  private change(id: string, c: Change): void {
    this.seen(id, c);
    const before = this.book.account(id);
    if (!before || !this.book.apply(id, c)) return;
    const after = this.book.account(id) as Account;
    this.accounts.show(after, BigInt(after.balance.amount) - BigInt(before.balance.amount));
    if (id !== this.chosen || !c.data.entry) return;
    this.showEntries();
    this.settling ||= window.setTimeout(() => {
      this.settling = 0;
      void this.loadEntries(this.chosen);
    }, settle);
  }

  /** reload reads one account anew, because the stream cannot tell all that was missed. */
  private async reload(id: string, version: number): Promise<void> {
    this.behind.add(id);
    this.mark(id);
    const least = version > 0 ? `?min_version=${version}` : "";
    try {
      const { body, stale } = await this.api.get<Account>(`/v1/accounts/${encodeURIComponent(id)}${least}`);
      const now = this.book.account(id);
      const newer = now !== undefined && now.stream.epoch === body.stream.epoch && now.version > body.version;
      if (this.book.put(body, !newer)) this.accounts.show(this.book.account(id) as Account);
      if (stale) throw new Unreachable("The answer is behind.");
      this.behind.delete(id);
      this.mark(id);
      if (id === this.chosen) await this.loadEntries(id);
    } catch (e) {
      if (this.expelled(e) || this.gone.signal.aborted) return;
      window.setTimeout(() => void this.reload(id, version), retryEvery);
    }
  }

  private mark(id: string): void {
    this.accounts.mark(id, !this.connected || this.behind.has(id));
  }

  private state(s: State): void {
    this.connected = s === "connected";
    const status = element("status");
    status.dataset["state"] = s;
    const words: Record<State, string> = {
      connecting: "Connecting…", connected: "Live", reconnecting: "Reconnecting…", refused: "Not live",
    };
    element("status-text").textContent = words[s];
    const banner = element("banner");
    banner.hidden = s === "connected" || s === "connecting";
    banner.textContent = s === "reconnecting"
      ? "The connection is lost. Balances may be old until it is back; nothing that happens meanwhile is missed."
      : "Live updates have ended. Sign in again to go on.";
    for (const a of this.book.all()) this.mark(a.id);
  }

  /** trouble shows that something could not be loaded. */
  private trouble(e: unknown): void {
    if (this.expelled(e) || this.gone.signal.aborted) return;
    const banner = element("banner");
    banner.hidden = false;
    banner.textContent = e instanceof Problem ? `${e.title}. ${e.detail}` : "The bank cannot be reached. Try Reload.";
  }

  /** expelled signs out when the token is not good any more. */
  private expelled(e: unknown): boolean {
    if (!(e instanceof Problem) || e.status !== 401) return false;
    this.leave("Your token is not valid, or has expired.");
    return true;
  }
}

import { Centrifuge } from "centrifuge";
import type { Subscription } from "centrifuge";
import type { Account } from "./api";
import type { Money } from "./money";

/** One live message of an account. */
export interface Change {
  schema: string;
  type: string;
  version: number;
  occurred_at: string;
  correlation_id: string;
  data: {
    status: string;
    balance: Money;
    held: Money;
    available: Money;
    entry: { transaction_id: string; direction: "debit" | "credit"; amount: Money } | null;
  };
}

export type State = "connecting" | "connected" | "reconnecting" | "refused";

/** What the page wants to know of the connection. */
export interface Listener {
  state(state: State): void;
  change(account: string, change: Change): void;
  /** What was missed is too much to be told: load the account anew, at least at this version. */
  missed(account: string, version: number): void;
}

/** At most so many accounts are followed: the server allows no more channels on a connection. */
export const maxFollowed = 100;

/** Live follows accounts, each from the version that the page has, so that nothing is missed in between. */
export class Live {
  private readonly centrifuge: Centrifuge;
  private readonly followed = new Map<string, Subscription>();
  private connectedBefore = false;

  constructor(token: string, private readonly listener: Listener) {
    const url = new URL("/v1/live", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    this.centrifuge = new Centrifuge(url.href, {
      token,
      name: "bankforge-page",
      minReconnectDelay: 200,
      maxReconnectDelay: 5_000,
    });
    this.centrifuge.on("connecting", () => listener.state(this.connectedBefore ? "reconnecting" : "connecting"));
    this.centrifuge.on("connected", () => {
      this.connectedBefore = true;
      listener.state("connected");
    });
    this.centrifuge.on("disconnected", () => listener.state("refused"));
    this.centrifuge.connect();
  }

  /** follow reports whether there was room to. */
  follow(account: Account): boolean {
    if (this.followed.has(account.id)) return true;
    if (this.followed.size >= maxFollowed) return false;
    const s = this.centrifuge.newSubscription(`account:${account.id}`, {
      since: { offset: account.stream.offset, epoch: account.stream.epoch },
    });
    s.on("publication", (p) => this.listener.change(account.id, p.data as Change));
    s.on("subscribed", (c) => {
      if (c.wasRecovering && !c.recovered) this.listener.missed(account.id, c.streamPosition?.offset ?? 0);
    });
    s.subscribe();
    this.followed.set(account.id, s);
    return true;
  }

  close(): void {
    this.centrifuge.removeAllListeners();
    this.centrifuge.disconnect();
  }
}

import type { Slot } from "../../src/apps/app.ts";
import type { Clock } from "../../src/clock.ts";
import type {
  CredentialSource,
  ObtainOptions,
  TokenProbe,
  TokenVerdict,
} from "../../src/credentials/source.ts";
import type { CredentialRef, IssuedCredential } from "../../src/credentials/credential.ts";
import { ServiceError } from "../../src/errors.ts";
import { Secret } from "../../src/secret.ts";
import type { Turn } from "./memory-store.ts";

const LIFE_MS = 7_200_000;
const HANDOVER_MS = 300_000;

/** How the platform hands tokens out. */
export type Sort = "stable" | "classic" | "wecom";

/** What is wrong with the platform. `lost`: it does what it is asked, and the answer does not arrive. */
export type Fault = "none" | "down" | "lost" | "config" | "silent_probe";

/** One token and what became of it. Instants are monotonic; asks are numbered in the order in which they were sent. */
export interface Token {
  readonly value: string;
  readonly firstAsk: number;
  lastAsk: number;
  readonly endsAt: number;
  diesAt: number;
  isUnnoticed: boolean;
  /** Said to be dead by this platform itself. */
  isConfirmedDead: boolean;
}

/** The platform in a few lines: repeats, rotates and kills tokens as WeChat and WeCom do, and counts. */
export class Issuer implements CredentialSource, TokenProbe {
  readonly tokens: Token[] = [];
  fault: Fault = "none";
  asks = 0;
  probes = 0;
  inFlight = 0;
  mostInFlight = 0;
  readonly #sort: Sort;
  readonly #clock: Clock;
  readonly #turn: Turn;

  constructor(sort: Sort, clock: Clock, turn: Turn = () => Promise.resolve()) {
    this.#sort = sort;
    this.#clock = clock;
    this.#turn = turn;
  }

  async obtain(_ref: CredentialRef, { force = false }: ObtainOptions): Promise<IssuedCredential> {
    const ask = ++this.asks;
    this.mostInFlight = Math.max(this.mostInFlight, ++this.inFlight);
    try {
      await this.#turn("request arrives");
      if (this.fault === "down") throw new ServiceError("upstream_unreachable", "down");
      if (this.fault === "config") {
        const upstream = { platform: "weixin", errcode: 40125, errmsg: "", class: "config" } as const;
        throw new ServiceError("upstream_rejected", "config", { upstream });
      }
      const token = this.#issue(ask, force);
      const lifeMs = Math.floor((token.endsAt - this.#clock.monotonic()) / 1000) * 1000;
      await this.#turn("answer arrives");
      if (this.fault === "lost") throw new ServiceError("upstream_timeout", "lost");
      return { value: new Secret(token.value), lifeMs };
    } finally {
      this.inFlight--;
    }
  }

  async check(_app: unknown, value: Secret): Promise<TokenVerdict> {
    this.probes++;
    await this.#turn("probe");
    if (this.fault === "silent_probe" || this.fault === "down") return "unknown";
    const token = this.find(value.reveal());
    if (token && this.isAlive(token)) return "valid";
    if (token) token.isConfirmedDead = true;
    return "revoked";
  }

  find(value: string): Token | undefined {
    return this.tokens.find((token) => token.value === value);
  }

  isAlive(token: Token): boolean {
    return !token.isUnnoticed && this.#isBelieved(token);
  }

  /** Kills what lives, with or without the issuing endpoint knowing. */
  kill(isUnnoticed: boolean): void {
    for (const token of this.tokens.filter((each) => this.isAlive(each))) {
      if (isUnnoticed) token.isUnnoticed = true;
      else token.diesAt = this.#clock.monotonic();
    }
  }

  #isBelieved(token: Token): boolean {
    return this.#clock.monotonic() < Math.min(token.endsAt, token.diesAt);
  }

  #issue(ask: number, force: boolean): Token {
    const newest = this.tokens.at(-1);
    const now = this.#clock.monotonic();
    const leastMs = this.#sort === "stable" ? HANDOVER_MS : 1000;
    const repeats = this.#sort !== "classic" && !(force && this.#sort === "stable");
    if (repeats && newest && this.#isBelieved(newest) && newest.endsAt - now > leastMs) {
      newest.lastAsk = ask;
      return newest;
    }
    const [previous, older] = [newest, this.tokens.at(-2)];
    if (older) older.diesAt = Math.min(older.diesAt, now);
    if (previous) previous.diesAt = Math.min(previous.diesAt, now + HANDOVER_MS);
    const fate = { diesAt: Infinity, isUnnoticed: false, isConfirmedDead: false };
    const token = { value: `token-${ask}`, firstAsk: ask, lastAsk: ask, endsAt: now + LIFE_MS, ...fate };
    this.tokens.push(token);
    return token;
  }
}

/** The access token of an app of this sort. */
export function refOf(sort: Sort): CredentialRef {
  const platform = sort === "wecom" ? "wecom" : "weixin";
  const tokenMode = sort === "classic" ? "classic" : "stable";
  const slot: Slot = {
    platform,
    appId: "app",
    name: sort,
    secret: new Secret("secret"),
    tokenMode,
    configured: true,
  };
  return { slot, kind: "access_token" };
}

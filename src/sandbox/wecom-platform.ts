import {
  type IssuedToken,
  IssuedTokens,
  OneTimeCodes,
  Tickets,
  TokenSequence,
  tokenText,
} from "./issued-tokens.ts";
import { MediaStore } from "./media-store.ts";
import { Refusal } from "./sandbox-request.ts";
import { isListed, type SandboxSwitches, type SandboxWecomApp } from "./sandbox-settings.ts";
import { QuotaCounter, type SandboxTime } from "./sandbox-time.ts";

const TOKEN_LENGTH = 128;

/** What every app of qyapi.weixin.qq.com shares. */
export interface WecomSurroundings {
  time: SandboxTime;
  tokens: IssuedTokens<WecomApp>;
  lifeMs: number;
}

/** One app of qyapi.weixin.qq.com: its settings, its token, its tickets and the codes that it redeemed. */
export class WecomApp {
  settings: SandboxWecomApp;
  /** The secrets that it had before. */
  readonly deadSecrets = new Set<string>();
  readonly tickets: Tickets;
  readonly codes = new OneTimeCodes();
  /** Ticket calls of this app per hour. */
  readonly hourly = new QuotaCounter();
  readonly #around: WecomSurroundings;
  readonly #sequence: TokenSequence<WecomApp>;

  constructor(settings: SandboxWecomApp, around: WecomSurroundings) {
    this.settings = settings;
    this.#around = around;
    this.tickets = new Tickets(around.time, around.lifeMs);
    this.#sequence = new TokenSequence(around.tokens, {
      owner: this,
      nextText: () => tokenText(TOKEN_LENGTH),
      lifeMs: around.lifeMs,
      handoverMs: 0,
    });
  }

  /** The token of this app: the same one until it expires, then the next. */
  fetchToken(): IssuedToken<WecomApp> {
    return this.#sequence.currentOrNext(this.#around.time.now());
  }
}

const HOUR_MS = 3_600_000;

/** Everything that qyapi.weixin.qq.com of the sandbox knows. */
export class WecomPlatform {
  readonly apps: WecomApp[];
  readonly tokens: IssuedTokens<WecomApp>;
  readonly media = new MediaStore();
  readonly time: SandboxTime;
  readonly #switches: SandboxSwitches;
  readonly #ban: WrongSecretBan;
  readonly #deadCodeBan: WrongSecretBan;
  readonly #around: WecomSurroundings;
  readonly #corpHourly = new QuotaCounter();

  constructor(
    apps: readonly SandboxWecomApp[],
    around: { time: SandboxTime; switches: SandboxSwitches; lifeMs: number },
  ) {
    this.time = around.time;
    this.#switches = around.switches;
    this.tokens = new IssuedTokens(around.time);
    this.#ban = new WrongSecretBan(around.time, () => around.switches.wecomWrongSecrets);
    this.#deadCodeBan = new WrongSecretBan(around.time, () => around.switches.wecomDeadCodes);
    this.#around = { time: around.time, tokens: this.tokens, lifeMs: around.lifeMs };
    this.apps = apps.map((app) => new WecomApp({ ...app }, this.#around));
  }

  /** Another app from now on; one without a secret gets no token by `gettoken`. */
  add(app: SandboxWecomApp): WecomApp {
    const added = new WecomApp(app, this.#around);
    this.apps.push(added);
    return added;
  }

  /**
   * The app that this corp knows by this secret, asked in this order: secret missing, corp
   * unknown, address banned, secret wrong. There is one answer for a wrong secret and for one of another corp.
   *
   * @throws {Refusal} 41004, 41002, 40013, 45009 or 40001.
   */
  authenticate(corpId: string, secret: string, peerIp: string): WecomApp {
    if (secret === "") throw new Refusal(41004, "corpsecret missing");
    if (corpId === "") throw new Refusal(41002, "corpid missing");
    const ofCorp = this.apps.filter((app) => app.settings.corpId === corpId);
    if (ofCorp.length === 0) throw new Refusal(40013, "invalid corpid");
    if (this.#ban.isBanned(peerIp) || this.#deadCodeBan.isBanned(peerIp))
      throw new Refusal(45009, "api freq out of limit");
    const app = ofCorp.find((candidate) => candidate.settings.secret === secret);
    if (app) return app;
    const isDead = ofCorp.some((candidate) => candidate.deadSecrets.has(secret));
    (isDead ? this.#deadCodeBan : this.#ban).count(peerIp);
    throw new Refusal(40001, "invalid credential");
  }

  /**
   * The app whose valid token came with a business call.
   *
   * @throws {Refusal} 41001, 42001, 40014, or 60020 for an address that is not trusted.
   */
  requireToken(value: string, peerIp: string): WecomApp {
    const verdict = this.tokens.verdict(value);
    if (verdict === "missing") throw new Refusal(41001, "access_token missing");
    if (verdict === "expired") throw new Refusal(42001, "access_token expired");
    const app = this.tokens.find(value)?.owner;
    if (verdict !== "valid" || !app) throw new Refusal(40014, "invalid access_token");
    const { trustedIps } = app.settings;
    if (trustedIps && !isListed(peerIp, trustedIps)) {
      throw new Refusal(60020, "not allow to access from your ip");
    }
    return app;
  }

  /**
   * Counts a call of a ticket endpoint: per app, and with `perCorp` per corp too.
   *
   * @throws {Refusal} 45009 when an hour's calls are used up.
   */
  spendTicketCall(app: WecomApp, endpoint: string, perCorp: boolean): void {
    const hour = this.time.window(HOUR_MS);
    const ofCorp = `${app.settings.corpId} ${endpoint}`;
    const corpFull = perCorp && this.#corpHourly.used(ofCorp, hour) >= this.#switches.wecomTicketsPerCorpHour;
    if (corpFull || app.hourly.used(endpoint, hour) >= this.#switches.wecomTicketsPerAppHour) {
      throw new Refusal(45009, "api freq out of limit");
    }
    app.hourly.add(endpoint, hour);
    if (perCorp) this.#corpHourly.add(ofCorp, hour);
  }
}

/** Addresses that sent wrong secrets to WeCom, and those that it therefore refuses for an hour. */
class WrongSecretBan {
  readonly #time: SandboxTime;
  readonly #limit: () => number;
  readonly #wrongAt = new Map<string, number[]>();
  readonly #bannedUntil = new Map<string, number>();

  /** `limit` wrong secrets within an hour ban an address; it is read at each one. */
  constructor(time: SandboxTime, limit: () => number) {
    this.#time = time;
    this.#limit = limit;
  }

  /** Whether `ip` is refused at this moment. */
  isBanned(ip: string): boolean {
    return this.#time.now() < (this.#bannedUntil.get(ip) ?? 0);
  }

  /** Counts a wrong secret from `ip`. */
  count(ip: string): void {
    const now = this.#time.now();
    const recent = (this.#wrongAt.get(ip) ?? []).filter((at) => at > now - HOUR_MS);
    recent.push(now);
    this.#wrongAt.set(ip, recent);
    if (recent.length < this.#limit()) return;
    this.#bannedUntil.set(ip, now + HOUR_MS);
    this.#wrongAt.delete(ip);
  }
}

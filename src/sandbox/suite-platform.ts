import { type IssuedToken, IssuedTokens, OneTimeCodes, TokenSequence, tokenText } from "./issued-tokens.ts";
import { Refusal } from "./sandbox-request.ts";
import {
  isListed,
  type SandboxCorp,
  type SandboxProvider,
  type SandboxSuite,
  type SandboxSwitches,
} from "./sandbox-settings.ts";
import type { SandboxTime } from "./sandbox-time.ts";
import type { WecomApp, WecomPlatform } from "./wecom-platform.ts";

const TOKEN_LENGTH = 128;
const TICKET_LIFE_MS = 1_800_000;
const PRE_AUTH_CODE_LIFE_MS = 1_200_000;
/** How long an authorization can be exchanged, in milliseconds. */
export const AUTH_CODE_LIFE_MS = 600_000;

/** What every provider and suite shares. */
export interface SuiteSurroundings {
  time: SandboxTime;
  switches: SandboxSwitches;
  lifeMs: number;
}

/** A provider of the sandbox and its token. */
export class Provider {
  readonly settings: SandboxProvider;
  readonly sequence: TokenSequence<Provider | Suite>;

  constructor(settings: SandboxProvider, tokens: IssuedTokens<Provider | Suite>, lifeMs: number) {
    this.settings = settings;
    this.sequence = sequenceOf(this, tokens, lifeMs);
  }
}

function sequenceOf(
  owner: Provider | Suite,
  tokens: IssuedTokens<Provider | Suite>,
  lifeMs: number,
): TokenSequence<Provider | Suite> {
  const nextText = () => tokenText(TOKEN_LENGTH);
  return new TokenSequence(tokens, { owner, nextText, lifeMs, handoverMs: 0 });
}

/** A corp that can install a suite, and what it has of it. */
export interface SuiteCorp {
  readonly settings: SandboxCorp;
  /** The app that the suite is in that corp. Only an agency app has a secret: its permanent code. */
  readonly app: WecomApp;
  /** Absent: not installed. */
  permanentCode: string | undefined;
}

/** An authorization that is redeemed by its code. */
export interface Authorization {
  readonly corp: SuiteCorp;
  readonly state: string | undefined;
}

/** A third-party app or a template of agency apps: its tickets, its token, its codes, its corps. */
export class Suite {
  readonly settings: SandboxSuite;
  readonly provider: Provider;
  readonly corps: ReadonlyMap<string, SuiteCorp>;
  readonly sequence: TokenSequence<Provider | Suite>;
  /** The login codes that were redeemed with its token. */
  readonly codes = new OneTimeCodes();
  readonly #time: SandboxTime;
  readonly #ticketsBornAt = new Map<string, number>();
  readonly #preAuthCodes = new Map<string, number>();
  readonly #authCodes = new Map<string, Authorization & { expiresAt: number }>();
  /** How often each authorization's code was brought, whatever came of it. */
  readonly #brought = new Map<string, number>();

  constructor(
    settings: SandboxSuite,
    provider: Provider,
    around: SuiteSurroundings & { tokens: IssuedTokens<Provider | Suite>; wecom: WecomPlatform },
  ) {
    this.settings = { ...settings };
    this.provider = provider;
    this.#time = around.time;
    this.sequence = sequenceOf(this, around.tokens, around.lifeMs);
    const { trustedIps } = provider.settings;
    const corps = (settings.corps ?? []).map((corp): [string, SuiteCorp] => {
      const app = { corpId: corp.corpId, agent: String(corp.agentId), secret: "", trustedIps };
      return [corp.corpId, { settings: corp, app: around.wecom.add(app), permanentCode: undefined }];
    });
    this.corps = new Map(corps);
  }

  /** Whether it is a template, whose apps are the corp's own (代开发). */
  get isAgency(): boolean {
    return this.settings.suiteId.startsWith("dk");
  }

  /** The next ticket, which lives half an hour. */
  nextTicket(): string {
    const ticket = tokenText(86);
    this.#ticketsBornAt.set(ticket, this.#time.now());
    return ticket;
  }

  /** Whether `ticket` brings a token now; also one that is not the newest, while it lives. */
  acceptsTicket(ticket: string): boolean {
    return this.#time.now() < (this.#ticketsBornAt.get(ticket) ?? -Infinity) + TICKET_LIFE_MS;
  }

  /** A code for the install page. */
  nextPreAuthCode(): { pre_auth_code: string; expires_in: number } {
    const code = tokenText(64);
    this.#preAuthCodes.set(code, this.#time.now() + PRE_AUTH_CODE_LIFE_MS);
    return { pre_auth_code: code, expires_in: PRE_AUTH_CODE_LIFE_MS / 1000 };
  }

  /** Throws a `Refusal`, 40077 or 42007, when that is no code for the install page. */
  requirePreAuthCode(code: string): void {
    const expiresAt = this.#preAuthCodes.get(code);
    if (expiresAt === undefined) throw new Refusal(40077, "invalid pre_auth_code");
    if (this.#time.now() >= expiresAt) throw new Refusal(42007, "pre_auth_code expired");
  }

  /** The corp, by its CorpID. Throws an `Error` when it can't install this suite. */
  corp(corpId: string): SuiteCorp {
    const corp = this.corps.get(corpId);
    if (!corp) throw new Error(`the sandbox has no corp ${corpId} for suite ${this.settings.suiteId}`);
    return corp;
  }

  /** The corp installs the suite, or agrees once more, which leaves its permanent code as it is. Returns the code. */
  authorize(corp: SuiteCorp, state?: string): string {
    if (corp.permanentCode === undefined) this.#setPermanentCode(corp, tokenText(43));
    return this.#nextAuthCode(corp, state);
  }

  /** The corp gets another permanent code, and the one before is dead; its tokens stay. Returns the code for it. */
  resetPermanentCode(corp: SuiteCorp): string {
    this.#setPermanentCode(corp, tokenText(43));
    return this.#nextAuthCode(corp);
  }

  /** The corp's permanent code, its tokens and the codes that were not redeemed die. */
  cancel(corp: SuiteCorp, tokens: IssuedTokens<WecomApp>): void {
    this.#setPermanentCode(corp, undefined);
    tokens.revoke(corp.app, false);
    for (const [code, authorization] of this.#authCodes) {
      if (authorization.corp === corp) this.#authCodes.delete(code);
    }
  }

  /**
   * What the code was given for; it works once.
   *
   * @throws {Refusal} 40078.
   */
  redeem(authCode: string): Authorization {
    this.#brought.set(authCode, this.timesBrought(authCode) + 1);
    const found = this.#authCodes.get(authCode);
    this.#authCodes.delete(authCode);
    if (!found || this.#time.now() >= found.expiresAt) throw new Refusal(40078, "invalid auth_code");
    return found;
  }

  /** How often a permanent code was asked for with a code. */
  timesBrought(authCode: string): number {
    return this.#brought.get(authCode) ?? 0;
  }

  /**
   * The corp that these two name.
   *
   * @throws {Refusal} 41002, 41025 or 40084.
   */
  requireCorp(corpId: string, permanentCode: string): SuiteCorp {
    if (corpId === "") throw new Refusal(41002, "corpid missing");
    if (permanentCode === "") throw new Refusal(41025, "permanent_code missing");
    const corp = this.corps.get(corpId);
    if (corp?.permanentCode !== permanentCode) throw new Refusal(40084, "invalid permanent_code");
    return corp;
  }

  #nextAuthCode(corp: SuiteCorp, state?: string): string {
    const code = tokenText(128);
    this.#authCodes.set(code, { corp, state, expiresAt: this.#time.now() + AUTH_CODE_LIFE_MS });
    return code;
  }

  #setPermanentCode(corp: SuiteCorp, next: string | undefined): void {
    const { app } = corp;
    if (this.isAgency && corp.permanentCode !== undefined) app.deadSecrets.add(corp.permanentCode);
    corp.permanentCode = next;
    if (this.isAgency) app.settings = { ...app.settings, secret: next ?? "" };
  }
}

/** The providers that qyapi.weixin.qq.com of the sandbox knows, and the tokens of them and of their suites. */
export class SuitePlatform {
  readonly wecom: WecomPlatform;
  readonly time: SandboxTime;
  readonly switches: SandboxSwitches;
  readonly providers: ReadonlyMap<string, Provider>;
  readonly suites: ReadonlyMap<string, Suite>;
  readonly tokens: IssuedTokens<Provider | Suite>;
  readonly #used = new Set<string>();

  constructor(providers: readonly SandboxProvider[], wecom: WecomPlatform, around: SuiteSurroundings) {
    this.wecom = wecom;
    this.time = around.time;
    this.switches = around.switches;
    this.tokens = new IssuedTokens(around.time);
    const known = providers.map((provider) => new Provider(provider, this.tokens, around.lifeMs));
    this.providers = new Map(known.map((provider) => [provider.settings.corpId, provider]));
    const parts = { ...around, tokens: this.tokens, wecom };
    const suites = known.flatMap((provider) =>
      provider.settings.suites.map((suite) => new Suite(suite, provider, parts)),
    );
    this.suites = new Map(suites.map((suite) => [suite.settings.suiteId, suite]));
  }

  /**
   * The suite's token, the same one while it lasts.
   *
   * @throws {Refusal} 41021, 41024, 41023, 40083, 40080, 60020 or 40085.
   */
  fetchSuiteToken(suiteId: string, secret: string, ticket: string, peerIp: string): IssuedToken<unknown> {
    if (suiteId === "") throw new Refusal(41021, "suite_id missing");
    if (secret === "") throw new Refusal(41024, "suite_secret missing");
    if (ticket === "") throw new Refusal(41023, "suite_ticket missing");
    const suite = this.suites.get(suiteId);
    if (!suite) throw new Refusal(40083, "invalid suite_id");
    if (suite.settings.secret !== secret) throw new Refusal(40080, "invalid suite_secret");
    requireListed(suite.provider, peerIp);
    if (!suite.acceptsTicket(ticket)) throw new Refusal(40085, "invalid suite_ticket");
    return suite.sequence.currentOrNext(this.time.now());
  }

  /**
   * The provider's token, the same one while it lasts.
   *
   * @throws {Refusal} 41002, 41004, 40013, 40091 or 60020.
   */
  fetchProviderToken(corpId: string, secret: string, peerIp: string): IssuedToken<unknown> {
    if (corpId === "") throw new Refusal(41002, "corpid missing");
    if (secret === "") throw new Refusal(41004, "provider_secret missing");
    const provider = this.providers.get(corpId);
    if (!provider) throw new Refusal(40013, "invalid corpid");
    if (provider.settings.secret !== secret) throw new Refusal(40091, "invalid provider_secret");
    requireListed(provider, peerIp);
    return provider.sequence.currentOrNext(this.time.now());
  }

  /**
   * The suite whose valid token came with a call.
   *
   * @throws {Refusal} 41022, 42009, 40082 or 60020.
   */
  requireSuite(value: string, peerIp: string): Suite {
    const owner = this.#requireOwner(value);
    if (!(owner instanceof Suite)) throw invalidToken();
    requireListed(owner.provider, peerIp);
    const isFresh = !this.#used.has(value);
    this.#used.add(value);
    if (isFresh && this.switches.suiteTokenFlake) throw invalidToken();
    return owner;
  }

  /**
   * The provider whose valid token came with a call.
   *
   * @throws {Refusal} 41022, 42009, 40082 or 60020.
   */
  requireProvider(value: string, peerIp: string): Provider {
    const owner = this.#requireOwner(value);
    if (!(owner instanceof Provider)) throw invalidToken();
    requireListed(owner, peerIp);
    return owner;
  }

  #requireOwner(value: string): Provider | Suite | undefined {
    const verdict = this.tokens.verdict(value);
    if (verdict === "missing") throw new Refusal(41022, "suite_access_token missing");
    if (verdict === "expired") throw new Refusal(42009, "suite_access_token expired");
    if (verdict !== "valid") throw invalidToken();
    return this.tokens.find(value)?.owner;
  }
}

/** The spelling with three c is WeCom's. */
function invalidToken(): Refusal {
  return new Refusal(40082, "invalid suite_acccess_token or provider_access_token");
}

function requireListed({ settings: { trustedIps } }: Provider, peerIp: string): void {
  if (trustedIps && !isListed(peerIp, trustedIps))
    throw new Refusal(60020, "not allow to access from your ip");
}

import { countedTokenText, type IssuedToken, TokenSequence, tokenText } from "./issued-tokens.ts";
import { Refusal } from "./sandbox-request.ts";
import type {
  SandboxAuthorizer,
  SandboxComponent,
  SandboxSwitches,
  SandboxWeixinApp,
} from "./sandbox-settings.ts";
import type { WeixinApp, WeixinPlatform } from "./weixin-platform.ts";

const TICKET_LIFE_MS = 12 * 3_600_000;
const CODE_LIFE_MS = 3_600_000;
const TOKEN_LENGTH = 136;

/** What every component of the sandbox shares. */
export interface ComponentSurroundings {
  readonly weixin: WeixinPlatform;
  readonly switches: SandboxSwitches;
  readonly lifeMs: number;
  readonly handoverMs: number;
}

/** An authorization code as it is handed out. `expiresAt` is in epoch milliseconds. */
export interface AuthorizationCode {
  readonly code: string;
  readonly expiresAt: number;
}

/** The apps of WeChat with those that `components` add: themselves, and the accounts that may authorize them. */
export function withAccounts(
  apps: readonly SandboxWeixinApp[],
  components: readonly SandboxComponent[],
): SandboxWeixinApp[] {
  const authorizers = components.flatMap(({ authorizers: some = [] }) => some);
  return [
    ...authorizers.map(({ appId }) => ({ appId, secret: tokenText(32) })),
    ...apps,
    ...components.map(({ appId, secret, ipList }) => ({ appId, secret, ipList, component: true })),
  ];
}

/**
 * A third-party platform of WeChat: its tickets, its tokens, its codes and the accounts that authorized it.
 *
 * Its secret, its allow-list and its quotas are those of `account`, an app of the same platform.
 */
export class Component {
  settings: SandboxComponent;
  readonly account: WeixinApp;
  /** Every account that may authorize it, by appid, whether or not it has. */
  readonly authorizers: ReadonlyMap<string, Authorization>;
  readonly #around: ComponentSurroundings;
  readonly #tokens: TokenSequence<WeixinApp>;
  /** When each ticket was created, in epoch milliseconds. */
  readonly #tickets = new Map<string, number>();
  /** When each unused code expires. */
  readonly #preAuthCodes = new Map<string, number>();
  readonly #codes = new Map<string, { of: Authorization; expiresAt: number; isUsed: boolean }>();
  /** How often each code was brought, whatever came of it. */
  readonly #brought = new Map<string, number>();

  constructor(settings: SandboxComponent, around: ComponentSurroundings) {
    this.settings = { ...settings };
    this.#around = around;
    this.account = around.weixin.app(settings.appId);
    this.#tokens = sequenceOf(this.account, around, () => around.switches.componentOverlapMs);
    this.authorizers = new Map(
      (settings.authorizers ?? []).map((each) => [each.appId, new Authorization(each, around)]),
    );
  }

  /** A ticket from now on; an earlier `createdAt` (Unix time in seconds) makes it older. A known one keeps its age. */
  addTicket(value = `ticket@@@${tokenText(86)}`, createdAt?: number): string {
    const at = createdAt === undefined ? this.#now() : createdAt * 1000;
    this.#tickets.set(value, this.#tickets.get(value) ?? at);
    return value;
  }

  /** The ticket that was added last. */
  latestTicket(): string | undefined {
    return [...this.#tickets.keys()].at(-1);
  }

  /**
   * A new component token; its predecessor stays valid for the overlap.
   *
   * @throws {Refusal} 61006, 61005 or 45009.
   */
  issueToken(ticket: string, path: string): IssuedToken<WeixinApp> {
    const createdAt = this.#tickets.get(ticket);
    if (createdAt === undefined) throw new Refusal(61006, "component ticket is invalid");
    if (this.#now() - createdAt > TICKET_LIFE_MS) throw new Refusal(61005, "component ticket is expired");
    this.account.spend(path, this.#around.switches.componentTokensPerDay);
    return this.#tokens.rotate(this.#now());
  }

  /** A code for one visit of the consent page. */
  createPreAuthCode(): { value: string; expiresIn: number } {
    const { preAuthCodeSeconds: expiresIn } = this.#around.switches;
    const value = `preauthcode@@@${tokenText(106)}`;
    this.#preAuthCodes.set(value, this.#now() + expiresIn * 1000);
    return { value, expiresIn };
  }

  /** Whether the code is one of this component, unused and not expired. */
  acceptsPreAuthCode(code: string): boolean {
    return this.#now() < (this.#preAuthCodes.get(code) ?? 0);
  }

  /**
   * What an account's administrator does on the consent page: authorizes it, or changes the permission sets of an
   * authorization that there is, whose refresh token then stays.
   *
   * @throws {Error} when the component has no such authorizer, or the code is not valid.
   */
  authorize(appId: string, preAuthCode: string, funcIds?: readonly number[]): AuthorizationCode {
    const authorization = this.authorizer(appId);
    if (!this.acceptsPreAuthCode(preAuthCode))
      throw new Error("the pre_auth_code is unknown, used or expired");
    this.#preAuthCodes.delete(preAuthCode);
    authorization.grant(funcIds);
    const code = `queryauthcode@@@${tokenText(86)}`;
    const expiresAt = this.#now() + CODE_LIFE_MS;
    this.#codes.set(code, { of: authorization, expiresAt, isUsed: false });
    return { code, expiresAt };
  }

  /** Ends an authorization: its tokens, its refresh tokens and its codes are worth nothing any more. */
  unauthorize(appId: string): void {
    const authorization = this.authorizer(appId);
    authorization.revoke();
    for (const [code, { of }] of this.#codes) if (of === authorization) this.#codes.delete(code);
  }

  /**
   * The authorization that a code stands for, once.
   *
   * @throws {Refusal} 61009 or 61010.
   */
  redeem(code: string): Authorization {
    this.#brought.set(code, this.timesBrought(code) + 1);
    const found = this.#codes.get(code);
    if (!found || found.isUsed) throw new Refusal(61009, `code is invalid hint: [${tokenText(8)}]`);
    if (this.#now() > found.expiresAt) throw new Refusal(61010, "code is expired");
    found.isUsed = true;
    return found.of;
  }

  /** How often `api_query_auth` was called with a code. */
  timesBrought(code: string): number {
    return this.#brought.get(code) ?? 0;
  }

  /**
   * The account that authorized this component.
   *
   * @throws {Refusal} 61003 when it has not, or no longer does.
   */
  authorization(appId: string): Authorization {
    const found = this.authorizers.get(appId);
    if (!found?.isAuthorized) throw new Refusal(61003, "component is not authorized by this account");
    return found;
  }

  /** The account that may authorize this component. Throws when there is none with that appid. */
  authorizer(appId: string): Authorization {
    const found = this.authorizers.get(appId);
    if (!found) throw new Error(`the component ${this.settings.appId} has no authorizer ${appId}`);
    return found;
  }

  #now(): number {
    return this.#around.weixin.time.now();
  }
}

/** What one account allows one component, and the tokens that come of it. */
export class Authorization {
  readonly authorizer: SandboxAuthorizer;
  readonly account: WeixinApp;
  isAuthorized = false;
  /** Unix time in seconds. */
  authorizedAt = 0;
  funcIds: readonly number[];
  /** What `set_authorizer_option` set. */
  readonly options = new Map([
    ["location_report", "0"],
    ["voice_recognize", "0"],
    ["customer_service", "0"],
  ]);
  /** Every refresh token that was issued, the oldest first. */
  readonly refreshTokens: string[] = [];
  readonly #around: ComponentSurroundings;
  readonly #tokens: TokenSequence<WeixinApp>;
  #refreshToken: string | undefined;
  /** Until when each refresh token is valid that was replaced. */
  readonly #replaced = new Map<string, number>();

  constructor(authorizer: SandboxAuthorizer, around: ComponentSurroundings) {
    this.authorizer = authorizer;
    this.funcIds = authorizer.funcIds ?? [1, 2, 3];
    this.account = around.weixin.app(authorizer.appId);
    this.#around = around;
    this.#tokens = sequenceOf(this.account, around, () => around.switches.authorizerOverlapMs);
  }

  /** The refresh token; none before the first `api_query_auth`. */
  get refreshToken(): string | undefined {
    return this.#refreshToken;
  }

  /** Whether the account may be called at all. */
  get hasApi(): boolean {
    return this.authorizer.hasApi ?? true;
  }

  /** Authorizes, or authorizes something else. */
  grant(funcIds = this.funcIds): void {
    if (!this.isAuthorized) this.authorizedAt = this.#around.weixin.time.seconds();
    this.isAuthorized = true;
    this.funcIds = funcIds;
  }

  /** Ends it: every token dies at once. */
  revoke(): void {
    this.isAuthorized = false;
    this.#refreshToken = undefined;
    this.#replaced.clear();
    this.#tokens.revoke(this.#around.weixin.time.now());
  }

  /** What `api_query_auth` brings, and from then on the list: the refresh token, made when there is none. */
  query(): { token: IssuedToken<WeixinApp>; refreshToken: string } | undefined {
    if (!this.hasApi) return undefined;
    this.#refreshToken ??= this.#nextRefreshToken();
    return { token: this.#issue(), refreshToken: this.#refreshToken };
  }

  /**
   * The next access token for a refresh token, and the refresh token to use from then on.
   *
   * @throws {Refusal} 61023.
   */
  refresh(refreshToken: string): { token: IssuedToken<WeixinApp>; refreshToken: string } {
    const isOverlapping = this.#around.weixin.time.now() < (this.#replaced.get(refreshToken) ?? 0);
    if (this.#refreshToken === undefined || (refreshToken !== this.#refreshToken && !isOverlapping))
      throw new Refusal(61023, "refresh_token is invalid");
    if (this.#around.switches.refreshTokens === "rotate") this.renewRefreshToken();
    return { token: this.#issue(), refreshToken: this.#refreshToken };
  }

  /** Replaces the refresh token; the one before stays valid for the overlap. */
  renewRefreshToken(): void {
    if (this.#refreshToken === undefined) return;
    const until = this.#around.weixin.time.now() + this.#around.switches.refreshOverlapMs;
    this.#replaced.set(this.#refreshToken, until);
    this.#refreshToken = this.#nextRefreshToken();
  }

  #nextRefreshToken(): string {
    const next = `refreshtoken@@@${tokenText(43)}`;
    this.refreshTokens.push(next);
    return next;
  }

  #issue(): IssuedToken<WeixinApp> {
    return this.#tokens.rotate(this.#around.weixin.time.now());
  }
}

/** The tokens of `owner` that come from a component; `overlapMs` is asked each time, because people change it. */
function sequenceOf(
  owner: WeixinApp,
  { weixin, lifeMs, handoverMs }: ComponentSurroundings,
  overlapMs: () => number | undefined,
): TokenSequence<WeixinApp> {
  return new TokenSequence(weixin.tokens, {
    owner,
    nextText: () => countedTokenText(84, TOKEN_LENGTH),
    lifeMs,
    get handoverMs() {
      return overlapMs() ?? handoverMs;
    },
  });
}

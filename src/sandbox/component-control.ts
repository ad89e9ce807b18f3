import type { Clock } from "../clock.ts";
import { type AuthorizationCode, Component, type ComponentSurroundings } from "./component.ts";
import { type PushAttempt, type PushedMessage, type PushEndpoint, PushSender } from "./push-sender.ts";
import type { SandboxComponent } from "./sandbox-settings.ts";

const TEN_MINUTES_MS = 600_000;
/** How often it looks, in real time, whether a ticket is due. */
const LOOK_MS = 50;
/** More than a test looks at. */
const KEPT = 1000;

/** In which order an authorization is told by push and by the browser's return, and which of them gets lost. */
export type AuthorizationOrder = "push-first" | "redirect-first" | "push-only" | "redirect-only" | "neither";

/** How a push to the authorization event URL ended. */
export interface PushOutcome extends Omit<PushAttempt, "detail"> {
  /** What was answered. */
  readonly body?: string | undefined;
  /** Whether that was `success` and nothing else, with status 200, within five seconds. */
  readonly accepted: boolean;
}

/** An account's consent, as it was told. */
export interface Authorized {
  readonly code: string;
  /** Seconds. */
  readonly expiresIn: number;
  /** Where the browser goes back to. */
  readonly redirect?: string;
  /** How its push ended, if it has been sent. */
  readonly push?: PushOutcome;
  /** Sends the `authorized` push: the first in the order `redirect-first`, or once more. */
  readonly sendPush: () => Promise<PushOutcome>;
}

/** One attempt to push something, in the order in which they were made. */
export interface ComponentPush {
  /** `message` to the message URL; everything else goes to the event URL. */
  readonly infoType: string;
  readonly accepted: boolean;
  readonly status: number | undefined;
}

/** What WeChat, and the people who use it, do to a component. */
export class ComponentControl {
  readonly component: Component;
  /** How an approval on the consent page is told. */
  consentOrder: AuthorizationOrder = "push-first";
  /** The latest attempts to push something. */
  readonly pushes: ComponentPush[] = [];
  readonly #around: ComponentSurroundings;
  readonly #sender: PushSender;
  #timer: Timer | undefined;
  #everyMs = TEN_MINUTES_MS;
  #nextAt: number;
  #failures = 0;

  constructor(settings: SandboxComponent, around: ComponentSurroundings & { readonly clock: Clock }) {
    this.component = new Component(settings, around);
    this.#around = around;
    this.#sender = new PushSender(around.clock);
    this.#nextAt = around.weixin.time.now() + this.#everyMs;
  }

  /** Where pushes go from now on; `$APPID$` in the message URL becomes the authorizer's appid. Throws at what is no URL. */
  setUrls(urls: { eventUrl?: string; messageUrl?: string }): void {
    const wrong = Object.values(urls).find((url) => !URL.canParse(url));
    if (wrong !== undefined) throw new Error(`not a URL: ${wrong}`);
    this.component.settings = { ...this.component.settings, ...urls };
  }

  /** Changes the secret, as an operator does in the console. */
  changeSecret(secret: string): void {
    const { account } = this.component;
    account.settings = { ...account.settings, secret };
  }

  /**
   * Pushes a ticket once: a new one, `value`, or with `repeat` the last one again. It is valid whether or not the push
   * arrives. An earlier `createTime` (Unix time in seconds) makes it as old as that.
   */
  async pushTicket(
    options: { value?: string; createTime?: number; repeat?: boolean } = {},
  ): Promise<PushOutcome> {
    const { repeat = false, createTime } = options;
    const value = options.value ?? (repeat ? this.component.latestTicket() : undefined);
    const ComponentVerifyTicket = this.component.addTicket(value, createTime);
    const CreateTime = createTime ?? this.#seconds();
    const outcome = await this.#event(
      "component_verify_ticket",
      { CreateTime, ComponentVerifyTicket },
      { attempts: 1 },
    );
    this.#failures = outcome.accepted ? 0 : this.#failures + 1;
    if (this.#failures >= this.#around.switches.stopAfterFailures) this.stopPushing();
    return outcome;
  }

  /** Pushes a ticket now and then every `everyMs` milliseconds, on the sandbox's clock. */
  startPushing(everyMs = TEN_MINUTES_MS): void {
    this.stopPushing();
    this.#everyMs = everyMs;
    this.#nextAt = this.#now();
    this.#start();
    this.#pushIfDue();
  }

  /** Turns the push service off, until `startPushing` or `api_start_push_ticket`. */
  stopPushing(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Whether tickets are pushed in their rhythm. */
  get isPushing(): boolean {
    return this.#timer !== undefined;
  }

  /** What `api_start_push_ticket` does: the next push keeps the rhythm. Returns whether the service was off. */
  resumePushing(): boolean {
    if (this.isPushing) return false;
    this.#keepRhythm();
    this.#start();
    return true;
  }

  /** Lets an account's administrator consent. Throws when there is no such account, or the code is not valid. */
  async authorize(
    authorizerAppId: string,
    options: {
      funcIds?: readonly number[] | undefined;
      send?: AuthorizationOrder;
      redirectUri?: string | undefined;
      preAuthCode?: string;
    } = {},
  ): Promise<Authorized> {
    const { send = "push-first", redirectUri, funcIds } = options;
    const preAuthCode = options.preAuthCode ?? this.component.createPreAuthCode().value;
    const issued = this.component.authorize(authorizerAppId, preAuthCode, funcIds);
    const message = this.#authorizationFields(authorizerAppId, issued, preAuthCode);
    const sendPush = () => this.#event("authorized", message);
    const expiresIn = Math.floor((issued.expiresAt - this.#now()) / 1000);
    const isRedirected = redirectUri !== undefined && send !== "push-only" && send !== "neither";
    return {
      code: issued.code,
      expiresIn,
      ...(isRedirected && { redirect: withAuthCode(redirectUri, issued.code, expiresIn) }),
      ...(send.startsWith("push") && { push: await sendPush() }),
      sendPush,
    };
  }

  /** Changes the permission sets of an authorization, and its refresh token with `newRefreshToken`; pushes `updateauthorized`. */
  async updateAuthorization(
    authorizerAppId: string,
    options: { funcIds?: readonly number[]; newRefreshToken?: boolean; push?: boolean } = {},
  ): Promise<{ code: string; push?: PushOutcome }> {
    this.component.authorization(authorizerAppId);
    const preAuthCode = this.component.createPreAuthCode().value;
    const issued = this.component.authorize(authorizerAppId, preAuthCode, options.funcIds);
    if (options.newRefreshToken) this.component.authorizer(authorizerAppId).renewRefreshToken();
    const { code } = issued;
    if (options.push === false) return { code };
    const message = this.#authorizationFields(authorizerAppId, issued, preAuthCode);
    return { code, push: await this.#event("updateauthorized", message) };
  }

  /** Ends an authorization at once; the push may say another `createTime` (Unix time in seconds), or be lost. */
  async unauthorize(
    authorizerAppId: string,
    { createTime = this.#seconds(), push = true }: { createTime?: number; push?: boolean } = {},
  ): Promise<PushOutcome | undefined> {
    this.component.unauthorize(authorizerAppId);
    const message = { CreateTime: createTime, AuthorizerAppid: authorizerAppId };
    return push ? this.#event("unauthorized", message) : undefined;
  }

  /** Pushes any other event, and changes nothing; `fields` may say another CreateTime. */
  pushEvent(infoType: string, fields: PushedMessage = {}): Promise<PushOutcome> {
    return this.#event(infoType, fields);
  }

  /** Pushes a user's message to an account, until an attempt is accepted; every attempt in its order. */
  async pushMessage(authorizerAppId: string, fields: PushedMessage = {}): Promise<PushAttempt[]> {
    const { userName } = this.component.authorizer(authorizerAppId).authorizer;
    const message: PushedMessage = {
      ToUserName: userName,
      FromUserName: "oSANDBOX0000000000000000user",
      CreateTime: this.#seconds(),
      MsgType: "text",
      ...(fields["MsgType"] === undefined && { Content: "你好" }),
      MsgId: 6_972_028_683_187_000_000n + BigInt(this.component.account.nextMessageId()),
      ...fields,
    };
    const url = this.component.settings.messageUrl?.replaceAll("$APPID$", authorizerAppId);
    const attempts = await this.#send(url, message);
    for (const { verdict, status } of attempts)
      this.#count({ infoType: "message", accepted: verdict === "accepted" || verdict === "reply", status });
    return attempts;
  }

  /** The refresh token of an authorization, if there is one by now. */
  refreshTokenOf(authorizerAppId: string): string | undefined {
    return this.component.authorizer(authorizerAppId).refreshToken;
  }

  /** How many attempts there were to push something, or one kind of it, among the latest. */
  pushAttempts(infoType?: string): number {
    return this.pushes.filter((push) => (infoType ?? push.infoType) === push.infoType).length;
  }

  #authorizationFields(
    appId: string,
    { code, expiresAt }: AuthorizationCode,
    preAuthCode: string,
  ): PushedMessage {
    return {
      CreateTime: this.#seconds(),
      AuthorizerAppid: appId,
      AuthorizationCode: code,
      AuthorizationCodeExpiredTime: Math.floor(expiresAt / 1000),
      PreAuthCode: preAuthCode,
    };
  }

  async #event(
    infoType: string,
    { CreateTime = this.#seconds(), ...fields }: PushedMessage,
    options: { attempts?: number } = {},
  ): Promise<PushOutcome> {
    const { appId, eventUrl } = this.component.settings;
    const message = { AppId: appId, CreateTime, InfoType: infoType, ...fields };
    const attempts = await this.#send(eventUrl, message, { ...options, onlySuccess: true });
    const outcomes = attempts.map(({ detail: body, ...attempt }) => ({
      ...attempt,
      body,
      accepted: attempt.verdict === "accepted",
    }));
    for (const { accepted, status } of outcomes) this.#count({ infoType, accepted, status });
    return outcomes.at(-1) ?? { durationMs: 0, verdict: "unreachable", accepted: false };
  }

  /** Sends one push; none while there is no URL. */
  async #send(
    url: string | undefined,
    message: PushedMessage,
    { onlySuccess = false, ...options }: { attempts?: number; onlySuccess?: boolean } = {},
  ): Promise<PushAttempt[]> {
    if (url === undefined) return [];
    const { appId, token, aesKey } = this.component.settings;
    const endpoint: PushEndpoint = {
      platform: "weixin",
      url,
      token,
      encodingAesKey: aesKey,
      mode: "secure",
      format: "xml",
      receiveId: appId,
      onlySuccess,
    };
    return this.#sender.push(endpoint, message, options);
  }

  #count(push: ComponentPush): void {
    this.pushes.push(push);
    if (this.pushes.length > KEPT) this.pushes.shift();
  }

  #start(): void {
    this.#failures = 0;
    this.#timer = setInterval(() => this.#pushIfDue(), Math.min(LOOK_MS, this.#everyMs));
  }

  #pushIfDue(): void {
    if (this.#now() < this.#nextAt) return;
    this.#keepRhythm();
    void this.pushTicket();
  }

  /** The next push is one of the rhythm that is still to come: what was missed is not made up for. */
  #keepRhythm(): void {
    const late = this.#now() - this.#nextAt;
    if (late >= 0) this.#nextAt += (Math.floor(late / this.#everyMs) + 1) * this.#everyMs;
  }

  #now(): number {
    return this.#around.weixin.time.now();
  }

  #seconds(): number {
    return this.#around.weixin.time.seconds();
  }
}

/** `redirectUri`, its own query unchanged, with the code at the end. */
function withAuthCode(redirectUri: string, code: string, expiresIn: number): string {
  const url = new URL(redirectUri);
  const own = url.search === "" ? "" : `${url.search}&`;
  url.search = `${own}${new URLSearchParams({ auth_code: code, expires_in: String(expiresIn) }).toString()}`;
  return url.href;
}

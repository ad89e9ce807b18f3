import {
  type PushAttempt,
  type PushedMessage,
  type PushEndpoint,
  type PushOptions,
  type PushSender,
} from "./push-sender.ts";
import { redirectTo } from "./login-pages.ts";
import type { SandboxSuite } from "./sandbox-settings.ts";
import { AUTH_CODE_LIFE_MS, type Suite, type SuiteCorp, type SuitePlatform } from "./suite-platform.ts";

/** What became of a push, or of a check of a URL. */
export interface PushOutcome {
  /** Whether it was taken as it has to be: on the command URL by `success` and nothing else, in time. */
  readonly accepted: boolean;
  /** In their order; none when there is no URL. */
  readonly attempts: readonly PushAttempt[];
}

/** A push that was sent. */
export interface SentPush extends PushOutcome {
  /** The InfoType; `data` for one to the data URL, `check` for the GET. */
  readonly event: string;
}

/** How an installation reaches the provider, and what comes with it. */
export interface InstallOptions {
  /**
   * Default: `push` for a template (`dk…`) and from the app market; `redirect` with a `redirectUri`, as from the
   * provider's own site, which brings no push.
   */
  send?: "push" | "redirect" | "both" | "neither";
  state?: string;
  redirectUri?: string;
}

/** An installation: its code, where the browser goes, what became of `create_auth`. */
export interface Installed {
  readonly authCode: string;
  readonly redirect?: string;
  readonly push?: PushOutcome;
}

const TICKET_EVERY_MS = 600_000;
/** How often a pusher looks at the sandbox's time, in real milliseconds. */
const LOOK_MS = 50;

/** What happens around one suite at WeCom's side: its console, its tickets, the corps that install it. */
export class SuiteControl {
  /** Every push and check so far, the oldest first. */
  readonly pushes: SentPush[] = [];
  readonly #suite: Suite;
  readonly #platform: SuitePlatform;
  readonly #sender: PushSender;
  #pusher: Timer | undefined;

  constructor(suite: Suite, platform: SuitePlatform, sender: PushSender) {
    this.#suite = suite;
    this.#platform = platform;
    this.#sender = sender;
  }

  /** The suite for people to read: where it is installed, how many tokens it has, what was sent last. */
  state(): object {
    const { settings, corps } = this.#suite;
    const installed = [...corps.values()].filter(({ permanentCode }) => permanentCode !== undefined);
    return {
      suite_id: settings.suiteId,
      installed_in: installed.map((corp) => corp.settings.corpId),
      live_tokens: this.#platform.tokens.valid(this.#suite).length,
      push_attempts: this.pushAttempts(),
      last_push: this.pushes.at(-1),
    };
  }

  /** How often anything was sent to a URL, or the `event` named alone. */
  pushAttempts(event?: string): number {
    const sent = this.pushes.filter((push) => push.event === (event ?? push.event));
    return sent.reduce((sum, { attempts }) => sum + attempts.length, 0);
  }

  /** Sets the callback URLs; what is left out stays. Throws at what is no URL. */
  setUrls(urls: Partial<Pick<SandboxSuite, "commandUrl" | "dataUrl">>): void {
    const wrong = Object.values(urls).find((url) => url !== undefined && !URL.canParse(url));
    if (wrong !== undefined) throw new Error(`not a URL: ${wrong}`);
    Object.assign(this.#suite.settings, urls);
  }

  /** Changes Token and EncodingAESKey, as an operator does in the console. */
  changeKey(key: Pick<SandboxSuite, "token" | "aesKey">): void {
    Object.assign(this.#suite.settings, key);
  }

  /** Asks one of the URLs whether it is the provider's, as the console does when it is saved. */
  async check(which: "command" | "data"): Promise<PushOutcome> {
    const { corpId } = this.#suite.provider.settings;
    const endpoint = this.#endpoint(which, corpId, corpId);
    const attempts = endpoint ? [await this.#sender.check(endpoint)] : [];
    return this.#note("check", attempts);
  }

  /** Pushes a new ticket, which lives half an hour whatever the answer. */
  async pushTicket(options?: PushOptions): Promise<PushOutcome & { ticket: string }> {
    const ticket = this.#suite.nextTicket();
    return { ...(await this.pushEvent("suite_ticket", { SuiteTicket: ticket }, options)), ticket };
  }

  /** Pushes a ticket now and then every `everyMs` milliseconds of the sandbox's time, by default ten minutes. */
  startPushing(everyMs = TICKET_EVERY_MS): void {
    this.stopPushing();
    let next = this.#platform.time.now();
    const look = () => {
      if (this.#platform.time.now() < next) return;
      next = this.#platform.time.now() + everyMs;
      void this.pushTicket();
    };
    look();
    this.#pusher = setInterval(look, LOOK_MS);
  }

  /** Pushes no more tickets by itself. */
  stopPushing(): void {
    clearInterval(this.#pusher);
  }

  /** A corp installs the suite, or agrees once more. Throws when the sandbox has no such corp. */
  async install(corpId: string, options: InstallOptions = {}): Promise<Installed> {
    const { state, redirectUri } = options;
    const isFromSite = !this.#suite.isAgency && redirectUri !== undefined;
    const { send = isFromSite ? "redirect" : "push" } = options;
    const authCode = this.#suite.authorize(this.#suite.corp(corpId), state);
    const isPushed = send === "push" || send === "both";
    const push = isPushed ? await this.#createAuth(authCode, state) : undefined;
    const redirect =
      redirectUri !== undefined && (send === "redirect" || send === "both")
        ? redirectTo(redirectUri, {
            auth_code: authCode,
            expires_in: String(AUTH_CODE_LIFE_MS / 1000),
            state: state ?? "",
          })
        : undefined;
    return { authCode, ...(push && { push }), ...(redirect !== undefined && { redirect }) };
  }

  /** A corp changes what the suite may see: `change_auth`. */
  changeAuth(corpId: string): Promise<PushOutcome> {
    this.#installed(corpId);
    return this.pushEvent("change_auth", { AuthCorpId: corpId });
  }

  /** A corp removes the suite: its permanent code and its tokens are dead. `isLost` sends no event. */
  async cancelAuth(corpId: string, { isLost = false } = {}): Promise<PushOutcome> {
    this.#suite.cancel(this.#installed(corpId), this.#platform.wecom.tokens);
    return isLost ? { accepted: false, attempts: [] } : this.pushEvent("cancel_auth", { AuthCorpId: corpId });
  }

  /**
   * The provider asks for an agency app's secret again: the one before is dead at once, the event does not say whose it
   * is, and the code brings the new one.
   */
  async resetPermanentCode(corpId: string): Promise<{ authCode: string; push: PushOutcome }> {
    if (!this.#suite.isAgency) throw new Error("only an agency app's permanent code can be reset");
    const authCode = this.#suite.resetPermanentCode(this.#installed(corpId));
    return { authCode, push: await this.pushEvent("reset_permanent_code", { AuthCode: authCode }) };
  }

  /**
   * Pushes any event to the command URL; `fields` may replace its SuiteId and its TimeStamp. `named`: whom it names
   * instead of the suite.
   */
  async pushEvent(
    infoType: string,
    fields: PushedMessage = {},
    { named = {}, ...options }: PushOptions & { named?: Partial<PushEndpoint> } = {},
  ): Promise<PushOutcome> {
    const { suiteId } = this.#suite.settings;
    const endpoint = this.#endpoint("command", suiteId, this.#suite.provider.settings.corpId);
    if (!endpoint) return this.#note(infoType, []);
    const event = { SuiteId: suiteId, InfoType: infoType, TimeStamp: this.#platform.time.seconds() };
    const timeoutMs = this.#platform.switches.commandTimeoutMs;
    const how = { timeoutMs, needsSuccess: true, ...options };
    return this.#note(
      infoType,
      await this.#sender.push({ ...endpoint, ...named }, { ...event, ...fields }, how),
    );
  }

  /** Pushes a message or event of a corp to the data URL; `hasNoReceiveId` as for individual developers. */
  async pushData(
    corpId: string,
    fields: PushedMessage,
    { hasNoReceiveId = false, ...options }: PushOptions & { hasNoReceiveId?: boolean } = {},
  ): Promise<PushOutcome> {
    const { agentId } = this.#suite.corp(corpId).settings;
    const message = {
      ToUserName: corpId,
      CreateTime: this.#platform.time.seconds(),
      AgentID: agentId,
      ...fields,
    };
    const endpoint = this.#endpoint("data", hasNoReceiveId ? "" : corpId, corpId);
    return this.#note("data", endpoint ? await this.#sender.push(endpoint, message, options) : []);
  }

  /** The permanent code of a corp while the suite is installed there. */
  permanentCodeOf(corpId: string): string | undefined {
    return this.#suite.corp(corpId).permanentCode;
  }

  /** How often a permanent code was asked for with the code of an installation. */
  timesBrought(authCode: string): number {
    return this.#suite.timesBrought(authCode);
  }

  #createAuth(authCode: string, state: string | undefined): Promise<PushOutcome> {
    const { corpId } = this.#suite.provider.settings;
    const { createAuthNames: names } = this.#platform.switches;
    const named = {
      ...(names !== "suite" && { toUserName: corpId }),
      ...(names === "provider" && { receiveId: corpId }),
    };
    const fields = { AuthCode: authCode, ...(state !== undefined && { State: state }) };
    return this.pushEvent("create_auth", fields, { named });
  }

  #note(event: string, attempts: readonly PushAttempt[]): PushOutcome {
    const accepted = attempts.some(({ verdict }) => verdict === "accepted" || verdict === "reply");
    this.pushes.push({ event, accepted, attempts });
    return { accepted, attempts };
  }

  #endpoint(which: "command" | "data", receiveId: string, corpId: string): PushEndpoint | undefined {
    const { token, aesKey, commandUrl, dataUrl } = this.#suite.settings;
    const url = which === "command" ? commandUrl : dataUrl?.replaceAll("$CORPID$", corpId);
    if (url === undefined) return undefined;
    return {
      ...{ platform: "wecom", mode: "secure", format: "xml" },
      ...{ url, token, encodingAesKey: aesKey, receiveId },
    };
  }

  #installed(corpId: string): SuiteCorp {
    const corp = this.#suite.corp(corpId);
    if (corp.permanentCode === undefined) throw new Error(`the suite is not installed in ${corpId}`);
    return corp;
  }
}

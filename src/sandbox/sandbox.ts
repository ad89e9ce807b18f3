import { type Clock, systemClock } from "../clock.ts";
import { Bots } from "./bots.ts";
import { consentPage } from "./component-pages.ts";
import { ComponentControl } from "./component-control.ts";
import { withAccounts } from "./component.ts";
import { answerComponent } from "./component-endpoints.ts";
import { CallLedger } from "./call-ledger.ts";
import { answerControl, sandboxState } from "./control.ts";
import { applyFault, type Delivery, type Fault, FaultQueue, type FaultStage } from "./fault.ts";
import { HttpServer } from "./http-server.ts";
import { isLoginPage, loginPage } from "./login-pages.ts";
import { PushSender } from "./push-sender.ts";
import type { Answer, SandboxHost, SandboxRequest } from "./sandbox-request.ts";
import {
  defaultSwitches,
  type SandboxComponent,
  type SandboxProvider,
  type SandboxSwitches,
  type SandboxWecomApp,
  type SandboxWeixinApp,
} from "./sandbox-settings.ts";
import { SandboxTime } from "./sandbox-time.ts";
import { SuiteControl } from "./suite-control.ts";
import { answerAsProvider } from "./suite-endpoints.ts";
import { installPage } from "./suite-pages.ts";
import { SuitePlatform } from "./suite-platform.ts";
import { answerAsWecom, wecomError } from "./wecom-endpoints.ts";
import { type WecomApp, WecomPlatform } from "./wecom-platform.ts";
import { type WeixinApp, WeixinPlatform } from "./weixin-platform.ts";
import { answerAsWeixin, weixinError } from "./weixin-endpoints.ts";

/** Two hours and the five minutes of hand-over are in this ratio; shorter lifetimes keep it. */
const LIFE_PER_HANDOVER = 24;
const MAX_HANDOVER_MS = 300_000;

/** What a sandbox consists of when it starts. */
export interface SandboxOptions {
  /** Default: the machine's clock. Only its monotonic side moves the sandbox on; see `SandboxTime`. */
  clock?: Clock;
  /** Default 0: any free port. */
  weixinPort?: number;
  /** Default 0: any free port. */
  wecomPort?: number;
  weixinApps: SandboxWeixinApp[];
  wecomApps: SandboxWecomApp[];
  /** Third-party platforms of WeChat; default none. They and their authorizers become apps of WeChat as well. */
  components?: SandboxComponent[];
  /** Companies that develop for others on WeCom; default none. */
  providers?: SandboxProvider[];
  /** How long tokens and tickets are valid, default 7200. The five minutes of hand-over shrink with it, to 1/24 of it. */
  tokenLifeSeconds?: number;
  switches?: Partial<SandboxSwitches>;
}

/**
 * A stand-in for WeChat and WeCom: two HTTP servers on loopback that behave as the real ones are known to, with everything
 * in memory.
 */
export class Sandbox {
  /** The base URL in place of `https://api.weixin.qq.com`, without a slash at the end. */
  readonly weixinUrl: string;
  /** The base URL in place of `https://qyapi.weixin.qq.com`, without a slash at the end. */
  readonly wecomUrl: string;
  /** What can be set at any time; see `SandboxSwitches`. */
  readonly switches: SandboxSwitches;
  /** The group bots that alarms are sent to, on the server of WeCom. */
  readonly bots: Bots;
  readonly #time: SandboxTime;
  readonly #weixin: WeixinPlatform;
  readonly #wecom: WecomPlatform;
  readonly #components: ReadonlyMap<string, ComponentControl>;
  readonly #providers: SuitePlatform;
  readonly #suites: ReadonlyMap<string, SuiteControl>;
  readonly #servers: HttpServer[];
  readonly #ledger = new CallLedger();
  readonly #faults = new FaultQueue();
  readonly #delays = new Set<Timer>();
  #debugCalls = 0;

  private constructor(options: SandboxOptions) {
    this.switches = { ...defaultSwitches, ...options.switches };
    const { clock = systemClock, components = [] } = options;
    this.#time = new SandboxTime(clock);
    this.bots = new Bots(this.#time);
    const lifeMs = (options.tokenLifeSeconds ?? 7200) * 1000;
    const handoverMs = Math.max(1000, Math.min(MAX_HANDOVER_MS, lifeMs / LIFE_PER_HANDOVER));
    const around = { time: this.#time, switches: this.switches, lifeMs, handoverMs };
    this.#weixin = new WeixinPlatform(withAccounts(options.weixinApps, components), around);
    const settings = { ...around, clock, weixin: this.#weixin };
    this.#components = new Map(components.map((each) => [each.appId, new ComponentControl(each, settings)]));
    this.#wecom = new WecomPlatform(options.wecomApps, around);
    this.#providers = new SuitePlatform(options.providers ?? [], this.#wecom, around);
    const sender = new PushSender(clock);
    const suites = [...this.#providers.suites];
    this.#suites = new Map(
      suites.map(([id, suite]) => [id, new SuiteControl(suite, this.#providers, sender)]),
    );

    const weixin = new HttpServer(options.weixinPort ?? 0, (request) => this.#serveWeixin(request));
    this.#servers = [weixin];
    this.weixinUrl = weixin.url;
    try {
      const wecom = new HttpServer(options.wecomPort ?? 0, (request) => this.#serveWecom(request));
      this.#servers.push(wecom);
      this.wecomUrl = wecom.url;
    } catch (error) {
      // The caller does not get this sandbox, so it could not stop the server that listens already.
      void weixin.stop();
      throw error;
    }
  }

  /**
   * Starts both servers; they listen when it returns.
   *
   * @throws {Error} when a port is in use.
   */
  static start(options: SandboxOptions): Sandbox {
    return new Sandbox(options);
  }

  /**
   * How many requests reached `endpoint` (a path) of `host` since the start or `resetCalls`.
   *
   * Requests that met a fault count too. Without an endpoint: all; without a host: both servers.
   */
  calls(endpoint?: string, host?: SandboxHost): number {
    return this.#ledger.total(endpoint, host);
  }

  /** How many calls of WeCom asked for its debug mode by `debug=1`; WeCom allows five a minute. */
  debugCalls(): number {
    return this.#debugCalls;
  }

  /** Sets every count of `calls` and `debugCalls` back to 0. */
  resetCalls(): void {
    this.#ledger.reset();
    this.#debugCalls = 0;
  }

  /** Lets something go wrong with the next `fault.times` requests that fit; faults wait in line. */
  inject(fault: Fault): void {
    this.#faults.add(fault);
  }

  /** Removes all faults that still wait. Requests that wait at a gate stay there. */
  clearFaults(): void {
    this.#faults.clear();
  }

  /**
   * Revokes every valid token of an appid, of a suite, or of all apps of a corp and of the provider that it is, before
   * its time.
   *
   * With `unnoticed` the endpoint that issued it does not know: `stable_token` and `gettoken` return the revoked token
   * again, so a caller that trusts them makes no progress.
   */
  killTokens(appOrCorpId: string, how: { unnoticed?: boolean } = {}): void {
    const unnoticed = how.unnoticed ?? false;
    const app = this.#weixin.apps.get(appOrCorpId);
    const wecomApps = this.#wecom.apps.filter((wecom) => wecom.settings.corpId === appOrCorpId);
    const { suites, providers } = this.#providers;
    const providing = [suites, providers].flatMap((owners) => owners.get(appOrCorpId) ?? []);
    if (!app && wecomApps.length === 0 && providing.length === 0)
      throw new Error(`the sandbox has no app or corp ${appOrCorpId}`);
    if (app) this.#weixin.tokens.revoke(app, unnoticed);
    for (const wecom of wecomApps) this.#wecom.tokens.revoke(wecom, unnoticed);
    for (const owner of providing) this.#providers.tokens.revoke(owner, unnoticed);
  }

  /** What can be done around a suite of a provider: its tickets, its installations, its pushes. Throws when there is none. */
  suite(suiteId: string): SuiteControl {
    const control = this.#suites.get(suiteId);
    if (!control) throw new Error(`the sandbox has no suite ${suiteId}`);
    return control;
  }

  /** Fetches a classic token of `appId` as another program does, and returns it; the one before keeps the overlap. */
  rogueFetch(appId: string): string {
    return this.#weixinApp(appId).fetchClassic().value;
  }

  /** The third-party platform with that appid, to push tickets and let accounts authorize it. Throws when there is none. */
  component(appId: string): ComponentControl {
    const control = this.#components.get(appId);
    if (!control) throw new Error(`the sandbox has no component ${appId}`);
    return control;
  }

  /** Whether an API call with this token would be accepted now, on either platform. */
  accepts(token: string): boolean {
    return [this.#weixin, this.#wecom, this.#providers].some(
      ({ tokens }) => tokens.verdict(token) === "valid",
    );
  }

  /** Changes an app of WeChat from now on: its secret, its allow-list, whether it is frozen, … */
  changeWeixinApp(appId: string, change: Partial<Omit<SandboxWeixinApp, "appId">>): void {
    const app = this.#weixinApp(appId);
    app.settings = { ...app.settings, ...change };
  }

  /** Changes an app of WeCom from now on: its secret or its trusted addresses. */
  changeWecomApp(
    corpId: string,
    agent: string,
    change: Partial<Omit<SandboxWecomApp, "corpId" | "agent">>,
  ): void {
    const app = this.#wecomApp(corpId, agent);
    app.settings = { ...app.settings, ...change };
  }

  /** The sandbox as JSON for people: apps, masked tokens, what is used up, calls per day, faults that wait. */
  state(): object {
    return sandboxState(this.#weixin, this.#wecom, {
      time: this.#time,
      switches: this.switches,
      calls: this.#ledger.perDay(),
      debugCalls: this.#debugCalls,
      faults: this.#faults.pending(),
      components: this.#components.values(),
      suites: [...this.#suites.values()].map((suite) => suite.state()),
    });
  }

  /** Closes both servers and all connections at once; requests that wait for something are cut off. */
  async stop(): Promise<void> {
    for (const timer of this.#delays) clearTimeout(timer);
    for (const component of this.#components.values()) component.stopPushing();
    for (const suite of this.#suites.values()) suite.stopPushing();
    await Promise.all(this.#servers.map((server) => server.stop()));
  }

  /** The same as `stop`, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #serveWeixin(arrived: SandboxRequest): Promise<Delivery> {
    if (arrived.path.startsWith("/sandbox/"))
      return { how: "send", answer: await answerControl(this, arrived) };
    const request = this.#asSeen(arrived);
    const components = { weixin: this.#weixin, byAppId: this.#components };
    return this.#serve("weixin", request, {
      work: async () =>
        this.#loginPage(request) ??
        (await consentPage(this.#components, request)) ??
        answerAsWeixin(this.#weixin, request, (call) => answerComponent(components, call)),
      error: (errcode, stem) => weixinError(this.#weixin, request, errcode, stem),
    });
  }

  async #serveWecom(arrived: SandboxRequest): Promise<Delivery> {
    const request = this.#asSeen(arrived);
    const bot = Bots.at(request.path);
    if (bot !== undefined)
      return this.#serve("wecom", request, {
        work: async () => this.bots.answer(bot, request),
        error: (code, stem) => this.bots.error(bot, request, code, stem),
      });
    if (request.query.get("debug") === "1") this.#debugCalls += 1;
    return this.#serve("wecom", request, {
      work: async () =>
        this.#loginPage(request) ??
        (await installPage(this.#providers, (suiteId) => this.suite(suiteId), request)) ??
        answerAsProvider(this.#providers, request) ??
        answerAsWecom(this.#wecom, request),
      error: (errcode, stem) => wecomError(this.#wecom, request, errcode, stem),
    });
  }

  /** The page for a web login, of an app of either platform: WeCom's users log in on pages of both. */
  #loginPage(request: SandboxRequest): Answer | undefined {
    if (!isLoginPage(request.path)) return undefined;
    const appId = request.query.get("appid") ?? "";
    const componentAppId = request.query.get("component_appid");
    if (componentAppId !== null) {
      // The domain is one of the component's.
      const authorization = this.#components.get(componentAppId)?.component.authorizers.get(appId);
      return loginPage(request, authorization?.isAuthorized ? {} : undefined);
    }
    const agent = request.query.get("agentid");
    const ofCorp = this.#wecom.apps.filter(({ settings }) => settings.corpId === appId);
    const wecom = ofCorp.find(({ settings }) => agent === null || settings.agent === agent);
    const suite = this.#providers.suites.has(appId) ? {} : undefined;
    return loginPage(request, (this.#weixin.apps.get(appId) ?? wecom)?.settings ?? suite);
  }

  async #serve(
    host: SandboxHost,
    { path }: SandboxRequest,
    stage: Omit<FaultStage, "delay">,
  ): Promise<Delivery> {
    this.#ledger.add(host, path, this.#time.day());
    const fault = this.#faults.take(host, path);
    if (fault === undefined) return { how: "send", answer: await stage.work() };
    return applyFault(fault, { ...stage, delay: (ms) => this.#delay(ms) });
  }

  #asSeen(request: SandboxRequest): SandboxRequest {
    const { peerIp } = this.switches;
    return peerIp === undefined ? request : { ...request, peerIp };
  }

  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#delays.delete(timer);
        resolve();
      }, ms);
      this.#delays.add(timer);
    });
  }

  #weixinApp(appId: string): WeixinApp {
    const app = this.#weixin.apps.get(appId);
    if (!app) throw new Error(`the sandbox has no app ${appId}`);
    return app;
  }

  #wecomApp(corpId: string, agent: string): WecomApp {
    const fits = ({ settings }: WecomApp) => settings.corpId === corpId && settings.agent === agent;
    const app = this.#wecom.apps.find(fits);
    if (!app) throw new Error(`the sandbox has no agent ${agent} in corp ${corpId}`);
    return app;
  }
}

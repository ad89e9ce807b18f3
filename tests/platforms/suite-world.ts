import { type App, nameOfApp, type Slot } from "../../src/apps/app.ts";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import { credentialRef } from "../../src/credentials/credential.ts";
import type { CredentialKind } from "../../src/credentials/kinds.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { EventBus } from "../../src/events.ts";
import { Login } from "../../src/login/login.ts";
import { AuthorizedApps } from "../../src/platforms/authorized-apps.ts";
import type { SandboxSwitches } from "../../src/sandbox/sandbox-settings.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { HttpClient } from "../../src/upstream/http-client.ts";
import { wecomLogin, weixinLogin } from "../../src/upstream/login-exchanges.ts";
import { suiteLinks, suiteProtocol } from "../../src/upstream/suite-api.ts";
import { entryOf } from "../support/audit-entries.ts";
import { PATIENT } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { PlatformProcess } from "./platform-harness.ts";

export const PROVIDER = { corpId: "wwprovider00000001", secret: "secret-of-provider" };
export const SUITE = "wwsuite0000000000001";
export const TEMPLATE = "dktemplate0000000001";
export const CORP = "wwcustomer0000000001";
export const OTHER_CORP = "wwcustomer0000000002";
export const MINUTE = 60_000;

/**
 * A provider with a third-party app and a template of agency apps, which the sandbox pushes to and one or more processes
 * hold on one database. Use it with `await using`.
 */
export class SuiteWorld {
  readonly clock = new ManualClock();
  readonly sandbox: Sandbox;
  /** The process that pushes come to. */
  first!: PlatformProcess;
  /** What environments would get of each command, oldest first. */
  readonly forwarded: string[] = [];
  /** How many calls of WeCom's each command brought before it was answered. */
  readonly callsInPushes: number[] = [];
  readonly #folder = new StoreFolder(this.clock);
  readonly #key = generatePushKey();
  readonly #server: Bun.Server<undefined>;

  static async create(switches: Partial<SandboxSwitches> = {}): Promise<SuiteWorld> {
    const world = new SuiteWorld(switches);
    world.first = await world.process();
    for (const app of platforms())
      await world.first.store.apps.create(app, entryOf({ action: "app.created", app: nameOfApp(app) }));
    await world.first.learn();
    // What was compared just now is left alone for a day.
    await world.authorizations.tick();
    return world;
  }

  private constructor(switches: Partial<SandboxSwitches>) {
    this.clock.advance(MINUTE);
    this.#server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (request) => this.#receive(request) });
    const keys = { token: this.#key.token.reveal(), aesKey: this.#key.encodingAesKey.reveal() };
    const suites = [SUITE, TEMPLATE].map((suiteId, index) => ({
      ...{ suiteId, secret: `secret-of-${suiteId}`, ...keys, commandUrl: this.#server.url.href + suiteId },
      corps: [CORP, OTHER_CORP].map((corpId, n) => ({
        ...{ corpId, name: `客户${n + 1}`, agentId: 1_000_010 + 10 * index + n },
      })),
    }));
    this.sandbox = Sandbox.start({
      ...{ clock: this.clock, weixinApps: [], wecomApps: [], providers: [{ ...PROVIDER, suites }] },
      switches: { commandTimeoutMs: PATIENT.pushAnswerMs, ...switches },
    });
  }

  /** Another process on the same database. */
  async process(): Promise<PlatformProcess> {
    return new PlatformProcess(await this.#folder.open(), this.sandbox, this.clock).learn();
  }

  get authorizations() {
    return this.first.authorizations;
  }

  /** What asks WeCom by the suites' tokens. */
  get protocol() {
    return suiteProtocol(this.http, this.first.credentials);
  }

  get links() {
    return suiteLinks(this.http, this.first.credentials);
  }

  /** What keeps the apps of authorizations. */
  get apps(): AuthorizedApps {
    const { store, directory, administration } = this.first;
    const { clock, protocol } = this;
    return new AuthorizedApps({
      ...{ store: store.apps, directory, onCleared: () => undefined, clock, events: new EventBus() },
      credentials: store.credentials,
      refresh: () => administration.refresh(),
      protocolOf: () => protocol,
    });
  }

  get login(): Login {
    const { store, directory, credentials: tokens } = this.first;
    const { clock } = this;
    return new Login({
      ...{ exchange: weixinLogin(this.http), wecomExchange: wecomLogin(this.http), tokens, directory, clock },
      pacing: new Pacing({ store: store.pacing, clock, events: new EventBus() }),
      ...{ answers: store.loginAnswers, deadlineMs: PATIENT.upstreamMs.total },
    });
  }

  /** The app of that name, if there is one now. */
  find(name: string): App | undefined {
    return this.first.directory.find(name);
  }

  /** The slot of an app or a platform. */
  slot(name: string): Slot {
    return this.first.directory.slotOfApp(name);
  }

  /** The text of a token, as its callers get it. */
  async token(
    name: string,
    kind: CredentialKind = "access_token",
    { directory, credentials } = this.first,
  ): Promise<string> {
    return (await credentials.get(credentialRef(directory.slotOfApp(name), kind))).value.reveal();
  }

  /** The permanent code that is stored of an app. */
  async permanentCode(name: string): Promise<string | undefined> {
    return (await this.first.store.apps.findSecret(this.slot(name)))?.secret.reveal();
  }

  /** A new ticket of the suite is pushed. */
  async ticket(suiteId = SUITE): Promise<void> {
    const { accepted } = await this.sandbox.suite(suiteId).pushTicket();
    if (!accepted) throw new Error("the ticket was not taken");
  }

  /** The corp installs the suite from the app market, and the push's code is exchanged. Returns the corp's app. */
  async install(suiteId = SUITE, corpId = CORP): Promise<string> {
    await this.sandbox.suite(suiteId).install(corpId);
    await this.authorizations.tick();
    return `${corpId}_${suiteId}`;
  }

  calls(name: string): number {
    return this.sandbox.calls(`/cgi-bin/${name}`, "wecom");
  }

  get http(): HttpClient {
    const { sandbox, clock } = this;
    return new HttpClient({
      baseUrls: { weixin: sandbox.weixinUrl, wecom: sandbox.wecomUrl },
      ...{ proxyUrl: undefined, clock, events: new EventBus(), calls: { count: () => undefined } },
      attemptMs: PATIENT.upstreamMs.attempt,
    });
  }

  async #receive(request: Request): Promise<Response> {
    const { pathname, search } = new URL(request.url);
    const suiteId = pathname.slice(1);
    const receiveIds = [suiteId, PROVIDER.corpId];
    const settings = { platform: "wecom", mode: "secure", keys: [this.#key], receiveIds } as const;
    const sent = { method: "POST", query: search.slice(1), body: await request.bytes() } as const;
    const push = verifyPush(settings, sent, this.clock.now());
    const app = this.find(suiteId);
    if (push.kind === "check" || !app) throw new Error("no push of a suite");
    const before = this.sandbox.calls();
    const shown = await this.first.platforms.events.receive(app, push.message, this.clock.now());
    this.forwarded.push(Buffer.from(shown).toString());
    this.callsInPushes.push(this.sandbox.calls() - before);
    return new Response("success");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
    await this.first.credentials.settle();
    this.#folder[Symbol.dispose]();
    await this.sandbox.stop();
  }
}

function platforms(): App[] {
  const managed = { title: undefined, isDisabled: false, version: 1 };
  const suites = [SUITE, TEMPLATE].map((id): App => ({
    ...{ platform: "wecom", id, agent: "@suite", role: "suite", provider: PROVIDER.corpId, managed },
    secret: new Secret(`secret-of-${id}`),
  }));
  const { corpId: id, secret } = PROVIDER;
  const provider = { platform: "wecom", id, agent: "@provider", role: "provider", managed } as const;
  return [...suites, { ...provider, secret: new Secret(secret) }];
}

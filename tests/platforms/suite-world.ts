import { AppAdministration } from "../../src/apps/app-administration.ts";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { type App, isSlotOf, nameOfApp, type Slot } from "../../src/apps/app.ts";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { credentialRef, type CredentialRef } from "../../src/credentials/credential.ts";
import { type CredentialKind, KINDS } from "../../src/credentials/kinds.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { type CredentialSource, ticketSource } from "../../src/credentials/source.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { Login } from "../../src/login/login.ts";
import type { Authorizations } from "../../src/platforms/authorizations.ts";
import { AuthorizedApps } from "../../src/platforms/authorized-apps.ts";
import type { SandboxSwitches } from "../../src/sandbox/sandbox-settings.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { buildPlatforms } from "../../src/service/platform-parts.ts";
import type { Store } from "../../src/store/store.ts";
import { HttpClient } from "../../src/upstream/http-client.ts";
import { wecomLogin, weixinLogin } from "../../src/upstream/login-exchanges.ts";
import { suiteProtocol } from "../../src/upstream/suite-api.ts";
import { callbackIpProbe, ticketExchange, wecomTokenSource } from "../../src/upstream/token-sources.ts";
import { PATIENT } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";

export const PROVIDER = { corpId: "wwprovider00000001", secret: "secret-of-provider" };
export const SUITE = "wwsuite0000000000001";
export const TEMPLATE = "dktemplate0000000001";
export const CORP = "wwcustomer0000000001";
export const OTHER_CORP = "wwcustomer0000000002";
export const MINUTE = 60_000;

/**
 * A provider with a third-party app and a template of agency apps: the service's own parts on a real database, against a
 * sandbox that pushes to them.
 */
export class SuiteWorld {
  readonly clock: ManualClock;
  readonly sandbox: Sandbox;
  readonly http: HttpClient;
  readonly directory: AppDirectory;
  readonly administration: AppAdministration;
  readonly credentials: CredentialManager;
  readonly platforms: ReturnType<typeof buildPlatforms>;
  readonly login: Login;
  readonly store: Store;
  readonly events: ServiceEvent[] = [];
  /** What environments would get of each command, oldest first. */
  readonly forwarded: string[] = [];
  /** How many calls of WeCom's each command brought before it was answered. */
  readonly callsInPushes: number[] = [];
  readonly #memory: CredentialCache;
  readonly #folder: StoreFolder;
  readonly #server: Bun.Server<undefined>;

  static async create(switches: Partial<SandboxSwitches> = {}): Promise<SuiteWorld> {
    const clock = new ManualClock();
    clock.advance(MINUTE);
    const folder = new StoreFolder(clock);
    const world = new SuiteWorld(clock, folder, await folder.open(), switches);
    for (const app of platforms()) {
      const facts = { app: nameOfApp(app), outcome: "ok", tokenDigest: "", detail: {} };
      await world.store.apps.create(app, { ...SERVICE, action: "app.created", ...facts });
    }
    await world.administration.refresh();
    // What was compared just now is left alone for a day.
    await world.authorizations.tick();
    return world;
  }

  private constructor(
    clock: ManualClock,
    folder: StoreFolder,
    store: Store,
    switches: Partial<SandboxSwitches>,
  ) {
    this.clock = clock;
    this.#folder = folder;
    this.store = store;
    const key = generatePushKey();
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        const { pathname, search } = new URL(request.url);
        const suiteId = pathname.slice(1);
        const settings = { platform: "wecom", mode: "secure", keys: [key] } as const;
        const receiveIds = [suiteId, PROVIDER.corpId];
        const pushed = { method: "POST", query: search.slice(1), body: await request.bytes() } as const;
        const push = verifyPush({ ...settings, receiveIds, checkReceiveIds: [] }, pushed, clock.now());
        const app = this.directory.find(suiteId);
        if (push.kind === "check" || !app) return new Response(null, { status: 404 });
        const before = this.sandbox.calls();
        const shown = await this.platforms.events.receive(app, push.message, clock.now());
        this.forwarded.push(Buffer.from(shown).toString());
        this.callsInPushes.push(this.sandbox.calls() - before);
        return new Response("success");
      },
    });
    const keys = { token: key.token.reveal(), aesKey: key.encodingAesKey.reveal() };
    const suites = [SUITE, TEMPLATE].map((suiteId, index) => ({
      ...{ suiteId, secret: `secret-of-${suiteId}`, ...keys, commandUrl: this.#server.url.href + suiteId },
      corps: [CORP, OTHER_CORP].map((corpId, n) => ({
        ...{ corpId, name: `客户${n + 1}`, agentId: 1_000_010 + 10 * index + n },
      })),
    }));
    this.sandbox = Sandbox.start({
      ...{ clock, weixinApps: [], wecomApps: [], providers: [{ ...PROVIDER, suites }] },
      switches: { commandTimeoutMs: PATIENT.pushAnswerMs, ...switches },
    });
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    this.http = new HttpClient({
      baseUrls: { weixin: this.sandbox.weixinUrl, wecom: this.sandbox.wecomUrl },
      ...{ proxyUrl: undefined, clock, events, calls: { count: () => undefined } },
      attemptMs: PATIENT.upstreamMs.attempt,
    });
    this.directory = new AppDirectory([], store.digest);
    this.#memory = new CredentialCache(store.credentials, store.changes, clock);
    const { directory, http } = this;
    this.administration = new AppAdministration({
      ...{ store: store.apps, changes: store.changes, directory, onCleared: this.#onCleared },
      check: () => Promise.resolve(),
      record: () => Promise.resolve(),
    });
    const { administration } = this;
    const isOutdated = (slot: Slot) => administration.isOutdated(slot);
    const pacing = new Pacing({ store: store.pacing, clock, events, isOutdated });
    const source: CredentialSource = { obtain: (ref, how) => this.#sourceOf(ref).obtain(ref, how) };
    this.credentials = new CredentialManager({
      ...{ source, store: store.credentials, pacing, probe: callbackIpProbe(http), memory: this.#memory },
      ...{ clock, events, holder: crypto.randomUUID(), deadlineMs: PATIENT.upstreamMs.total },
    });
    const { credentials } = this;
    this.platforms = buildPlatforms({
      ...{ store, directory, administration, credentials, onCleared: this.#onCleared, http, clock, events },
    });
    this.login = new Login({
      ...{ exchange: weixinLogin(http), wecomExchange: wecomLogin(http) },
      ...{ tokens: credentials, answers: store.loginAnswers, pacing, clock },
      deadlineMs: PATIENT.upstreamMs.total,
    });
  }

  get authorizations(): Authorizations {
    return this.platforms.parts.authorizations;
  }

  /** What keeps the apps of authorisations. */
  get apps(): AuthorizedApps {
    const { directory, administration, clock, http, credentials } = this;
    return new AuthorizedApps({
      ...{ store: this.store.apps, directory, onCleared: this.#onCleared, clock, events: new EventBus() },
      refresh: () => administration.refresh(),
      protocolOf: () => suiteProtocol(http, credentials),
    });
  }

  /** The slot of an app or a platform. */
  slot(name: string): Slot {
    return this.directory.slotOfApp(name);
  }

  /** The text of a token, as its callers get it. */
  async token(name: string, kind: CredentialKind = "access_token"): Promise<string> {
    return (await this.credentials.get(credentialRef(this.slot(name), kind))).value.reveal();
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

  readonly #onCleared = (app: App): void => this.#memory.evictSlots((slot) => isSlotOf(app, slot));

  #sourceOf(ref: CredentialRef): CredentialSource {
    const own = this.platforms.sourceOf(ref);
    if (own) return own;
    return KINDS.get(ref).obtainedBy === "secret"
      ? wecomTokenSource(this.http)
      : ticketSource(ticketExchange(this.http), this.credentials);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
    await this.credentials.settle();
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

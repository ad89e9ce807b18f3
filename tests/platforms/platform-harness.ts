import { AppAdministration } from "../../src/apps/app-administration.ts";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { type App, isSlotOf, type Slot } from "../../src/apps/app.ts";
import { readPushFields } from "../../src/callbacks/push-fields.ts";
import { verifyPush } from "../../src/callbacks/verify-push.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import type { CredentialRef } from "../../src/credentials/credential.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import type { ComponentControl } from "../../src/sandbox/component-control.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import type { SandboxComponent, SandboxSwitches } from "../../src/sandbox/sandbox-settings.ts";
import { Secret } from "../../src/secret.ts";
import { buildPlatforms } from "../../src/service/platform-parts.ts";
import type { Store } from "../../src/store/store.ts";
import { HttpClient } from "../../src/upstream/http-client.ts";
import { entryOf } from "../support/audit-entries.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { ManualProbe } from "../support/manual-probe.ts";
import { StoreFolder } from "../support/store-folder.ts";

export const COMPONENT = "wxc000000000000001";
export const OFFICIAL = "wxa000000000000001";
export const MINI = "wxa000000000000002";
export const WITHOUT_API = "wxa000000000000003";
/** The public name of an account that the component has. */
export const nameOf = (account: string) => `${account}_${COMPONENT}`;
/** A path below `/cgi-bin/component/`. */
export const pathOf = (name: string) => `/cgi-bin/component/${name}`;

const SETTINGS: SandboxComponent = {
  appId: COMPONENT,
  secret: "0123456789abcdef0123456789abcdef",
  token: "sandboxtoken2",
  aesKey: "accesstokenSandboxKey0123456789abcdefghijkL",
  authorizers: [
    { appId: OFFICIAL, name: "公众号一", userName: "gh_000000000001", kind: "official", funcIds: [1, 2] },
    { appId: MINI, name: "小程序二", userName: "gh_000000000002", kind: "miniprogram", funcIds: [17] },
    {
      ...{ appId: WITHOUT_API, name: "无接口", userName: "gh_000000000003", kind: "official" as const },
      hasApi: false,
    },
  ],
};

/** One process of the service, as far as third-party platforms go. Nothing of it runs on its own. */
export class PlatformProcess {
  readonly store: Store;
  readonly directory: AppDirectory;
  readonly administration: AppAdministration;
  readonly credentials: CredentialManager;
  readonly pacing: Pacing;
  readonly platforms: ReturnType<typeof buildPlatforms>;
  readonly events: ServiceEvent[] = [];
  readonly #memory: CredentialCache;

  constructor(store: Store, sandbox: Sandbox, clock: ManualClock) {
    this.store = store;
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    const calls = { count: () => undefined };
    const baseUrls = { weixin: sandbox.weixinUrl, wecom: sandbox.wecomUrl };
    const http = new HttpClient({
      ...{ baseUrls, proxyUrl: undefined, clock, events, calls },
      attemptMs: 60_000,
    });
    this.directory = new AppDirectory([], store.digest);
    this.#memory = new CredentialCache(store.credentials, store.changes, clock);
    const onCleared = (app: App) => this.#memory.evictSlots((slot) => isSlotOf(app, slot));
    this.administration = new AppAdministration({
      ...{ store: store.apps, changes: store.changes, directory: this.directory, onCleared },
      check: async () => undefined,
      record: async () => undefined,
    });
    const isOutdated = (slot: Slot, about: "use" | "failure") => this.administration.isOutdated(slot, about);
    const pacing = (this.pacing = new Pacing({ store: store.pacing, clock, events, isOutdated }));
    this.credentials = new CredentialManager({
      source: {
        ready: async (ref) => this.platforms.sourceOf(ref)?.ready?.(ref),
        obtain: (ref, options) => {
          const source = this.platforms.sourceOf(ref);
          if (!source) throw new Error("a credential of no platform");
          return source.obtain(ref, options);
        },
      },
      ...{ store: store.credentials, probe: new ManualProbe(), memory: this.#memory, clock, events },
      pacing,
      holder: crypto.randomUUID(),
      deadlineMs: 60_000,
    });
    this.platforms = buildPlatforms({
      ...{ store, directory: this.directory, administration: this.administration },
      ...{ credentials: this.credentials, pacing, onCleared, http, clock, events },
    });
  }

  get authorizations() {
    return this.platforms.parts.authorizations;
  }

  /** The component's own slot. */
  get component(): Slot {
    return this.directory.slotOfApp(COMPONENT);
  }

  /** Lets the process know what others have changed. */
  async learn(): Promise<this> {
    await this.administration.refresh();
    return this;
  }

  /** The app of an account, if there is one now. */
  async find(account = OFFICIAL): Promise<App | undefined> {
    await this.learn();
    return this.directory.find(nameOf(account));
  }

  /** The token of an account, as a caller gets it. */
  async token(account = OFFICIAL): Promise<string> {
    await this.learn();
    const ref: CredentialRef = { slot: this.directory.slotOfApp(nameOf(account)), kind: "access_token" };
    return (await this.credentials.get(ref)).value.reveal();
  }

  /** The component's token, as a caller gets it. */
  async componentToken(): Promise<string> {
    await this.learn();
    const ref: CredentialRef = { slot: this.component, kind: "component_access_token" };
    return (await this.credentials.get(ref)).value.reveal();
  }

  /** The refresh token that is stored. */
  async refreshToken(account = OFFICIAL): Promise<string | undefined> {
    const slot = { platform: "weixin", appId: account, name: COMPONENT } as const;
    return (await this.store.apps.findSecret(slot))?.secret.reveal();
  }

  /** Exchanges a code, as a return from the consent page does. */
  exchange(code: string, signal = AbortSignal.timeout(60_000), caller = "caller") {
    return this.authorizations.exchange(this.component, new Secret(code), signal, caller);
  }

  /** The details of each audit entry of that action, the last first. */
  async audited(
    action: "authorization.granted" | "authorization.lost" | "authorization.revoked",
  ): Promise<Readonly<Record<string, unknown>>[]> {
    return (await this.store.audit.list({ action }, { limit: 50 })).map(({ app, detail }) => ({
      app,
      ...detail,
    }));
  }
}

/** A component that the sandbox pushes to, and that one or more processes hold on one database. Use it with `await using`. */
export class PlatformHarness {
  readonly clock = new ManualClock();
  readonly sandbox: Sandbox;
  readonly control: ComponentControl;
  /** What targets of the component get of what was pushed, in its order, as fields. */
  readonly forwarded: Readonly<Record<string, string>>[] = [];
  /** The process that pushes come to. */
  first!: PlatformProcess;
  readonly #folder = new StoreFolder(this.clock);
  readonly #server;

  private constructor(switches: Partial<SandboxSwitches>) {
    this.clock.advance(60_000);
    this.sandbox = Sandbox.start({
      ...{ clock: this.clock, weixinApps: [], wecomApps: [], components: [SETTINGS], switches },
    });
    this.control = this.sandbox.component(COMPONENT);
    this.#server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: (request) => this.#receive(request) });
    this.control.setUrls({ eventUrl: this.#server.url.href });
  }

  /** With a ticket that has arrived, unless told otherwise. */
  static async create({
    hasTicket = true,
    ...switches
  }: Partial<SandboxSwitches> & { readonly hasTicket?: boolean } = {}): Promise<PlatformHarness> {
    const it = new PlatformHarness(switches);
    it.first = await it.process();
    const component: App = {
      ...{ platform: "weixin", id: COMPONENT, tokenMode: "stable", role: "component" },
      secret: new Secret(SETTINGS.secret),
      managed: { title: "平台", isDisabled: false, version: 1 },
    };
    const entry = entryOf({ client: "admin", action: "app.created", app: COMPONENT, outcome: "ok" });
    await it.first.store.apps.create(component, entry);
    await it.first.learn();
    if (hasTicket) await it.control.pushTicket();
    return it;
  }

  /** Another process on the same database; also what a process becomes after a restart. */
  async process(): Promise<PlatformProcess> {
    return new PlatformProcess(await this.#folder.open(), this.sandbox, this.clock).learn();
  }

  get databasePath(): string {
    return this.#folder.path;
  }

  /** How often a path below `/cgi-bin/component/` was called; without one, how often anything was. */
  calls(name?: string): number {
    return this.sandbox.calls(name && pathOf(name));
  }

  /** Lets an account authorize, and what was pushed be exchanged. */
  async authorized(account = OFFICIAL): Promise<void> {
    await this.control.authorize(account);
    await this.first.authorizations.tick();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox.stop();
    await this.#server.stop(true);
    this.#folder[Symbol.dispose]();
  }

  async #receive(request: Request): Promise<Response> {
    const { token, aesKey } = SETTINGS;
    const settings = {
      ...({ platform: "weixin", mode: "secure", receiveIds: [COMPONENT] } as const),
      keys: [{ token: new Secret(token), encodingAesKey: new Secret(aesKey) }],
    };
    const sent = {
      method: "POST",
      query: new URL(request.url).search.slice(1),
      body: await request.bytes(),
    } as const;
    const push = verifyPush(settings, sent, this.clock.now());
    const app = this.first.directory.find(COMPONENT);
    if (push.kind !== "push" || !app) throw new Error("no push of the component");
    const message = await this.first.platforms.events.receive(app, push.message, this.clock.now());
    this.forwarded.push(Object.fromEntries(readPushFields(message).fields));
    return new Response("success");
  }
}

/** Exchanges a code and keeps nothing of the answer: another program, or a process that is killed then. */
export async function exchangeUpstream(
  { sandbox }: PlatformHarness,
  process: PlatformProcess,
  code: string,
): Promise<void> {
  const query = new URLSearchParams({ component_access_token: await process.componentToken() }).toString();
  const response = await fetch(`${sandbox.weixinUrl}${pathOf("api_query_auth")}?${query}`, {
    method: "POST",
    body: JSON.stringify({ component_appid: COMPONENT, authorization_code: code }),
  });
  const answer = (await response.json()) as object;
  if (!("authorization_info" in answer)) throw new Error("the code was not taken");
}

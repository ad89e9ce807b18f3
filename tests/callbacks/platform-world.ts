import { createHash } from "node:crypto";
import { Networks } from "../../src/access/networks.ts";
import { Call } from "../../src/api/face.ts";
import type { App, Authorization } from "../../src/apps/app.ts";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { SERVICE } from "../../src/audit/audit-entry.ts";
import type { CallbackSettings, Route, Target } from "../../src/callbacks/callback-settings.ts";
import type { PlatformCommands } from "../../src/callbacks/platform-pushes.ts";
import type { PushKey } from "../../src/callbacks/push-crypto.ts";
import { systemClock } from "../../src/clock.ts";
import { ServiceError } from "../../src/errors.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { PushSender } from "../../src/sandbox/push-sender.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import { buildCallbacks } from "../../src/service/callback-parts.ts";
import type { Store } from "../../src/store/store.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";
import { KEYS } from "./push-vectors.ts";

/** The time of the vectors that are our own. */
export const VECTOR_TIME = 1_790_000_000_000;
export const COMPONENT = "wxc000000000000001";
export const OFFICIAL = "wxa000000000000001";
export const MINI = "wxa000000000000002";
export const PROVIDER = "wwprovider00000001";
export const SUITE = "ww5000000000000001";
export const TEMPLATE = "dk5000000000000001";
export const CORP = "wwcustomer0000000001";
/** Of the component, and of both suites: what decides must not be the key. */
export const KEY = KEYS.MADE_UP;
const [TOKEN, AES_KEY] = [KEY.token.reveal(), KEY.encodingAesKey?.reveal() ?? ""];
/** A stalled machine is no late answer. */
const PATIENCE_MS = 60_000;

/** A third-party platform. */
export function platform(id: string, role: NonNullable<App["role"]>): App {
  const common = { id, role, secret: new Secret("s".repeat(32)), managed: MANAGED };
  if (role === "component") return { ...common, platform: "weixin", tokenMode: "stable" };
  return { ...common, platform: "wecom", agent: `@${role}`, provider: PROVIDER };
}

const MANAGED = { title: undefined, isDisabled: false, version: 1 };

/** An account or a corp that has authorized a platform. */
export function authorized(platformApp: string, id: string, facts: Partial<Authorization> = {}): App {
  const authorization = { platformApp, authorizedAt: 1, scopes: [], ...facts };
  const common = { id, secret: new Secret("grant"), managed: MANAGED, authorization };
  return platformApp === COMPONENT
    ? { ...common, platform: "weixin", tokenMode: "stable" }
    : { ...common, platform: "wecom", agent: platformApp };
}

/** Notes every command, and shows it as environments may see it: without ticket and code. */
class NotedCommands implements PlatformCommands {
  /** The platform and the text of each. */
  readonly noted: (readonly [platform: string, text: string])[] = [];
  isFailing = false;

  receive({ id }: App, message: Uint8Array): Promise<Uint8Array> {
    if (this.isFailing) return Promise.reject(new ServiceError("unavailable", "数据库忙 (busy)"));
    const text = Buffer.from(message).toString();
    this.noted.push([id, text]);
    const digest = (code: string) => createHash("sha256").update(code).digest("hex").slice(0, 16);
    const shown = text
      .replace(/(<(?:ComponentVerify|Suite)Ticket><!\[CDATA\[)[^\]]*/, "$1ticket@@@withheld")
      .replace(
        /(<AuthorizationCode><!\[CDATA\[)([^\]]*)/,
        (_, start: string, code: string) => `${start}queryauthcode@@@${digest(code)}`,
      );
    return Promise.resolve(shown === text ? message : Buffer.from(shown));
  }
}

/** What WeChat was answered. */
export interface Answered {
  readonly status: number;
  readonly body: string;
  readonly contentType: string | null;
}

type Wanted = Partial<Omit<Target, "app" | "name">>;

/**
 * What receives pushes, on a real port with a real database, and the sandbox that pushes: a component with two accounts,
 * a provider with a suite and a template.
 */
export class PlatformWorld {
  readonly clock: ManualClock;
  readonly commands = new NotedCommands();
  readonly events: ServiceEvent[] = [];
  readonly directory: AppDirectory;
  readonly store: Store;
  /** Every answer that WeChat got, in order. */
  readonly answered: Answered[] = [];
  readonly sender = new PushSender({ ...systemClock, now: () => this.clock.now() });
  readonly sandbox: Sandbox;
  readonly #folder: StoreFolder;
  readonly #pushes: ReturnType<typeof buildCallbacks>;
  readonly #server: Bun.Server<undefined>;
  readonly #apps = new Map<string, App>();

  private constructor(folder: StoreFolder, store: Store, clock: ManualClock) {
    this.#folder = folder;
    this.clock = clock;
    this.store = store;
    this.directory = new AppDirectory([], store.digest);
    const events = new EventBus();
    events.subscribe((event) => this.events.push(event));
    this.#pushes = buildCallbacks({
      ...{ store, directory: this.directory, clock: this.clock, events, commands: this.commands },
      config: { callbackNetworks: new Networks("127.0.0.0/8") },
      audit: { countUsage: () => undefined },
      answerMs: PATIENCE_MS,
    });
    this.#server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: (request) => this.#answer(request) });
    const keys = { token: TOKEN, aesKey: AES_KEY };
    const corps = [{ corpId: CORP, name: "客户甲", agentId: 1_000_010 }];
    this.sandbox = Sandbox.start({
      ...{ weixinApps: [], wecomApps: [] },
      clock: this.clock,
      components: [
        {
          ...{ appId: COMPONENT, secret: "s".repeat(32), ...keys },
          authorizers: [
            { appId: OFFICIAL, name: "公众号", userName: "gh_000000000001", kind: "official", funcIds: [1] },
            { appId: MINI, name: "小程序", userName: "gh_000000000002", kind: "miniprogram", funcIds: [17] },
          ],
        },
      ],
      providers: [
        {
          ...{ corpId: PROVIDER, secret: "provider-secret" },
          suites: [SUITE, TEMPLATE].map((suiteId) => ({ suiteId, secret: "suite-secret", ...keys, corps })),
        },
      ],
      switches: { commandTimeoutMs: PATIENCE_MS },
    });
    const [eventUrl, messageUrl] = [this.url(`${COMPONENT}/auth`), this.url(`${COMPONENT}/$APPID$`)];
    this.component.setUrls({ eventUrl, messageUrl });
    this.suite.setUrls({ commandUrl: this.url(`${SUITE}/auth`), dataUrl: this.url(`${SUITE}/$CORPID$`) });
  }

  /** It is `now` there, in milliseconds since the epoch. */
  static async create(now = VECTOR_TIME): Promise<PlatformWorld> {
    const clock = new ManualClock(now);
    const folder = new StoreFolder(clock);
    const world = new PlatformWorld(folder, await folder.open(), clock);
    world.hold(
      platform(COMPONENT, "component"),
      platform(SUITE, "suite"),
      platform(TEMPLATE, "suite"),
      authorized(COMPONENT, OFFICIAL, { userName: "gh_000000000001" }),
      authorized(COMPONENT, MINI, { userName: "gh_000000000002" }),
      authorized(SUITE, CORP),
    );
    await world.set(COMPONENT, { receiveIds: [COMPONENT] });
    await world.set(SUITE, { receiveIds: [SUITE, PROVIDER] });
    await world.set(TEMPLATE, { receiveIds: [TEMPLATE, PROVIDER] });
    return world;
  }

  get component() {
    return this.sandbox.component(COMPONENT);
  }

  get suite() {
    return this.sandbox.suite(SUITE);
  }

  /** The answer that WeChat got last. */
  get last(): Answered | undefined {
    return this.answered.at(-1);
  }

  url(path: string): string {
    return `${this.#server.url.origin}/callback/${path}`;
  }

  /** Holds these apps from now on, each in the place of the one of its name. */
  hold(...apps: readonly App[]): void {
    for (const app of apps) {
      const key = `${app.id} ${app.role ?? app.authorization?.platformApp}`;
      const version = (this.#apps.get(key)?.managed?.version ?? 0) + 1;
      this.#apps.set(key, { ...app, managed: { ...MANAGED, ...app.managed, version } });
    }
    this.directory.replaceManaged([...this.#apps.values()]);
  }

  /** Sets an app's callbacks; the first of the targets is the primary, the others get copies. */
  async set(
    app: string,
    settings: Partial<CallbackSettings>,
    targets: Readonly<Record<string, Wanted>> = {},
  ): Promise<void> {
    const { callbackSettings } = this.store;
    const entry = {
      ...({ ...SERVICE, action: "callback.updated", app } as const),
      ...{ outcome: "ok", tokenDigest: "", detail: {} },
    };
    const secure = { token: KEY.token, aesKey: KEY.encodingAesKey, mode: "secure", format: "xml" } as const;
    const whole = { app, ...secure, receiveIds: [app], ...settings };
    await callbackSettings.save(whole, undefined, entry);
    const common = { app, environment: "prod", content: "original" } as const;
    const names = Object.keys(targets);
    for (const name of names)
      await callbackSettings.saveTarget({ ...common, name, ...targets[name] }, undefined, entry);
    const routes = names.map((target, index): Route => ({
      target,
      role: index === 0 ? "primary" : "copy",
      rule: {},
    }));
    await callbackSettings.saveRoutes(app, routes, undefined, entry);
    await this.#pushes.callbacks.refresh();
  }

  /** What is kept of the deliveries of an app's callbacks, the newest first. */
  deliveries(app: string) {
    return this.store.deliveries.list({ app }, { limit: 50 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop(true);
    await this.sandbox.stop();
    for (const each of this.#pushes.background) await each.stop();
    this.#folder[Symbol.dispose]();
  }

  /** As the door does it. */
  async #answer(request: Request): Promise<Response> {
    const { face } = this.#pushes;
    const times = { traceId: crypto.randomUUID(), startedAt: this.clock.monotonic() };
    const socket = { peer: () => "127.0.0.1", giveTime: () => undefined };
    const origin = {
      address: "127.0.0.1",
      untrustedReason: undefined,
      disguise: undefined,
      isBrowser: false,
    };
    const call = new Call(request, socket, origin, times);
    const response = await face.handle(call).catch((error: unknown) => face.encodeError(error, call));
    const { status, headers } = response;
    const body = await response.clone().text();
    this.answered.push({ status, body, contentType: headers.get("content-type") });
    return response;
  }
}

/** Who pushes, as `PushSender` needs it. */
export function endpoint(kind: "weixin" | "wecom", url: string, receiveId: string, key: PushKey = KEY) {
  return {
    ...({ platform: kind, url, receiveId, mode: "secure", format: "xml" } as const),
    token: key.token.reveal(),
    encodingAesKey: key.encodingAesKey?.reveal() ?? "",
  };
}

/** What is answered to whatever is refused: nobody is told why. */
export const REFUSED = { status: 403, body: "" };

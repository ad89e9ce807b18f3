import { AppAdministration } from "../../src/apps/app-administration.ts";
import { AppDirectory } from "../../src/apps/app-directory.ts";
import { type App, type Authorization, isSlotOf, nameOfApp, type Slot } from "../../src/apps/app.ts";
import { type AuditEntry, SERVICE } from "../../src/audit/audit-entry.ts";
import { generatePushKey } from "../../src/callbacks/push-crypto.ts";
import { CredentialCache } from "../../src/credentials/credential-cache.ts";
import { credentialRef } from "../../src/credentials/credential.ts";
import type { CredentialKind } from "../../src/credentials/kinds.ts";
import { CredentialManager } from "../../src/credentials/manager.ts";
import { Pacing } from "../../src/credentials/pacing.ts";
import type { CredentialSource } from "../../src/credentials/source.ts";
import type { ServiceError } from "../../src/errors.ts";
import { EventBus } from "../../src/events.ts";
import { Login } from "../../src/login/login.ts";
import type { SandboxSwitches } from "../../src/sandbox/sandbox-settings.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { Secret } from "../../src/secret.ts";
import type { Store } from "../../src/store/store.ts";
import { HttpClient } from "../../src/upstream/http-client.ts";
import { wecomLogin, weixinLogin } from "../../src/upstream/login-exchanges.ts";
import {
  corpTokenSource,
  providerTokenSource,
  suiteProtocol,
  suiteTokenSource,
} from "../../src/upstream/suite-api.ts";
import { callbackIpProbe } from "../../src/upstream/token-sources.ts";
import { PATIENT } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { StoreFolder } from "../support/store-folder.ts";

export const PROVIDER = { corpId: "wwprovider00000001", secret: "secret-of-provider" };
export const SUITE = "wwsuite0000000000001";
export const TEMPLATE = "dktemplate0000000001";
export const CORP = "wwcustomer0000000001";
export const MINUTE = 60_000;

/** A provider's apps with real parts on a real database, against a sandbox of its own. */
export class SuiteWorld {
  readonly clock: ManualClock;
  readonly sandbox: Sandbox;
  readonly http: HttpClient;
  readonly directory: AppDirectory;
  readonly administration: AppAdministration;
  readonly credentials: CredentialManager;
  readonly login: Login;
  readonly store: Store;
  /** The corps whose authorisation WeCom called ended. */
  readonly lost: string[] = [];
  readonly #folder: StoreFolder;

  static async create(switches: Partial<SandboxSwitches> = {}): Promise<SuiteWorld> {
    const clock = new ManualClock();
    clock.advance(MINUTE);
    const folder = new StoreFolder(clock);
    const world = new SuiteWorld(clock, folder, await folder.open(), switches);
    for (const app of world.#platforms()) await world.store.apps.create(app, entry(app));
    await world.administration.refresh();
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
    const keys = { token: key.token.reveal(), aesKey: key.encodingAesKey.reveal() };
    const suites = [SUITE, TEMPLATE].map((suiteId) => ({
      ...{ suiteId, secret: `secret-of-${suiteId}`, ...keys },
      corps: [{ corpId: CORP, name: "客户甲", agentId: suiteId === SUITE ? 1_000_010 : 1_000_020 }],
    }));
    const providers = [{ ...PROVIDER, suites }];
    this.sandbox = Sandbox.start({ clock, weixinApps: [], wecomApps: [], providers, switches });
    const events = new EventBus();
    const { wecomUrl, weixinUrl } = this.sandbox;
    this.http = new HttpClient({
      ...{ baseUrls: { weixin: weixinUrl, wecom: wecomUrl }, proxyUrl: undefined, clock, events },
      calls: { count: () => undefined },
      attemptMs: PATIENT.upstreamMs.attempt,
    });
    this.directory = new AppDirectory([], store.digest);
    const memory = new CredentialCache(store.credentials, store.changes, clock);
    this.administration = new AppAdministration({
      ...{ store: store.apps, changes: store.changes, directory: this.directory },
      check: () => Promise.resolve(),
      record: () => Promise.resolve(),
      onCleared: (app) => memory.evictSlots((slot) => isSlotOf(app, slot)),
    });
    const pacing = new Pacing({
      ...{ store: store.pacing, clock, events },
      isOutdated: (slot) => this.administration.isOutdated(slot),
    });
    this.credentials = new CredentialManager({
      ...{ source: this.#source(), store: store.credentials, pacing, probe: callbackIpProbe(this.http) },
      ...{ memory, clock, events, holder: crypto.randomUUID(), deadlineMs: PATIENT.upstreamMs.total },
    });
    this.login = new Login({
      ...{ exchange: weixinLogin(this.http), wecomExchange: wecomLogin(this.http) },
      ...{ tokens: this.credentials, answers: store.loginAnswers, pacing, clock },
      deadlineMs: PATIENT.upstreamMs.total,
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

  /** A new ticket of the suite, as its push brings it. */
  async ticket(suiteId = SUITE): Promise<void> {
    const { ticket } = await this.sandbox.suite(suiteId).pushTicket();
    const now = this.clock.now();
    const name = credentialRef(this.slot(suiteId), "suite_ticket");
    await this.credentials.accept(name, new Secret(ticket), { issuedAt: now, expiresAt: now + 30 * MINUTE });
  }

  /** The corp installs the suite, and its permanent code is held. Returns the corp's app. */
  async install(suiteId = SUITE): Promise<string> {
    const { authCode } = await this.sandbox.suite(suiteId).install(CORP);
    const { signal } = new AbortController();
    const { account, secret, title, facts } = await suiteProtocol(this.http, this.credentials).exchange(
      this.slot(suiteId),
      new Secret(authCode),
      signal,
    );
    if (!secret) throw new Error("there is no permanent code");
    const authorization: Authorization = {
      ...{ platformApp: suiteId, authorizedAt: this.clock.now(), scopes: [], ...facts },
    };
    const managed = { title, isDisabled: false, version: 1 };
    const app: App = { platform: "wecom", id: account, agent: suiteId, secret, managed, authorization };
    await this.store.apps.create(app, entry(app));
    await this.administration.refresh();
    return nameOfApp(app);
  }

  /** Another permanent code, as an event brings it. */
  async changeSecret(name: string, secret: string): Promise<void> {
    const app = this.directory.find(name);
    if (!app?.managed) throw new Error(`there is no ${name}`);
    const managed = { ...app.managed, version: app.managed.version + 1 };
    const changed = { ...app, managed, secret: new Secret(secret) };
    await this.store.apps.update(changed, entry(changed));
    await this.administration.refresh();
  }

  calls(name: string): number {
    return this.sandbox.calls(`/cgi-bin/${name}`, "wecom");
  }

  #source(): CredentialSource {
    const tokens = {
      get: (ref) => this.credentials.get(ref),
      replace: (...asked) => this.credentials.replace(...asked),
    } satisfies Parameters<typeof suiteProtocol>[1];
    const suite = suiteTokenSource(this.http, tokens);
    const provider = providerTokenSource(this.http);
    const corp = corpTokenSource({
      ...{ http: this.http, tokens, secrets: this.store.apps },
      suiteOf: (suiteId) => this.directory.findSlot(suiteId),
      lose: async (slot: Slot, _why: ServiceError) => void this.lost.push(slot.appId),
    });
    const sources = new Map([
      ["suite_access_token", suite],
      ["provider_access_token", provider],
    ]);
    return { obtain: (ref, options) => (sources.get(ref.kind) ?? corp).obtain(ref, options) };
  }

  #platforms(): App[] {
    const managed = { title: undefined, isDisabled: false, version: 1 };
    const suites = [SUITE, TEMPLATE].map((id): App => ({
      ...{ platform: "wecom", id, agent: "@suite", role: "suite", provider: PROVIDER.corpId, managed },
      secret: new Secret(`secret-of-${id}`),
    }));
    const secret = new Secret(PROVIDER.secret);
    return [
      ...suites,
      { platform: "wecom", id: PROVIDER.corpId, agent: "@provider", role: "provider", secret, managed },
    ];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.credentials.settle();
    this.#folder[Symbol.dispose]();
    await this.sandbox.stop();
  }
}

function entry(app: App): AuditEntry {
  return {
    ...SERVICE,
    action: "app.created",
    app: nameOfApp(app),
    outcome: "ok",
    tokenDigest: "",
    detail: {},
  };
}

import { AppDirectory } from "./apps/app-directory.ts";
import { AppAdministration } from "./apps/app-administration.ts";
import { AuditTrail } from "./audit/audit-trail.ts";
import { UsageCounter } from "./audit/usage.ts";
import { isSlotOf } from "./apps/app.ts";
import { UnknownSecrets } from "./apps/unknown-secrets.ts";
import { Access } from "./access/access.ts";
import { createAuthentication } from "./api/authentication.ts";
import { CallerPolicy } from "./access/principal.ts";
import { ClientAdministration } from "./access/client-administration.ts";
import { ClientDirectory } from "./access/client-directory.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { type CredentialSource, GuardedSource } from "./credentials/source.ts";
import { credentialKey } from "./credentials/credential.ts";
import { CredentialCache } from "./credentials/credential-cache.ts";
import { TokenIntrospector } from "./credentials/token-introspector.ts";
import { QuotaGuard } from "./credentials/throttles.ts";
import { Refresher } from "./credentials/renewal.ts";
import { SlotCircuit } from "./credentials/backoff.ts";
import { CredentialManager } from "./credentials/manager.ts";
import { CredentialStates } from "./credentials/status.ts";
import { TokenDelivery, VirtualTokens } from "./credentials/virtual-tokens.ts";
import { TokenResolver } from "./api/token-resolver.ts";
import { dropinEndpoints } from "./api/wechat-endpoints.ts";
import { EventBus } from "./events.ts";
import { Gateway } from "./gateway/gateway.ts";
import { ReplayBudget } from "./gateway/call-body.ts";
import { UserTokenCalls } from "./gateway/user-token-calls.ts";
import { Concurrency } from "./access/limits.ts";
import { WechatFace } from "./http/wechat-face.ts";
import { type ForwardTimes, HttpForwarder } from "./upstream/http-forwarder.ts";
import { Cors, createApp } from "./http/app.ts";
import { type HttpServer, listen } from "./http/server.ts";
import { CardSigner } from "./signing/card-signer.ts";
import { JsApiSigner } from "./signing/js-api-signer.ts";
import { TicketSource } from "./signing/ticket-source.ts";
import { Login } from "./login/login.ts";
import { EXPOSITION_TYPE, mergeSnapshots } from "./ops/exposition.ts";
import type { Snapshot } from "./ops/metrics.ts";
import { Readiness } from "./ops/readiness.ts";
import { ServiceMetrics } from "./ops/service-metrics.ts";
import type { Store } from "./store/store.ts";
import { openSqliteStore, type SqliteStoreOptions } from "./store/sqlite/sqlite-store.ts";
import { CallbackIpProbe, Tickets, WecomTokenSource, WeixinTokenSource } from "./upstream/token-sources.ts";
import { warnOfFilePermissions } from "./store/key-file.ts";
import { HttpClient } from "./upstream/http-client.ts";
import { WecomLogin, WeixinLogin } from "./upstream/login-exchanges.ts";
import { VERSION } from "./version.ts";

/** The binary begins with a patient JIT compiler: most code of a start runs once. After so long it compiles as usual. */
const START_MS = 1000;

/** How long WeChat may take to say whether a new secret is right. */
const CHECK_MS = 8000;

/** What of a service is not configuration, with its defaults. Tests set it. */
export interface ServiceOptions {
  readonly clock?: Clock;
  readonly events?: EventBus;
  /** Called when a new master key was made, with its path. */
  readonly onKeyCreated?: (path: string) => void;
  /** Milliseconds one upstream request may take, and all attempts of one refresh together. */
  readonly upstreamMs?: { readonly attempt: number; readonly total: number };
  /** How long a call through the gateway waits for WeChat. */
  readonly forwardTimes?: Partial<ForwardTimes>;
  /** Which of several workers this is, for its own series in the metrics; default "1". */
  readonly worker?: string;
  /** Whether other processes listen on the same port; default false. */
  readonly sharesPort?: boolean;
  /** How many processes there are, this one included; default 1. What is bounded is divided among them. */
  readonly workers?: number;
  /** Whether this process renews credentials ahead of time, and prunes; default true. One of several workers is enough. */
  readonly refreshes?: boolean;
  /** Whether it serves the command line of this machine alone, without a port; default false. */
  readonly isLocal?: boolean;
  /** The snapshots of every worker, this one's included, for `/metrics`; default this one's alone. */
  readonly gatherSnapshots?: (own: Snapshot) => Promise<readonly Snapshot[]>;
}

/**
 * Makes the store ready for processes that will open it at the same moment: its file, its key, its tables and apps.
 *
 * @throws {ServiceError} `store_unusable`.
 */
export async function prepareStore(config: Config, onKeyCreated: (path: string) => void): Promise<void> {
  const store = await openStore(config, systemClock, { onKeyCreated });
  try {
    await store.apps.replaceAll(config.apps);
  } finally {
    store.close();
  }
}

/**
 * Opens the store, joins every part and listens. The one place where adapters meet features.
 *
 * @throws {ServiceError} `store_unusable` or `invalid_config`; then nothing is left open.
 */
export async function startService(config: Config, options: ServiceOptions = {}): Promise<Service> {
  const { clock = systemClock, events = new EventBus(), upstreamMs } = options;
  for (const message of config.warnings) events.emit({ type: "config.warning", message });
  const store = await openStore(config, clock, {
    onKeyCreated: (path) => options.onKeyCreated?.(path),
    onDamaged: (name) => events.emit({ type: "store.damaged", key: credentialKey(name) }),
    onDamagedApp: (key) => events.emit({ type: "store.damaged", key }),
    onAuditFailed: (code) => events.emit({ type: "audit.failed", code }),
  });
  for (const message of warnOfFilePermissions([config.databasePath, config.masterKeyFile])) {
    events.emit({ type: "config.warning", message });
  }
  try {
    const { isLocal = false } = options;
    // Who types a command may lack the service's variables: then what the service wrote down holds, and is left alone.
    if (!isLocal) await store.apps.replaceAll(config.apps);
    const held = isLocal ? (await store.apps.list()).filter(({ managed }) => !managed) : config.apps;
    const directory = new AppDirectory(held, store.digest);
    const clients = new ClientDirectory(store.clients, clock);
    const usage = new UsageCounter(store.usage, clock);
    events.subscribe(usage.listen);
    const { sharesPort = false, refreshes = true, workers = 1 } = options;
    const { auditRetentionDays: retentionDays, gatewayReplayBytes: replayBytes } = config;
    const audit = new AuditTrail({
      store: store.audit,
      clock,
      events,
      workers,
      retentionDays,
      prunes: refreshes && !isLocal,
    });
    events.subscribe(audit.listen);
    const readiness = new Readiness({ probe: () => store.probe(), auditFault: () => audit.fault(), clock });
    events.subscribe(readiness.listen);
    const budget = new ReplayBudget({ each: replayBytes.each, total: replayBytes.total / workers });
    const metrics = new ServiceMetrics({
      worker: options.worker ?? "1",
      version: VERSION,
      appCount: () => directory.size,
      clock,
      listLives: () => store.listLives(),
      isConfigured: (slot) => directory.slotNamed(slot) !== undefined,
      isHeldApp: (name) => directory.find(name) !== undefined,
      replayBytes: () => budget.held,
    });
    events.subscribe(metrics.listen);
    const unknownSecrets = new UnknownSecrets(
      clock,
      async (slot) => (await store.credentials.find({ slot, kind: "access_token" })).wasSaved,
    );
    const http = new HttpClient({
      baseUrls: config.baseUrls,
      weixinFallbackUrls: config.weixinFallbackUrls,
      proxyUrl: config.upstreamProxy,
      clock,
      events,
      ...(upstreamMs ? { attemptMs: upstreamMs.attempt } : {}),
    });
    const plainSources = { weixin: new WeixinTokenSource(http), wecom: new WecomTokenSource(http) };
    const tokenSources = {
      weixin: new GuardedSource(plainSources.weixin, unknownSecrets),
      wecom: new GuardedSource(plainSources.wecom, unknownSecrets),
    };
    const source: CredentialSource = {
      obtain: (ref, options) =>
        (ref.kind === "access_token" ? tokenSources[ref.slot.platform] : ticketSource).obtain(ref, options),
    };
    const memory = new CredentialCache(store.credentials, clock);
    const credentials = new CredentialManager({
      source,
      store: store.credentials,
      pauses: store.pauses,
      forced: store.forcedRefreshes,
      probe: new CallbackIpProbe(http),
      memory,
      clock,
      events,
      record: (entry) => audit.record(entry),
      isOutdated: (slot) => administration.isOutdated(slot),
      holder: crypto.randomUUID(),
      onObtained: (ref, held) => ref.slot.configured && refresher.plan(ref, held),
      isNearQuota: (name) => quota.isShort(name),
      ...(upstreamMs ? { deadlineMs: upstreamMs.total } : {}),
    });
    const virtualTokens = new VirtualTokens(store.virtualTokenKey, clock);
    const ticketSource = new TicketSource(new Tickets(http), credentials);
    const quota = new QuotaGuard(usage, events);
    const refresher = new Refresher({
      manager: credentials,
      memory,
      store: store.credentials,
      slotOf: (name) => directory.slotNamed(name),
      clock,
      idleAfterMs: config.refreshIdleAfterMs,
    });
    const administration = new AppAdministration({
      store: store.apps,
      directory,
      clock,
      // Past what is remembered of unknown secrets: an administrator asks again because something was put right.
      check: (slot) =>
        plainSources[slot.platform].obtain(
          { slot, kind: "access_token" },
          { signal: AbortSignal.timeout(upstreamMs?.total ?? CHECK_MS) },
        ),
      onForgotten: (app) => memory.forgetSlots((slot) => isSlotOf(app, slot)),
    });
    // Before anybody is answered: who may not ask any more must not be let in.
    await Promise.all([administration.refresh(), clients.refresh()]);
    const access = new Access({
      directory,
      clients,
      clock,
      anonymous: config.anonymous,
      anonymousPerSecond: config.anonymousRateLimit,
      workers,
    });
    const introspector = new TokenIntrospector({
      virtualTokens,
      index: store.issuedTokens,
      directory,
      memory,
      clock,
    });
    const cors = new Cors(config.corsOrigins);
    const authentication = createAuthentication(new CallerPolicy(config), access, (request) =>
      cors.allowsOrigin(request),
    );
    const parts = {
      authentication,
      access,
      cors,
      visibility: config.visibility,
      audit,
      auditStore: store.audit,
      directory,
      administration,
      clients,
      clientAdministration: new ClientAdministration({ store: store.clients, directory: clients, clock }),
      credentials,
      delivery: new TokenDelivery({ credentials, virtualTokens, clock }),
      login: new Login({
        exchange: new WeixinLogin(http),
        wecomExchange: new WecomLogin(http),
        tokens: credentials,
        answers: store.loginAnswers,
        circuit: new SlotCircuit(store.pauses, clock, (slot) => administration.isOutdated(slot)),
        unknownSecrets,
        clock,
      }),
      signer: new JsApiSigner(credentials, clock),
      cards: new CardSigner(credentials, clock),
      states: new CredentialStates({
        facts: store.credentialFacts,
        pauses: store.pauses,
        memory,
        usage,
        forced: store.forcedRefreshes,
        clock,
        idleAfterMs: config.refreshIdleAfterMs,
      }),
      ops: {
        notReady: () => readiness.reasons(),
        metrics: async () => {
          const own = await metrics.snapshot();
          const all = (await options.gatherSnapshots?.(own)) ?? [own];
          return { text: mergeSnapshots(all), type: EXPOSITION_TYPE };
        },
      },
      events,
      clock,
    };
    const app = createApp(parts);
    const { baseUrls, upstreamProxy: proxyUrl } = config;
    const forwarder = new HttpForwarder({ baseUrls, proxyUrl, times: options.forwardTimes ?? {} });
    const face = new WechatFace({
      ...parts,
      holders: new TokenResolver({ access, introspector }),
      endpoints: dropinEndpoints(parts),
      gateway: new Gateway({ ...parts, forwarder, concurrency: new Concurrency(workers), budget }),
      userTokenCalls: new UserTokenCalls({ access, forwarder }),
    });
    const server = isLocal ? noopServer : listen(app, { ...config, isShared: sharesPort }, face);
    usage.start();
    audit.start();
    metrics.start();
    clients.start();
    administration.start();
    if (refreshes && !isLocal) await refresher.start();
    setTimeout(() => Bun.unsafe.setJITPolicy(1), START_MS).unref();
    if (!isLocal) events.emit({ type: "service.started", url: server.url, version: VERSION });
    return new RunningService(server, events, {
      routes: [...app.routes.map(({ method, path }) => ({ method, path })), ...face.routes],
      finish: async () => {
        await refresher.stop();
        await credentials.settle();
        await usage.stop();
        administration.stop();
        await clients.stop();
        await audit.stop();
        metrics.stop();
      },
      close: () => store.close(),
      tick: () => refresher.tick(),
      snapshot: () => metrics.snapshot(),
      handle: (request) => {
        authentication.markLocal(request);
        return app.handle(request);
      },
    });
  } catch (error) {
    store.close();
    throw error;
  }
}

/** What the command line asks on this machine: the routes of a service without a port, as an administrator. */
export interface LocalService {
  handle(request: Request): Promise<Response>;
  close(): Promise<void>;
}

/**
 * Opens the database of `config` for the command line. Services may run on it meanwhile.
 *
 * @throws {ServiceError} `store_unusable` or `invalid_config`.
 */
export async function openLocalService(
  config: Config,
  options: Pick<ServiceOptions, "onKeyCreated"> = {},
): Promise<LocalService> {
  const service = await startService(config, { ...options, isLocal: true });
  return { handle: (request) => service.handle(request), close: () => service.stop("done") };
}

function openStore(
  config: Config,
  clock: Clock,
  callbacks: Pick<SqliteStoreOptions, "onKeyCreated" | "onDamaged" | "onDamagedApp" | "onAuditFailed">,
): Promise<Store> {
  const { databasePath: path, masterKey, masterKeyFile } = config;
  return openSqliteStore({ path, masterKey, masterKeyFile, clock, ...callbacks });
}

/** How long a stop waits for what is under way. */
const STOP_MS = 10_000;

/** In the place of a server, for a service that only the command line asks. */
const noopServer: HttpServer = { url: "", drain: async () => undefined, close: async () => undefined };

/** A route by its method and its path, with `:name` for what varies. */
export type Route = Readonly<Record<"method" | "path", string>>;

/** A running service. */
export interface Service {
  readonly url: string;
  /** Every route that it has; of paths of WeChat's, `*` stands for any method, and at the end for any path. */
  readonly routes: readonly Route[];
  /** Does now what the refresher does every second. */
  tick(): Promise<void>;
  /** What this process has measured, for one text over all workers: see `mergeSnapshots`. */
  snapshot(): Promise<Snapshot>;
  /** Answers a request of this process itself, as an administrator: it holds the database and its key anyway. */
  handle(request: Request): Promise<Response>;
  /** Finishes what is under way (10 s at most), then gives the port and the database back. Idempotent. */
  stop(reason: string): Promise<void>;
}

/** What a running service does with its inner parts. */
interface ServiceInternals {
  readonly routes: readonly Route[];
  /** Ends what runs by itself, and resolves when nothing is under way any more. */
  readonly finish: () => Promise<void>;
  readonly close: () => void;
  readonly tick: () => Promise<void>;
  readonly snapshot: () => Promise<Snapshot>;
  /** Answers a request of the command line on this machine, as an administrator. */
  readonly handle: (request: Request) => Promise<Response>;
}

/** A service that runs: stopping it is the one thing that it does itself. */
class RunningService implements Service {
  readonly url: string;
  readonly #server: HttpServer;
  readonly #events: EventBus;
  readonly #inside: ServiceInternals;
  #stopped: Promise<void> | undefined;

  constructor(server: HttpServer, events: EventBus, inside: ServiceInternals) {
    this.url = server.url;
    this.#server = server;
    this.#events = events;
    this.#inside = inside;
  }

  get routes(): readonly Route[] {
    return this.#inside.routes;
  }

  tick(): Promise<void> {
    return this.#inside.tick();
  }

  snapshot(): Promise<Snapshot> {
    return this.#inside.snapshot();
  }

  handle(request: Request): Promise<Response> {
    return this.#inside.handle(request);
  }

  stop(reason: string): Promise<void> {
    this.#stopped ??= this.#stop(reason);
    return this.#stopped;
  }

  async #stop(reason: string): Promise<void> {
    this.#events.emit({ type: "service.stopping", reason });
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, STOP_MS);
    await Promise.race([this.#server.drain().then(this.#inside.finish), limit.promise]);
    clearTimeout(timer);
    await this.#server.close();
    this.#inside.close();
    this.#events.emit({ type: "service.stopped" });
  }
}

import { hostname } from "node:os";
import { join } from "node:path";
import { AppDirectory } from "./apps/app-directory.ts";
import { PublicSide } from "./apps/public-side.ts";
import { AppAdministration } from "./apps/app-administration.ts";
import { AuditTrail } from "./audit/audit-trail.ts";
import { CallCounter } from "./audit/call-counts.ts";
import { type App, appName, isSlotOf, nameOfApp } from "./apps/app.ts";
import { Access } from "./access/access.ts";
import { Networks } from "./access/networks.ts";
import { OriginPolicy } from "./access/origin.ts";
import { CallbackAdministration } from "./callbacks/callback-administration.ts";
import { ClientAdministration } from "./access/client-administration.ts";
import { ClientDirectory } from "./access/client-directory.ts";
import { ConsoleLinks } from "./access/console-links.ts";
import { ConsoleSessions } from "./access/console-sessions.ts";
import { ConsoleFace } from "./api/console.ts";
import { ConsoleCookies } from "./api/console-cookie.ts";
import { EnvironmentAdministration, EnvironmentDirectory } from "./access/environments.ts";
import { AuthorizationLinks } from "./platforms/authorization-links.ts";
import { PlatformAdministration } from "./platforms/platform-administration.ts";
import { type Clock, systemClock } from "./clock.ts";
import { commandLineUser, type Config } from "./config.ts";
import { AppHistory } from "./credentials/app-history.ts";
import { type CredentialSource, ticketSource } from "./credentials/source.ts";
import { credentialKey, type CredentialName, type CredentialRef } from "./credentials/credential.ts";
import { AppIndex } from "./credentials/app-index.ts";
import { CredentialCache } from "./credentials/credential-cache.ts";
import { LostCredentials } from "./credentials/lost-credentials.ts";
import { TokenIntrospector, TokenResolver } from "./credentials/token-resolver.ts";
import { Renewal } from "./credentials/renewal.ts";
import { Pacing } from "./credentials/pacing.ts";
import { RefreshLog } from "./credentials/refresh-log.ts";
import { KINDS } from "./credentials/kinds.ts";
import { CredentialManager } from "./credentials/manager.ts";
import { CredentialStates } from "./credentials/status.ts";
import { CredentialWaits } from "./credentials/credential-waits.ts";
import { VirtualGrants } from "./credentials/virtual-grants.ts";
import { TokenDelivery, VirtualTokens } from "./credentials/virtual-tokens.ts";
import { envelopeResponse, newTraceId } from "./api/answer.ts";
import { dropinEndpoints } from "./api/wechat-endpoints.ts";
import { failureEnvelope } from "./envelope.ts";
import { ServiceError } from "./errors.ts";
import { EventBus, failureFacts } from "./events.ts";
import { Gateway } from "./gateway/gateway.ts";
import { PlatformCalls } from "./gateway/platform-calls.ts";
import { Concurrency } from "./access/limits.ts";
import { Cors } from "./api/cors.ts";
import { EventFeed } from "./api/event-feed.ts";
import { EventStreams } from "./api/event-streams.ts";
import { isForOperators } from "./api/service-routes.ts";
import { GatewayPaths } from "./api/gateway.ts";
import { WechatFace } from "./api/wechat.ts";
import { ConnectProxy } from "./http/connect-proxy.ts";
import { Door, type DoorOptions } from "./http/door.ts";
import { consentPages } from "./upstream/consent-pages.ts";
import { type ForwardTimes, HttpForwarder } from "./upstream/http-forwarder.ts";
import { ElysiaFace } from "./http/elysia-face.ts";
import { listen, type Serve } from "./http/server.ts";
import type { ChannelSender } from "./ops/notifications.ts";
import { LoginCodes } from "./oauth/login-codes.ts";
import { RedirectOrigins } from "./oauth/redirect-origins.ts";
import { VerifyFiles } from "./oauth/verify-files.ts";
import { WebLogins } from "./oauth/web-logins.ts";
import { AuthorizationPages } from "./api/authorization-pages.ts";
import { WebLoginFace } from "./api/web-logins.ts";
import { PageSigner } from "./signing/page-signer.ts";
import { SignatureDebugger } from "./signing/signature-debugger.ts";
import { Login } from "./login/login.ts";
import { UserTokens } from "./login/user-tokens.ts";
import { EXPOSITION_TYPE, mergeSnapshots } from "./ops/exposition.ts";
import { MAX_APPS, type Snapshot } from "./ops/metrics.ts";
import { Nodes } from "./ops/nodes.ts";
import { platformStates } from "./ops/platform-states.ts";
import { faultsOfAccess, Readiness } from "./ops/readiness.ts";
import { ServiceMetrics } from "./ops/service-metrics.ts";
import { buildAlarms } from "./service/alarm-parts.ts";
import { buildBackups } from "./service/backup-parts.ts";
import { buildCallbacks } from "./service/callback-parts.ts";
import { buildPlatforms } from "./service/platform-parts.ts";
import { RunningService, type Service, type ServiceParts, start } from "./service/running-service.ts";
import type { Store } from "./store/store.ts";
import { ClusterClock } from "./store/postgres/cluster-clock.ts";
import { patiently, type Queried } from "./store/sql.ts";
import { openSqliteStore } from "./store/sqlite/sqlite-store.ts";
import {
  callbackIpProbe,
  ticketExchange,
  wecomTokenSource,
  weixinTokenSource,
} from "./upstream/token-sources.ts";
import { warnOfFilePermissions } from "./store/key-file.ts";
import { Addresses } from "./upstream/addresses.ts";
import { HttpClient } from "./upstream/http-client.ts";
import { wecomLogin, weixinLogin } from "./upstream/login-exchanges.ts";
import { VERSION } from "./version.ts";

/** How long WeChat may take to say whether a new secret is right. */
const CHECK_MS = 8000;
const STOP_MS = 10_000;
/** As many apps as a line of the log can name. */
const MAX_LISTED = 20;

const ALSO_REGISTERED =
  "该应用在环境变量和数据库中都有，以环境变量为准；请删除其一 (it is in the environment and in the database, and the environment wins; remove one of them):";
const NO_APPS =
  "未持有任何应用：请设置 WEIXIN_SECRET_<appid> 或 WECOM_SECRET_<corpid>_<agent>，或执行 accesstoken apps add；否则每次调用都须带secret (no app is held: set one of these, or use accesstoken apps add; else every call must send its secret)";
const SETUP_NEEDED =
  "尚无管理员；在本机执行 accesstoken console setup 获取设置控制台的链接 (there is no administrator yet: accesstoken console setup on this machine makes a link to set the console up)";

/** Options beside the configuration. */
export interface ServiceOptions {
  readonly clock?: Clock;
  readonly events?: EventBus;
  /** Called with the path of a newly created master key. */
  readonly onKeyCreated?: (path: string) => void;
  /** See `UnlockOptions.newDatabase`. */
  readonly newDatabase?: boolean;
  /** Called with the console's set-up link when the database is new; without it the log says how to get one. */
  readonly onSetupLink?: (url: string) => void;
  /** Milliseconds one upstream request may take, and a whole login or all attempts of one refresh together. */
  readonly upstreamMs?: { readonly attempt: number; readonly total: number };
  /** How long a call through the gateway waits for WeChat. */
  readonly forwardTimes?: Partial<ForwardTimes>;
  /** How long the primary of a push may take, in milliseconds; default 4500. */
  readonly pushAnswerMs?: number | undefined;
  /** How long a call through the gateway waits for its turn among its caller's; see `Concurrency`. */
  readonly turnMs?: { readonly calls: number; readonly uploads: number };
  /** Which of several workers this is, for its own series in the metrics; default "1". */
  readonly worker?: string;
  /** Whether other processes listen on the same port; default false. */
  readonly sharesPort?: boolean;
  /** How many processes there are, this one included; default 1. Limits are divided among them. */
  readonly workers?: number;
  /** Whether it serves the command line of this machine alone, without a port; default false. */
  readonly isLocal?: boolean;
  /** In the place of what sends alarms to channels. */
  readonly channelSender?: ChannelSender;
  /** How long a stop waits for requests under way, in milliseconds; default 10,000. */
  readonly stopMs?: number;
  /** The snapshots of every worker, this one's included, for `/metrics`; default this one's alone. */
  readonly gatherSnapshots?: (own: Snapshot) => Promise<readonly Snapshot[]>;
}

/**
 * Creates the store's file, key, tables and apps before several processes open it at once.
 *
 * @throws {ServiceError} `store_unusable`.
 */
export async function prepareStore(
  config: Config,
  options: Pick<ServiceOptions, "events" | "onKeyCreated" | "newDatabase">,
): Promise<void> {
  await withStore(config, (store) => store.apps.replaceAll(config.apps), options);
}

/** Runs `work` with the store of `config`, and closes it. Throws `store_unusable`, and what `work` throws. */
export async function withStore<T>(
  config: Config,
  work: (store: Store) => Promise<T>,
  options: Pick<ServiceOptions, "events" | "onKeyCreated" | "newDatabase"> = {},
): Promise<T> {
  const store = await openStore(config, systemClock, options);
  try {
    return await work(store);
  } finally {
    store.close();
  }
}

/** Of the files with secrets those that others may read, a line for each with what to do. */
export function filesInDoubt({ databasePath, masterKeyFile, postgres, connectProxy }: Config): string[] {
  const files = [...(databasePath ? [databasePath] : (postgres?.passwordFiles ?? [])), masterKeyFile];
  if (connectProxy) files.push(join(connectProxy.folder, "server.key"));
  return warnOfFilePermissions(files);
}

/**
 * Opens the store, wires every part and listens.
 *
 * @throws {ServiceError} `store_unusable` or `invalid_config`; then nothing is left open.
 */
export async function startService(config: Config, options: ServiceOptions = {}): Promise<Service> {
  const begin = async () => start(await build(config, options));
  return config.postgres ? patiently(begin, { clock: options.clock ?? systemClock }) : begin();
}

/**
 * Opens the store and wires every part. The one place where adapters meet features.
 *
 * @throws {ServiceError} `store_unusable` or `invalid_config`; then nothing is left open.
 */
export async function build(config: Config, options: ServiceOptions = {}): Promise<ServiceParts> {
  const { events = new EventBus(), upstreamMs } = options;
  const { clock, measure, offsetMs } = clockOf(config, options);
  for (const message of config.warnings) events.emit({ type: "config.warning", message });
  let isNew = false;
  events.subscribe(({ type }) => (isNew ||= type === "database.created"));
  const store = await openStore(config, clock, { ...options, events }, measure);
  const { postgres } = config;
  for (const message of filesInDoubt(config)) events.emit({ type: "config.warning", message });
  try {
    const { isLocal = false } = options;
    // The command line may run without the service's variables, so it takes the apps that the service has stored.
    for (const app of isLocal ? [] : await store.apps.replaceAll(config.apps)) {
      const name = nameOfApp(app);
      events.emit({
        type: "config.warning",
        message: `${name}: ${ALSO_REGISTERED} accesstoken apps remove ${name}`,
      });
    }
    const held = isLocal ? (await store.apps.list()).filter(({ managed }) => !managed) : config.apps;
    const directory = new AppDirectory(held, store.digest);
    const publicSide = new PublicSide(config.publicSide, directory);
    const clients = new ClientDirectory(store.clients, store.changes, clock, (error) =>
      events.emit({ type: "access.unreadable", ...failureFacts(error) }),
    );
    const environments = new EnvironmentDirectory(store.environments, store.changes);
    const calls = new CallCounter(store.callCounts, clock, (platform, appId) =>
      directory.has(platform, appId),
    );
    const { sharesPort = false, workers = 1 } = options;
    const nodes = new Nodes({
      store: store.nodes,
      id: crypto.randomUUID(),
      host: hostname(),
      pid: process.pid,
      version: VERSION,
      offsetMs,
      workers,
      clock,
      events,
    });
    const audit = new AuditTrail(store.audit, clock, events, config.auditRetentionDays);
    events.subscribe((event) => {
      if (event.type === "store.history_lost" && event.from !== undefined && event.to !== undefined)
        void audit.recordLoss(event.from, event.to);
    });
    const readiness = new Readiness(
      async () => [...(await store.probe()), ...faultsOfAccess(await clients.unreadableMs())],
      clock,
    );
    const readPlatforms = () => platformStates(directory, store, clock.now());
    const metrics = new ServiceMetrics({
      worker: options.worker ?? "1",
      version: VERSION,
      appCount: () => directory.size,
      listApps: () => directory.list({ limit: MAX_APPS }),
      cluster: () => ({ nodes: nodes.count, offsetMs: offsetMs(), isListening: store.isListening() }),
      clock,
      listLives: () => store.listLives(),
      queueFigures: () => store.deliveries.figures(),
      listBlocked: async () =>
        (await pacing.blocked()).flatMap(({ slot: { name, ...corp }, class: why }) => {
          const held = name === undefined ? undefined : directory.slotNamed({ ...corp, name });
          const apps = name === undefined ? directory.namesOfCorp(corp.appId) : held ? [appName(held)] : [];
          return apps.map((app) => ({ app, class: why }));
        }),
      countWaitingLogins: () => store.webLogins.count(clock.now()),
      countListeners: () => ({ streams: streams.size, sessions: sessions.list().length }),
      platforms: readPlatforms,
      index: () => index,
      lastAuditId: async () => (await store.audit.list({}, { limit: 1 }))[0]?.id ?? 0,
      milestones: store.milestones,
      makesBackups: config.backups !== undefined,
      isConfigured: (slot) => directory.slotNamed(slot) !== undefined,
      isHeldApp: (name) => directory.find(name) !== undefined,
    });
    events.subscribe(metrics.listen);
    const pacing = new Pacing({
      store: store.pacing,
      clock,
      events,
      calls,
      isOutdated: (...asked) => administration.isOutdated(...asked),
      isKnown: async (slot) => (await store.credentials.find({ slot, kind: "access_token" })).wasSaved,
    });
    const { upstreamIpFamily } = config;
    // A proxy looks names up itself.
    const addresses = upstreamIpFamily && !config.upstreamProxy ? new Addresses(upstreamIpFamily) : undefined;
    const http = new HttpClient({
      baseUrls: config.baseUrls,
      weixinFallbackUrls: config.weixinFallbackUrls,
      proxyUrl: config.upstreamProxy,
      addresses,
      clock,
      events,
      calls,
      ...(upstreamMs ? { attemptMs: upstreamMs.attempt } : {}),
    });
    const tokenSources = { weixin: weixinTokenSource(http), wecom: wecomTokenSource(http) };
    const sourceOf = (ref: CredentialRef) =>
      platforms.sourceOf(ref) ??
      (KINDS.get(ref).obtainedBy === "secret" ? tokenSources[ref.slot.platform] : tickets);
    const source: CredentialSource = {
      ready: async (ref) => sourceOf(ref).ready?.(ref),
      obtain: (ref, options) => sourceOf(ref).obtain(ref, options),
    };
    const memory = new CredentialCache(store.credentials, store.changes, clock);
    const lost = new LostCredentials({
      memory,
      store: store.credentials,
      changes: store.changes,
      clock,
      events,
    });
    const refreshLog = new RefreshLog(store.refreshLog, clock, hostname());
    const credentials = new CredentialManager({
      source,
      store: store.credentials,
      pacing,
      probe: callbackIpProbe(http),
      memory,
      clock,
      events,
      record: (entry) => audit.record(entry),
      log: refreshLog,
      holder: crypto.randomUUID(),
      ...(upstreamMs ? { deadlineMs: upstreamMs.total } : {}),
    });
    const virtualTokens = new VirtualTokens(store.virtualTokenKeys, clock);
    const tickets = ticketSource(ticketExchange(http), credentials);
    const renewal = new Renewal({
      manager: credentials,
      memory,
      store: store.credentials,
      pacing,
      slotOf: (name) => directory.slotNamed(name),
      clock,
      idleAfterMs: config.refreshIdleAfterMs,
    });
    const onCleared = (app: App) => memory.evictSlots((slot) => isSlotOf(app, slot));
    const administration = new AppAdministration({
      store: store.apps,
      changes: store.changes,
      directory,
      check: async (slot) => {
        const ref = { slot, kind: "access_token" } as const;
        await pacing.admit("secret_check", ref);
        const signal = AbortSignal.timeout(upstreamMs?.total ?? CHECK_MS);
        return tokenSources[slot.platform].obtain(ref, { signal });
      },
      record: (entry) => audit.record(entry),
      onCleared,
    });
    const platforms = buildPlatforms({
      ...{ store, directory, administration, credentials, pacing, onCleared, http, clock, events },
    });
    const redirectOrigins = new RedirectOrigins(store.redirectOrigins, store.changes);
    const verifyFiles = new VerifyFiles(store.redirectOrigins, store.changes);
    // Before the first request: a revoked caller must not be admitted.
    const firstRead = Promise.all([clients.refresh(), environments.refresh()]).catch((error: unknown) => {
      // A service that knows no key admits nobody by one, and says in /readyz what it lacks.
      if (isLocal) throw error;
    });
    await Promise.all([administration.refresh(), firstRead]);
    // Until they can be read no web login is let through.
    await Promise.all([redirectOrigins.refresh(), verifyFiles.refresh()]).catch(() => undefined);
    if (!isLocal && directory.size === 0) events.emit({ type: "config.warning", message: NO_APPS });
    const sessions = new ConsoleSessions(store.consoleSessions, store.changes, clock);
    if (config.hasConsole && !isLocal) await sessions.refresh().catch(() => undefined);
    const access = new Access({
      directory,
      clients,
      sessions,
      clock,
      anonymous: config.anonymous,
      anonymousPerSecond: config.anonymousRateLimit,
      processes: () => nodes.count,
    });
    const introspector = new TokenIntrospector({
      virtualTokens,
      index: store.issuedTokens,
      directory,
      changes: store.changes,
      clock,
    });
    const virtualGrants = new VirtualGrants({ key: store.virtualGrantKey, access, apps: store.apps });
    const pushes = buildCallbacks({
      ...{ config, store, directory, audit, clock, events },
      commands: platforms.events,
      answerMs: options.pushAnswerMs,
    });
    const backups = buildBackups({ config, store, clock, events });
    await pushes.callbacks.refresh().catch((error: unknown) => {
      // As with clients: what can't be read is verified by nothing, and /readyz says why.
      if (isLocal) throw error;
    });
    const states = new CredentialStates({
      facts: store.credentialFacts,
      pacing,
      memory,
      calls,
      clock,
      idleAfterMs: config.refreshIdleAfterMs,
    });
    const feed = new EventFeed({
      changes: store.changes,
      directory,
      states,
      refresh: () => Promise.all([clients.refresh(), administration.refresh()]),
    });
    const streams = new EventStreams({ access, feed, clock, events });
    const waits = new CredentialWaits(store.changes, clock);
    const cors = new Cors(() => clients.settings.corsOrigins ?? config.corsOrigins);
    const userTokens = new UserTokens(store.userTokens, clock, events);
    const webLogins = new WebLogins({
      store: store.webLogins,
      origins: redirectOrigins,
      environments,
      directory,
      publicSide,
      loginUrls: config.loginUrls,
      processes: () => nodes.count,
      clock,
      events,
    });
    const clientAdministration = new ClientAdministration({
      store: store.clients,
      directory: clients,
      environments,
      clock,
    });
    const links = new ConsoleLinks({
      store: store.consoleSessions,
      clients,
      administration: clientAdministration,
      clock,
    });
    const index = new AppIndex({
      directory,
      facts: store.credentialFacts,
      pacing: store.pacing,
      calls: store.callCounts,
      changes: store.changes,
      clock,
    });
    // Of several processes the first has what is of the whole machine.
    const isFirst = (options.worker ?? "1") === "1";
    const alarmSide = buildAlarms({
      ...{ config, store, directory, publicSide, clients, index, states, pacing, readiness, clock, events },
      ...{ isFirst, sender: options.channelSender },
    });
    const { authorizations, preAuthCode } = platforms.parts;
    const authorizationLinks = new AuthorizationLinks({
      ...{ store: store.authorizationLinks, authorizations, directory, publicSide, clock },
      pages: consentPages({
        ...{ http, tokens: credentials, preAuthCode, directory, loginUrls: config.loginUrls },
      }),
      record: (entry) => audit.record(entry),
      processes: () => nodes.count,
    });
    const parts = {
      access,
      index,
      ...alarmSide.parts,
      ...platforms.parts,
      database: config.postgres ? "PostgreSQL" : "SQLite",
      ...{ callbacks: pushes.callbacks, queue: pushes.queue, pulled: pushes.pulled },
      cors,
      visibility: config.visibility,
      environment: config,
      host: hostname(),
      audit,
      auditStore: store.audit,
      milestones: store.milestones,
      listNodes: () => nodes.list(),
      directory,
      administration,
      clients,
      clientAdministration,
      sessions,
      links,
      environments,
      environmentAdministration: new EnvironmentAdministration({
        store: store.environments,
        directory: environments,
        clock,
      }),
      callbacks: pushes.callbacks,
      callbackAdministration: new CallbackAdministration(store.callbackSettings, pushes.callbacks),
      platformAdministration: new PlatformAdministration(administration, directory, clock),
      authorizationLinks,
      callbackSettings: store.callbackSettings,
      credentials,
      delivery: new TokenDelivery({ credentials, virtualTokens, clock }),
      virtualGrants,
      login: new Login({
        exchange: weixinLogin(http),
        wecomExchange: wecomLogin(http),
        tokens: credentials,
        directory,
        answers: store.loginAnswers,
        pacing,
        clock,
        ...(upstreamMs ? { deadlineMs: upstreamMs.total } : {}),
      }),
      userTokens,
      loginCodes: new LoginCodes(store.webLogins, environments, clock),
      redirectOrigins,
      verifyFiles,
      originStore: store.redirectOrigins,
      publicSide,
      webLogins,
      signer: new PageSigner(
        credentials,
        clock,
        (slot) => directory.find(appName(slot))?.managed?.jsDomains ?? [],
      ),
      signatureDebugger: new SignatureDebugger({
        ...{ credentials, memory, directory, clock },
        processes: () => nodes.count,
      }),
      states,
      platforms: readPlatforms,
      streams,
      waits,
      history: new AppHistory({ log: store.refreshLog, auditStore: store.audit, clock }),
      ops: {
        notReady: () => readiness.reasons(),
        backups: () => backups.state(),
        metrics: async () => {
          const own = await metrics.snapshot();
          const all = (await options.gatherSnapshots?.(own)) ?? [own];
          return { text: mergeSnapshots(all), type: EXPOSITION_TYPE };
        },
      },
      events,
      clock,
      calls,
    };
    const { baseUrls, upstreamProxy: proxyUrl } = config;
    const times = options.forwardTimes ?? {};
    const forwarder = new HttpForwarder({ baseUrls, proxyUrl, addresses, times });
    const resolver = new TokenResolver(access, introspector, events);
    const concurrency = new Concurrency(() => nodes.count, options.turnMs);
    const platformCalls = new PlatformCalls({ ...parts, apps: store.apps });
    const gateway = new Gateway({ ...parts, resolver, forwarder, concurrency, platformCalls });
    const wechat = new WechatFace({
      access,
      resolver,
      endpoints: dropinEndpoints(parts),
      others: new GatewayPaths(access, gateway, forwarder, concurrency, userTokens),
      clock,
    });
    const elysia = new ElysiaFace({
      ...parts,
      wechat,
      checkCall: (...asked) => wechat.check(...asked),
    });
    const logins = new WebLoginFace(parts);
    const consent = new AuthorizationPages({ links: authorizationLinks, access });
    const cookies = config.hasConsole ? new ConsoleCookies(config.trustedProxies) : undefined;
    // Loaded by whoever opens it.
    const loadConsole = async () => (await import("./console/assets.ts")).loadConsole();
    const pages = cookies && new ConsoleFace({ loadConsole, access, sessions, links, cookies, clock });
    const routes = [
      ...(pages?.routes ?? []),
      ...elysia.routes,
      ...logins.routes,
      ...consent.routes,
      ...pushes.face.routes,
      ...wechat.routes,
    ];
    metrics.showRoutes(routes.map(({ path }) => path));
    const doorOptions: DoorOptions = {
      faces: [elysia, ...(pages ? [pages] : []), logins, consent, pushes.face, wechat, elysia],
      access,
      origins: new OriginPolicy(config),
      cors,
      cookies,
      publicSide,
      audit,
      events,
      clock,
      logsRequests: config.logLevel === "debug",
      ...(isLocal ? { localUser: commandLineUser() } : {}),
    };
    const door = new Door(doorOptions);
    let isOutdated = false;
    events.subscribe(({ type }) => {
      if (type !== "service.outdated") return;
      isOutdated = true;
      // They come back to a process that answers.
      streams.stop();
      waits.stop();
    });
    const cutOffAfterMs = postgres?.cutOffAfterMs ?? Infinity;
    const refuse = (failure: ServiceError) =>
      envelopeResponse(failureEnvelope(failure, newTraceId()), 503, { connection: "close" });
    const serveBy =
      (door: Door): Serve =>
      (request, socket) => {
        if (isOutdated) return refuse(outdatedVersion());
        const isCutOff = postgres !== undefined && store.awayMs() > cutOffAfterMs;
        return isCutOff && !isForOperators(request) ? refuse(cutOff()) : door.serve(request, socket);
      };
    // Nobody vouches for another address than that of who sent the CONNECT.
    const origins = new OriginPolicy({ ...config, trustedProxies: new Networks("") });
    const proxied = serveBy(new Door({ ...doorOptions, faces: [wechat], cookies: undefined, origins }));
    const connectProxy =
      config.connectProxy && isFirst ? new ConnectProxy(proxied, config.connectProxy) : undefined;
    return {
      store,
      events,
      credentials,
      renewal,
      background: [
        ...[nodes, calls, audit, metrics, index, clients, environments, administration, userTokens, lost],
        ...[webLogins, verifyFiles, streams, waits, refreshLog, ...pushes.background],
        ...alarmSide.background,
        ...platforms.background,
        authorizationLinks,
        ...(config.hasConsole ? [sessions] : []),
        backups,
        ...(connectProxy ? [connectProxy] : []),
      ],
      routes,
      listen: () =>
        listen(serveBy(door), {
          ...config,
          isShared: sharesPort,
          onPaused: (isPaused) =>
            events.emit({ type: isPaused ? "connections.paused" : "connections.resumed" }),
        }),
      startFacts: () => ({
        apps: directory.size,
        names: directory.list({ limit: MAX_LISTED }),
        anonymous: access.isAnonymousOn ? String(config.trustedNetworks) : "off",
        docs: config.visibility.swagger === "off" ? "off" : "/docs/",
        ...(connectProxy && { connectProxy: connectProxy.url }),
      }),
      offerSetup: async (url) => {
        if (!config.hasConsole || clients.hasAdmin) return;
        if (isNew && options.onSetupLink)
          options.onSetupLink(url + (await links.createSetup()).path.reveal());
        else events.emit({ type: "console.setup_needed", message: SETUP_NEEDED });
      },
      snapshot: () => metrics.snapshot(),
      handle: async (request) => door.serveLocal(request),
      stopping: () => readiness.stopping(),
      stopMs: options.stopMs ?? STOP_MS,
    };
  } catch (error) {
    store.close();
    throw error;
  }
}

/** The routes of a service without a port, for the command line on this machine, as an administrator. */
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
  options: Pick<ServiceOptions, "events" | "onKeyCreated" | "newDatabase"> = {},
): Promise<LocalService> {
  // Background tasks are not started; their stop flushes what was counted.
  const service = new RunningService(await build(config, { ...options, isLocal: true }));
  return { handle: (request) => service.handle(request), close: () => service.stop("done") };
}

function cutOff(): ServiceError {
  return new ServiceError(
    "unavailable",
    "数据库长时间无法访问，本进程已停止发放凭证 (the database has been away for too long: this process hands out nothing any more)",
    { retryAfterMs: 5000 },
  );
}

function outdatedVersion(): ServiceError {
  return new ServiceError(
    "unavailable",
    "数据库已由更新版本升级，本进程不再应答，请升级 (a newer version has migrated the database: this process answers no more; upgrade it)",
  );
}

/** The clock that everything goes by: the database's, where processes of other machines share it. */
function clockOf(config: Config, { clock = systemClock }: Pick<ServiceOptions, "clock">) {
  if (!config.postgres) return { clock, offsetMs: () => 0 };
  const cluster = new ClusterClock(clock);
  return {
    clock: cluster,
    measure: (now: number, askedAt: number) => cluster.measure(now, askedAt),
    offsetMs: () => cluster.offsetMs,
  };
}

const NO_NOTIFICATIONS =
  "DATABASE_URL: 收不到PostgreSQL的通知（事务模式的连接池？），改为每250毫秒查询一次；请设置DATABASE_LISTEN_URL直连 (notifications of PostgreSQL don't arrive, as behind a pooler in transaction mode: changes are looked for every 250 ms; name a direct way in DATABASE_LISTEN_URL)";

const ASYNCHRONOUS =
  "DATABASE_URL: 该PostgreSQL有备库，但提交不等待备库确认，主备切换可能丢失最近的变更；请设置synchronous_standby_names (this PostgreSQL has standbys and its commits wait for none of them: a failover may lose the last changes; set synchronous_standby_names)";

async function openStore(
  config: Config,
  clock: Clock,
  {
    events,
    onKeyCreated,
    newDatabase = false,
  }: Pick<ServiceOptions, "events" | "onKeyCreated" | "newDatabase">,
  onTime?: (databaseNow: number, askedAt: number) => void,
): Promise<Store> {
  const { databasePath: path, postgres, masterKey, masterKeyFile, nextKeyFile } = config;
  const shared = {
    masterKey,
    masterKeyFile,
    clock,
    onKeyCreated: (keyPath: string) => onKeyCreated?.(keyPath),
    onOutdated: () => events?.emit({ type: "service.outdated" }),
    onQueried: (queried: Queried) => events?.emit({ type: "store.queried", ...queried }),
    onDamaged: (name: CredentialName) => events?.emit({ type: "store.damaged", key: credentialKey(name) }),
    onDamagedApp: (key: string) => events?.emit({ type: "store.damaged", key }),
    onDamagedRow: (key: string) => events?.emit({ type: "store.damaged", key }),
    onAuditFailed: (failure: ServiceError) =>
      events?.emit({ type: "audit.failed", ...failureFacts(failure) }),
  };
  if (postgres) {
    // Loaded by whoever uses it.
    const { openPostgresStore } = await import("./store/postgres/postgres-store.ts");
    return openPostgresStore({
      ...shared,
      ...postgres,
      nextKeyFile,
      onKeyReplaced: (keyPath, keyId) => events?.emit({ type: "master_key.replaced", path: keyPath, keyId }),
      onKeyFault: (message) => events?.emit({ type: "config.warning", message }),
      ...(onTime ? { onTime } : {}),
      onSeen: (delayMs) => events?.emit({ type: "change.seen", delayMs }),
      onUnheard: () => events?.emit({ type: "config.warning", message: NO_NOTIFICATIONS }),
      onAsynchronous: () => events?.emit({ type: "config.warning", message: ASYNCHRONOUS }),
      onStandby: () => events?.emit({ type: "store.read_only" }),
      onHistoryLost: ({ changes, audit }) =>
        events?.emit({ type: "store.history_lost", changes, from: audit?.from, to: audit?.to }),
      onDatabaseCreated: () => events?.emit({ type: "database.created", path: "PostgreSQL" }),
    });
  }
  if (path === undefined) throw new Error("a configuration without a database");
  return openSqliteStore({
    ...shared,
    path,
    newDatabase,
    onDatabaseCreated: () => events?.emit({ type: "database.created", path }),
    onDatabaseCopied: (copy) => events?.emit({ type: "database.copied", path: copy }),
    onDatabaseLost: (lost) => events?.emit({ type: "database.lost", path: lost }),
  });
}

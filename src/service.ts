import { AppDirectory } from "./apps/app-directory.ts";
import { UnknownSecrets } from "./apps/unknown-secrets.ts";
import { createAuthentication } from "./clients/authentication.ts";
import { CallerPolicy } from "./clients/caller.ts";
import { type Clock, systemClock } from "./clock.ts";
import type { Config } from "./config.ts";
import { type CredentialSource, GuardedSource } from "./credentials/credential-source.ts";
import { CredentialManager } from "./credentials/manager.ts";
import { EventBus } from "./events.ts";
import { createApp } from "./http/app.ts";
import { type HttpServer, listen } from "./http/server.ts";
import { JsApiSigner } from "./jssdk/js-api-signer.ts";
import { TicketSource } from "./jssdk/ticket-source.ts";
import { Login } from "./login/login.ts";
import { openSqliteStore } from "./store/sqlite/sqlite-store.ts";
import { warnOfWideFiles } from "./store/wide-files.ts";
import { HttpClient } from "./upstream/http-client.ts";
import { WecomTokenSource } from "./upstream/wecom-token-source.ts";
import { WeixinLogin } from "./upstream/weixin-login.ts";
import { WeixinTicketExchange, WeixinTokenSource } from "./upstream/weixin-credentials.ts";
import { VERSION } from "./http/version.ts";

/** How long a stop waits for what is under way. */
const STOP_MS = 10_000;

/** What of a service is not configuration, with its defaults. Tests set it. */
export interface ServiceOptions {
  readonly clock?: Clock;
  readonly events?: EventBus;
  /** Called when a new master key was made, with its path. */
  readonly onKeyCreated?: (path: string) => void;
  /** Milliseconds one upstream request may take, and all attempts of one refresh together. */
  readonly upstreamMs?: { readonly attempt: number; readonly total: number };
}

/** A running service. */
export interface Service {
  readonly url: string;
  /** Finishes what is under way (10 s at most), then gives the port and the database back. Idempotent. */
  stop(reason: string): Promise<void>;
}

/**
 * Opens the store, joins every part and listens. The one place where adapters meet features.
 *
 * @throws {ServiceError} `store_unusable` or `invalid_config`; then nothing is left open.
 */
export async function startService(config: Config, options: ServiceOptions = {}): Promise<Service> {
  const { clock = systemClock, events = new EventBus(), upstreamMs } = options;
  for (const message of config.warnings) events.emit({ type: "config.warning", message });
  const store = await openSqliteStore({
    path: config.databasePath,
    masterKey: config.masterKey,
    masterKeyFile: config.masterKeyFile,
    clock,
    onKeyCreated: (path) => options.onKeyCreated?.(path),
  });
  for (const message of warnOfWideFiles([config.databasePath, config.masterKeyFile])) {
    events.emit({ type: "config.warning", message });
  }
  try {
    await store.apps.replaceAll(config.apps);
    const directory = new AppDirectory(await store.apps.list(), store.digest);
    const unknownSecrets = new UnknownSecrets(
      clock,
      async (slot) => (await store.credentials.find({ slot, kind: "access_token" })) !== undefined,
    );
    const http = new HttpClient({
      baseUrls: config.baseUrls,
      proxyUrl: config.upstreamProxy,
      clock,
      events,
      ...(upstreamMs ? { attemptMs: upstreamMs.attempt } : {}),
    });
    const sources = {
      weixin: new GuardedSource(new WeixinTokenSource(http), unknownSecrets),
      wecom: new GuardedSource(new WecomTokenSource(http), unknownSecrets),
    };
    const source: CredentialSource = {
      obtain: (ref, signal) =>
        (ref.kind === "jsapi_ticket" ? tickets : sources[ref.slot.platform]).obtain(ref, signal),
    };
    const credentials = new CredentialManager({
      source,
      store: store.credentials,
      clock,
      events,
      ...(upstreamMs ? { deadlineMs: upstreamMs.total } : {}),
    });
    const tickets = new TicketSource(new WeixinTicketExchange(http), credentials);
    const app = createApp({
      authentication: createAuthentication(new CallerPolicy(config)),
      directory,
      credentials,
      login: new Login({ exchange: new WeixinLogin(http), unknownSecrets, clock }),
      signer: new JsApiSigner(credentials, clock),
      events,
    });
    const server = listen(app, config);
    events.emit({ type: "service.started", url: server.url, version: VERSION });
    return new RunningService(server, credentials, events, () => store.close());
  } catch (error) {
    store.close();
    throw error;
  }
}

class RunningService implements Service {
  readonly url: string;
  readonly #server: HttpServer;
  readonly #credentials: CredentialManager;
  readonly #events: EventBus;
  readonly #closeStore: () => void;
  #stopped: Promise<void> | undefined;

  constructor(server: HttpServer, credentials: CredentialManager, events: EventBus, closeStore: () => void) {
    this.url = server.url;
    this.#server = server;
    this.#credentials = credentials;
    this.#events = events;
    this.#closeStore = closeStore;
  }

  stop(reason: string): Promise<void> {
    this.#stopped ??= this.#stop(reason);
    return this.#stopped;
  }

  async #stop(reason: string): Promise<void> {
    this.#events.emit({ type: "service.stopping", reason });
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, STOP_MS);
    await Promise.race([this.#server.drain().then(() => this.#credentials.settle()), limit.promise]);
    clearTimeout(timer);
    await this.#server.close();
    this.#closeStore();
    this.#events.emit({ type: "service.stopped" });
  }
}

import { existsSync } from "node:fs";
import { isLoopback } from "../access/networks.ts";
import { type Config, isInstalled, loadLocalConfig } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { EventBus } from "../events.ts";
import { type LocalService, openLocalService } from "../service.ts";
import { listenersOn } from "./doctor/processes.ts";
import { type ApiRequest, requestHeaders, type Transport } from "./api.ts";

/** What local requests need to know. */
export interface LocalTransportOptions {
  /** Whether a database is made where there is none. */
  readonly mayCreate: boolean;
  /** Whether one is made although its master key is there. */
  readonly newDatabase: boolean;
  /** Called with the path once one was made, and with the configured port where somebody listens there. */
  readonly onCreate: (path: string, taken: number | undefined) => void;
  /** Called when a new master key was made, with its path. */
  readonly onKeyCreated: (path: string) => void;
}

/** The service of this machine's own configuration and database, in this process; opened by the first request. */
export class LocalTransport implements Transport {
  readonly #options: LocalTransportOptions;
  #service: Promise<LocalService> | undefined;
  /** Where programs of this machine find the service that the configuration is for. */
  #origin = "http://localhost";

  constructor(options: LocalTransportOptions) {
    this.#options = options;
  }

  /** Where that service is, once something was sent. */
  get origin(): string {
    return this.#origin;
  }

  async send(request: ApiRequest): Promise<Response> {
    this.#service ??= this.#open();
    const service = await this.#service;
    const { method, path, body, signal } = request;
    return service.handle(
      new Request(`${this.#origin}${path}`, {
        method,
        headers: requestHeaders(request),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(signal ? { signal } : {}),
      }),
    );
  }

  async close(): Promise<void> {
    const service = await this.#service?.catch(() => undefined);
    this.#service = undefined;
    await service?.close();
  }

  async #open(): Promise<LocalService> {
    const config = loadLocalConfig();
    const { databasePath } = config;
    this.#origin = localOrigin(config);
    const mayCreate = this.#options.mayCreate && !isInstalled(config);
    if (databasePath && !mayCreate && !existsSync(databasePath))
      throw noDatabase(databasePath, isInstalled(config));
    const events = new EventBus();
    events.subscribe((event) => {
      if (event.type !== "database.created") return;
      this.#options.onCreate(event.path, listenersOn(config.port).length > 0 ? config.port : undefined);
    });
    return openLocalService(config, { ...this.#options, events });
  }
}

/**
 * Where programs of this machine find the service of that configuration: by an address where `localhost` is the host of
 * `PUBLIC_URL`, under which only what is public is answered.
 */
export function localOrigin({
  host,
  port,
  publicSide: { url, servesAll },
}: Pick<Config, "host" | "port" | "publicSide">): string {
  const address = { "0.0.0.0": "127.0.0.1", "::": "::1", localhost: "127.0.0.1" }[host] ?? host;
  const inUrl = address.includes(":") ? `[${address}]` : address;
  const isWalled = !servesAll && url !== undefined && /^localhost\.?$/.test(new URL(url).hostname);
  return `http://${isLoopback(inUrl) && !isWalled ? "localhost" : inUrl}:${port}`;
}

/** A new and empty database in the wrong folder would look as if everything were gone. */
function noDatabase(path: string, ofInstalled: boolean): ServiceError {
  return new ServiceError(
    "store_unusable",
    `DATABASE_URL file:${path}: 数据库不存在 (there is no database)`,
    {
      hint: ofInstalled
        ? "请先启动已安装的服务：systemctl start accesstoken；指的是另一个数据库时，设置DATABASE_URL或用 --url (start the installed service first: systemctl start accesstoken; for another database set DATABASE_URL, or give --url)"
        : "请以root或服务的用户、带上服务的环境变量运行，或用 --url 指定运行中的服务 (run it as root or the service's user, with the service's variables, or name a running service by --url)",
    },
  );
}

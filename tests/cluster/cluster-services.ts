import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import type { SQL } from "bun";
import { loadConfig } from "../../src/config.ts";
import { EventBus, type ServiceEvent } from "../../src/events.ts";
import { mergeSnapshots } from "../../src/ops/exposition.ts";
import { Sandbox } from "../../src/sandbox/sandbox.ts";
import { startService } from "../../src/service.ts";
import type { Service } from "../../src/service/running-service.ts";
import { type Exposition, parseExposition } from "../ops/prometheus-text.ts";
import { Harness, WX } from "../support/harness.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { PostgresFolder } from "../support/postgres-folder.ts";
import { PostgresServer } from "../support/postgres-server.ts";

/**
 * Services in this process on one PostgreSQL, all on one manual clock; the database's own goes on.
 *
 * Use it with `await using`.
 */
export class ClusterServices {
  readonly clock: ManualClock;
  readonly services: readonly Service[];
  /** A connection to the database beside them. */
  readonly database: SQL;
  readonly events: readonly ServiceEvent[];
  readonly #sandbox: Sandbox;
  readonly #folder: PostgresFolder;

  private constructor(
    parts: Pick<ClusterServices, "clock" | "services" | "database" | "events">,
    sandbox: Sandbox,
    folder: PostgresFolder,
  ) {
    this.clock = parts.clock;
    this.services = parts.services;
    this.database = parts.database;
    this.events = parts.events;
    this.#sandbox = sandbox;
    this.#folder = folder;
  }

  static async start(count: number): Promise<ClusterServices> {
    const clock = new ManualClock();
    const folder = await PostgresFolder.create();
    const sandbox = Sandbox.start({ weixinApps: [WX], wecomApps: [], clock });
    writeFileSync(folder.keyPath, randomBytes(32).toString("hex"), { mode: 0o600 });
    const config = loadConfig({
      ENV_FILE: "",
      PORT: "0",
      DATABASE_URL: folder.url,
      MASTER_KEY_FILE: folder.keyPath,
      WEIXIN_BASE_URL: sandbox.weixinUrl,
      [`WEIXIN_SECRET_${WX.appId}`]: WX.secret,
    });
    const bus = new EventBus();
    const events: ServiceEvent[] = [];
    bus.subscribe((event) => events.push(event));
    const services: Service[] = [];
    for (let n = 0; n < count; n++) services.push(await startService(config, { clock, events: bus }));
    const database = (await PostgresServer.shared()).connect(new URL(folder.url).pathname.slice(1));
    return new ClusterServices({ clock, services, database, events }, sandbox, folder);
  }

  /** The services that have not been stopped. */
  get running(): readonly Service[] {
    return this.services.filter(({ url }) => url !== "");
  }

  /** Asks the first service as its command line does. */
  async manage(path: string, body?: unknown): Promise<Record<string, unknown>> {
    const request = new Request(`http://localhost${path}`, {
      ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
      headers: { "content-type": "application/json" },
    });
    const answer = await this.services[0]!.handle(request);
    return ((await answer.json()) as { data: Record<string, unknown> }).data;
  }

  /** What a service has measured. */
  async metrics(service: Service): Promise<Exposition> {
    return parseExposition(mergeSnapshots([await service.snapshot()]));
  }

  /** Waits until each of `services` counts so many processes. */
  async counted(services: readonly Service[], count: number): Promise<void> {
    const isSo = async (service: Service) =>
      (await this.metrics(service)).value("accesstoken_nodes") === count;
    for (const each of services) await Harness.until(() => isSo(each), 20_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.services.map((service) => service.stop("test")));
    await this.database.close();
    await this.#sandbox.stop();
    this.#folder[Symbol.dispose]();
  }
}

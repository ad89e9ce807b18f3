import { Database } from "bun:sqlite";
import type { SandboxOptions } from "../../src/sandbox/sandbox.ts";
import { createAdmin } from "./access-harness.ts";
import { type Answer, Harness } from "./harness.ts";

/**
 * A service with an administrator, who asks over the network with a key, and a second connection to the database.
 *
 * Use it with `await using`.
 */
export class ManagingHarness {
  readonly world: Harness;
  readonly adminKey: string;
  readonly database: Database;

  private constructor(world: Harness, adminKey: string) {
    this.world = world;
    this.adminKey = adminKey;
    this.database = new Database(world.databasePath, { readwrite: true });
  }

  static async create(sandbox: Partial<SandboxOptions> = {}): Promise<ManagingHarness> {
    const world = await Harness.create({ sandbox, environment: { ANONYMOUS: "on" } });
    return new ManagingHarness(world, await createAdmin(world));
  }

  /** Asks with the administrator's key; `body` is sent as JSON. */
  ask(
    method: string,
    path: string,
    body?: unknown,
    { key = this.adminKey, ifMatch }: { key?: string | undefined; ifMatch?: string } = {},
  ): Promise<Answer> {
    const headers = {
      ...(key === "" ? {} : { "x-api-key": key }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(ifMatch === undefined ? {} : { "if-match": ifMatch }),
    };
    const init = body === undefined ? {} : { body: JSON.stringify(body) };
    return this.world.request(path, { method, headers, ...init });
  }

  /** What the audit says, the newest first, without what differs in each run. */
  async audited(limit = 1): Promise<Record<string, unknown>[]> {
    const { data } = await this.world.administer(`/v1/audit?limit=${limit}`);
    const entries = data["entries"] as Record<string, unknown>[];
    return entries.map(({ client, address, action, app, outcome, detail }) => ({
      by: client,
      address,
      action,
      ...(app === undefined ? {} : { app }),
      outcome,
      detail,
    }));
  }

  /** How many entries the audit has. */
  auditCount(): number {
    const row = this.database.query<{ n: number }, []>("SELECT count(*) AS n FROM audit_entries").get();
    return row?.n ?? 0;
  }

  /** From now on no entry can be written. */
  breakAudit(): void {
    this.database.run(
      "CREATE TRIGGER broken BEFORE INSERT ON audit_entries BEGIN SELECT RAISE(ABORT, 'broken'); END",
    );
  }

  mendAudit(): void {
    this.database.run("DROP TRIGGER broken");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.database.close();
    await this.world[Symbol.asyncDispose]();
  }
}

import { Database } from "bun:sqlite";
import type { SandboxOptions } from "../../src/sandbox/sandbox.ts";
import { createAdmin } from "./access-harness.ts";
import { type Answer, Harness, WX } from "./harness.ts";

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

export const CLIENTS = "/v1/clients";
/** A client that may read a token and use it: its path, the path of its keys, and what it is made of. */
export const BOT = `${CLIENTS}/bot`;
export const BOT_KEYS = `${BOT}/keys`;
export const NEW_BOT = {
  client: "bot",
  environment: "dev",
  grants: [{ apps: [WX.appId], actions: ["token:read", "api:call"] }],
};

/** A world with that client, which has no key. */
export async function botWorld() {
  const at = await ManagingHarness.create();
  const made = await at.ask("POST", CLIENTS, NEW_BOT);
  if (made.status !== 201) throw new Error(`it was not made: ${made.text}`);
  return {
    at,
    world: at.world,
    /** The answer that made it. */
    made,
    /** Makes a key of the client; the key and its public beginning. */
    key: async (body: object = {}) => {
      const { status, text, data } = await at.ask("POST", BOT_KEYS, body);
      if (status !== 201) throw new Error(`it was not made: ${text}`);
      return { key: String(data["api_key"]), prefix: String(data["key"]) };
    },
    /** The status with which a key is answered. */
    statusWith: async (key: string) => {
      const path = `/v1/apps/${WX.appId}/credentials/access_token`;
      return (await at.ask("GET", path, undefined, { key })).status;
    },
    [Symbol.asyncDispose]: () => at[Symbol.asyncDispose](),
  };
}

import { randomBytes } from "node:crypto";
import type { SandboxOptions } from "../../src/sandbox/sandbox.ts";
import type { Child } from "../support/child.ts";
import { type Answer, WX_FOREIGN } from "../support/harness.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { ask, binary, ProcessHarness } from "../support/process-harness.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const SECRET = "a1b2c3d4e5f60718293a4b5c6d7e8f90";

/** What a cluster holds, and how it gets to its database. */
export interface ClusterOptions {
  /** How many apps every node holds; default 20. */
  readonly apps?: number;
  /** How their tokens are fetched; default "stable". */
  readonly mode?: "stable" | "classic";
  readonly sandbox?: Partial<SandboxOptions>;
  /** Default that of this process, which no test may stop. */
  readonly server?: PostgresServer;
  /** Where nodes connect; default the server itself. */
  readonly entrance?: (databaseUrl: string) => string;
  /** Default the compiled program. */
  readonly program?: readonly string[];
}

/** A process of the service in a cluster, with a line of its own to the database. */
export interface ClusterNode {
  readonly service: Child;
  readonly url: string;
  readonly line: TcpProxy;
}

/**
 * Compiled binaries on one PostgreSQL under one master key, each as on a machine of its own.
 *
 * Use it with `await using`.
 */
export class ClusterHarness extends ProcessHarness {
  server: PostgresServer;
  databaseUrl: string;
  /** AppIDs that the sandbox knows and every node holds. */
  readonly apps: readonly string[];
  readonly #mode: "stable" | "classic";
  readonly #entrance: string;
  readonly #lines: TcpProxy[] = [];
  #adminKey: Promise<string> | undefined;

  private constructor(server: PostgresServer, databaseUrl: string, options: ClusterOptions) {
    const { apps = 20, mode = "stable", sandbox, entrance, program = binary() } = options;
    const names = Array.from({ length: apps }, (_, n) => `wx${String(n).padStart(16, "0")}`);
    const weixinApps = [...names.map((appId) => ({ appId, secret: SECRET })), WX_FOREIGN];
    super(program, { weixinApps, ...sandbox });
    this.server = server;
    this.databaseUrl = databaseUrl;
    this.apps = names;
    this.#mode = mode;
    this.#entrance = entrance ? entrance(databaseUrl) : databaseUrl;
    this.write("master.key", randomBytes(32).toString("hex"));
  }

  static async create(options: ClusterOptions = {}): Promise<ClusterHarness> {
    const server = options.server ?? (await PostgresServer.shared());
    return new ClusterHarness(server, await server.createDatabase(), options);
  }

  override get variables(): Record<string, string> {
    const ofApps = this.apps.flatMap((app) => [
      [`WEIXIN_SECRET_${app}`, SECRET],
      [`WEIXIN_TOKEN_MODE_${app}`, this.#mode],
    ]);
    return {
      ...super.variables,
      ...(Object.fromEntries(ofApps) as Record<string, string>),
      DATABASE_URL: this.databaseUrl,
      MASTER_KEY_FILE: "master.key",
      // A database that is met with a key begins with it off.
      ANONYMOUS: "on",
    };
  }

  /**
   * Starts `count` nodes at once, each on a line of its own; the very first one alone, which makes the tables. `program`
   * is another than the cluster's.
   */
  async start(
    count: number,
    env: Record<string, string> = {},
    program?: readonly string[],
  ): Promise<ClusterNode[]> {
    const isFirst = this.#lines.length === 0 && count > 0;
    const first = isFirst ? [await this.#startOne(env, program)] : [];
    const others = Array.from({ length: count - first.length }, () => this.#startOne(env, program));
    return [...first, ...(await Promise.all(others))];
  }

  /** From now on every line and every command leads to another server, which has the same database. */
  turnTo(server: PostgresServer): void {
    this.server = server;
    this.databaseUrl = server.urlOf(new URL(this.databaseUrl).pathname.slice(1));
    for (const line of this.#lines) line.aim(server.port);
  }

  /** Runs a command to its end, which must be a good one, and returns what it has written. */
  async command(...args: string[]): Promise<string> {
    const child = this.run(args, this.variables);
    if ((await child.exited()) !== 0) throw new Error(`${args.join(" ")}: ${child.stdout}${child.stderr}`);
    return child.stdout;
  }

  /** Asks a node as an administrator, whose key is made by the first call. */
  async administer({ url }: ClusterNode, method: string, path: string, body?: object): Promise<Answer> {
    this.#adminKey ??= this.command("keys", "create", "--admin").then((key) => key.trim());
    const headers = { "x-api-key": await this.#adminKey, "content-type": "application/json" };
    return ask(url, path, {}, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
  }

  /** What every process of the cluster has in the database, in one query. */
  async query(text: string): Promise<Record<string, unknown>[]> {
    await using connection = this.server.connect(new URL(this.databaseUrl).pathname.slice(1));
    return [...(await connection.unsafe(text))] as Record<string, unknown>[];
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await super[Symbol.asyncDispose]();
    for (const line of this.#lines) line[Symbol.dispose]();
  }

  async #startOne(env: Record<string, string>, program?: readonly string[]): Promise<ClusterNode> {
    const line = await TcpProxy.start(Number(new URL(this.#entrance).port));
    this.#lines.push(line);
    const variables = { DATABASE_URL: line.through(this.#entrance), ...env };
    return { ...(await this.serve(variables, [], program)), line };
  }
}

/** The token of an app as a node hands it out; where it does not, why. */
export async function tokenAt(
  { url }: Pick<ClusterNode, "url">,
  appid: string,
  init?: RequestInit,
): Promise<string> {
  const { code, msg, data } = await ask(url, "/AccessToken/getXcx", { appid }, init);
  return code === 0 ? String(data["access_token"]) : `${code} ${msg}`;
}

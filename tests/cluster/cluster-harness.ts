import { randomBytes } from "node:crypto";
import type { SandboxOptions } from "../../src/sandbox/sandbox.ts";
import type { Child } from "../support/child.ts";
import { PostgresServer } from "../support/postgres-server.ts";
import { WX } from "../support/harness.ts";
import { binary, ProcessHarness } from "../support/process-harness.ts";

const APPS = 20;

/** A process of the service in a cluster. */
export interface ClusterNode {
  readonly service: Child;
  readonly url: string;
}

/**
 * Compiled binaries on one PostgreSQL under one master key, each as on a machine of its own.
 *
 * Use it with `await using`.
 */
export class ClusterHarness extends ProcessHarness {
  readonly server: PostgresServer;
  readonly databaseUrl: string;

  /** AppIDs that the sandbox knows and every node holds. */
  readonly apps = Array.from({ length: APPS }, (_, n) => `wx${String(n).padStart(16, "0")}`);

  private constructor(server: PostgresServer, databaseUrl: string, sandbox: Partial<SandboxOptions>) {
    const weixinApps = Array.from({ length: APPS }, (_, n) => ({
      ...WX,
      appId: `wx${String(n).padStart(16, "0")}`,
    }));
    super(binary(), { weixinApps, ...sandbox });
    this.server = server;
    this.databaseUrl = databaseUrl;
    this.write("master.key", randomBytes(32).toString("hex"));
  }

  /** `server` is that of this process unless a test halts it. */
  static async create(
    sandbox: Partial<SandboxOptions> = {},
    server: Promise<PostgresServer> = PostgresServer.shared(),
  ): Promise<ClusterHarness> {
    const running = await server;
    return new ClusterHarness(running, await running.createDatabase(), sandbox);
  }

  override get variables(): Record<string, string> {
    return {
      ...super.variables,
      ...Object.fromEntries(this.apps.map((app) => [`WEIXIN_SECRET_${app}`, WX.secret])),
      DATABASE_URL: this.databaseUrl,
      MASTER_KEY_FILE: "master.key",
      // A database that is met with a key begins with it off.
      ANONYMOUS: "on",
    };
  }

  /** Starts `count` nodes at once. */
  start(count: number, env: Record<string, string> = {}): Promise<ClusterNode[]> {
    return Promise.all(Array.from({ length: count }, () => this.serve(env)));
  }
}

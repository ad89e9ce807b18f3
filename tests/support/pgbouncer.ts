import { test } from "bun:test";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asServerUser, freePort, hasPostgres, postgresTest, PostgresServer } from "./postgres-server.ts";

const PROGRAM = "/usr/sbin/pgbouncer";
/** Whether there can be a pooler. */
export const hasPgbouncer = existsSync(PROGRAM);
const isMissing = hasPostgres && !hasPgbouncer;
if (isMissing) console.error("The tests with a pooler are not run: install pgbouncer");

/** `test` where there is a pgbouncer; without one, with `CI` set, what `test` makes of its lack. */
export const pgbouncerTest: typeof test = isMissing && !process.env["CI"] ? test.skip : postgresTest;

/** What a pooler must let through; as the document says. */
const IGNORED = "statement_timeout, lock_timeout, idle_in_transaction_session_timeout, idle_session_timeout";

/** A pgbouncer before a server, which hands out connections by the transaction. Use it with `using`. */
export class Pgbouncer {
  readonly #folder: string;
  readonly #port: number;
  readonly #process: Bun.Subprocess;

  private constructor(server: PostgresServer) {
    this.#port = freePort();
    this.#folder = mkdtempSync(join(tmpdir(), "accesstoken-bouncer-"));
    chmodSync(this.#folder, 0o755);
    const settings = [
      "[databases]",
      `* = host=127.0.0.1 port=${server.port} user=postgres`,
      "[pgbouncer]",
      "listen_addr = 127.0.0.1",
      `listen_port = ${this.#port}`,
      "unix_socket_dir =",
      "auth_type = any",
      "pool_mode = transaction",
      "default_pool_size = 20",
      `ignore_startup_parameters = ${IGNORED}`,
    ];
    const path = join(this.#folder, "pgbouncer.ini");
    writeFileSync(path, settings.join("\n"));
    this.#process = Bun.spawn(asServerUser([PROGRAM, path]), { stdout: "ignore", stderr: "ignore" });
    process.on("exit", () => this[Symbol.dispose]());
  }

  static async start(server: PostgresServer): Promise<Pgbouncer> {
    const bouncer = new Pgbouncer(server);
    for (let attempt = 1; ; attempt++) {
      const isOpen = await Bun.connect({
        hostname: "127.0.0.1",
        port: bouncer.#port,
        socket: { data: () => undefined, open: (socket) => void socket.end() },
      }).then(
        () => true,
        () => false,
      );
      if (isOpen) return bouncer;
      if (attempt > 200 || bouncer.#process.exitCode !== null) throw new Error("pgbouncer does not start");
      await Bun.sleep(50);
    }
  }

  /** `url` by way of this pooler. */
  through(url: string): string {
    const parsed = new URL(url);
    parsed.port = String(this.#port);
    return parsed.href;
  }

  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL");
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

import { connect } from "node:net";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Child } from "./child.ts";

/** The program; undefined where nginx is not installed. */
export function findNginx(): string | undefined {
  return Bun.which("nginx") ?? Bun.which("/usr/sbin/nginx") ?? undefined;
}

/**
 * Starts an nginx of one worker with `http` as the body of its http block, which listens on `port` of loopback; its files
 * are in `folder`. Use it with `await using`.
 */
export async function startNginx(
  program: string,
  { http, port, folder }: { readonly http: string; readonly port: number; readonly folder: string },
): Promise<AsyncDisposable> {
  const file = join(folder, "nginx.conf");
  writeFileSync(file, configuration(http, folder));
  const child = new Child([program, "-p", folder, "-c", file, "-e", "stderr"], { cwd: folder });
  await listening(port, child);
  const stop = async () => {
    // Killed at once, the master would leave its worker behind.
    child.signal("SIGTERM");
    await child.exited();
    await child[Symbol.asyncDispose]();
  };
  return { [Symbol.asyncDispose]: stop };
}

async function listening(port: number, child: Child): Promise<void> {
  const startedAt = performance.now();
  while (!(await connects(port))) {
    if (performance.now() - startedAt > 60_000) throw new Error(`nginx does not listen: ${child.stderr}`);
    await Bun.sleep(5);
  }
}

function connects(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });
}

function configuration(http: string, folder: string): string {
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (name) => `${name}_temp_path ${join(folder, name)};`,
  );
  return `
daemon off;
${process.getuid?.() === 0 ? "user root;" : ""}
worker_processes 1;
pid ${join(folder, "nginx.pid")};
error_log stderr crit;
events { worker_connections 512; }
http {
  access_log off;
  ${temporary.join("\n  ")}
${http}
}
`;
}

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Child } from "../support/child.ts";
import { freePort } from "./bench-server.ts";

/** An nginx that hands everything on to one server. */
export interface Nginx extends AsyncDisposable {
  readonly url: string;
}

/**
 * Starts an nginx of one worker, as the gateway is one process, that keeps its connections to `upstream`; its files are
 * in `folder`. Undefined where nginx is not installed.
 */
export async function startNginx(upstream: string, folder: string): Promise<Nginx | undefined> {
  const program = Bun.which("nginx") ?? Bun.which("/usr/sbin/nginx");
  if (program === null) return undefined;
  const port = freePort();
  const file = join(folder, "nginx.conf");
  writeFileSync(file, configuration(new URL(upstream).host, port, folder));
  const child = new Child([program, "-p", folder, "-c", file, "-e", "stderr"], { cwd: folder });
  const url = `http://127.0.0.1:${port}`;
  await answering(url);
  const stop = async () => {
    // Killed at once, the master would leave its worker behind.
    child.signal("SIGTERM");
    await child.exited();
    await child[Symbol.asyncDispose]();
  };
  return { url, [Symbol.asyncDispose]: stop };
}

async function answering(url: string): Promise<void> {
  const startedAt = performance.now();
  for (;;) {
    try {
      await (await fetch(url, { keepalive: false, proxy: false })).arrayBuffer();
      return;
    } catch {
      if (performance.now() - startedAt > 10_000) throw new Error("nginx does not answer");
      await Bun.sleep(5);
    }
  }
}

function configuration(host: string, port: number, folder: string): string {
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
  keepalive_requests 10000000;
  upstream wechat { server ${host}; keepalive 64; keepalive_requests 10000000; }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://wechat;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }
}
`;
}

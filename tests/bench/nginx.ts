import { findNginx, startNginx } from "../support/nginx.ts";
import { freePort } from "./bench-server.ts";

/** An nginx that hands everything on to one server. */
export interface Nginx extends AsyncDisposable {
  readonly url: string;
}

/**
 * Starts an nginx of one worker, as the gateway is one process, that keeps its connections to `upstream`; its files are
 * in `folder`. Undefined where nginx is not installed.
 */
export async function startForwardingNginx(upstream: string, folder: string): Promise<Nginx | undefined> {
  const program = findNginx();
  if (program === undefined) return undefined;
  const port = freePort();
  const http = configuration(new URL(upstream).host, port);
  const nginx = await startNginx(program, { http, port, folder });
  return { url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: () => nginx[Symbol.asyncDispose]() };
}

function configuration(host: string, port: number): string {
  return `
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
`;
}

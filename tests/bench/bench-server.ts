import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Child } from "../support/child.ts";

/** Starts a server of this folder in a process of its own. */
export function benchServer(file: string, argument: string, cwd: string): Child {
  return new Child([process.execPath, join(import.meta.dir, file), argument], { cwd });
}

/** Where such a server listens. */
export async function urlOf(server: Child): Promise<string> {
  const [, url = ""] = await server.find(/url (\S+)/);
  return url;
}

/** A port of loopback on which nobody listens. */
export function freePort(): number {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  const port = server.port ?? 0;
  void server.stop(true);
  return port;
}

/** The memory of a process that is in RAM. */
export function residentMb(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) / 1024;
}

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Child } from "../support/child.ts";

/** Starts a server of this folder in a process of its own. */
export function benchServer(file: string, ...args: readonly string[]): Child {
  return new Child([process.execPath, join(import.meta.dir, file), ...args], { cwd: import.meta.dir });
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

/** 100,000 apps on a busy machine take their time. */
const START_MS = 60_000;

/** A program that was started, and how long its first answer took. */
export interface Started {
  readonly child: Child;
  readonly tookMs: number;
  readonly answer: string;
}

/** Starts a program on a port of its own, and asks for `path` until it answers. */
export async function started(command: readonly string[], cwd: string, path = "/"): Promise<Started> {
  const port = freePort();
  const startedAt = performance.now();
  const child = new Child(command, { cwd, env: { PORT: String(port) } });
  for (;;) {
    try {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, {
        keepalive: false,
        redirect: "manual",
      });
      const answer = await response.text();
      return { child, tookMs: performance.now() - startedAt, answer };
    } catch {
      if (performance.now() - startedAt > START_MS) {
        await child[Symbol.asyncDispose]();
        throw new Error(`the program does not answer: ${child.stderr.slice(0, 1000)}`);
      }
      await Bun.sleep(1);
    }
  }
}

/** Throws unless a service's first answer is a token. */
export function checkToken({ answer }: Started): void {
  if (!answer.includes('"access_token"')) throw new Error(`no token came: ${answer.slice(0, 200)}`);
}

/** Stops a program as an operator does. */
export async function stop(child: Child): Promise<void> {
  child.signal("SIGTERM");
  await child.exited();
}

/** The memory of a process that is in RAM. */
export function residentMb(pid: number): number {
  const kilobytes = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) / 1024;
}

/** After a start or a load the garbage of it is still being collected. */
export const SETTLE_MS = 5000;

/** How much of one processor a process uses while nothing is asked of it, in percent. */
export async function idlePercent(pid: number, seconds: number): Promise<number> {
  await Bun.sleep(SETTLE_MS);
  const before = cpuSeconds(pid);
  await Bun.sleep(seconds * 1000);
  return ((cpuSeconds(pid) - before) / seconds) * 100;
}

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

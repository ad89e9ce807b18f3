import { systemCodeOf } from "../errors.ts";
import { connect, isIP } from "node:net";
import type { Clock } from "../clock.ts";
import type { Secret } from "../secret.ts";
import { readCapped } from "./target-client.ts";

/** How long a host may take, and the first bytes of a stream, in milliseconds. */
const PROBE_MS = 10_000;

/** How a host of WeChat or WeCom answered. */
export interface HostProbe {
  readonly origin: string;
  /** The code of what went wrong; undefined when it answered, whatever that was. */
  readonly fault: string | undefined;
  readonly durationMs: number;
  /** By how much its clock is ahead of ours at least; undefined where it does not say. */
  readonly offsetMs: number | undefined;
}

/** Asks a host for its root, as the service reaches it: through the proxy where there is one. Never throws. */
export async function probeHost(
  origin: string,
  proxyUrl: string | undefined,
  clock: Clock,
): Promise<HostProbe> {
  const startedAt = clock.monotonic();
  const since = () => Math.round(clock.monotonic() - startedAt);
  try {
    const { headers, body } = await fetch(`${origin}/`, {
      redirect: "manual",
      decompress: false,
      keepalive: false,
      proxy: proxyUrl ?? false,
      signal: AbortSignal.timeout(PROBE_MS),
    } as BunFetchRequestInit);
    const durationMs = since();
    void body?.cancel();
    const at = Date.parse(headers.get("date") ?? "");
    // It has whole seconds, and was written at some moment on the way.
    const aheadMs = at + 500 - (clock.now() - durationMs / 2);
    const leastMs = Math.sign(aheadMs) * Math.max(0, Math.abs(aheadMs) - 500 - durationMs / 2);
    const offsetMs = Number.isNaN(at) ? undefined : leastMs;
    return { origin, fault: undefined, durationMs, offsetMs };
  } catch (error) {
    return { origin, fault: faultOf(error), durationMs: since(), offsetMs: undefined };
  }
}

/** The address that a URL's answer has, which is asked as WeChat is; or why there is none. Never throws. */
export async function probeAddress(
  url: string,
  proxyUrl: string | undefined,
): Promise<{ readonly address: string } | { readonly fault: string }> {
  try {
    const response = await fetch(url, {
      headers: { "accept-encoding": "identity" },
      redirect: "manual",
      decompress: false,
      keepalive: false,
      proxy: proxyUrl ?? false,
      signal: AbortSignal.timeout(PROBE_MS),
    } as BunFetchRequestInit);
    const text = new TextDecoder().decode(await readCapped(response));
    const address = text.match(/[\da-fA-F:.]{3,45}/g)?.find((each) => isIP(each) !== 0);
    return address === undefined ? { fault: `HTTP ${response.status}` } : { address };
  } catch (error) {
    return { fault: faultOf(error) };
  }
}

/** Whether anything takes connections at the host and port of a URL; the code of what is wrong, if not. Never throws. */
export function probePort(url: string): Promise<string | undefined> {
  const { hostname, port, protocol } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(
      Number(port) || (protocol === "https:" ? 443 : 80),
      hostname.replace(/^\[|\]$/g, ""),
    );
    const end = (fault: string | undefined) => {
      socket.destroy();
      resolve(fault);
    };
    socket.setTimeout(PROBE_MS, () => end("timeout"));
    socket.once("error", (error) => end(faultOf(error)));
    socket.once("connect", () => end(undefined));
  });
}

/** What answers at a URL, as far as it looks like this service. */
export interface ServiceProbe {
  readonly fault: string | undefined;
  readonly status: number;
  /** Whether it is the service that answers, be it with a refusal. */
  readonly isService: boolean;
  /** What it says, for a person; empty where it is not the service. */
  readonly message: string;
  /** Its version, where it was asked for that and tells it. */
  readonly version: string | undefined;
}

/** The service of this very machine, asked for its name. Never throws. */
export function probeOwn({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number;
}): Promise<ServiceProbe> {
  const name = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }[host] ?? (host.includes(":") ? `[${host}]` : host);
  return probeService(`http://${name}:${port}`, "/");
}

/** Asks a service for a path, without a key. Never throws. */
export async function probeService(origin: string, path: string): Promise<ServiceProbe> {
  const none = { status: 0, isService: false, message: "", version: undefined };
  try {
    const response = await fetch(origin + path, {
      headers: { "accept-encoding": "identity" },
      redirect: "manual",
      decompress: false,
      keepalive: false,
      proxy: false,
      signal: AbortSignal.timeout(PROBE_MS),
    } as BunFetchRequestInit);
    const { status } = response;
    // A large page is another program's.
    const answer = parse(await readCapped(response).catch(() => new Uint8Array()));
    if (typeof answer["trace_id"] !== "string") return { ...none, fault: undefined, status };
    const { version } = (answer["data"] ?? {}) as { version?: unknown };
    return {
      fault: undefined,
      status,
      isService: true,
      message: typeof answer["msg"] === "string" ? answer["msg"] : "",
      version: typeof version === "string" ? version : undefined,
    };
  } catch (error) {
    return { ...none, fault: faultOf(error) };
  }
}

/** How a stream of events arrives: at once, late or never as through a proxy that keeps it back, or not at all. */
export type StreamProbe = "prompt" | "kept_back" | "refused";

/** Opens the stream of events of a service, and ends it with its first bytes. Never throws. */
export async function probeStream(origin: string, key: Secret): Promise<StreamProbe> {
  const end = new AbortController();
  const late = Bun.sleep(PROBE_MS).then(() => "kept_back" as const);
  const arrive = async (): Promise<StreamProbe> => {
    const response = await fetch(`${origin}/v1/events`, {
      headers: { authorization: `Bearer ${key.reveal()}` },
      redirect: "manual",
      keepalive: false,
      proxy: false,
      signal: end.signal,
    });
    if (response.status !== 200) return "refused";
    const { done } = (await response.body?.getReader().read()) ?? { done: true };
    return done ? "refused" : "prompt";
  };
  const arriving = arrive().catch(() => "refused" as const);
  const outcome = await Promise.race([arriving, late]);
  end.abort();
  return outcome;
}

function parse(bytes: Uint8Array): Record<string, unknown> {
  try {
    const answer: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof answer === "object" && answer !== null ? (answer as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function faultOf(error: unknown): string {
  if (error instanceof Error && error.name === "TimeoutError") return "timeout";
  return systemCodeOf(error);
}

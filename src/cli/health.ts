import { isIP } from "node:net";
import { loadLocalConfig } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { Api, ApiRefusal } from "./api.ts";
import type { ExitCode } from "./exit.ts";
import { parseOrigin, RemoteTransport } from "./remote.ts";
import { halfOf, plainText, type Terminal } from "./terminal.ts";

/** Docker gives a check 30 s by default, Kubernetes one; whoever waits longer wants to know that it hangs. */
const ANSWER_MS = 4500;

/** What is asked, and where. */
export interface HealthOptions {
  /** An origin; without it, the service that this machine's configuration is for. */
  readonly url: string | undefined;
  /** Whether it must be ready, and not only alive. */
  readonly mustBeReady: boolean;
  /** How long the answer may take, in milliseconds; default 4500. */
  readonly answerMs?: number;
}

/**
 * `accesstoken health`: asks the service how it is, in the place of curl, and says it in one line.
 *
 * Throws `unavailable` when it does not answer in time, or is not what was asked for.
 */
export async function runHealth(
  { url, mustBeReady, answerMs = ANSWER_MS }: HealthOptions,
  terminal: Terminal,
): Promise<ExitCode> {
  // No key goes along, so plain http gives nothing away.
  const { origin, ...from } = url === undefined ? ownOrigin() : { origin: parseOrigin(url, true) };
  const api = new Api(new RemoteTransport(origin, undefined));
  const path = mustBeReady ? "/readyz" : "/livez";
  try {
    await api.send({ method: "GET", path, ...from, signal: AbortSignal.timeout(answerMs) });
  } catch (error) {
    // Who gets no answer for want of a key has got one from a process that lives.
    const isAlive = error instanceof ApiRefusal && [401, 403].includes(error.status);
    if (isAlive && mustBeReady) throw notTold();
    if (!isAlive && error instanceof ServiceError) throw inOneLine(error);
    if (!isAlive) throw error;
  }
  const state = mustBeReady ? { en: "ready", zh: "就绪" } : { en: "alive", zh: "存活" };
  await terminal.print(`${state[terminal.language]}: ${origin}\n`);
  return 0;
}

/**
 * Where a program on this machine finds the service that the configuration is for. Where that takes what comes from this
 * machine for its proxy's, it wants to know for whom.
 */
function ownOrigin(): { readonly origin: string; readonly forwardedFor?: string } {
  const { host, port, trustedProxies } = loadLocalConfig();
  if (port === 0)
    throw new ServiceError(
      "invalid_config",
      "PORT: 端口为0，由系统分配，请用 --url 指定地址 (0 is a port that the system chooses: name the service by --url)",
    );
  const address = { "0.0.0.0": "127.0.0.1", "::": "::1" }[host] ?? host;
  const origin = `http://${address.includes(":") ? `[${address}]` : address}:${port}`;
  return {
    origin,
    ...(isIP(address) && trustedProxies.includes(address) ? { forwardedFor: "127.0.0.1" } : {}),
  };
}

function inOneLine(error: ServiceError): ServiceError {
  const reasons = error instanceof ApiRefusal ? reasonsOf(error) : undefined;
  return new ServiceError("unavailable", reasons ?? plainText(error.message), { cause: error });
}

/** The reasons of `/readyz` in one line, without the numbers of a refusal of `/v1`; undefined for any other answer. */
function reasonsOf({ envelope }: ApiRefusal): string | undefined {
  const { reasons } = { ...(envelope.data as { readonly reasons?: unknown } | null) };
  if (!Array.isArray(reasons)) return undefined;
  const messages = reasons.map((reason) =>
    String((reason as { readonly message?: unknown } | null)?.message),
  );
  const [zh, en] = (["zh", "en"] as const).map((language) => messages.map((each) => halfOf(each, language)));
  return plainText(`服务未就绪：${zh?.join("；")} (not ready: ${en?.join("; ")})`);
}

function notTold(): ServiceError {
  return new ServiceError(
    "forbidden",
    "服务不向此地址说明是否就绪：请在服务所在的机器上执行且不带 --url，把本机加入TRUSTED_NETWORKS，或去掉 --ready (the service does not tell this address whether it is ready: ask on its own machine without --url, add this machine to TRUSTED_NETWORKS, or leave --ready out)",
  );
}

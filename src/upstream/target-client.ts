import {
  TargetFailure,
  type TargetFailureReason,
  type TargetRequest,
  type TargetSender,
} from "../callbacks/target-request.ts";
import { FairSemaphore } from "./fair-semaphore.ts";
import type { TargetAddresses } from "./target-addresses.ts";

/** The longest answer that is read: above what WeChat takes as a reply. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Shorter than what servers commonly allow: a push that meets a closing connection fails. */
const IDLE_SECONDS = 3;
/** How many requests are under way at once: Bun runs 256 in the whole process, half of which the gateway may have. */
const MAX_CONCURRENT = 96;
/** How Bun names the failures in which no request has left this machine. */
const UNREACHABLE = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|FailedToOpenSocket)$/;
const BAD_CERTIFICATE = /CERT|SIGNATURE|SELF_SIGNED/;

/**
 * Posts pushes to targets, and believes nothing: address, time and size are bounded, redirects are answers, and no proxy is
 * used.
 */
export class TargetClient implements TargetSender {
  readonly #addresses: TargetAddresses;
  readonly #requests = new FairSemaphore(MAX_CONCURRENT);
  readonly #session = new Bun.FetchSession({ proxy: false, keepAlive: { idleTimeout: IDLE_SECONDS } });

  constructor(addresses: TargetAddresses) {
    this.#addresses = addresses;
  }

  async send({
    url,
    target: holder,
    headers,
    body,
    timeoutMs,
  }: TargetRequest): Promise<{ status: number; body: Uint8Array }> {
    const signal = AbortSignal.timeout(timeoutMs);
    const target = URL.parse(url);
    if (!target) throw new TargetFailure("bad_url");
    const share = { group: target.origin, holder };
    try {
      await this.#requests.acquire(share, signal);
      try {
        // A look-up of a name can't be ended, only left alone.
        return await Promise.race([this.#post(target, headers, body, signal), timeUp(signal)]);
      } finally {
        this.#requests.release(share);
      }
    } catch (error) {
      throw error instanceof TargetFailure
        ? error
        : new TargetFailure(signal.aborted ? "timeout" : reasonOf(error));
    }
  }

  async #post(url: URL, headers: TargetRequest["headers"], body: Uint8Array, signal: AbortSignal) {
    const { origin, host, tls } = await this.#addresses.of(url);
    const response = await fetch(origin + url.pathname + url.search, {
      method: "POST",
      headers: { ...headers, ...(host === undefined ? {} : { host }), "accept-encoding": "identity" },
      body: body as Uint8Array<ArrayBuffer>,
      session: this.#session,
      ...(tls === undefined ? {} : { tls }),
      redirect: "manual",
      decompress: false,
      signal,
    });
    return { status: response.status, body: await readCapped(response) };
  }
}

/** Rejects with `timeout` once the time is up. */
export function timeUp(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const end = () => reject(new TargetFailure("timeout"));
    if (signal.aborted) end();
    else signal.addEventListener("abort", end, { once: true });
  });
}

/** The body of an answer of at most 64 KiB, and no less than it announced; throws a `TargetFailure` otherwise. */
export async function readCapped(response: Response): Promise<Uint8Array> {
  const length = response.headers.get("content-length");
  // A body in chunks may be longer than that.
  const isBounded =
    Number(length ?? Infinity) <= MAX_ANSWER_BYTES && !response.headers.has("transfer-encoding");
  // A stream costs as much as the rest of the request.
  const body = isBounded ? await response.bytes() : await readChunks(response);
  if (length !== null && Number(length) !== body.length) throw new TargetFailure("broken_off");
  return body;
}

async function readChunks({ body }: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_ANSWER_BYTES) throw new TargetFailure("answer_too_large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Why `fetch` failed. */
export function reasonOf(error: unknown): TargetFailureReason {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "ENOTFOUND") return "unknown_host";
  if (UNREACHABLE.test(code)) return "unreachable";
  return BAD_CERTIFICATE.test(code) ? "bad_certificate" : "broken_off";
}

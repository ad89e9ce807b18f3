import type { Static } from "@sinclair/typebox";
import type { pulledData } from "../api/v1-deliveries-schema.ts";
import { targetUrl } from "../callbacks/callback-settings.ts";
import { DELIVERY_HEADER, SIGNATURE_HEADER } from "../callbacks/target-request.ts";
import type { Language } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { visibleJson } from "../log.ts";
import { apiPath, ApiRefusal } from "./api.ts";
import { appOf } from "./argument-values.ts";
import { bilingual, type Text, usageError } from "./arguments.ts";
import { kindText } from "./delivery-commands.ts";
import { failureText, stopSignal } from "./exit.ts";
import type { Managing } from "./managing.ts";
import { type Forwarded, forwardPush } from "./remote.ts";
import { halfOf, localTime, plainText } from "./terminal.ts";

type Pulled = Static<typeof pulledData>["deliveries"][number];

const WAIT_SECONDS = 30;
/** Longer than the service may wait. */
const ANSWER_MS = 45_000;
const MIN_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 30_000;
/** How long pushes under way have when the person ends it. */
const LAST_MS = 2000;
/** What a line shows of a message, in characters. */
const MAX_SHOWN = 40;

/** What became of a push here. */
interface Taken {
  readonly forwarded?: Forwarded | undefined;
  readonly ms?: number;
  /** Why the program on this machine has not taken it, or the service its reply. */
  readonly failure?: ServiceError | undefined;
  /** Whether WeChat was given the reply. */
  readonly isAnswer?: boolean | undefined;
}

/**
 * Prints an app's pushes as they come, a line each, until `stop` resolves; with `--forward` each goes to a program on this
 * machine first, whose answer is sent back. Reconnects by itself.
 *
 * @throws {ServiceError} When the service refuses for good; a usage error.
 */
export async function tail(at: Managing, stop: Promise<unknown> = stopSignal()): Promise<void> {
  const { args, api, terminal } = at;
  const forward = forwardUrl(args.find("forward"));
  const target = args.find("target");
  const path = apiPath`/v1/apps/${appOf(args)}/deliveries`;
  const aborting = new AbortController();
  void stop.then(() => aborting.abort());
  const { signal } = aborting;
  /** By delivery: what a debugger holds for longer than the lease is pulled again meanwhile. */
  const running = new Map<number, Promise<void>>();
  const pull = async (seconds: number): Promise<readonly Pulled[]> => {
    const query = new URLSearchParams({ wait: String(seconds), ...(target === undefined ? {} : { target }) });
    const request = {
      method: "GET",
      path: `${path}?${query.toString()}`,
      timeoutMs: ANSWER_MS,
      signal,
    } as const;
    return (await api.send<Static<typeof pulledData>>(request)).data.deliveries;
  };
  const take = (push: Pulled): void => {
    const { id } = push;
    if (running.has(id)) return;
    const taking = takePush(at, path, push, forward)
      .catch((error: unknown) => tellFailure(at, error))
      .finally(() => running.delete(id));
    running.set(id, taking);
  };
  let backoffMs = 0;
  let seconds = 0;
  while (!signal.aborted) {
    try {
      const pushes = await pull(seconds);
      if (seconds === 0) at.note(waitingFor(appOf(args), target, forward));
      else if (backoffMs > 0) at.note(bilingual("Connected again", "已重新连接"));
      [backoffMs, seconds] = [0, WAIT_SECONDS];
      for (const push of pushes) take(push);
    } catch (error) {
      if (signal.aborted) break;
      if (!isPassing(error)) throw error;
      // Said once: a service that is restarted is back in a moment.
      if (backoffMs === 0) {
        tellFailure(at, error);
        at.note(bilingual("Trying again until it answers; Ctrl+C ends", "将一直重试；按 Ctrl+C 结束"));
      }
      backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(MIN_BACKOFF_MS, backoffMs * 2));
      await Promise.race([terminal.clock.sleep(backoffMs), stop]);
    }
  }
  await Promise.race([Promise.all(running.values()), terminal.clock.sleep(LAST_MS)]);
}

/** Hands a push to the program on this machine, if there is one, acknowledges it and prints its line. */
async function takePush(
  { api, args, terminal }: Managing,
  path: string,
  push: Pulled,
  forward: string | undefined,
): Promise<void> {
  const startedAt = terminal.clock.monotonic();
  let taken: Taken = {};
  if (forward !== undefined) {
    try {
      const url = withQuery(forwardUrlOf(push, forward), push.query);
      const forwarded = await forwardPush(url, headersOf(push), bytesOf(push));
      taken = { forwarded, ms: Math.round(terminal.clock.monotonic() - startedAt) };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      taken = { failure: error };
    }
  }
  const { forwarded } = taken;
  const isTaken = forward === undefined || (forwarded !== undefined && isSuccess(forwarded));
  if (isTaken) {
    const body = forwarded === undefined ? {} : { reply: forwarded.body };
    const request = { method: "POST", path: `${path}/${push.id}/ack`, body } as const;
    try {
      const { data } = await api.send<{ answered: boolean }>(request);
      taken = { ...taken, isAnswer: data.answered };
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error;
      taken = { ...taken, failure: error };
    }
  }
  const line = args.isSet("json") ? jsonLine(push, taken) : lineOf(push, taken, terminal.language);
  await terminal.print(`${line}\n`);
}

function forwardUrl(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && /^https?:$/.test(url.protocol) && url.hash === "") return url.href;
  throw usageError("--forward: 应为http(s)地址，如 http://localhost:8080/wx (must be an http(s) URL)");
}

/** With whose message it is in the place of `$APPID$` and `$CORPID$`, as in the URL of a target. */
function forwardUrlOf({ app, account }: Pulled, forward: string): string {
  return targetUrl({ url: forward }, account ?? app.split("_", 1)[0] ?? "") ?? forward;
}

function withQuery(url: string, query: string | undefined): string {
  return query ? `${url}${url.includes("?") ? "&" : "?"}${query}` : url;
}

function headersOf({ content_type: type, dedupe_key: push, signature }: Pulled): Record<string, string> {
  return {
    ...(type ? { "content-type": type } : {}),
    [DELIVERY_HEADER]: push,
    ...(signature === undefined ? {} : { [SIGNATURE_HEADER]: signature }),
  };
}

function bytesOf({ body = "", encoding }: Pulled): Uint8Array<ArrayBuffer> {
  return new Uint8Array(Buffer.from(body, encoding === "base64" ? "base64" : "utf8"));
}

function isSuccess({ status }: Forwarded): boolean {
  return status >= 200 && status <= 299;
}

/** Whether the same request may work in a moment. */
function isPassing(error: unknown): boolean {
  if (error instanceof ApiRefusal) return error.status === 429 || error.status >= 500;
  return error instanceof ServiceError && ["unavailable", "upstream_invalid"].includes(error.code);
}

function tellFailure({ terminal }: Managing, error: unknown): void {
  if (!(error instanceof ServiceError)) throw error;
  terminal.tell(failureText(error, terminal.language));
}

function waitingFor(app: string, target: string | undefined, forward: string | undefined): Text {
  const of = target === undefined ? app : `${app} ${target}`;
  const to = forward === undefined ? "" : ` → ${forward}`;
  return bilingual(`Waiting for pushes of ${of}${to}; Ctrl+C ends`, `等待 ${of} 的推送${to}；按 Ctrl+C 结束`);
}

/** `08:00:05  dev  event SCAN  oAbC…  qr_42  → 200 (35 ms) replied`. */
function lineOf(push: Pulled, { forwarded, failure, ms, isAnswer }: Taken, language: Language): string {
  const { sender, event_key: key, content = "" } = push;
  const said = Array.from(key ?? content);
  const cut = said.slice(0, MAX_SHOWN).join("") + (said.length > MAX_SHOWN ? "…" : "");
  const what = [localTime(push.received_at).slice(11, 19), push.target, kindText(push), sender, cut];
  const shown = plainText(what.filter(Boolean).join("  "));
  const end = endOf(push, { forwarded, failure, isAnswer });
  const status = forwarded && ` ${forwarded.status} (${ms} ms)`;
  const refusal = failure && ` ✗ ${plainText(halfOf(failure.message, language))}`;
  return status || refusal ? `${shown}  →${status ?? ""}${refusal ?? ""}${end[language]}` : shown;
}

function endOf({ role }: Pulled, { forwarded, failure, isAnswer }: Taken): Text {
  if (isOver(failure)) return bilingual("", "");
  if (failure) return bilingual("; it comes again", "；将再次到达");
  if (forwarded && !isSuccess(forwarded)) return bilingual(" ✗ it comes again", " ✗ 将再次到达");
  if (role === "copy") return bilingual(" copy", " 副本");
  if (["", "success"].includes(forwarded?.body.trim() ?? "")) return bilingual("", "");
  return isAnswer ? bilingual(" replied", " 已回复") : bilingual(" too late to reply", " 回复已超时");
}

/** Whether the delivery had ended already, or is gone. */
function isOver(failure: ServiceError | undefined): boolean {
  return failure instanceof ApiRefusal && [404, 409].includes(failure.status);
}

function jsonLine(push: Pulled, { forwarded, failure, ms, isAnswer }: Taken): string {
  return visibleJson({
    ...push,
    ...(forwarded === undefined ? {} : { forwarded: { status: forwarded.status, ms } }),
    ...(failure === undefined ? {} : { failure: failure.message }),
    ...(isAnswer === undefined ? {} : { answered: isAnswer }),
  });
}

import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, type Slot } from "../apps/app.ts";
import { type Access, actorOf } from "../access/access.ts";
import { type Caller, markRefused } from "../access/principal.ts";
import type { Concurrency } from "../access/limits.ts";
import type { Clock } from "../clock.ts";
import type { CredentialRef } from "../credentials/credential.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import type { RawQuery, WechatRequest } from "../api/wechat-request.ts";
import { heldApp, type TokenContext } from "../api/token-resolver.ts";
import { type ErrorCode, ServiceError } from "../errors.ts";
import type { EventBus, ServiceEvent } from "../events.ts";
import type { Secret } from "../secret.ts";
import { isInvalidToken, type ReadAnswer, readSmallText, toResponse } from "./answer.ts";
import { type CallBody, isStreamed, prepareBody } from "./call-body.ts";
import { type Forwarder, forwardTracked, headersUp, isStream, STREAM_PERMITS } from "./forwarder.ts";
import { assertAllowed, assertCanonical } from "./blocked-paths.ts";
import { pathFamily } from "../access/api-policy.ts";

/** What the gateway works with. */
export interface GatewayParts {
  readonly access: Pick<Access, "slotOfToken" | "checkPath">;
  readonly directory: Pick<AppDirectory, "findSlot">;
  readonly credentials: Pick<CredentialManager, "get" | "replace">;
  readonly forwarder: Forwarder;
  readonly concurrency: Pick<Concurrency, "enter">;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** How a call ended, and what a token that turned out to be dead was healed to. */
type Called = Extract<ServiceEvent, { type: "gateway.called" }>;

/** One call on its way. */
interface Call {
  readonly request: WechatRequest;
  readonly holding: TokenContext;
  readonly family: string;
  readonly startedAt: number;
  healing: Called["healing"];
}

/** What the platform said last, and to which token. */
interface Exchanged {
  readonly last: ReadAnswer;
  readonly token: Secret;
}

/**
 * Hands calls on to WeChat and WeCom with the app's current token in the place of the caller's.
 *
 * A call whose token turns out to be dead is sent once more with another, if there is one. Nothing else is ever sent
 * twice: what got no answer may have been carried out.
 */
export class Gateway {
  readonly #parts: GatewayParts;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  /**
   * The platform's answer to a call of whoever holds a token or a key of that app.
   *
   * @throws {ServiceError} `forbidden` for what this caller may not call; `rate_limited`; what `CredentialManager.get`
   *   and `Forwarder.forward` throw. Whether it may have been carried out is noted on the caller.
   */
  async call(request: WechatRequest, holding: TokenContext): Promise<Response> {
    const { access, concurrency, clock } = this.#parts;
    const { caller, path, query } = request;
    const { method, signal } = request.request;
    const { platform } = holding.name;
    const family = pathFamily(path);
    this.#checkApp(caller, holding);
    caller.use = { action: "api:call", app: heldApp(holding), family };
    assertCanonical(platform, { method, path, query });
    assertAllowedTo(caller, holding, path, query);
    access.checkPath(caller, platform, path);
    const leave = await concurrency.enter(caller, {
      signal,
      permits: isStreamed(request.request) ? STREAM_PERMITS : 1,
    });
    // The answer of a caller who has gone before it came is neither read nor cancelled.
    signal.addEventListener("abort", leave, { once: true });
    const call: Call = { request, holding, family, startedAt: clock.monotonic(), healing: "none" };
    try {
      const { last, token: real } = await this.#exchange(call);
      const response = toResponse(last, { real, given: holding.token, onEnd: leave });
      this.#report(call, outcomeOf(last));
      return response;
    } catch (error) {
      leave();
      this.#report(call, codeOf(error));
      throw error;
    }
  }

  /** Refuses what the caller may not do with the app, and everybody while that is disabled, also with a token that is not ours. */
  #checkApp(caller: Caller, { slot, name }: TokenContext): void {
    const { access, directory } = this.#parts;
    const held = slot ?? directory.findSlot(appName(name));
    if (held) access.slotOfToken(caller, "api:call", held);
  }

  async #exchange(call: Call): Promise<Exchanged> {
    const { credentials } = this.#parts;
    const { request, holding } = call;
    const { slot } = holding;
    const body = await prepareBody(request.request);
    const held = slot && (await credentials.get(tokenOf(slot), { notes: request.caller }));
    const token = held?.value ?? holding.token;
    if (!token) throw new ServiceError("internal", "a call without a token");
    const first = await this.#send(call, body, token);
    if (!slot || !isInvalidToken(slot.platform, first)) return { last: first, token };
    const another = await this.#another(call, slot, token);
    const isHealed = another !== undefined && !isStream(body);
    call.healing = isHealed ? "healed" : "failed";
    return isHealed
      ? { last: await this.#send(call, body, another), token: another }
      : { last: first, token };
  }

  /** Another token than `rejected`, which the platform has just refused; undefined when none is available. */
  async #another({ request, family }: Call, slot: Slot, rejected: Secret): Promise<Secret | undefined> {
    try {
      const { value } = await this.#parts.credentials.replace(
        tokenOf(slot),
        rejected,
        actorOf(request.caller),
        {
          endpoint: family,
        },
      );
      return value.equals(rejected) ? undefined : value;
    } catch {
      // What kept us from it is told in log and state; the caller is told what the platform said.
      return undefined;
    }
  }

  async #send({ request, holding, family }: Call, body: CallBody, token: Secret): Promise<ReadAnswer> {
    const { forwarder, clock, events } = this.#parts;
    const { platform, appId } = holding.name;
    const { caller, path } = request;
    const { method, headers, signal } = request.request;
    const query = queryUp(platform, request.query).with("access_token", token.reveal()).toString();
    const startedAt = clock.monotonic();
    const report = (outcome: Called["outcome"], errcode?: number) => {
      const durationMs = Math.round(clock.monotonic() - startedAt);
      const about = { platform, appId, endpoint: family, durationMs, outcome };
      events.emit({ type: "gateway.sent", ...about, ...(errcode ? { errcode } : {}) });
    };
    try {
      const up = { platform, method, path, query, headers: headersUp(headers), body, signal };
      const read = await readSmallText(await forwardTracked(caller, forwarder, up));
      report(outcomeOf(read), read.errcode);
      return read;
    } catch (error) {
      report(codeOf(error));
      throw error;
    }
  }

  #report({ request, holding, family, startedAt, healing }: Call, outcome: Called["outcome"]): void {
    const { clock, events } = this.#parts;
    events.emit({
      type: "gateway.called",
      client: request.caller.identity?.client ?? "",
      app: heldApp(holding),
      family,
      outcome,
      healing,
      durationMs: Math.round((clock.monotonic() - startedAt) * 1000) / 1000,
    });
  }
}

function tokenOf(slot: Slot): CredentialRef {
  return { slot, kind: "access_token" };
}

/** What goes up of a query. In WeCom's debug mode five calls a minute are answered. */
function queryUp(platform: TokenContext["name"]["platform"], query: RawQuery): RawQuery {
  if (platform !== "wecom") return query;
  const debugs = query.names.filter((name) => name.toLowerCase() === "debug");
  return debugs.reduce((left, name) => left.without(name), query);
}

/** As `assertAllowed`, for this caller. A refusal is for who asks, and is counted as every such one. */
function assertAllowedTo(
  caller: Caller,
  { isRejected = false }: TokenContext,
  path: string,
  query: RawQuery,
): void {
  try {
    assertAllowed(path, query, isRejected || caller.client?.client.delivery === "virtual");
  } catch (error) {
    throw error instanceof ServiceError ? markRefused(caller, error) : error;
  }
}

function outcomeOf({ answer: { status }, errcode }: ReadAnswer): Called["outcome"] {
  if (errcode) return "errcode";
  return status < 400 ? "ok" : "upstream_invalid";
}

function codeOf(error: unknown): ErrorCode {
  return error instanceof ServiceError ? error.code : "internal";
}

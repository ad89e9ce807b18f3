import type { Access } from "../access/access.ts";
import { pathFamily } from "../access/api-policy.ts";
import { checkPath, testMessageFor } from "../access/call-policy.ts";
import type { Concurrency } from "../access/limits.ts";
import { actorOf, denied, type Principal } from "../access/principal.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { appName, roleOf, type Slot, type SlotName } from "../apps/app.ts";
import type { CallCounter } from "../audit/call-counts.ts";
import type { Clock } from "../clock.ts";
import type { CredentialRef } from "../credentials/credential.ts";
import { tokenKindOf, tokenNamesIn } from "../credentials/kinds.ts";
import type { CredentialManager, GetNotes } from "../credentials/manager.ts";
import { contextApp, type TokenContext, type TokenResolver } from "../credentials/token-resolver.ts";
import { type ErrorCode, ServiceError, unknownToken } from "../errors.ts";
import { type EventBus, reportCall, type RequestResult, type ServiceEvent } from "../events.ts";
import type { Secret } from "../secret.ts";
import { isInvalidToken, type ReadAnswer, readSmallText, toResponse } from "./answer.ts";
import { assertAllowed, assertCanonical, isOwnPath, type PlainCall } from "./blocked-paths.ts";
import { type CallBody, heldBytes, isStreamed, prepareBody } from "./call-body.ts";
import { type CallQuery, type CallRequest, type Forwarder, headersUp, isStream } from "./forwarder.ts";
import type { PlatformCalls } from "./platform-calls.ts";

/** What the gateway works with. */
export interface GatewayParts {
  readonly access: Pick<Access, "slotOfToken">;
  readonly directory: Pick<AppDirectory, "findSlot">;
  readonly resolver: Pick<TokenResolver, "confirm">;
  readonly credentials: Pick<CredentialManager, "get" | "replace">;
  readonly forwarder: Forwarder;
  readonly concurrency: Pick<Concurrency, "enter">;
  readonly clock: Clock;
  readonly events: EventBus;
  /** Counts each time that a call is sent upstream. */
  readonly calls: Pick<CallCounter, "count">;
  readonly platformCalls: Pick<PlatformCalls, "bodyUp" | "answerDown">;
}

/** How a call ended, and whether a rejected token was healed. */
type Called = Extract<ServiceEvent, { type: "gateway.called" }>;

/** One call under way. */
interface Call {
  readonly request: CallRequest;
  readonly context: TokenContext;
  readonly family: string;
  readonly startedAt: number;
  readonly notes: GetNotes;
  /** Whether the body that goes up is our own writing of a message. */
  isMessage: boolean;
  healing: Called["healing"];
}

/** The platform's answer for the caller, how the token was obtained, and whether another took its place. */
export interface GatewayAnswer {
  readonly response: Response;
  readonly result: RequestResult;
  readonly healing: Called["healing"];
}

/** The platform's last answer, and the token that was sent. */
interface Exchanged {
  readonly last: ReadAnswer;
  readonly token: Secret;
}

/**
 * Forwards calls to WeChat and WeCom with the app's current token in place of the caller's.
 *
 * A call whose token is rejected is sent once more with another, if there is one. Nothing else is ever sent twice: a
 * call without an answer may have been carried out.
 */
export class Gateway {
  readonly #parts: GatewayParts;

  constructor(parts: GatewayParts) {
    this.#parts = parts;
  }

  /**
   * The platform's answer to a call of the holder of a token or a key of that app.
   *
   * @throws {ServiceError} `forbidden` for what this caller may not call; `rate_limited`; what `CredentialManager.get`
   *   and `Forwarder.forward` throw.
   */
  async call(request: CallRequest, context: TokenContext): Promise<GatewayAnswer> {
    const { concurrency, clock } = this.#parts;
    const { caller, path, signal } = request;
    this.check(request, context);
    const body = { heldBytes: heldBytes(request), isUpload: isStreamed(request) };
    const leave = await concurrency.enter(caller, { signal, ...body });
    const startedAt = clock.monotonic();
    const state = { notes: {}, isMessage: false, healing: "none" } as const;
    const call: Call = { request, context, family: pathFamily(path), startedAt, ...state };
    try {
      const { last: sent, token: real } = await this.#exchange(call);
      const last = await this.#parts.platformCalls.answerDown(context, path, sent);
      const response = toResponse(last, { real, given: context.token, onEnd: leave });
      this.#report(call, outcomeOf(last));
      return { response, result: call.notes.result ?? "done", healing: call.healing };
    } catch (error) {
      leave();
      this.#report(call, codeOf(error));
      throw error;
    }
  }

  /** Refuses a call that its caller may not make, whatever is in its body: throws as `call`. Nothing is sent or counted. */
  check({ method, path, query }: PlainCall, context: TokenContext): void {
    const { principal, name } = context;
    this.#checkApp(context);
    assertCanonical(name.platform, { method, path, query });
    assertAllowedTo(context, path, query);
    checkPath(principal, name.platform, path);
  }

  /** Checks the grant, and that the app is enabled, also for a token of a secret that we don't hold. */
  #checkApp({ slot, name, principal }: TokenContext): void {
    const { access, directory } = this.#parts;
    const held = slot ?? directory.findSlot(appName(name));
    if (held) access.slotOfToken(principal, "api:call", held);
  }

  /** As when the call came in: what has ended meanwhile must not go up. */
  async #confirm(context: TokenContext, path: string): Promise<Principal> {
    const { directory, resolver } = this.#parts;
    const { platform } = context.name;
    const slot = directory.findSlot(appName(context.name));
    if (context.slot && !slot) throw unknownToken(platform);
    const confirmed = await resolver.confirm(context);
    this.#checkApp({ ...confirmed, slot });
    checkPath(confirmed.principal, platform, path);
    return confirmed.principal;
  }

  async #exchange(call: Call): Promise<Exchanged> {
    const { credentials } = this.#parts;
    const { request, context, notes } = call;
    const { slot, name } = context;
    const given = await prepareBody(request);
    // It may have taken minutes to come.
    const principal = given ? await this.#confirm(context, request.path) : context.principal;
    const message = testMessageFor(principal, name.platform, request, given);
    call.isMessage = message !== undefined;
    const body = message ?? (await this.#ofPlatform(call, principal, given));
    const held = slot && (await credentials.get(tokenOf(slot), { notes }));
    const token = held?.value ?? context.token;
    if (!token) throw new ServiceError("internal", "a call without a token");
    const first = await this.#send(call, body, token);
    const isRejected = slot && isInvalidToken(slot.platform, first) && isOwnPath(slot, request.path);
    if (!isRejected) return { last: first, token };
    const another = await this.#another(call, slot, token);
    const isHealed = another !== undefined && !isStream(body);
    call.healing = isHealed ? "healed" : "failed";
    return isHealed
      ? { last: await this.#send(call, body, another), token: another }
      : { last: first, token };
  }

  /** The body as it goes up of a call about what third-party platforms have. */
  #ofPlatform({ request, context }: Call, principal: Principal, body: CallBody): Promise<CallBody> {
    const { caller, path, query } = request;
    const asked = { caller: { ...caller, principal }, path, query };
    return this.#parts.platformCalls.bodyUp(context, asked, body);
  }

  /** Another token than `rejected`, which the platform has just refused; undefined when none is available. */
  async #another(call: Call, slot: Slot, rejected: Secret): Promise<Secret | undefined> {
    try {
      const actor = actorOf(call.context.principal, call.request.caller);
      const { credentials } = this.#parts;
      const { value } = await credentials.replace(tokenOf(slot), rejected, actor, { seen: true });
      // Now and then WeCom refuses a suite's token that it has just issued.
      const isSame = value.equals(rejected) && roleOf(slot) !== "suite";
      return isSame ? undefined : value;
    } catch {
      // The cause is in the log and in the app's status; the caller gets the platform's answer.
      return undefined;
    }
  }

  async #send(
    { request, context, family, isMessage }: Call,
    body: CallBody,
    token: Secret,
  ): Promise<ReadAnswer> {
    const { forwarder, clock, events, calls } = this.#parts;
    const { platform, appId } = context.name;
    const { method, path, headers, signal } = request;
    const name = tokenNamesIn(request.query)[0] ?? tokenNameFor(context.name, path);
    const query = queryUp(platform, request.query).with(name, token.reveal()).toString();
    const startedAt = clock.monotonic();
    const report = (outcome: Called["outcome"], errcode?: number) => {
      calls.count(platform, appId, family);
      const durationMs = Math.round(clock.monotonic() - startedAt);
      const about = { platform, appId, endpoint: family, durationMs, outcome };
      reportCall(events, "gateway.sent", { ...about, ...(errcode ? { errcode } : {}) });
    };
    try {
      const up = { platform, appId, method, path, query, headers: headersUp(headers), body, signal };
      // Whatever type and charset the caller's body had.
      if (isMessage) up.headers.set("content-type", "application/json");
      // In the parts of an answer a token can't be found that is cut in two.
      if (context.token?.reveal() !== token.reveal()) up.headers.delete("range");
      const answer = await forwarder.forward(up);
      const read = await readSmallText(answer).catch((cause: unknown) => {
        if (cause instanceof ServiceError) throw cause;
        throw new ServiceError("internal", "a fault in the gateway", { cause, mayHaveRun: true });
      });
      report(outcomeOf(read), read.errcode);
      return read;
    } catch (error) {
      report(codeOf(error));
      throw error;
    }
  }

  #report({ context, family, startedAt, healing }: Call, outcome: Called["outcome"]): void {
    const { clock, events } = this.#parts;
    events.emit({
      type: "gateway.called",
      client: context.principal.identity.client,
      app: contextApp(context),
      family,
      outcome,
      healing,
      durationMs: Math.round((clock.monotonic() - startedAt) * 1000) / 1000,
    });
  }
}

function tokenOf(slot: Slot): CredentialRef {
  return { slot, kind: tokenKindOf(slot) };
}

/** Under which name WeChat or WeCom take the token of a call that came without one. */
function tokenNameFor(slot: SlotName, path: string): string {
  const role = roleOf(slot);
  const isOwn = role !== "component" || /^\/(cgi-bin\/component|sns)\//i.test(path);
  return role && isOwn ? `${role}_access_token` : "access_token";
}

/** The query that is forwarded: without WeCom's debug mode, which answers five calls a minute only. */
function queryUp(platform: TokenContext["name"]["platform"], query: CallQuery): CallQuery {
  if (platform !== "wecom") return query;
  const debugs = query.names.filter((name) => name.toLowerCase() === "debug");
  return debugs.reduce((left, name) => left.without(name), query);
}

/** As `assertAllowed`, for this caller; a refusal counts as a denial. */
function assertAllowedTo(
  { name, principal, isRejected = false }: TokenContext,
  path: string,
  query: CallQuery,
): void {
  try {
    const isVirtual = principal.kind === "client" && principal.owner.client.delivery === "virtual";
    assertAllowed(name, path, query, isRejected || isVirtual);
  } catch (error) {
    throw error instanceof ServiceError ? denied(principal, error) : error;
  }
}

function outcomeOf({ answer: { status }, errcode }: ReadAnswer): Called["outcome"] {
  if (errcode) return "errcode";
  return status < 400 ? "ok" : "upstream_invalid";
}

function codeOf(error: unknown): ErrorCode {
  return error instanceof ServiceError ? error.code : "internal";
}

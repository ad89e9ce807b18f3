import type { Static, TSchema } from "@sinclair/typebox";
import type { Access } from "../access/access.ts";
import type { ConsoleLinks } from "../access/console-links.ts";
import { type ConsoleSession, type ConsoleSessions, IDLE_MS } from "../access/console-sessions.ts";
import type { Client } from "../access/client.ts";
import { TokenBuckets } from "../access/limits.ts";
import { actorOf, type ClientPrincipal, denied, tooMany, unauthorized } from "../access/principal.ts";
import type { AuditAction, AuditEntry, Identity } from "../audit/audit-entry.ts";
import type { Clock } from "../clock.ts";
import { failureEnvelope, failureStatus } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { VERSION } from "../version.ts";
import { envelopeResponse, successResponse, withDefaultHeaders } from "./answer.ts";
import { checkBody, checkFields, readJsonBody } from "./body.ts";
import { type ConsoleCookies, isByPerson } from "./console-cookie.ts";
import { type Me, setupBody, signInBody } from "./console-schema.ts";
import { type Call, type Face, failed } from "./face.ts";

/** A file of the console. */
export interface ConsoleFile {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly gzip: Uint8Array<ArrayBuffer>;
  readonly type: string;
  readonly etag: string;
}

/** What the page may do: nothing but what this service serves, and no text becomes a script. */
const PAGE_HEADERS = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  "cross-origin-opener-policy": "same-origin",
};
/** Their names change with their content. */
const FOR_EVER = { "cache-control": "public, max-age=31536000, immutable" };

const SESSION = "/console/session";
const SETUP = "/console/setup";
const FILE = "/console/:file";

/** What the face works with. */
export interface ConsoleFaceParts {
  readonly loadConsole: () => Promise<ReadonlyMap<string, ConsoleFile>>;
  readonly access: Pick<Access, "byKey" | "bySession" | "countRefusal" | "wrong">;
  readonly sessions: ConsoleSessions;
  readonly links: Pick<ConsoleLinks, "redeemSignIn" | "redeemSetup">;
  readonly cookies: ConsoleCookies;
  readonly clock: Clock;
}

/** So often a client may sign in here: each is an entry in the audit, and every process learns of it. */
const SIGN_INS = { perSecond: 0.5, burst: 30 };

/** `/console/`: the page, its files, and who is signed in. What it shows it asks of `/v1`. */
export class ConsoleFace implements Face {
  readonly isPublic = false;
  readonly #parts: ConsoleFaceParts;
  readonly #signIns: TokenBuckets;

  constructor(parts: ConsoleFaceParts) {
    this.#parts = parts;
    this.#signIns = new TokenBuckets(parts.clock);
  }

  /** Its routes, with `:name` for what varies. */
  get routes(): readonly { method: string; path: string }[] {
    const files = ["/console", "/console/", FILE].map((path) => ({ method: "GET", path }));
    const sessions = ["GET", "POST", "DELETE"].map((method) => ({ method, path: SESSION }));
    return [...files, ...sessions, { method: "POST", path: SETUP }];
  }

  matches({ path }: Call): boolean {
    return path === "/console" || path.startsWith("/console/");
  }

  /** The page itself tells nothing, and signs in whoever has a key. */
  mayIdentify(): boolean {
    return true;
  }

  async handle(call: Call): Promise<Response> {
    const { path, request } = call;
    const { method } = request;
    if (path === SESSION || path === SETUP) {
      call.route = path;
      this.#parts.cookies.check(call);
      if (path === SETUP && method === "POST") return this.#setUp(call);
    }
    if (path === SESSION) {
      if (method === "GET") return this.#succeed(call, meOf(this.#signedIn(call)));
      if (method === "POST") return this.#signIn(call);
      if (method === "DELETE") return this.#signOut(call);
    }
    call.route = path === "/console" || path === "/console/" ? path : FILE;
    if (method !== "GET" && method !== "HEAD")
      throw new ServiceError("method_not_allowed", "请求方法不正确 (wrong method)");
    return this.#file(call, path.slice("/console/".length));
  }

  encodeError(thrown: unknown, call: Call): Response {
    const error = this.#parts.access.countRefusal(call, thrown);
    const envelope = failureEnvelope(error, call.traceId);
    call.outcome = failed(envelope.code, error);
    return envelopeResponse(envelope, failureStatus(error));
  }

  #signedIn(call: Call): ClientPrincipal {
    const digest = this.#parts.cookies.sessionIn(call);
    // Whoever opens the page asks; that is no denial.
    if (digest === undefined) throw unauthorized("尚未登录", "nobody is signed in");
    return this.#parts.access.bySession(call.origin, digest, isByPerson(call.request));
  }

  async #signIn(call: Call): Promise<Response> {
    const { key, link } = await readBody(call, signInBody);
    const { access, links } = this.#parts;
    if ((key === undefined) === (link === undefined))
      throw new ServiceError(
        "invalid_parameter",
        "请提供key或link，二者之一 (send key or link, one of them)",
      );
    if (key !== undefined) {
      const known = access.byKey(call.origin, key);
      const { owner, key: record } = known;
      const waitMs = this.#signIns.take(owner.client.name, SIGN_INS);
      if (waitMs > 0) throw denied(known, tooMany("登录过于频繁", "too many sign-ins", waitMs));
      return this.#succeed(call, ...(await this.#begin(call, owner.client, record.prefix)));
    }
    const wrong = this.#countLink(call);
    const client = await links.redeemSignIn(link ?? "");
    if (!client) throw wrong;
    return this.#succeed(call, ...(await this.#begin(call, client, "")));
  }

  async #setUp(call: Call): Promise<Response> {
    const { token } = await readBody(call, setupBody);
    const { address } = call.origin;
    const wrong = this.#countLink(call);
    const made = await this.#parts.links.redeemSetup(token, { address, traceId: call.traceId });
    if (!made) throw wrong;
    const { client, record, key } = made;
    // The link is used up, and nobody is told the key again: whatever becomes of the session, it is shown.
    const [me, headers] = await this.#begin(call, client, record.prefix).catch(
      () => [undefined, {}] as const,
    );
    return this.#succeed(call, { key: key.reveal(), me }, headers, 201);
  }

  /** Counts a try of a link before the store is asked, and gives the refusal of a wrong one. Throws `rate_limited`. */
  #countLink(call: Call): ServiceError {
    const wrong = this.#parts.access.wrong(call, linkDead());
    if (wrong.code === "rate_limited") throw wrong;
    return wrong;
  }

  /** A session of a new id, whatever cookie came; the one that it came with ends. Gives what is answered. */
  async #begin(
    call: Call,
    { name: client, environment, createdAt: clientCreatedAt }: Client,
    keyPrefix: ConsoleSession["keyPrefix"],
  ): Promise<[me: Me, headers: Readonly<Record<string, string>>]> {
    const { sessions, cookies, access } = this.#parts;
    const { digest, cookie } = cookies.begin(call);
    const { address } = call.origin;
    const by = keyPrefix === "" ? { link: true } : { key: keyPrefix };
    const facts = { session: sessionName(digest), ...by };
    await this.#end(call);
    await sessions.begin(
      { digest, client, clientCreatedAt, keyPrefix, address },
      entryOf("console.signed_in", call, { client, environment }, facts),
    );
    return [meOf(access.bySession(call.origin, digest)), { "set-cookie": cookie }];
  }

  async #signOut(call: Call): Promise<Response> {
    await this.#end(call);
    return this.#succeed(call, {}, { "set-cookie": this.#parts.cookies.end(call) });
  }

  async #end(call: Call): Promise<void> {
    const { sessions, cookies } = this.#parts;
    const session = sessions.find(cookies.sessionIn(call) ?? "");
    if (!session) return;
    // Whatever has become of its client.
    const who = { client: session.client, environment: "" };
    const facts = { session: sessionName(session.digest) };
    await sessions.end(session.digest, entryOf("console.signed_out", call, who, facts));
  }

  async #file(call: Call, name: string): Promise<Response> {
    // Relative links need the slash.
    if (call.path === "/console") return this.#answer(call, new Response(null, redirected));
    const found = (await this.#parts.loadConsole()).get(name);
    if (!found) throw new ServiceError("not_found", "页面不存在 (not found)");
    const { body, gzip, type, etag } = found;
    const { headers: sent } = call.request;
    const more = name === "" ? PAGE_HEADERS : { ...FOR_EVER, etag };
    const headers = { "content-type": type, vary: "accept-encoding", ...more };
    if (name !== "" && sent.get("if-none-match") === etag)
      return this.#answer(call, new Response(null, { status: 304, headers }));
    const isPacked = /\bgzip\b/.test(sent.get("accept-encoding") ?? "");
    return this.#answer(
      call,
      isPacked
        ? new Response(gzip, { headers: { ...headers, "content-encoding": "gzip" } })
        : new Response(body, { headers }),
    );
  }

  #succeed(call: Call, data: object, headers: Readonly<Record<string, string>> = {}, status = 200): Response {
    return this.#answer(call, successResponse(data, call.traceId, { headers, status }));
  }

  #answer(call: Call, response: Response): Response {
    call.outcome = { code: 0, result: "done" };
    return withDefaultHeaders(response, call.traceId);
  }
}

const redirected = { status: 302, headers: { location: "console/" } };

/** The name of a session where people see it: nobody gets in by it. */
export function sessionName(digest: string): string {
  return digest.slice(0, 12);
}

/** A wrong token, one that was used, and one that has expired: which of them is nobody's business. */
function linkDead(): ServiceError {
  return new ServiceError("unauthorized", "链接无效、已使用或已过期 (the link is wrong, used or expired)", {
    hint: "请重新生成链接 (make another one)",
  });
}

async function readBody<S extends TSchema>(call: Call, schema: S): Promise<Static<S>> {
  const body = await readJsonBody(call.request);
  checkFields(schema, body);
  checkBody(schema, body);
  return body;
}

function meOf({ owner, session }: ClientPrincipal): Me {
  const { name, environment, grants } = owner.client;
  return {
    client: name,
    environment,
    is_admin: owner.isAdmin,
    grants: grants.map(({ apps, actions }) => ({ apps: [...apps], actions: [...actions] })),
    expires_at: session?.expiresAt ?? 0,
    idle_seconds: IDLE_MS / 1000,
    version: VERSION,
  };
}

function entryOf(
  action: AuditAction,
  call: Call,
  identity: Identity,
  detail: Readonly<Record<string, unknown>>,
): AuditEntry {
  return { ...actorOf({ identity }, call), action, app: "", outcome: "ok", tokenDigest: "", detail };
}

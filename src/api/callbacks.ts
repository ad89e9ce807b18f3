import type { AppDirectory } from "../apps/app-directory.ts";
import { PushRefused, type PushRefusalReason } from "../callbacks/push-crypto.ts";
import type { PushReceiver } from "../callbacks/push-receiver.ts";
import { MAX_PUSH_BYTES } from "../callbacks/verify-push.ts";
import type { Clock } from "../clock.ts";
import { ServiceError } from "../errors.ts";
import type { EventBus, PushOutcome } from "../events.ts";
import { withDefaultHeaders } from "./answer.ts";
import { readCapped } from "./body.ts";
import { type Call, type Face, failed } from "./face.ts";

const ROUTE = "/callback/:app";
/** Of third-party platforms: `auth` for commands to them, or whose message it is. */
const ACCOUNT_ROUTE = "/callback/:platform/:account";
const PATH =
  /^\/callback\/([A-Za-z0-9_-]{1,130})(?:\/([A-Za-z0-9_-]{1,64}|(?:\$|%24)(?:APPID|CORPID)(?:\$|%24)))?$/;

/**
 * The callback URLs that WeChat and WeCom push to. They bring no key: what is not signed is answered 403 without a reason,
 * and so is an app that receives none.
 */
export class CallbackFace implements Face {
  readonly isPublic = true;
  /** For the metrics. */
  readonly routes = [
    { method: "GET", path: ROUTE },
    { method: "POST", path: ROUTE },
    { method: "GET", path: ACCOUNT_ROUTE },
    { method: "POST", path: ACCOUNT_ROUTE },
  ];
  readonly #receiver: Pick<PushReceiver, "receive">;
  readonly #directory: Pick<AppDirectory, "find">;
  readonly #events: EventBus;
  readonly #clock: Clock;

  constructor(
    receiver: Pick<PushReceiver, "receive">,
    { directory, events, clock }: { directory: Pick<AppDirectory, "find">; events: EventBus; clock: Clock },
  ) {
    this.#receiver = receiver;
    this.#directory = directory;
    this.#events = events;
    this.#clock = clock;
  }

  matches({ path }: Call): boolean {
    return path.startsWith("/callback/");
  }

  /** By a signature. */
  mayIdentify(): boolean {
    return true;
  }

  async handle(call: Call): Promise<Response> {
    const { request, path, search: query, startedAt: arrivedAt } = call;
    const [, app = "", segment] = PATH.exec(path) ?? [];
    call.route = segment === undefined ? ROUTE : ACCOUNT_ROUTE;
    const account = segment?.replaceAll("%24", "$");
    const { method, headers } = request;
    if (app === "" || (method !== "GET" && method !== "POST")) throw new PushRefused("not_configured");
    const body = method === "POST" ? await readBody(request) : NO_BODY;
    const contentType = headers.get("content-type") ?? "";
    const pushed = { method, query, body, contentType, arrivedAt } as const;
    const received = await this.#receiver.receive(app, { ...pushed, account });
    call.outcome = { code: 0, result: "done" };
    this.#tell(call, received.app, received.outcome);
    const answer = { headers: { "content-type": received.contentType } };
    return withDefaultHeaders(new Response(received.body as Uint8Array<ArrayBuffer>, answer), call.traceId);
  }

  encodeError(error: unknown, call: Call): Response {
    const isRefused = error instanceof PushRefused;
    const failure = isRefused ? refusal(error.reason) : error;
    if (isRefused) this.#tell(call, PATH.exec(call.path)?.[1] ?? "", "refused");
    // What could not be stored is WeChat's to send again.
    const isOurs = !isRefused && !(error instanceof ServiceError && error.deniedTo !== undefined);
    const status = isOurs ? 503 : 403;
    call.outcome = failed(status, failure);
    return withDefaultHeaders(new Response(null, { status }), call.traceId);
  }

  #tell({ startedAt }: Call, name: string, outcome: PushOutcome): void {
    const app = this.#directory.find(name) ? name : "";
    this.#events.emit({
      type: "push.answered",
      app,
      outcome,
      durationMs: this.#clock.monotonic() - startedAt,
    });
  }
}

const NO_BODY = new Uint8Array();

async function readBody(request: Request): Promise<Uint8Array> {
  try {
    return await readCapped(request, MAX_PUSH_BYTES);
  } catch (error) {
    if (error instanceof ServiceError && error.code === "payload_too_large")
      throw new PushRefused("too_large");
    throw new PushRefused("malformed");
  }
}

/** For the log and the audit; the sender is told nothing. */
function refusal(reason: PushRefusalReason): ServiceError {
  return new ServiceError("forbidden", "推送未通过校验 (the push was not verified)", {
    deniedTo: "",
    logged: `the push was not verified: ${reason}`,
  });
}

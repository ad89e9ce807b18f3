import { type Static, type TObject, type TProperties, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { BOT_KINDS, type Bots } from "./bots.ts";
import type { ComponentControl } from "./component-control.ts";
import { type IssuedTokens, masked, secondsLeft } from "./issued-tokens.ts";
import type { Fault } from "./fault.ts";
import { type Answer, jsonAnswer, jsonBody, type SandboxRequest, text } from "./sandbox-request.ts";
import type { SandboxSwitches } from "./sandbox-settings.ts";
import type { SandboxTime } from "./sandbox-time.ts";
import type { SuiteControl } from "./suite-control.ts";
import type { WecomPlatform } from "./wecom-platform.ts";
import type { WeixinPlatform } from "./weixin-platform.ts";

/** What people may do to a running sandbox from the command line. */
export interface Controllable {
  readonly wecomUrl: string;
  readonly bots: Bots;
  state(): object;
  inject(fault: Fault): void;
  clearFaults(): void;
  killTokens(appOrCorpId: string): void;
  rogueFetch(appId: string): string;
  component(appId: string): ComponentControl;
  suite(suiteId: string): SuiteControl;
}

type Action = (sandbox: Controllable, request: SandboxRequest) => object | Promise<object>;

const ACTIONS = new Map<string, Action>([
  ["GET /sandbox/state", (sandbox) => sandbox.state()],
  ["POST /sandbox/faults", (sandbox, request) => done(sandbox.inject(parseFault(jsonBody(request))))],
  ["DELETE /sandbox/faults", (sandbox) => done(sandbox.clearFaults())],
  [
    "POST /sandbox/kill-tokens",
    (sandbox, request) => done(sandbox.killTokens(text(jsonBody(request)["app"]))),
  ],
  [
    "POST /sandbox/rogue-fetch",
    (sandbox, request) => ({ access_token: sandbox.rogueFetch(text(jsonBody(request)["appid"])) }),
  ],
  ["GET /sandbox/bots", (sandbox) => ({ bots: sandbox.bots.state(sandbox.wecomUrl) })],
  ["DELETE /sandbox/bots", (sandbox) => done(sandbox.bots.forget())],
  ["POST /sandbox/bots", changeBot],
  [
    "POST /sandbox/component/urls",
    ofComponent((control, { event_url: eventUrl, message_url: messageUrl }) => {
      control.setUrls({ ...(eventUrl && { eventUrl }), ...(messageUrl && { messageUrl }) });
      return done(control.startPushing());
    }),
  ],
  ["POST /sandbox/component/ticket", ofComponent((control) => control.pushTicket())],
  ["POST /sandbox/component/start", ofComponent((control) => done(control.startPushing()))],
  ["POST /sandbox/component/stop", ofComponent((control) => done(control.stopPushing()))],
  [
    "POST /sandbox/component/authorize",
    ofComponent((control, { authorizer_appid: appId = "", redirect_uri: redirectUri }) =>
      control.authorize(appId, { redirectUri }),
    ),
  ],
  [
    "POST /sandbox/component/unauthorize",
    ofComponent(async (control, { authorizer_appid: appId = "" }) => ({
      push: await control.unauthorize(appId),
    })),
  ],
  [
    "POST /sandbox/component/message",
    ofComponent(async (control, { authorizer_appid: appId = "", content }) => ({
      attempts: await control.pushMessage(appId, content === undefined ? {} : { Content: content }),
    })),
  ],
  [
    "POST /sandbox/suite/urls",
    ofSuite((control, { command_url: commandUrl, data_url: dataUrl }) => {
      control.setUrls({ ...(commandUrl && { commandUrl }), ...(dataUrl && { dataUrl }) });
      return done(control.startPushing());
    }),
  ],
  ["POST /sandbox/suite/ticket", ofSuite((control) => control.pushTicket())],
  ["POST /sandbox/suite/start", ofSuite((control) => done(control.startPushing()))],
  ["POST /sandbox/suite/stop", ofSuite((control) => done(control.stopPushing()))],
  ["POST /sandbox/suite/install", ofSuite((control, { corp_id: corpId = "" }) => control.install(corpId))],
  ["POST /sandbox/suite/cancel", ofSuite((control, { corp_id: corpId = "" }) => control.cancelAuth(corpId))],
  [
    "POST /sandbox/suite/message",
    ofSuite((control, { corp_id: corpId = "", content: Content = "你好" }) =>
      control.pushData(corpId, { FromUserName: "zhangsan", MsgType: "text", Content }),
    ),
  ],
]);

const COMPONENT_ORDER = Type.Object({
  component_appid: Type.String(),
  authorizer_appid: Type.Optional(Type.String()),
  event_url: Type.Optional(Type.String()),
  message_url: Type.Optional(Type.String()),
  redirect_uri: Type.Optional(Type.String()),
  content: Type.Optional(Type.String()),
});

const SUITE_ORDER = Type.Object({
  suite_id: Type.String(),
  corp_id: Type.Optional(Type.String()),
  content: Type.Optional(Type.String()),
  command_url: Type.Optional(Type.String()),
  data_url: Type.Optional(Type.String()),
});

function ofComponent(
  act: (control: ComponentControl, order: Static<typeof COMPONENT_ORDER>) => object | Promise<object>,
): Action {
  return (sandbox, request) => {
    const order = checked(COMPONENT_ORDER, jsonBody(request));
    return act(sandbox.component(order.component_appid), order);
  };
}

function ofSuite(
  act: (control: SuiteControl, order: Static<typeof SUITE_ORDER>) => object | Promise<object>,
): Action {
  return (sandbox, request) => {
    const order = checked(SUITE_ORDER, jsonBody(request));
    return act(sandbox.suite(order.suite_id), order);
  };
}

/** `json` if it is of that shape. Throws an error with a sentence for the sender. */
function checked<Shape extends TObject>(shape: Shape, json: unknown): Static<Shape> {
  const [error] = Value.Errors(shape, json);
  if (error) throw new Error(`${error.path.slice(1)}: ${error.message}`);
  return json as Static<Shape>;
}

/**
 * The control interface below `/sandbox/` of the WeChat server, for people; no platform has it, and it is not
 * counted as a call.
 *
 * POST takes JSON and nothing else, so that no foreign web page can send it.
 */
export async function answerControl(sandbox: Controllable, request: SandboxRequest): Promise<Answer> {
  const action = ACTIONS.get(`${request.method} ${request.path}`);
  if (action === undefined) return failure(404, "there is no such control");
  if (request.method === "POST" && !isJson(request.headers["content-type"])) {
    return failure(415, "send the content type application/json");
  }
  try {
    return controlAnswer(200, await action(sandbox, request));
  } catch (error) {
    return failure(400, error instanceof Error ? error.message : "that can't be done");
  }
}

function isJson(contentType: string | string[] | undefined): boolean {
  if (typeof contentType !== "string") return false;
  return contentType.split(";")[0]?.trim().toLowerCase() === "application/json";
}

function done(_nothing: void): object {
  return { ok: true };
}

function failure(status: number, error: string): Answer {
  return controlAnswer(status, { error });
}

function controlAnswer(status: number, body: object): Answer {
  return { ...jsonAnswer("application/json; charset=utf-8", body), status };
}

const TEXT = Type.String();
const NUMBER = Type.Number({ minimum: 0 });
const MAYBE_TEXT = Type.Optional(TEXT);
const MAYBE_NUMBER = Type.Optional(NUMBER);

/** The fields of each fault that can be sent. A gate can't be, because it could not be opened: use `delay`. */
const FAULT_FIELDS: Readonly<Record<Exclude<Fault["kind"], "gate" | "gate_before">, TProperties>> = {
  error: { errcode: Type.Union([Type.Number(), TEXT], { default: -1 }), errmsg: MAYBE_TEXT },
  http: { status: MAYBE_NUMBER, body: MAYBE_TEXT },
  reset_before: {},
  reset_after: {},
  delay: { ms: NUMBER },
  truncated_json: {},
  truncated_body: {},
  empty_body: {},
  raw: { body: TEXT, contentType: TEXT, status: MAYBE_NUMBER },
  gzip_bomb: { bytes: MAYBE_NUMBER },
  oversized: { bytes: MAYBE_NUMBER },
  redirect: { location: TEXT, status: MAYBE_NUMBER },
  field: { field: TEXT, value: Type.Optional(Type.Unknown()) },
  text_plain: {},
};

/** Every fault that can be sent, by its kind; `times` is 1 when it is not given. */
const FAULTS: ReadonlyMap<unknown, TObject> = new Map(
  Object.entries(FAULT_FIELDS).map(([kind, fields]) => [
    kind,
    Type.Object({
      kind: Type.Literal(kind),
      ...fields,
      endpoint: MAYBE_TEXT,
      host: Type.Optional(Type.Union([Type.Literal("weixin"), Type.Literal("wecom")])),
      times: Type.Number({ minimum: 1, default: 1 }),
    }),
  ]),
);

const MAYBE_TEXTS = Type.Optional(Type.Union([Type.Array(TEXT), Type.Null()]));

/** How a bot can be set up; `null` takes a condition away. */
const BOT_CHANGE = Type.Object({
  bot: Type.Union(BOT_KINDS.map((kind) => Type.Literal(kind))),
  key: MAYBE_TEXT,
  secret: Type.Optional(Type.Union([TEXT, Type.Null()])),
  keywords: MAYBE_TEXTS,
  ips: MAYBE_TEXTS,
});

function changeBot(sandbox: Controllable, request: SandboxRequest): object {
  const { bot, ...change } = checked(BOT_CHANGE, Value.Clean(BOT_CHANGE, jsonBody(request)));
  const entries = Object.entries(change).map(([name, value]) => [name, value ?? undefined]);
  return done(sandbox.bots.change(bot, Object.fromEntries(entries)));
}

/** The fault that was sent as JSON. Throws an error with a sentence for the sender when it is none. */
function parseFault(json: Record<string, unknown>): Fault {
  const shape = FAULTS.get(json["kind"]);
  if (!shape) throw new Error(`kind must be one of ${[...FAULTS.keys()].join(", ")}`);
  return checked(shape, Value.Clean(shape, Value.Default(shape, json))) as Fault;
}

/** What the state shows besides the platforms. */
export interface StateSurroundings {
  time: SandboxTime;
  switches: SandboxSwitches;
  calls: Record<string, Record<string, number>>;
  debugCalls: number;
  faults: object[];
  components: Iterable<ComponentControl>;
  suites: object[];
}

/** The whole sandbox as JSON for people. Secrets are left out; of a token, its beginning and its length are shown. */
export function sandboxState(
  weixin: WeixinPlatform,
  wecom: WecomPlatform,
  around: StateSurroundings,
): object {
  return {
    now: new Date(around.time.now()).toISOString(),
    beijing_day: around.time.day(),
    weixin: [...weixin.apps.values()].map((app) => ({
      app_id: app.settings.appId,
      live_tokens: validTokens(weixin.tokens, app, around.time),
      used_today: app.usedToday(),
    })),
    wecom: wecom.apps.map((app) => ({
      corp_id: app.settings.corpId,
      agent: app.settings.agent,
      live_tokens: validTokens(wecom.tokens, app, around.time),
    })),
    components: [...around.components].map(({ component, isPushing }) => ({
      app_id: component.settings.appId,
      is_pushing: isPushing,
      event_url: component.settings.eventUrl,
      message_url: component.settings.messageUrl,
      authorizers: [...component.authorizers.values()].map(({ authorizer, isAuthorized, refreshToken }) => ({
        app_id: authorizer.appId,
        is_authorized: isAuthorized,
        has_refresh_token: refreshToken !== undefined,
      })),
    })),
    wecom_suites: around.suites,
    calls_per_day: around.calls,
    wecom_debug_calls: around.debugCalls,
    faults: around.faults,
    switches: around.switches,
  };
}

function validTokens<Owner>(tokens: IssuedTokens<Owner>, owner: Owner, time: SandboxTime): object[] {
  return tokens.valid(owner).map((token) => ({
    token: masked(token.value),
    expires_in: secondsLeft(token, time.now()),
    superseded: Number.isFinite(token.revokedAt),
  }));
}

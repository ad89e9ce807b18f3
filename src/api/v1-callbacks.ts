import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import type { Permit } from "../access/permits.ts";
import { actorOf } from "../access/principal.ts";
import { appName } from "../apps/app.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import type { PublicSide } from "../apps/public-side.ts";
import {
  type CallbackAdministration,
  isRotating,
  type MadeSecrets,
  notSetUp,
  type SettingsChange,
} from "../callbacks/callback-administration.ts";
import type { CallbackDirectory } from "../callbacks/callback-directory.ts";
import type { CallbackApp, CallbackSettingsStore, Route, Target } from "../callbacks/callback-settings.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import { type Call, callOf, Reply, route, type RouteRules } from "./face.ts";
import { etagOf, versionIn } from "./schema.ts";
import { after, answersOf, app, limit } from "./v1-apps-schema.ts";
import {
  CALLBACK_EXAMPLE,
  callbackBody,
  callbackData,
  MADE_EXAMPLE,
  rotateBody,
  type RouteData,
  routesBody,
  savedCallbackData,
} from "./v1-callbacks-schema.ts";

const PAGE = 100;
const MANAGE = "callback:manage";

/** What the routes of callback settings work with. */
export interface CallbackRouteParts {
  readonly access: Access;
  readonly directory: Pick<AppDirectory, "find">;
  readonly callbacks: CallbackDirectory;
  readonly callbackAdministration: CallbackAdministration;
  readonly callbackSettings: Pick<CallbackSettingsStore, "lastPullsOf">;
  readonly publicSide: Pick<PublicSide, "callbackUrlsOf">;
}

/** `/v1/callbacks` and `/v1/apps/:app/callbacks`: how an app's pushes are verified and where they go; never a Token or key that stands. */
export function callbackRoutes(parts: CallbackRouteParts) {
  const { access, callbacks, callbackAdministration: administration } = parts;
  const rules = managerRules(parts);
  const show = showWith(parts);
  return new Elysia()
    .get(
      "/v1/callbacks",
      async ({ query, request }) => {
        const mayManage = access.appsFor(callOf(request), MANAGE);
        await catchUp(callbacks);
        const size = Number(query.limit ?? PAGE);
        const { after: last = "" } = query;
        const names = callbacks.names().filter((name) => name > last && mayManage(name));
        const page = names.slice(0, size);
        const next = names.length > size ? page.at(-1) : undefined;
        const shown = page.map((name) => dataOf(parts, name));
        return { callbacks: shown, ...(next === undefined ? {} : { next }) };
      },
      route(
        { guard: (call: Call) => access.checkKnown(call) },
        {
          query: Type.Object({ limit: Type.Optional(limit), after: Type.Optional(after) }),
          detail: {
            summary: "The settings of every app's pushes · 全部应用的消息推送设置",
            description:
              "Of the apps for which the caller has callback:manage, sorted by name, in pages. 列出调用方有callback:manage权限的应用，按名称排序，分页。",
            tags: ["Callbacks"],
            responses: answersOf(
              "The settings. 设置列表。",
              Type.Object({ callbacks: Type.Array(callbackData), next: Type.Optional(Type.String()) }),
              { callbacks: [CALLBACK_EXAMPLE] },
            ),
          },
        },
      ),
    )
    .get(
      "/v1/apps/:app/callbacks",
      async ({ params, request }) => {
        const { permit, app: of } = admit(parts, callOf(request), params.app);
        await catchUp(callbacks);
        return show(of.name, { permit });
      },
      route(rules, {
        params: Type.Object({ app }),
        detail: {
          summary: "How an app's pushes are verified and where they go · 应用的消息推送设置",
          description:
            "Settings, targets and routes. The header ETag names the version of settings and routes. 设置、目标和路由；响应头ETag为设置和路由的版本。",
          tags: ["Callbacks"],
          responses: answersOf("The settings. 设置。", callbackData, CALLBACK_EXAMPLE),
        },
      }),
    )
    .put(
      "/v1/apps/:app/callbacks",
      async ({ params, body, request }) => {
        const { permit, app: of, options } = admit(parts, callOf(request), params.app);
        if (Object.keys(body).length > 0) checkOwn(parts, of.name);
        await catchUp(callbacks);
        const { isNew, made } = await administration.save(of, settingsOf(body), options);
        return show(of.name, { permit, made, status: isNew ? 201 : 200 });
      },
      route(rules, {
        params: Type.Object({ app }),
        body: callbackBody,
        detail: {
          summary: "Set an app's pushes up, or change how · 设置消息推送",
          description:
            "201 when it is new. Fields that are left out keep their values, and begin with their defaults. A Token and an EncodingAESKey that are not given at first are made, and shown in this answer only; ones that are given later replace the current ones at once: to change them without losing pushes, use `rotate`. 新建返回201。未给出的字段不变，首次为默认值；首次未给出的Token和EncodingAESKey由服务生成，只在此应答中显示。之后给出的会立即取代当前值；要平滑更换请用 `rotate`。",
          tags: ["Callbacks"],
          responses: answersOf("The settings. 设置。", savedCallbackData, {
            ...CALLBACK_EXAMPLE,
            ...MADE_EXAMPLE,
          }),
        },
      }),
    )
    .delete(
      "/v1/apps/:app/callbacks",
      async ({ params, request }) => {
        const call = callOf(request);
        // Those of an app that is held no more can be removed too.
        const name = parts.access.checkGrant(call, MANAGE, params.app);
        const { app: of, options } = parts.directory.find(name)
          ? admit(parts, call, name)
          : { app: { name }, options: optionsOf(call) };
        await catchUp(callbacks);
        await administration.remove(of.name, options);
        return {};
      },
      route(rules, {
        params: Type.Object({ app }),
        detail: {
          summary: "Remove the settings, targets and routes of an app's pushes · 删除消息推送设置",
          description:
            "From then on its pushes are refused. Takes no body. 此后该应用的推送将被拒绝；无请求体。",
          tags: ["Callbacks"],
          responses: answersOf("Removed. 已删除。", Type.Object({}), {}),
        },
      }),
    )
    .post(
      "/v1/apps/:app/callbacks/rotate",
      async ({ params, body, request }) => {
        const { permit, app: of, options } = admit(parts, callOf(request), params.app);
        checkOwn(parts, of.name);
        await catchUp(callbacks);
        const { only, ...given } = body;
        const made = await administration.rotate(of, { ...settingsOf(given), only }, options);
        return show(of.name, { permit, made });
      },
      route(rules, {
        params: Type.Object({ app }),
        body: rotateBody,
        detail: {
          summary: "Rotate Token and key · 轮换Token和EncodingAESKey",
          description:
            "What is given, or new ones, become the current Token and EncodingAESKey; the former are accepted beside them until `finish`. 409 while a rotation is not finished. 新的Token和EncodingAESKey（给出或生成）成为当前值，旧的在 `finish` 之前仍被接受；上一次轮换未结束时返回409。",
          tags: ["Callbacks"],
          responses: answersOf("The settings. 设置。", savedCallbackData, {
            ...CALLBACK_EXAMPLE,
            rotating: true,
            ...MADE_EXAMPLE,
          }),
        },
      }),
    )
    .post(
      "/v1/apps/:app/callbacks/finish",
      async ({ params, request }) => {
        const { permit, app: of, options } = admit(parts, callOf(request), params.app);
        await catchUp(callbacks);
        await administration.finish(of.name, options);
        return show(of.name, { permit });
      },
      route(rules, {
        params: Type.Object({ app }),
        detail: {
          summary: "End a rotation · 结束轮换",
          description:
            "The former Token and EncodingAESKey are accepted no more. Takes no body. 不再接受旧的Token和EncodingAESKey；无请求体。",
          tags: ["Callbacks"],
          responses: answersOf("The settings. 设置。", callbackData, CALLBACK_EXAMPLE),
        },
      }),
    )
    .put(
      "/v1/apps/:app/callbacks/routes",
      async ({ params, body, request }) => {
        const { permit, app: of, options } = admit(parts, callOf(request), params.app);
        await catchUp(callbacks);
        await administration.saveRoutes(of.name, body.routes.map(toRoute), options);
        return show(of.name, { permit });
      },
      route(rules, {
        params: Type.Object({ app }),
        body: routesBody,
        detail: {
          summary: "Replace the routes · 设置路由",
          description:
            "Which pushes go to which target. In order: of the matching primaries the first that can be reached answers; every matching copy gets one. With If-Match, 412 for any other version of the settings. 决定推送的去向：按顺序，匹配的primary中第一个可达者应答，匹配的copy各得一份。带If-Match时设置的版本不符返回412。",
          tags: ["Callbacks"],
          responses: answersOf("The settings. 设置。", callbackData, CALLBACK_EXAMPLE),
        },
      }),
    );
}

/** What the routes of an app's settings ask of their callers. */
export function managerRules({ access }: Pick<CallbackRouteParts, "access">): RouteRules {
  return { guard: (call, { app: name = "" }) => access.checkGrant(call, MANAGE, name), isClosed: true };
}

/** Reads what another process has just changed. If it can't be read, the last copy is used. */
export async function catchUp(callbacks: CallbackDirectory): Promise<void> {
  await callbacks.refresh().catch(() => undefined);
}

/** Who may change the settings of an app that we hold, and the app. */
export function admit({ access, directory }: CallbackRouteParts, call: Call, name: string) {
  const permit = access.slotOfApp(call, MANAGE, name);
  const { platform, appId } = permit.slot;
  // An account may be called by its AppID.
  const of = appName(permit.slot);
  const { role, provider } = directory.find(of) ?? {};
  const app: CallbackApp = { name: of, platform, appId, role, provider };
  return { permit, app, options: optionsOf(call) };
}

/** Refuses to set a Token, a key or what goes with them of an app whose pushes come to its platform's URL. */
function checkOwn({ publicSide }: CallbackRouteParts, name: string): void {
  const { platform } = publicSide.callbackUrlsOf(name);
  if (platform === undefined) return;
  const set = `accesstoken callbacks set ${platform}`;
  throw new ServiceError(
    "invalid_parameter",
    `该应用的推送经第三方平台到达，使用平台的Token和密钥，请对平台设置：${set} (the app's pushes come by its third-party platform, with the platform's Token and key: set those of the platform by ${set})`,
  );
}

function optionsOf(call: Call) {
  return { actor: actorOf(call.principal, call), version: versionIn(call.request.headers) };
}

function showWith(parts: CallbackRouteParts) {
  return async (
    name: string,
    { permit, made = {}, status }: { permit: Permit; made?: MadeSecrets; status?: number },
  ) => {
    const pulls = await parts.callbackSettings.lastPullsOf(name).catch(() => new Map<string, number>());
    const found = dataOf(parts, name, pulls);
    const data = found.platform_app === undefined ? { ...found, ...madeFields(made) } : found;
    const { version } = data;
    const hint = data.mode === "plain" ? PLAIN : undefined;
    const headers = version === undefined ? undefined : { etag: etagOf(version) };
    return new Reply(data, { permit, status, headers, hint });
  };
}

const PLAIN =
  "明文模式：消息内容没有签名，谁得到一次请求的URL就能伪造消息；请在微信后台改为安全模式 (plain: nothing signs the body, so whoever sees the URL of one request can forge messages; set WeChat's console to the secure mode)";

function dataOf(
  { callbacks, directory, publicSide }: CallbackRouteParts,
  name: string,
  pulls: ReadonlyMap<string, number> = new Map(),
): Static<typeof callbackData> {
  const found = callbacks.of(name);
  const { command, message, platform } = publicSide.callbackUrlsOf(name);
  const { role } = directory.find(name) ?? {};
  const urls = { callback_url: command, message_url: message, platform_app: platform };
  const common = { app: name, kind: role, ...urls };
  if (!found) {
    if (!callbacks.isDamaged(name)) throw notSetUp(name);
    return { ...common, damaged: true, targets: [], routes: [] };
  }
  const { settings, targets, routes } = found;
  const own = {
    mode: settings.mode,
    format: settings.format,
    receive_ids: [...settings.receiveIds],
    rotating: isRotating(settings),
    checked_at: settings.checkedAt,
  };
  return {
    ...common,
    // What comes to the platform's URL goes by the platform's settings.
    ...(platform === undefined ? own : {}),
    version: settings.version,
    targets: targets.map((each) => targetFields({ ...each, pulledAt: pulls.get(each.name) })),
    routes: routes.map(routeFields),
  };
}

/** A target as it is shown; JSON leaves out what is undefined. */
export function targetFields({ name, environment, url, content, timeoutMs, pulledAt, version }: Target) {
  const timeout = timeoutMs === undefined ? undefined : timeoutMs / 1000;
  return { target: name, environment, url, content, timeout, pulled_at: pulledAt, version };
}

/** Secrets that were made just now. */
export function madeFields({ token, aesKey, hmacKey }: MadeSecrets) {
  return { token: token?.reveal(), aes_key: aesKey?.reveal(), hmac_key: hmacKey?.reveal() };
}

function routeFields({ target: to, role, rule }: Route): RouteData {
  const { types, events, eventKeys, openids } = rule;
  const lists = { types, events, event_keys: eventKeys, openids };
  const given = Object.entries(lists).flatMap(([name, list]) => (list ? [[name, [...list]]] : []));
  return { target: to, role, ...Object.fromEntries(given) };
}

/** An empty list is none. */
function toRoute({ target: to, role, types, events, event_keys: eventKeys, openids }: RouteData): Route {
  const lists = Object.entries({ types, events, eventKeys, openids });
  return { target: to, role, rule: Object.fromEntries(lists.filter(([, list]) => list && list.length > 0)) };
}

function settingsOf(body: (typeof callbackBody)["static"]): SettingsChange {
  const { token, aes_key: aesKey, mode, format, receive_ids: receiveIds } = body;
  return {
    ...(token === undefined ? {} : { token: new Secret(token) }),
    ...(aesKey === undefined ? {} : { aesKey: new Secret(aesKey) }),
    ...(mode === undefined ? {} : { mode }),
    ...(format === undefined ? {} : { format }),
    ...(receiveIds === undefined ? {} : { receiveIds }),
  };
}

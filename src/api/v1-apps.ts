import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import type { Permit } from "../access/permits.ts";
import { isWebOrigin } from "../access/origin.ts";
import { actorOf } from "../access/principal.ts";
import { type Call, callOf, Reply, route, type RouteRules } from "./face.ts";
import type { AppIndex } from "../credentials/app-index.ts";
import { APP_ORDERS, type AppOrder, type AppQuery } from "../credentials/app-order.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import {
  type AppStatus,
  closedState,
  type CredentialStates,
  type CredentialStatus,
} from "../credentials/status.ts";
import { failureEnvelope } from "../envelope.ts";
import { ServiceError } from "../errors.ts";
import { Secret } from "../secret.ts";
import type { AppAdministration, AppChange } from "../apps/app-administration.ts";
import type { AppDirectory } from "../apps/app-directory.ts";
import { type App, appName, nameOfApp, type Slot } from "../apps/app.ts";
import { etagOf, versionIn } from "./schema.ts";
import {
  answersOf,
  app,
  APP_EXAMPLE,
  appChangeBody,
  appListQuery,
  appStatus,
  MANAGED_APP_EXAMPLE,
  managedApp,
  newAppBody,
} from "./v1-apps-schema.ts";

const PAGE = 100;

/** What the routes of `/v1/apps` work with. */
export interface AppRouteParts {
  readonly access: Access;
  readonly directory: AppDirectory;
  readonly administration: AppAdministration;
  readonly credentials: Pick<CredentialManager, "unblock">;
  readonly states: CredentialStates;
  readonly index: Pick<AppIndex, "page">;
}

/** `/v1/apps`: the apps that we hold, the status of their credentials, and their management; never a value or a secret. */
export function appRoutes(parts: AppRouteParts) {
  return new Elysia().use(statusRoutes(parts)).use(managementRoutes(parts));
}

function statusRoutes(parts: AppRouteParts) {
  const { access, directory, credentials } = parts;
  const show = showWith(parts);
  const known: RouteRules = { guard: (call) => access.checkKnown(call) };
  const showVisible = async (name: string, call: Call) => {
    await catchUp(parts);
    return show(access.visibleApp(call, name));
  };
  return new Elysia({ prefix: "/v1/apps" })
    .get(
      "",
      async ({ query, request }) => {
        const isVisible = access.visibleApps(callOf(request));
        await catchUp(parts);
        const { names, next } = await parts.index.page({ ...pageOf(query), isVisible });
        const slots = names.flatMap((name) => directory.findSlot(name) ?? []);
        const statuses = await parts.states.ofApps(slots);
        const apps = statuses.map((status) => {
          const name = appName(status.slot);
          return appData(name, directory.find(name), status);
        });
        return { apps, next };
      },
      route(known, {
        query: appListQuery,
        detail: {
          summary: "Every app and the status of its credentials · 全部应用及其凭证状态",
          description:
            "The apps that the caller has any grant for. `next` in the answer means that there are more: send it as `after`. 应答中有 `next` 时将其作为 `after` 获取下一页；只列出调用方有权限的应用。",
          tags: ["v1"],
          responses: answersOf(
            "The apps. 应用列表。",
            Type.Object({ apps: Type.Array(appStatus), next: Type.Optional(Type.String()) }),
            { apps: [APP_EXAMPLE] },
          ),
        },
      }),
    )
    .get(
      "/:app",
      ({ params, request }) => showVisible(params.app, callOf(request)),
      route(known, {
        params: Type.Object({ app }),
        detail: {
          summary: "One app and the status of its credentials · 单个应用及其凭证状态",
          description:
            "State, age, expiry, last failure and what to do about it, next attempt, and today's calls against the quota. 状态、有效期、最近失败及处理建议、下次获取时间、当日调用量与额度。",
          tags: ["v1"],
          responses: answersOf("The app. 应用。", appStatus, APP_EXAMPLE),
        },
      }),
    )
    .post(
      "/:app/unblock",
      async ({ params, request }) => {
        const call = callOf(request);
        await catchUp(parts);
        const permit = access.slotOfApp(call, "token:refresh", params.app);
        await credentials.unblock(permit.slot, actorOf(permit.principal, call));
        return show(appName(permit.slot), { permit });
      },
      route(
        { guard: (call, { app = "" }) => access.checkGrant(call, "token:refresh", app) },
        {
          params: Type.Object({ app }),
          detail: {
            summary: "Remove the backoffs of an app · 解除退避，立即重新请求微信",
            description:
              "Call it when the cause is fixed (IP allow-list, frozen secret, …): removes every backoff of the app, so that the next request goes to WeChat. Takes no body. 处理完微信提示的问题（如IP白名单）后调用，解除该应用的全部退避；无请求体。",
            tags: ["v1"],
            responses: answersOf("The app, without backoffs. 解除后的应用。", appStatus, APP_EXAMPLE),
          },
        },
      ),
    );
}

function managementRoutes(parts: AppRouteParts) {
  const { access, administration } = parts;
  const show = showWith(parts);
  const rules: RouteRules = { guard: (call) => access.admin(call), isClosed: true };
  return (
    new Elysia({ prefix: "/v1/apps" })
      // Before validation: only administrators learn what is wrong with a request.
      .derive(async ({ request }) => {
        const actor = access.admin(callOf(request));
        await catchUp(parts);
        return { actor };
      })
      .post(
        "",
        async ({ body, actor }) => {
          const registered = toApp(body);
          const isVerified = body.verify ?? false;
          const isNew = await administration.create(registered, { isVerified, actor });
          return show(nameOfApp(registered), { status: isNew ? 201 : 200 });
        },
        route(rules, {
          body: newAppBody,
          detail: {
            summary: "Register an app · 登记应用",
            description:
              "201 when it is new, 200 when the same app exists, 409 when a different one has that name. With `verify` the secret is first verified with WeChat, always by stable token, which leaves existing tokens valid. 新建返回201；内容相同的重复请求返回200，同名但不同返回409。`verify` 为true时先向微信核实secret（始终使用稳定版接口，不影响现有token）。",
            tags: ["v1"],
            responses: answersOf("The app. 应用。", appStatus, MANAGED_APP_EXAMPLE),
          },
        }),
      )
      .patch(
        "/:app",
        async ({ params, body, actor, request }) => {
          const options = { version: versionIn(request.headers), isVerified: body.verify ?? false, actor };
          await administration.update(params.app, changeOf(body), options);
          return show(params.app);
        },
        route(rules, {
          params: Type.Object({ app: managedApp }),
          body: appChangeBody,
          detail: {
            summary: "Change an app · 修改应用",
            description:
              "Fields that are left out keep their values. A secret can be written, never read; a new one clears the credentials that the old one obtained. With If-Match, 412 for any other version. Apps from the environment are 409. 未给出的字段不变；secret只写不读，更换后旧secret获取的凭证作废；带If-Match时版本不符返回412；来自环境变量的应用返回409。",
            tags: ["v1"],
            responses: answersOf("The app. 应用。", appStatus, MANAGED_APP_EXAMPLE),
          },
        }),
      )
      .delete(
        "/:app",
        async ({ params, actor, request }) => {
          await administration.remove(params.app, { version: versionIn(request.headers), actor });
          return {};
        },
        route(rules, {
          params: Type.Object({ app: managedApp }),
          detail: {
            summary: "Remove an app · 删除应用",
            description:
              "Deletes its secret, credentials, callback settings and redirect origins here; nothing changes at WeChat. 409 for an account that authorizes a component still: WeChat's list would bring it back. Takes no body. 删除其secret、凭证、回调设置和回调来源，不影响微信侧；仍授权给微信第三方平台的账号返回409，微信的列表会把它带回来。无请求体。",
            tags: ["v1"],
            responses: answersOf("Removed. 已删除。", Type.Object({}), {}),
          },
        }),
      )
  );
}

/** Which page is asked for. */
function pageOf({
  limit,
  after,
  state,
  q,
  sort = "name",
}: (typeof appListQuery)["static"]): Omit<AppQuery, "isVisible"> {
  const order: AppOrder = APP_ORDERS.find((each) => sort.endsWith(each)) ?? "name";
  return { state, q, after, order, isDescending: sort.startsWith("-"), limit: Number(limit ?? PAGE) };
}

/** Reads what another process has just changed, so that no ETag is of an older version. If it can't be read, the last copy is used. */
async function catchUp({ administration }: AppRouteParts): Promise<void> {
  await administration.refresh().catch(() => undefined);
}

function showWith({ directory, states }: AppRouteParts) {
  /** The app as it is now, with its ETag. */
  return async (name: string, more: { readonly permit?: Permit; readonly status?: number } = {}) => {
    const found = directory.find(name);
    const [status] = await states.ofApps([directory.slotOfApp(name)]);
    if (!status) throw new Error("a slot without a status");
    const data = appData(name, found, status);
    return new Reply(data, { ...more, headers: { etag: etagOf(versionOf(found)) } });
  };
}

function toApp(body: (typeof newAppBody)["static"]): App {
  const { platform, app_id: id, agent, mode, title, login_only: isLoginOnly = false } = body;
  const managed = { title, isDisabled: false, isLoginOnly, version: 0 };
  const common = { id, secret: new Secret(body.secret), managed };
  if (platform === "weixin") {
    if (agent === undefined) return { platform, ...common, tokenMode: mode ?? "stable" };
    throw new ServiceError("invalid_parameter", "agent仅用于企业微信 (agent is for WeCom only)");
  }
  if (mode !== undefined)
    throw new ServiceError("invalid_parameter", "企业微信应用没有mode (a WeCom application has no mode)");
  if (agent === undefined) throw new ServiceError("invalid_parameter", "缺少agent参数");
  return { platform, ...common, agent };
}

/** The given fields of a change; JSON's null clears one. */
function changeOf(body: (typeof appChangeBody)["static"]): AppChange {
  const { title, mode, secret, disabled, public_url: publicUrl, js_domains: jsDomains } = body;
  if (typeof publicUrl === "string" && !isWebOrigin(publicUrl))
    throw new ServiceError(
      "invalid_parameter",
      "public_url应为源，如 https://wx.example.com，不带路径 (public_url must be an origin like https://wx.example.com, without a path)",
    );
  return {
    ...(title === undefined ? {} : { title }),
    ...(mode === undefined ? {} : { mode }),
    ...(secret === undefined ? {} : { secret: new Secret(secret) }),
    ...(disabled === undefined ? {} : { isDisabled: disabled }),
    ...(publicUrl === undefined ? {} : { publicUrl }),
    ...(jsDomains === undefined ? {} : { jsDomains }),
  };
}

/** Apps from the environment are not changed here, so they stay at one version. */
function versionOf(app: App | undefined): number {
  return app?.managed?.version ?? 0;
}

function appData(
  name: string,
  found: App | undefined,
  { slot, credentials, worst, foreignRefresh, calls, rejectedTokens, forcedRefreshes }: AppStatus,
) {
  const managed = found?.managed;
  return {
    app: name,
    ...platformData(slot, found),
    title: managed?.title,
    source: managed ? "managed" : "environment",
    public_url: managed?.publicUrl,
    login_only: managed?.isLoginOnly ? true : undefined,
    js_domains: managed?.jsDomains?.length ? [...managed.jsDomains] : undefined,
    disabled: managed?.isDisabled ?? false,
    version: versionOf(found),
    state: (found && closedState(found)) ?? (managed?.isLoginOnly ? "none" : (worst?.lastingState ?? "none")),
    reason: reasonOf(found, worst),
    foreign_refresh: managed?.isLoginOnly ? undefined : revokedEarlyData(foreignRefresh),
    credentials: managed?.isLoginOnly
      ? {}
      : Object.fromEntries(credentials.map((each) => [each.kind, credentialData(each)])),
    calls_today: Object.fromEntries(calls.map(({ endpoint, ...counted }) => [endpoint, counted])),
    ...(rejectedTokens === 0 ? {} : { rejected_tokens: rejectedTokens }),
    ...(forcedRefreshes === undefined ? {} : { forced_refreshes_today: forcedRefreshes }),
  };
}

const DAMAGED = "secret已损坏，须重新设置 (the stored secret is damaged: set it again)";
const LOST =
  "授权已失效，请该账号的管理员重新授权 (the authorization is lost: have the account's administrator give it again)";

/** Why the app is not well; undefined where it is, or where an administrator has disabled it. */
export function reasonOf(app: App | undefined, worst: CredentialStatus | undefined): string | undefined {
  if (app?.authorization?.lostAt !== undefined) return LOST;
  const closed = app && closedState(app);
  if (closed !== undefined || app?.managed?.isLoginOnly) return closed === "blocked" ? DAMAGED : undefined;
  if (worst?.lastFailure === undefined) return undefined;
  const { code, msg, hint } = failureEnvelope(worst.lastFailure.error, "");
  return `${worst.kind}, ${code}: ${hint ?? msg}`;
}

function platformData({ platform, appId, name, tokenMode }: Slot, found: App | undefined) {
  const { role, authorization } = found ?? {};
  const of = { platform, app_id: appId };
  if (role) return { ...of, role };
  if (authorization)
    return { ...of, authorized_to: authorization.platformApp, lost_at: authorization.lostAt };
  return platform === "wecom" ? { ...of, agent: name } : { ...of, mode: tokenMode };
}

/** JSON leaves out what is undefined. */
function credentialData(status: CredentialStatus) {
  const { state, generation, life, usedAt, nextAttemptAt, lastFailure } = status;
  const revokedEarly = revokedEarlyData(status.revokedEarly);
  return {
    state,
    generation,
    issued_at: life?.issuedAt,
    expires_at: life?.expiresAt,
    age: life && Math.floor(life.ageMs / 1000),
    expires_in: life && Math.floor(life.remainingMs / 1000),
    last_used_at: usedAt,
    next_attempt_at: nextAttemptAt,
    last_failure: lastFailure && failureData(lastFailure),
    revoked_early: revokedEarly,
    // The former name, for one more minor version.
    died_early: revokedEarly,
  };
}

function revokedEarlyData(revoked: CredentialStatus["revokedEarly"]) {
  return revoked && { at: revoked.at, early: Math.floor(revoked.earlyMs / 1000) };
}

function failureData({ error, at, count }: NonNullable<CredentialStatus["lastFailure"]>) {
  const { code, msg, hint } = failureEnvelope(error, "");
  return { code, errcode: error.upstream?.errcode, msg, hint, at, count };
}

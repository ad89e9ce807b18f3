import { setImmediate as nextTurn } from "node:timers/promises";
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Authentication } from "../clients/authentication.ts";
import type { CredentialManager } from "../credentials/manager.ts";
import type { AppStatus, CredentialStates, CredentialStatus } from "../credentials/state.ts";
import { failureEnvelope } from "../envelope.ts";
import type { AppDirectory } from "./app-directory.ts";
import { after, answersOf, app, APP_EXAMPLE, appStatus, limit } from "./schema.ts";
import type { Slot } from "./slot.ts";

const PAGE = 100;

/** What the routes of `/v1/apps` work with. */
export interface AppRouteParts {
  readonly identity: Authentication["identity"];
  readonly directory: AppDirectory;
  readonly credentials: Pick<CredentialManager, "unblock">;
  readonly states: CredentialStates;
}

/** `/v1/apps`: the apps that we hold and how their credentials are; never a value or a secret. */
export function appRoutes({ identity, directory, credentials, states }: AppRouteParts) {
  const show = async (name: string) => appData(name, await states.ofApp(directory.slotOfApp(name)));
  return new Elysia({ prefix: "/v1/apps" })
    .use(identity)
    .get(
      "",
      async ({ query }) => {
        const most = Number(query.limit ?? PAGE);
        const names = directory.list({ after: query.after, limit: most });
        const apps = [];
        for (const name of names) {
          apps.push(await show(name));
          // The database is read without a wait, so a page would hold up everybody else for its whole length.
          await nextTurn();
        }
        const last = names.at(-1);
        const hasMore = last !== undefined && directory.list({ after: last, limit: 1 }).length > 0;
        return { apps, ...(hasMore ? { next: last } : {}) };
      },
      {
        query: Type.Object({ limit: Type.Optional(limit), after: Type.Optional(after) }),
        detail: {
          summary: "Every app and how its credentials are · 全部应用及其凭证状态",
          description:
            "In the order of their names. With `next` in the answer there are more: send it as `after`. 按名称排序；应答中有 `next` 时将其作为 `after` 获取下一页。",
          tags: ["v1"],
          responses: answersOf(
            "The apps. 应用列表。",
            Type.Object({ apps: Type.Array(appStatus), next: Type.Optional(Type.String()) }),
            { apps: [APP_EXAMPLE] },
          ),
        },
      },
    )
    .get("/:app", ({ params }) => show(params.app), {
      params: Type.Object({ app }),
      detail: {
        summary: "One app and how its credentials are · 单个应用及其凭证状态",
        description:
          "State, age, expiry, last failure with what to do, next attempt and today's calls against the quota. 状态、有效期、最近失败及处理建议、下次获取时间、当日调用量与额度。",
        tags: ["v1"],
        responses: answersOf("The app. 应用。", appStatus, APP_EXAMPLE),
      },
    })
    .post(
      "/:app/unblock",
      async ({ params, caller }) => {
        await credentials.unblock(directory.slotOfApp(params.app), { address: caller.address });
        return show(params.app);
      },
      {
        params: Type.Object({ app }),
        detail: {
          summary: "Ask WeChat again at once · 解除暂停，立即重新请求微信",
          description:
            "After what WeChat complained about has been put right (white list, frozen secret, …): ends every pause of the app. Takes no body. 处理完微信提示的问题（如IP白名单）后调用，解除该应用的全部暂停；无请求体。",
          tags: ["v1"],
          responses: answersOf("The app, without pauses. 解除后的应用。", appStatus, APP_EXAMPLE),
        },
      },
    );
}

function appData(name: string, { slot, credentials, calls, forcedRefreshes }: AppStatus) {
  return {
    app: name,
    ...platformData(slot),
    credentials: Object.fromEntries(credentials.map((each) => [each.kind, credentialData(each)])),
    calls_today: Object.fromEntries(calls.map(({ endpoint, ...counted }) => [endpoint, counted])),
    ...(forcedRefreshes === undefined ? {} : { forced_refreshes_today: forcedRefreshes }),
  };
}

function platformData({ platform, appId, name, tokenMode }: Slot) {
  return platform === "wecom"
    ? { platform, app_id: appId, agent: name }
    : { platform, app_id: appId, mode: tokenMode };
}

/** JSON leaves out what is undefined. */
function credentialData(status: CredentialStatus) {
  const { state, generation, life, usedAt, nextAttemptAt, lastFailure, diedEarly } = status;
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
    died_early: diedEarly && { at: diedEarly.at, early: Math.floor(diedEarly.earlyMs / 1000) },
  };
}

function failureData({ error, at, count }: NonNullable<CredentialStatus["lastFailure"]>) {
  const { code, msg, hint } = failureEnvelope(error, "");
  return { code, errcode: error.upstream?.errcode, msg, hint, at, count };
}

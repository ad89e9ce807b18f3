import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Access } from "../access/access.ts";
import type { ConsoleLinks } from "../access/console-links.ts";
import type { ConsoleSession, ConsoleSessions } from "../access/console-sessions.ts";
import { ServiceError } from "../errors.ts";
import { sessionName } from "./console.ts";
import { type SessionData, sessionsData } from "./console-schema.ts";
import { callOf, Reply, route } from "./face.ts";
import { answersOf } from "./v1-apps-schema.ts";
import { client } from "./v1-clients-schema.ts";

/** What the routes of `/v1/console` work with. */
export interface ConsoleRouteParts {
  readonly access: Access;
  readonly sessions: ConsoleSessions;
  readonly links: ConsoleLinks;
}

const SESSION_EXAMPLE = {
  session: "3f9c0a71b2d4",
  client: "admin",
  key: "ats_4fGh7Kq2",
  address: "10.0.0.8",
  created_at: 1_795_320_000_000,
  used_at: 1_795_323_600_000,
  expires_at: 1_795_363_200_000,
  current: true,
};

const params = Type.Object({
  session: Type.String({
    pattern: "^[0-9a-f]{12}$",
    description: "Its name, as the list has it. 会话的名称。",
    examples: [SESSION_EXAMPLE.session],
  }),
});
const linkBody = Type.Object({ client: Type.Optional(client) }, { additionalProperties: false });

/** `/v1/console`: who is signed in to the console, and the links by which the command line lets somebody in. */
export function consoleRoutes({ access, sessions, links }: ConsoleRouteParts) {
  const may = ({ client: name }: ConsoleSession, of: string | undefined) => of === undefined || of === name;
  return new Elysia({ prefix: "/v1/console" })
    .get(
      "/sessions",
      async ({ request }) => {
        const call = callOf(request);
        const { of } = access.sessionHolder(call);
        await sessions.refresh();
        const { principal } = call;
        const own = principal.kind === "client" ? principal.session?.digest : undefined;
        const shown = sessions.list().filter((each) => may(each, of));
        return { sessions: shown.map((each) => fieldsOf(each, each.digest === own)) };
      },
      {
        detail: {
          summary: "Who is signed in to the console · 查看控制台会话",
          description:
            "The newest first. An administrator sees every session, any other client its own. 最新的在前。管理员可见全部会话，其他客户端只可见自己的。",
          tags: ["Service"],
          responses: answersOf("The sessions. 会话列表。", sessionsData, { sessions: [SESSION_EXAMPLE] }),
        },
      },
    )
    .delete(
      "/sessions/:session",
      async ({ params: { session: name }, request }) => {
        const { actor, of } = access.sessionHolder(callOf(request));
        await sessions.refresh();
        const found = sessions.list().find((each) => may(each, of) && sessionName(each.digest) === name);
        const detail = { session: name, of: found?.client };
        const more = { app: "", outcome: "ok", tokenDigest: "", detail };
        const entry = { ...actor, action: "console.signed_out" as const, ...more };
        if (!found || !(await sessions.end(found.digest, entry))) throw noSuchSession();
        return {};
      },
      route(
        { guard: (call) => access.sessionHolder(call) },
        {
          params,
          detail: {
            summary: "Sign somebody out of the console · 结束控制台会话",
            description:
              "At once here, in other processes within a second. An administrator may end every session, any other client its own. 本进程立即生效，其他进程一秒内生效。管理员可结束任何会话，其他客户端只可结束自己的。",
            tags: ["Service"],
            responses: answersOf("Signed out. 已结束。", Type.Object({}), {}),
          },
        },
      ),
    )
    .post(
      "/links",
      async ({ body }) => {
        const link = await (body.client === undefined
          ? links.createSetup()
          : links.createSignIn(body.client));
        const data = { path: link.path.reveal(), client: link.client, expires_at: link.expiresAt };
        return new Reply(data, { status: 201 });
      },
      // A set-up link opens the service, so none is to be had over the network.
      route(
        { guard: (call) => access.commandLine(call), isClosed: true },
        { body: linkBody, detail: { hide: true } },
      ),
    );
}

function noSuchSession(): ServiceError {
  return new ServiceError("not_found", "没有该会话，或已结束 (no such session, or it has ended)");
}

function fieldsOf(session: ConsoleSession, isCurrent: boolean): SessionData {
  const { digest, client: name, keyPrefix, address, createdAt, usedAt, expiresAt } = session;
  return {
    session: sessionName(digest),
    client: name,
    ...(keyPrefix === "" ? {} : { key: keyPrefix }),
    address,
    created_at: createdAt,
    used_at: usedAt,
    expires_at: expiresAt,
    current: isCurrent,
  };
}

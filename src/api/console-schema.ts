import { type Static, Type } from "@sinclair/typebox";
import { clientData } from "./v1-clients-schema.ts";

const secret = Type.String({ minLength: 1, maxLength: 200 });

/** The body of a sign-in: an API key, or the token of a link. */
export const signInBody = Type.Object({ key: Type.Optional(secret), link: Type.Optional(secret) });

/** The body that makes the first administrator. */
export const setupBody = Type.Object({ token: secret });

const meData = Type.Object({
  client: Type.String(),
  environment: Type.String(),
  is_admin: Type.Boolean(),
  grants: clientData.properties.grants,
  expires_at: Type.Integer({ description: "When the session ends at the latest; epoch milliseconds." }),
  idle_seconds: Type.Integer({ description: "After how long without a request it ends before." }),
  version: Type.String(),
});

/** Who is signed in, as the console's page learns it. */
export type Me = Static<typeof meData>;

const sessionData = Type.Object({
  session: Type.String({ description: "Its name; nobody gets in by it. 会话的名称，不能用来登录。" }),
  client: Type.String(),
  key: Type.Optional(
    Type.String({
      description: "The key by which it began; left out for a link. 登录所用的密钥；用链接登录时没有。",
    }),
  ),
  address: Type.String(),
  created_at: Type.Integer(),
  used_at: Type.Integer({ description: "To the minute. 精确到分钟。" }),
  expires_at: Type.Integer(),
  current: Type.Boolean({ description: "Whether it is the caller's own. 是否为当前会话。" }),
});
/** The sessions as they are listed. */
export const sessionsData = Type.Object({ sessions: Type.Array(sessionData) });

/** A session as it is listed. */
export type SessionData = Static<typeof sessionData>;

const linkData = Type.Object({
  path: Type.String(),
  client: Type.Optional(Type.String()),
  expires_at: Type.Integer(),
});

/** A link as the command line is given it. */
export type LinkData = Static<typeof linkData>;

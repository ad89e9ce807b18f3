import { afterAll, expect, test } from "bun:test";
import {
  COMPONENT,
  CUSTOMER,
  MINI,
  nameOf,
  OFFICIAL,
  OTHER_CUSTOMER,
  SUITE,
} from "../support/platform-world.ts";
import { PlatformDropins, service } from "./platform-dropins.ts";

const at = await PlatformDropins.create();
afterAll(() => at[Symbol.asyncDispose]());
const { it } = at;
const { sandbox } = it;

test("users of an account log in by the component, which needs the login grant of that account", async () => {
  const [own, other] = [
    await at.client([COMPONENT.appId, nameOf(OFFICIAL)]),
    await at.client([COMPONENT.appId, nameOf(MINI)]),
  ];
  const token = await at.componentToken(own.key);
  await at.queried(token, await at.authorized(OFFICIAL));
  const login = (path: string, by: string, query: Record<string, string>) =>
    it.ask(path, {
      query: {
        ...{ component_access_token: by, component_appid: COMPONENT.appId, appid: OFFICIAL },
        ...{ grant_type: "authorization_code", ...query },
      },
    });
  const session = "/sns/component/jscode2session";
  sandbox.resetCalls();
  const [one, two] = [
    await login(session, token, { js_code: "sandbox-code-1" }),
    await login(session, token, { js_code: "sandbox-code-1" }),
  ];
  expect(one.body).toEqual({ openid: expect.any(String), session_key: expect.any(String) });
  expect(two.text).toBe(one.text);
  expect(sandbox.calls(session)).toBe(1);
  const page = await login("/sns/oauth2/component/access_token", token, { code: "sandbox-code-2" });
  expect(page.body).toMatchObject({ openid: expect.any(String), refresh_token: expect.any(String) });
  const foreign = await at.componentToken(other.key);
  const denied = await login(session, foreign, { js_code: "sandbox-code-3" });
  expect(denied.body["errcode"]).toBe(48001);
  const named = await login(session, token, { js_code: "sandbox-code-3", component_appid: "wxc9" });
  expect(named.body["errcode"]).toBe(40094);
  expect(sandbox.calls(session)).toBe(1);
  // By its own endpoint too: an account is an app.
  const classic = await it.ask("/sns/jscode2session", {
    query: {
      ...{ appid: nameOf(OFFICIAL), secret: own.key, js_code: "sandbox-code-4" },
      grant_type: "authorization_code",
    },
  });
  expect(classic.body).toMatchObject({ openid: expect.any(String) });
  expect(sandbox.calls("/sns/jscode2session")).toBe(0);
});

test("users of a suite's corps log in by the suite, those of corps that the client is granted", async () => {
  const [all, some] = [await at.client(), await at.client([SUITE.id, nameOf(CUSTOMER, SUITE.id)])];
  const query = await at.suiteQuery(all.key);
  for (const corp of [CUSTOMER, OTHER_CUSTOMER]) {
    const { authCode } = await sandbox.suite(SUITE.id).install(corp, { send: "neither" });
    await it.ask(service("get_permanent_code"), { query, body: { auth_code: authCode } });
  }
  const own = await at.suiteQuery(some.key);
  const login = async (path: string, name: string, code: string, by: Record<string, string>) =>
    (await it.ask(service(path), { query: { ...by, [name]: code } })).body;
  const user = "auth/getuserinfo3rd";
  expect(await login(user, "code", `sandbox-code-5-${CUSTOMER}`, own)).toMatchObject({ corpid: CUSTOMER });
  expect(await login(user, "code", `sandbox-code-6-${OTHER_CUSTOMER}`, own)).toMatchObject({
    errcode: 48002,
  });
  expect(await login(user, "code", `sandbox-code-7-${OTHER_CUSTOMER}`, query)).toMatchObject({
    corpid: OTHER_CUSTOMER,
  });
  const older = await login("getuserinfo3rd", "code", `sandbox-code-8-${CUSTOMER}`, own);
  expect(older).toMatchObject({ CorpId: CUSTOMER, UserId: expect.any(String) });
  const mini = await login("miniprogram/jscode2session", "js_code", `sandbox-code-9-${CUSTOMER}`, own);
  expect(mini).toMatchObject({ corpid: CUSTOMER, session_key: expect.any(String) });
});

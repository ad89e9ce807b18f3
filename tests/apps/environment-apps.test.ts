import { expect, test } from "bun:test";
import { isAppVariable, readEnvironmentApps } from "../../src/apps/environment-apps.ts";

/** Secrets as WeChat and WeCom make them. */
const APP_SECRET = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const CORP_SECRET = "wecomSecretOfAgent1000002-aaaaaaaaaaaaaaaaa";

function setup(variables: Record<string, string>, mode: "stable" | "classic" = "stable") {
  const { apps, faults, doubts } = readEnvironmentApps(variables, mode);
  return {
    apps: apps.map((app) => ({ ...app, secret: app.secret.reveal() })),
    faults: faults.map(({ name }) => name),
    doubts: doubts.map((line) => line.split(":")[0]),
    reasons: faults.map(({ reason }) => reason).join("\n"),
  };
}

test("WEIXIN_SECRET_<appid> names an app, and THIRD_APPID_<appid> does the same", () => {
  const { apps, faults } = setup({
    WEIXIN_SECRET_wx0000000000000001: "one",
    THIRD_APPID_wx0000000000000002: "two",
  });
  expect(faults).toEqual([]);
  expect(apps).toEqual([
    { platform: "weixin", id: "wx0000000000000001", secret: "one", tokenMode: "stable" },
    { platform: "weixin", id: "wx0000000000000002", secret: "two", tokenMode: "stable" },
  ]);
});

test("both names for one appid are one app while they agree, and a fault when they differ", () => {
  expect(
    setup({ WEIXIN_SECRET_wx0000000000000001: "one", THIRD_APPID_wx0000000000000001: "one" }).apps,
  ).toHaveLength(1);
  const { faults, reasons } = setup({
    WEIXIN_SECRET_wx0000000000000001: "one",
    THIRD_APPID_wx0000000000000001: "two",
  });
  expect(faults).toEqual(["THIRD_APPID_wx0000000000000001"]);
  expect(reasons).not.toContain("two");
});

test("the token mode of one app wins over the default, whatever the order of the lines", () => {
  const modes = (variables: Record<string, string>) =>
    setup(variables, "classic").apps.map((app) => app.platform === "weixin" && app.tokenMode);
  expect(
    modes({
      WEIXIN_TOKEN_MODE_wx0000000000000001: "stable",
      WEIXIN_SECRET_wx0000000000000001: "a",
      WEIXIN_SECRET_wx0000000000000002: "b",
    }),
  ).toEqual(["stable", "classic"]);
  expect(
    modes({ WEIXIN_SECRET_wx0000000000000001: "a", WEIXIN_TOKEN_MODE_wx0000000000000001: "stable" }),
  ).toEqual(["stable"]);
});

test("a token mode that is neither stable nor classic, or of an app without a secret, is a fault", () => {
  expect(
    setup({ WEIXIN_SECRET_wx0000000000000001: "a", WEIXIN_TOKEN_MODE_wx0000000000000001: "Stable" }).faults,
  ).toEqual(["WEIXIN_TOKEN_MODE_wx0000000000000001"]);
  expect(setup({ WEIXIN_TOKEN_MODE_wx0000000000000001: "stable" }).faults).toEqual([
    "WEIXIN_TOKEN_MODE_wx0000000000000001",
  ]);
});

test("WECOM_SECRET_<corpid>_<agent> names an agent by its id or by any label", () => {
  const { apps } = setup({
    WECOM_SECRET_ww0000000000000001_1000002: "a",
    WECOM_SECRET_ww0000000000000001_contacts: "b",
  });
  expect(apps).toEqual([
    { platform: "wecom", id: "ww0000000000000001", agent: "1000002", secret: "a" },
    { platform: "wecom", id: "ww0000000000000001", agent: "contacts", secret: "b" },
  ]);
});

test("a corpid with an underscore or a hyphen keeps it: the agent is what follows the last underscore", () => {
  const { apps } = setup({ "WECOM_SECRET_ww_a-b_7": "a" });
  expect(apps).toEqual([{ platform: "wecom", id: "ww_a-b", agent: "7", secret: "a" }]);
});

test("an empty, blank, overlong or unprintable secret is a fault that does not quote it", () => {
  for (const value of ["", " ", "with blank", "ctrl\u0001x", "中文", "x".repeat(513)]) {
    for (const name of ["WEIXIN_SECRET_wx0000000000000001", "WECOM_SECRET_ww0000000000000001_7"]) {
      const { apps, faults, reasons } = setup({ [name]: value });
      expect(faults).toEqual([name]);
      expect(apps).toEqual([]);
      if (value.trim() !== "") expect(reasons).not.toContain(value);
    }
  }
});

test("names that only look alike are not apps", () => {
  for (const name of [
    "WEIXIN_SECRET_",
    "WEIXIN_SECRETS_wx1",
    "WEIXIN_SECRET_SERVICE_HOST",
    "weixin_secret_wx0000000000000001",
    "PATH",
  ])
    expect(isAppVariable(name)).toBeFalse();
  expect(setup({ PATH: "/bin", WEIXIN_SECRET_: "x" }).apps).toEqual([]);
});

const ID = "wx0123456789abcdef";
const CORP = "ww0123456789abcdef";

test.each([
  // As WeChat writes them.
  [`WEIXIN_SECRET_${ID}`, APP_SECRET, "taken"],
  [`WEIXIN_SECRET_${ID}`, APP_SECRET.toUpperCase(), "taken"],
  [`WECOM_SECRET_${CORP}_1000002`, CORP_SECRET, "taken"],
  ["WECOM_SECRET_wx0123456789abcdef_contacts", CORP_SECRET, "taken"],
  // Nothing that WeChat gives out.
  [`WEIXIN_SECRET_${ID.toUpperCase()}`, APP_SECRET, "lower-case hex digits"],
  ["WEIXIN_SECRET_wx0123456789ABCDEF", APP_SECRET, "lower-case hex digits"],
  ["WEIXIN_SECRET_wx0123456789abcde", APP_SECRET, "16 lower-case hex digits"],
  ["WEIXIN_SECRET_wx0123456789abcdef0", APP_SECRET, "16 lower-case hex digits"],
  ["WEIXIN_SECRET_gh_0123456789ab", APP_SECRET, "original ID"],
  ["THIRD_APPID_gh_0123456789ab", APP_SECRET, "original ID"],
  ["WECOM_SECRET_gh_0123456789ab", APP_SECRET, "original ID"],
  [`WEIXIN_SECRET_${CORP}`, APP_SECRET, "<corpid>_<agent>"],
  [`WECOM_SECRET_${CORP}`, CORP_SECRET, "<corpid>_<agent>"],
  [`WECOM_SECRET_${CORP}_`, CORP_SECRET, "<corpid>_<agent>"],
  [`WECOM_SECRET_${CORP}_external_contact`, CORP_SECRET, "only one underscore"],
  [`WECOM_SECRET_${CORP.toUpperCase()}_1000002`, CORP_SECRET, "lower case"],
  ["WECOM_SECRET_ww0123456789ABCDEF_1000002", CORP_SECRET, "lower case"],
  [`WEIXIN_SECRET_${ID}`, `"${APP_SECRET}"`, "without quotes"],
  [`WEIXIN_SECRET_${ID}`, `'${APP_SECRET}'`, "without quotes"],
  [`WECOM_SECRET_${CORP}_1000002`, `"${CORP_SECRET}"`, "without quotes"],
  [`WEIXIN_SECRET_${ID}`, "<AppSecret>", "angle brackets"],
  [`WECOM_SECRET_${CORP}_1000002`, "<secret>", "angle brackets"],
  [`WEIXIN_SECRET_${ID}`, APP_SECRET.slice(1), "this has 31 characters"],
  [`WEIXIN_SECRET_${ID}`, `${APP_SECRET}0`, "this has 33 characters"],
  // Worth a look: a WeChat of one's own may give these out.
  [`WEIXIN_SECRET_${ID}`, "made-up", "doubted"],
  [`WECOM_SECRET_${CORP}_1000002`, CORP_SECRET.slice(1), "doubted"],
  ["WECOM_SECRET_wpAbCdEfGhIjKlMnOpQrStUv-_x_1000002", CORP_SECRET, "doubted"],
])("%s=%s is %s", (name, value, expected) => {
  const { apps, faults, doubts, reasons } = setup({ [name]: value });
  expect({ apps: apps.length, faults, doubts }).toEqual(
    ["taken", "doubted"].includes(expected)
      ? { apps: 1, faults: [], doubts: expected === "doubted" ? [name] : [] }
      : { apps: 0, faults: [name], doubts: expect.any(Array) },
  );
  if (faults.length > 0) expect(reasons).toContain(expected);
  expect(reasons).not.toContain(value);
});

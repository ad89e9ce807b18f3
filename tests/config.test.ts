import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig } from "../src/config.ts";
import { VARIABLES } from "../src/config/variables.ts";
import { ServiceError } from "../src/errors.ts";

const SECRET = "a1b2c3d4e5f60718293a4b5c6d7e8f90";
const CORP = "ww0000000000000001";
const ROOT = join(import.meta.dir, "..");

/** Loads what is given, without any file. */
function load(environment: Record<string, string> = {}) {
  return loadConfig({ ENV_FILE: "", ...environment });
}

/** The line with which the start is refused. */
function refusalOf(environment: Record<string, string | undefined>): string {
  try {
    loadConfig({ ENV_FILE: "", ...environment });
  } catch (error) {
    if (error instanceof ServiceError && error.code === "invalid_config") return error.message;
    throw error;
  }
  throw new Error(`it should have been refused: ${JSON.stringify(environment)}`);
}

/** A folder with an ENV_FILE of the given text. */
function setup(text: string | Uint8Array) {
  const folder = mkdtempSync(join(tmpdir(), "accesstoken-config-"));
  const path = join(folder, "service.env");
  writeFileSync(path, text);
  return { folder, path, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

test("without any variable everything has its documented default", () => {
  const config = load();
  expect({
    ...config,
    trustedNetworks: ["127.0.0.1", "::1", "192.0.2.1"].map((address) =>
      config.trustedNetworks.includes(address),
    ),
    trustedProxies: config.trustedProxies.includes("127.0.0.1"),
    callbackNetworks: config.callbackNetworks.isEmpty,
    variables: config.variables.filter(({ origin }) => origin !== "default"),
  }).toEqual({
    host: "127.0.0.1",
    port: 3000,
    logLevel: "info",
    logFormat: "auto",
    mayColor: true,
    databasePath: join(process.cwd(), "data/accesstoken.db"),
    postgres: undefined,
    masterKey: undefined,
    masterKeyFile: join(process.cwd(), "data/master.key"),
    nextKeyFile: join(process.cwd(), "data/master.key.next"),
    baseUrls: { weixin: "https://api.weixin.qq.com", wecom: "https://qyapi.weixin.qq.com", corps: new Map() },
    weixinFallbackUrls: [],
    loginUrls: { weixin: "https://open.weixin.qq.com", wecom: "https://login.work.weixin.qq.com" },
    upstreamEcho: undefined,
    upstreamProxy: undefined,
    upstreamIpFamily: undefined,
    refreshIdleAfterMs: 86_400_000,
    auditRetentionDays: 180,
    backups: undefined,
    trustedNetworks: [true, true, false],
    callbackNetworks: true,
    trustedProxies: false,
    anonymous: undefined,
    anonymousRateLimit: 2000,
    keepAliveSeconds: 75,
    connectProxy: undefined,
    allowedHosts: [],
    corsOrigins: [],
    publicSide: { url: undefined, servesAll: false },
    visibility: { metrics: "on", swagger: "on" },
    hasConsole: true,
    apps: [],
    envFile: undefined,
    variables: [],
    warnings: [],
  });
  expect(load({ WEIXIN_SECRET_wx0000000000000001: SECRET }).apps).toMatchObject([{ tokenMode: "stable" }]);
});

test("every variable is taken from the environment", () => {
  const config = load({
    HOST: "0.0.0.0",
    PORT: "0",
    LOG_LEVEL: "debug",
    LOG_FORMAT: "console",
    DATABASE_URL: "file:/var/lib/a b/x.db",
    MASTER_KEY: "k".repeat(43),
    WEIXIN_BASE_URL: "http://127.0.0.1:3001/",
    WECOM_BASE_URL: "http://localhost:3002",
    [`WECOM_BASE_URL_${CORP}`]: "https://wecom.corp.example/",
    WEIXIN_FALLBACK_BASE_URLS: "https://api2.weixin.qq.com/ ,http://127.0.0.1:3003",
    WEIXIN_OPEN_BASE_URL: "http://127.0.0.1:3001/",
    WECOM_LOGIN_BASE_URL: "http://127.0.0.1:3002",
    REFRESH_IDLE_AFTER: "3600",
    AUDIT_RETENTION_DAYS: "3650",
    BACKUP_DIR: "/var/backups/accesstoken",
    BACKUP_EVERY: "12h",
    BACKUP_KEEP: "30",
    UPSTREAM_PROXY: "http://user:password@proxy.example:3128",
    WEIXIN_TOKEN_MODE: "classic",
    WEIXIN_SECRET_wx0000000000000001: SECRET,
    TRUSTED_NETWORKS: "192.0.2.0/24",
    TRUSTED_PROXIES: "10.0.0.1",
    ALLOWED_HOSTS: "Tokens.example.com , b.example",
    CORS_ORIGINS: "https://www.example.com , HTTP://Dev.example:8080,http://[::1]:3000",
    PUBLIC_URL: "https://WX.example.com/",
    PUBLIC_URL_SERVES: "all",
    METRICS: "admin",
    SWAGGER: "off",
  });
  expect([config.host, config.port, config.logLevel]).toEqual(["0.0.0.0", 0, "debug"]);
  expect([config.logFormat, config.mayColor]).toEqual(["console", true]);
  expect(load({ NO_COLOR: "1" })).toMatchObject({ logFormat: "auto", mayColor: false });
  expect(config.databasePath).toBe("/var/lib/a b/x.db");
  expect(config.masterKey?.reveal()).toBe("k".repeat(43));
  expect(config.masterKeyFile).toBe("/var/lib/a b/master.key");
  expect(config.baseUrls).toEqual({
    weixin: "http://127.0.0.1:3001",
    wecom: "http://localhost:3002",
    corps: new Map([[CORP, "https://wecom.corp.example"]]),
  });
  expect(config.weixinFallbackUrls).toEqual(["https://api2.weixin.qq.com", "http://127.0.0.1:3003"]);
  expect(config.loginUrls).toEqual({ weixin: "http://127.0.0.1:3001", wecom: "http://127.0.0.1:3002" });
  expect(config.refreshIdleAfterMs).toBe(3_600_000);
  expect(config.auditRetentionDays).toBe(3650);
  expect(config.backups).toEqual({ folder: "/var/backups/accesstoken", everyMs: 43_200_000, keep: 30 });
  const every = (text: string) => load({ BACKUP_DIR: "b", BACKUP_EVERY: text }).backups?.everyMs;
  expect([every("30m"), every("7d")]).toEqual([1_800_000, 604_800_000]);
  expect(config.upstreamProxy).toBe("http://user:password@proxy.example:3128");
  expect(config.apps).toMatchObject([{ id: "wx0000000000000001", tokenMode: "classic" }]);
  expect(config.trustedNetworks.includes("192.0.2.9")).toBeTrue();
  expect(config.trustedNetworks.includes("127.0.0.1")).toBeFalse();
  expect(config.trustedProxies.includes("10.0.0.1")).toBeTrue();
  expect(config.allowedHosts).toEqual(["tokens.example.com", "b.example"]);
  const origins = ["https://www.example.com", "http://dev.example:8080", "http://[::1]:3000"];
  expect(config.corsOrigins).toEqual(origins);
  expect(config.publicSide).toEqual({ url: "https://wx.example.com", servesAll: true });
  expect(config.visibility).toEqual({ metrics: "admin", swagger: "off" });
  expect(Object.isFrozen(config)).toBeTrue();
  expect(load({ MASTER_KEY_FILE: "/run/key" })).toMatchObject({
    ...{ masterKeyFile: "/run/key", nextKeyFile: "/run/key.next" },
  });
  expect(load({ MASTER_KEY_NEXT_FILE: "/run/next" }).nextKeyFile).toBe("/run/next");
});

test("the CONNECT proxy listens where it is told, and nowhere without a port", () => {
  expect(load({ CONNECT_HOST: "0.0.0.0" }).connectProxy).toBeUndefined();
  expect(load({ CONNECT_PORT: "3128" }).connectProxy).toEqual({
    ...{ host: "127.0.0.1", port: 3128, folder: "proxy-ca" },
  });
  const stated = { CONNECT_PORT: "0", CONNECT_HOST: "::1", CONNECT_CERTIFICATES: "/etc/a b" };
  expect(load(stated).connectProxy).toEqual({ host: "::1", port: 0, folder: "/etc/a b" });
  for (const port of ["65536", "-1", "3128a", "10.0.0.5:3128"])
    expect(() => load({ CONNECT_PORT: port })).toThrow("CONNECT_PORT: ");
});

test("the database's path may be a URL, relative or absolute", () => {
  expect(load({ DATABASE_URL: "file:a/b.db" }).databasePath).toBe(join(process.cwd(), "a/b.db"));
  expect(load({ DATABASE_URL: "file:///var/a%20b.db" }).databasePath).toBe("/var/a b.db");
});

test("an empty value is as good as none", () => {
  const names = Object.keys(VARIABLES.properties);
  const config = load(Object.fromEntries(names.map((name) => [name, ""])));
  expect(JSON.stringify(config)).toBe(JSON.stringify(load()));
});

test("each variable says what it is, and who says so: the environment, a line of the file, or nobody", () => {
  using file = setup(
    `# ours\nPORT=4000\nHOST=127.0.0.2\nLOG_LEVEL=\n\nWECOM_BASE_URL_${CORP}=https://wecom.example.com\n`,
  );
  const environment = { ENV_FILE: file.path, HOST: "127.0.0.3", METRICS: "", SWAGGER: "admin" };
  const { variables } = loadConfig(environment);
  const of = (name: string) => variables.find((each) => each.name === name);
  expect(variables.map(({ name }) => name)).toEqual([
    ...Object.keys(VARIABLES.properties),
    `WECOM_BASE_URL_${CORP}`,
  ]);
  const inFile = { origin: "file", file: file.path } as const;
  expect(of("PORT")).toMatchObject({ value: "4000", ...inFile, line: 2 });
  expect(of("PORT")?.meaning).toEqual({
    en: "Port to listen on; `0` lets the system choose.",
    zh: "监听端口；`0` 表示由系统分配。",
  });
  expect(of(`WECOM_BASE_URL_${CORP}`)).toMatchObject({ ...inFile, line: 6 });
  expect(of("HOST")).toMatchObject({ value: "127.0.0.3", origin: "environment" });
  expect(of("SWAGGER")).toMatchObject({ value: "admin", origin: "environment" });
  expect([of("METRICS"), of("LOG_LEVEL")]).toMatchObject([
    { value: "on", origin: "default" },
    { value: "info", origin: "default" },
  ]);
});

test("P6: what a variable is shown to say has nothing secret in it, and no app's variable is shown", () => {
  const shownFor = (more: Record<string, string>) => {
    const { variables } = load({ WEIXIN_SECRET_wx0000000000000001: SECRET, ...more });
    return Object.fromEntries(variables.map(({ name, value }) => [name, value]));
  };
  // Each part of one is a canary; what is not encoded may end the URL's user or its host.
  const whole = "http://[secret]@proxy.example.com:3128/";
  for (const [password, expected] of [
    ["canary1", whole],
    ["canary1%2Fcanary2", whole],
    ["canary1@canary2", "[secret]"],
    ["1#canary1", "[secret]"],
    ["1?canary1", "[secret]"],
    ["1/canary1", "[secret]"],
  ] as const) {
    const proxy = `http://canary3:${password}@proxy.example.com:3128`;
    const shown = shownFor({
      DATABASE_URL: `postgres://canary3:canary4@db.example.com:5432/tokens?sslmode=require&password=${password}`,
      DATABASE_LISTEN_URL: "postgres://canary3:canary4@db.example.com:5432/tokens?canary5#canary6",
      UPSTREAM_PROXY: proxy,
      MASTER_KEY: "canary".padEnd(64, "0"),
    });
    expect([password, JSON.stringify(shown)]).not.toEqual([password, expect.stringMatching(/canary|a1b2c3/)]);
    expect([password, shown["UPSTREAM_PROXY"]]).toEqual([password, expected]);
    expect(shown).toMatchObject({
      DATABASE_LISTEN_URL: "postgres://[secret]@db.example.com:5432/tokens?[secret]#[secret]",
      MASTER_KEY: "[secret]",
    });
  }
  expect(shownFor({ DATABASE_URL: "postgres://u@db/x?sslmode=require&p=1" })["DATABASE_URL"]).toBe(
    "postgres://[secret]@db/x?sslmode=require&[secret]",
  );
});

const BAD: readonly [name: string, ...values: string[]][] = [
  ["HOST", "no host", "a/b", "http://127.0.0.1"],
  [
    "PUBLIC_URL",
    "no-scheme.example.org",
    "https://b.example.org/path",
    "https://u@b.example.org",
    "https://*.example.org",
  ],
  ["PUBLIC_URL_SERVES", "none"],
  ["PORT", "port", "-1", "65536", "99999", "3000.5", "0x50", "30 00", "1e3"],
  ["LOG_LEVEL", "INFO", "trace", "verbose"],
  ["LOG_FORMAT", "JSON", "text"],
  ["KEEP_ALIVE_TIMEOUT", "0", "256", "75s", "-1", "7.5"],
  ["DATABASE_URL", "data.db", "mysql://user:canary@db/x", "file:", "file:x?mode=ro", "file://elsewhere/x"],
  [
    "WEIXIN_BASE_URL",
    "api.weixin.qq.com",
    "http://api.weixin.qq.com",
    "https://h/path",
    "https://h?canary",
    "https://h#canary",
    "https://user:canary@h",
    "ftp://127.0.0.1",
    "http://127.0.0.1.example",
    "http://10.0.0.1",
  ],
  ["WECOM_BASE_URL", "qyapi", "http://qyapi.weixin.qq.com", "https://h/path"],
  [
    "UPSTREAM_PROXY",
    "proxy:3128",
    "socks5://proxy:1080",
    "http://pro xy",
    "http://[canary",
    "http://proxy:canary",
  ],
  ["UPSTREAM_ECHO", "echo.example", "ftp://echo.example", "http://[canary"],
  [
    "WEIXIN_FALLBACK_BASE_URLS",
    "api2.weixin.qq.com",
    "http://api2.weixin.qq.com",
    "https://h/path",
    "https://user:canary@h",
    "https://api2.weixin.qq.com https://h2",
    "https://api2.weixin.qq.com,canary",
  ],
  [`WECOM_BASE_URL_${CORP}`, "qyapi", "http://wecom.example", "https://h/path", "http://10.0.0.1"],
  ["UPSTREAM_IP_FAMILY", "5", "46", "ipv4"],
  ["UPSTREAM_ALLOW_HTTP", "10.0.0.0/33", "http://10.0.0.1", "10.0.0.1:80", "*", "300.0.0.1", "a b"],
  ["REFRESH_IDLE_AFTER", "0", "-1", "1.5", "24h", "canary", "1e5", "9999999999"],
  ["BACKUP_EVERY", "0", "24", "29m", "0h", "1w", "1000h", "100d", "-1h"],
  ["BACKUP_KEEP", "0", "-1", "14d", "10000"],
  ["AUDIT_RETENTION_DAYS", "0", "-1", "1.5", "180d", "3651", "9999", "0180"],
  ["WEIXIN_TOKEN_MODE", "Stable", "both"],
  ["CALLBACK_NETWORKS", "canary", "10.0.0.0/33", "10.0.0.0/8;::1"],
  ["TRUSTED_NETWORKS", "canary", "10.0.0.0/33", "127.0.0.1;::1"],
  ["TRUSTED_PROXIES", "canary", "10.0.0.0/a"],
  [
    "CORS_ORIGINS",
    "*",
    "null",
    "canary",
    "shop.example.com",
    "https://shop.example.com/",
    "https://www.example.com/canary",
    "https://*.example.org",
    "https://user:canary@www.example.com",
    "https://www.example.com?canary",
    "https://www.example.com#canary",
    "https://www.example.com:443",
    "ftp://www.example.com",
    "file:///canary",
    "http://",
    "https://a.example https://b.example",
    "https://a.example,canary",
  ],
  ["METRICS", "yes", "ON", "admins", "canary"],
  ["SWAGGER", "yes", "OFF", "admins", "canary"],
  ["ALLOWED_HOSTS", "a b", "https://a.example", "a.example:443", "*"],
  ["WEIXIN_SECRET_wx0000000000000001", "", "with blank", "中文"],
  ["THIRD_APPID_wx0000000000000001", "with blank"],
  ["WECOM_SECRET_ww0000000000000001_7", "", "with blank"],
  ["WEIXIN_TOKEN_MODE_wx0000000000000001", "Canary"],
];

test.each(BAD)(
  "a %s that can't be used stops the start with one line that names it and does not quote it",
  (name, ...values) => {
    for (const value of values) {
      const line = refusalOf({ [name]: value });
      expect(line).toStartWith(`${name}: `);
      expect(line).not.toContain("\n");
      if (value.length > 5) expect(line).not.toContain(value);
      expect(line.toLowerCase()).not.toContain("canary");
    }
  },
);

test("a master key and a file for it at the same time are refused, and the key is not quoted", () => {
  const line = refusalOf({ MASTER_KEY: "canary".repeat(8), MASTER_KEY_FILE: "/run/key" });
  expect(line).toStartWith("MASTER_KEY: ");
  expect(line).not.toContain("canary");
});

test("the file of the next master key must be another than that of the current one", () => {
  expect(refusalOf({ MASTER_KEY_FILE: "key", MASTER_KEY_NEXT_FILE: "./key" })).toStartWith(
    "MASTER_KEY_NEXT_FILE: ",
  );
});

test("P6: a configuration that is printed shows no secret", () => {
  const config = load({
    MASTER_KEY: "canary-key",
    WEIXIN_SECRET_wx0000000000000001: "canary-1",
    WECOM_SECRET_ww0000000000000001_7: "canary-2",
  });
  expect(JSON.stringify(config) + Bun.inspect(config)).not.toContain("canary");
});

test("the file is read, and a real variable wins over it", () => {
  using file = setup(
    "PORT=4000\nLOG_LEVEL=warn\nWEIXIN_SECRET_wx0000000000000001=from-file\nWEIXIN_SECRET_wx0000000000000002=two\n",
  );
  const config = loadConfig({
    ENV_FILE: file.path,
    PORT: "5000",
    WEIXIN_SECRET_wx0000000000000001: "real",
    LOG_LEVEL: "",
  });
  expect([config.port, config.logLevel]).toEqual([5000, "warn"]);
  expect(config.apps.map(({ id, secret }) => [id, secret.reveal()])).toEqual([
    ["wx0000000000000001", "real"],
    ["wx0000000000000002", "two"],
  ]);
});

test("a file with a byte order mark, CRLF, comments, quotes and blank lines is read as people mean it", () => {
  using file = setup(
    '\uFEFFPORT=4000\r\n# comment\r\n\r\nLOG_LEVEL="warn"\r\nWEIXIN_SECRET_wx0000000000000001=abc # mine\r\n',
  );
  const config = loadConfig({ ENV_FILE: file.path });
  expect([config.port, config.logLevel]).toEqual([4000, "warn"]);
  expect(config.apps[0]?.secret.reveal()).toBe("abc");
});

test("by default .env of the working directory is read, and it may be missing", () => {
  using file = setup("");
  const script = `import { loadConfig } from ${JSON.stringify(join(ROOT, "src/config.ts"))}; console.log(loadConfig().port)`;
  const portIn = (env: Record<string, string>) => {
    const child = Bun.spawnSync([process.execPath, "--no-env-file", "-e", script], { cwd: file.folder, env });
    return child.stdout.toString().trim();
  };
  expect(portIn({})).toBe("3000");
  writeFileSync(join(file.folder, ".env"), "PORT=4001\n");
  expect(portIn({})).toBe("4001");
  expect(portIn({ ENV_FILE: "" })).toBe("3000");
  expect(portIn({ PORT: "4002" })).toBe("4002");
});

test("a file that is named and can't be read stops the start", () => {
  using file = setup("");
  for (const path of [join(file.folder, "missing.env"), file.folder]) {
    const line = refusalOf({ ENV_FILE: path });
    expect(line).toStartWith("ENV_FILE: ");
    expect(line).not.toContain("\n");
  }
});

test("an unknown WEIXIN_ or WECOM_ name in the file stops the start: it is misspelt", () => {
  for (const name of ["WEIXIN_SECERT_wx1", "WECOM_SECRET_ww1", "WEIXIN_TOKENMODE", "WECOM_BASEURL"]) {
    using file = setup(`PORT=4000\n${name}=canary\n`);
    const line = refusalOf({ ENV_FILE: file.path });
    expect(line).toStartWith(`${name}: `);
    expect(line).not.toContain("canary");
    expect(line).not.toContain("\n");
  }
});

test("an unknown WEIXIN_ or WECOM_ name in the environment is only a warning: it may be somebody else's", () => {
  const { warnings } = load({
    WEIXIN_SERVICE_PORT: "canary",
    WECOM_X: "canary",
    OTHER: "x",
    WEIXIN_SECRET_wx0000000000000001: SECRET,
  });
  expect(warnings.map((line) => line.split(":")[0])).toEqual(["WEIXIN_SERVICE_PORT", "WECOM_X"]);
  expect(warnings.join("\n")).not.toContain("canary");
});

test("a variable of an earlier version is warned of once, and does not stop the start whatever it says", () => {
  const { warnings } = load({ GATEWAY_REPLAY_BYTES: "canary", WEIXIN_SECRET_wx0000000000000001: SECRET });
  expect(warnings).toEqual([expect.stringMatching(/^GATEWAY_REPLAY_BYTES: .*has no effect/)]);
  expect(warnings.join("\n")).not.toContain("canary");
  using file = setup(`GATEWAY_REPLAY_TOTAL_BYTES=1\nWEIXIN_SECRET_wx0000000000000001=${SECRET}\n`);
  expect(loadConfig({ ENV_FILE: file.path }).warnings).toHaveLength(1);
});

test("names of others in the file are one warning that lists them, and their values are not quoted", () => {
  using file = setup(
    `DB_HOST=canary\nWEIXIN_SECRET_wx0000000000000001=${SECRET}\nAPP_ENV="canary\ncanary"\n${"k3J".repeat(15)}=\n`,
  );
  const { warnings } = loadConfig({ ENV_FILE: file.path });
  expect(warnings).toEqual([
    expect.stringMatching(/service\.env: .*ignored\): DB_HOST, APP_ENV, .*line 5\)$/),
  ]);
  expect(warnings.join()).not.toMatch(/canary|k3J/);
});

const TAKEN = "taken";

test.each([
  // What is no assignment.
  ["PORT: 4000", "this is no NAME=value, as PORT=…"],
  ["PORT 4000", "this is no NAME=value, as PORT=…"],
  ["PORT＝4000", "this is no NAME=value, as PORT=…"],
  ["PORT", "this is no NAME=value, as PORT=…"],
  ["ANONYMUS: off", "as ANONYMOUS=…"],
  [`WEIXIN_SECRET_wx0000000000000001: ${SECRET}`, "as WEIXIN_SECRET_wx0000000000000001=…"],
  [SECRET, "this is no NAME=value"],
  ["=4000", "this is no NAME=value"],
  ["- PORT=4000", "this is no NAME=value"],
  ["P\0O\0R\0T\0=\0", "this is no NAME=value"],
  // What is meant for us.
  ["ANONYMUS=off", "did you mean ANONYMOUS?"],
  ["anonymous=off", "did you mean ANONYMOUS?"],
  ["ANONYMOUS_ACCESS=off", "did you mean ANONYMOUS"],
  ["TRUSTED_NETWORK=10.0.0.0/8", "did you mean TRUSTED_NETWORKS?"],
  ["TRUSTED_HOSTS=a", "did you mean TRUSTED_"],
  ["PROT=80", "did you mean PORT?"],
  ["export LOGLEVEL=debug", "did you mean LOG_LEVEL?"],
  ["weixin_secret_wx0000000000000001=x", "did you mean WEIXIN_SECRET_<appid>?"],
  ["WX_SECRET_wx0000000000000001=x", "did you mean WEIXIN_SECRET_<appid>?"],
  ["WEIXIN_SECERT_wx0000000000000001=x", "did you mean WEIXIN_SECRET_<appid>?"],
  ["QY_SECRET_ww0000000000000001_7=x", "did you mean WECOM_SECRET_<corpid>_<agent>?"],
  ["WECHAT_APPID=wx0000000000000001", "did you mean WEIXIN_SECRET_<appid>?"],
  ["CORPID=ww0000000000000001", "did you mean WECOM_SECRET_<corpid>_<agent>?"],
  ["WEIXIN_TOKENMODE=classic", "did you mean WEIXIN_TOKEN_MODE?"],
  // What is said twice.
  ["PORT=4000\nPORT=5000", "line 1 already"],
  ["PORT=4000\nexport PORT = '5000'", "line 1 already"],
  // What a quote swallows.
  ['FOO="x\nANONYMOUS=off\nBAR="y"', "the quote is not closed"],
  // What is right.
  ["PORT=4000", TAKEN],
  ["PORT=4000\nHOME=/root", TAKEN],
  ["export PORT = '4000' # mine", TAKEN],
  ['PORT=4000\nPORT="4000"', TAKEN],
  ["  \n# PORT: 5000\n\tPORT=4000", TAKEN],
  ['KEY="-----BEGIN\nabc=\n-----END"\nPORT=4000', TAKEN],
])("an env file of %j: %s", (text, expected) => {
  using file = setup(`${text}\n`);
  if (expected === TAKEN) return expect(loadConfig({ ENV_FILE: file.path }).port).toBe(4000);
  const line = refusalOf({ ENV_FILE: file.path });
  expect(line).toContain(`${file.path}:`);
  expect(line).toContain(expected);
  expect(line).not.toMatch(/\n|4000|5000|a1b2c3d4/);
});

test("the line's number and the file are named", () => {
  using file = setup("# one\n\nLOG_LEVEL=warn\nPORT: 1\n");
  expect(refusalOf({ ENV_FILE: file.path })).toStartWith(`ENV_FILE: ${file.path}:4: `);
});

test("a UTF-16 file is read by its byte order mark", () => {
  const littleEndian = Buffer.from("\uFEFFPORT=4000\r\nLOG_LEVEL=warn\r\n", "utf16le");
  for (const bytes of [littleEndian, Buffer.from(littleEndian).swap16()]) {
    using file = setup(bytes);
    const { port, logLevel } = loadConfig({ ENV_FILE: file.path });
    expect([port, logLevel]).toEqual([4000, "warn"]);
  }
});

test("in the real environment a misspelt name is a warning where it can be nobody else's, and other names are free", () => {
  const { warnings } = load({
    ANONYMUS: "canary",
    weixin_secret_wx0000000000000001: "canary",
    HOME: "/root",
    JWT_SECRET: "canary",
    DB_HOST: "canary",
    WEIXIN_SECRET_wx0000000000000001: SECRET,
  });
  expect(warnings).toEqual([
    expect.stringMatching(/^ANONYMUS: .*did you mean ANONYMOUS\?/),
    expect.stringMatching(/^weixin_secret_wx0000000000000001: .*did you mean WEIXIN_SECRET_<appid>\?/),
  ]);
});

test.each([
  ["10.0.0.0/8", "http://10.1.2.3:3001", true],
  ["10.0.0.0/8", "http://11.0.0.1:3001", false],
  ["10.0.0.0/8", "http://10.0.0.1.example", false],
  ["10.0.0.0/8", "http://sandbox:3001", false],
  ["10.0.0.0/8, Sandbox", "http://sandbox:3001", true],
  ["sandbox", "http://sandbox.example:3001", false],
  ["fd00::/8", "http://[fd12::1]:3001", true],
  ["10.0.0.0/8", "http://127.0.0.1:3001", true],
  ["10.0.0.0/8", "http://10.1.2.3/path", false],
])("with UPSTREAM_ALLOW_HTTP=%s the base URL %s is taken: %p", (allowed, url, isTaken) => {
  const names = ["WEIXIN_BASE_URL", "WECOM_BASE_URL", "WEIXIN_FALLBACK_BASE_URLS", `WECOM_BASE_URL_${CORP}`];
  for (const name of names) {
    const environment = { UPSTREAM_ALLOW_HTTP: allowed, [name]: url };
    if (isTaken) expect(load(environment).warnings).toEqual([]);
    else expect(refusalOf(environment)).toStartWith(`${name}: `);
  }
});

/** Every `NAME=value` line of .env.example, commented out or not. An app's name holds `<placeholders>`. */
function exampleLines(): [name: string, value: string][] {
  const text = readFileSync(join(ROOT, ".env.example"), "utf8");
  const lines = text.matchAll(/^#? ?([A-Z][A-Za-z0-9_<>]*)=(.*)$/gm);
  return [...lines].map(([, name = "", value = ""]) => [name, value]);
}

const isAppLine = (name: string) => name.endsWith(">");

test(".env.example names every variable with its default, and no other", () => {
  const { ENV_FILE: envFile, ...fixed } = Object.fromEntries(
    exampleLines().filter(([name]) => !isAppLine(name)),
  );
  const defaults = Object.entries(VARIABLES.properties).map(([name, schema]) => [
    name,
    String(schema.default),
  ]);
  expect(fixed).toEqual(Object.fromEntries(defaults));
  expect(envFile).toBe(".env");
});

test(".env.example shows each form of an app's variables", () => {
  expect(
    exampleLines()
      .map(([name]) => name)
      .filter(isAppLine),
  ).toEqual([
    "WEIXIN_SECRET_<appid>",
    "THIRD_APPID_<appid>",
    "WEIXIN_TOKEN_MODE_<appid>",
    "WECOM_SECRET_<corpid>_<agent>",
    "WECOM_BASE_URL_<corpid>",
  ]);
});

test(".env.example is a file that the service accepts, as it stands and with every line in use", () => {
  expect(loadConfig({ ENV_FILE: join(ROOT, ".env.example") }).port).toBe(3000);
  const inUse = exampleLines().map(([name, value]) => {
    const filled = name
      .replace(/<corpid>$/, CORP)
      .replace("<appid>", "wx0000000000000001")
      .replace("<corpid>_<agent>", `${CORP}_7`);
    return `${filled}=${value === "" && /SECRET|THIRD/.test(name) ? SECRET : value}`;
  });
  using file = setup(inUse.join("\n"));
  expect(loadConfig({ ENV_FILE: file.path }).apps.map(({ id }) => id)).toEqual([CORP, "wx0000000000000001"]);
});

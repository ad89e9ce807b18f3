import { type Static, Type } from "@sinclair/typebox";

/** A text for people in both languages. Backquotes are for code. */
export interface Meaning {
  readonly en: string;
  readonly zh: string;
}

/**
 * A variable: its default, what it must look like, what to say when it does not (`expected`), and what it means. The last is
 * what `.env.example` and the page of the configuration say, too.
 */
const variable = (value: string, pattern: string, expected: string, en: string, zh: string) =>
  Type.String({ default: value, pattern, expected, meaning: { en, zh } satisfies Meaning });

/** What a base URL must be. */
export const URL_EXPECTED =
  "应为https地址，不带路径；http仅限本机和UPSTREAM_ALLOW_HTTP (must be an https origin without a path; http on loopback and by UPSTREAM_ALLOW_HTTP only)";

/** What `CORS_ORIGINS` must be. */
export const ORIGIN_EXPECTED =
  "应为以逗号分隔的源，如 https://www.example.com (must be origins like https://www.example.com, comma-separated)";

/** What `PUBLIC_URL` must be. */
export const PUBLIC_URL_EXPECTED =
  "应为源，如 https://wx.example.com，不带路径 (must be an origin like https://wx.example.com, without a path)";

const PORT_PATTERN = "^(\\d{1,4}|[1-5]\\d{4}|6[0-4]\\d{3}|65[0-4]\\d{2}|655[0-2]\\d|6553[0-5])$";
const PORT_EXPECTED = "应为0到65535的整数 (must be an integer from 0 to 65535)";

const NETWORKS_EXPECTED = "应为以逗号分隔的CIDR (must be CIDR blocks, comma-separated)";

/**
 * Every variable that has a fixed name. An empty value counts as unset. The apps' own variables
 * (`WEIXIN_SECRET_<appid>` and so on) are read by `apps/environment-apps.ts`.
 */
export const VARIABLES = Type.Object({
  WEIXIN_TOKEN_MODE: variable(
    "stable",
    "^(stable|classic)$",
    "应为 stable 或 classic (must be stable or classic)",
    "How WeChat tokens are fetched: `stable` (`POST /cgi-bin/stable_token`) or `classic` (`GET /cgi-bin/token`).",
    "微信 token 的获取方式：`stable`（`POST /cgi-bin/stable_token`）或 `classic`（`GET /cgi-bin/token`）。",
  ),
  REFRESH_IDLE_AFTER: variable(
    "86400",
    "^[1-9]\\d{0,8}$",
    "应为秒数 (must be a number of seconds)",
    "Seconds after which an unused credential is no longer renewed ahead of time.",
    "凭证超过该秒数无人使用，就不再提前续期。",
  ),
  TRUSTED_NETWORKS: variable(
    "127.0.0.0/8,::1/128",
    "",
    NETWORKS_EXPECTED,
    "Callers that are answered without an API key or an app's secret: CIDR blocks or addresses, comma-separated. In a container every caller has the bridge's address: never list the bridge, give out keys.",
    "无需 API 密钥或应用 secret 即可调用的网段或地址，以逗号分隔。容器中所有调用方的地址都是网桥的地址：切勿列入网桥，请发放密钥。",
  ),
  TRUSTED_PROXIES: variable(
    "",
    "",
    NETWORKS_EXPECTED,
    "Reverse proxies whose `X-Forwarded-For` is trusted, in the same form. Behind nginx on this machine: `127.0.0.1/32`.",
    "可信的反向代理（采信其 `X-Forwarded-For`），格式同上。本机 nginx 填 `127.0.0.1/32`。",
  ),
  ANONYMOUS: variable(
    "",
    "^(on|off)?$",
    "应为 on 或 off (must be on or off)",
    "Whether callers from `TRUSTED_NETWORKS` are answered without an API key: `on` or `off`. Not set: as `accesstoken anonymous` says.",
    "是否应答可信网络内没有 API 密钥的调用方：`on` 或 `off`。未设置时，由 `accesstoken anonymous` 决定。",
  ),
  ANONYMOUS_RATE_LIMIT: variable(
    "2000",
    "^\\d{1,7}$",
    "应为每秒请求数，0为不限 (must be a number of requests a second, 0 for no limit)",
    "Requests a second that one address without a key may make, ten times as many at once; `0` for no limit.",
    "没有密钥的单个地址每秒请求数上限（瞬时可达 10 倍）；`0` 表示不限。",
  ),
  ALLOWED_HOSTS: variable(
    "",
    "^$|^[\\w.-]+(\\s*,\\s*[\\w.-]+)*$",
    "应为以逗号分隔的域名 (must be host names, comma-separated)",
    "Host names under which callers reach the service, comma-separated; `localhost` and IP addresses always work.",
    "调用方访问本服务所用的域名，以逗号分隔；`localhost` 和 IP 地址无需填写。",
  ),
  CORS_ORIGINS: variable(
    "",
    "",
    ORIGIN_EXPECTED,
    "Origins whose pages may call the signature routes from the browser, comma-separated: `https://www.example.com`. The command `accesstoken cors` puts a list in its place without a restart.",
    "允许其网页在浏览器中直接调用签名接口的源，以逗号分隔，如 `https://www.example.com`。`accesstoken cors` 可用另一份列表取而代之，无须重启。",
  ),
  CALLBACK_NETWORKS: variable(
    "",
    "",
    NETWORKS_EXPECTED,
    "Where pushes may be delivered beside public addresses over https: CIDR blocks or addresses of your own network, comma-separated, where plain http is allowed too. Link-local and metadata addresses never.",
    "除公网 https 地址外，推送还可以投递到哪些内网网段或地址，以逗号分隔；这些地址也允许 http。链路本地地址和云元数据地址始终不允许。",
  ),
  PUBLIC_URL: variable(
    "",
    "",
    PUBLIC_URL_EXPECTED,
    "The origin under which WeChat's pushes and users' browsers reach the service: `https://wx.example.com`. It is in every URL that is given to WeChat, and never taken from a request. Under its host name only callbacks, web logins and verification files are answered; an app may have another.",
    "微信的推送和用户的浏览器访问本服务所用的源，如 `https://wx.example.com`。凡是交给微信的 URL 都以它开头，从不取自请求。以该域名访问时，只应答推送、网页登录和校验文件；应用可以另设。",
  ),
  PUBLIC_URL_SERVES: variable(
    "public",
    "^(public|all)$",
    "应为 public 或 all (must be public or all)",
    "What is answered under that host name: `public`, or `all` where callers of the API come by the same name.",
    "以该域名访问时应答的内容：`public`（仅上述内容），或 `all`（API 调用方也用同一域名时）。",
  ),
  METRICS: variable(
    "on",
    "^(on|admin|off)$",
    "应为 on、admin 或 off (must be on, admin or off)",
    "Who may see `/metrics`: `on` (clients with `metrics:read`, administrators, and callers without a key from `TRUSTED_NETWORKS`, also with `ANONYMOUS=off`), `admin` (the same without the last) or `off`.",
    "`/metrics` 的可见范围：`on`（有 `metrics:read` 的客户端、管理员，以及可信网络内没有密钥的调用方，`ANONYMOUS=off` 时也是如此）、`admin`（不含最后一种）或 `off`（关闭）。",
  ),
  SWAGGER: variable(
    "on",
    "^(on|admin|off)$",
    "应为 on、admin 或 off (must be on, admin or off)",
    "Who may see `/swagger` and `/docs/`: `on` (callers with a key or from `TRUSTED_NETWORKS`, also with `ANONYMOUS=off`), `admin` or `off`.",
    "`/swagger` 和 `/docs/` 的可见范围：`on`（有密钥或来自可信网络，`ANONYMOUS=off` 时也是如此）、`admin`（管理员）或 `off`（关闭）。",
  ),
  CONSOLE: variable(
    "on",
    "^(on|off)$",
    "应为 on 或 off (must be on or off)",
    "Whether the web console is served at `/console/`: `on` or `off`. It shows nothing to who has not signed in, and is never under the host of `PUBLIC_URL`.",
    "是否在 `/console/` 提供网页控制台：`on` 或 `off`。未登录时不显示任何内容；`PUBLIC_URL` 的域名下从不提供。",
  ),
  HOST: variable(
    "127.0.0.1",
    "^[A-Za-z0-9.:-]+$",
    "应为监听地址 (must be an address)",
    "Address to listen on.",
    "监听地址。",
  ),
  PORT: variable(
    "3000",
    PORT_PATTERN,
    PORT_EXPECTED,
    "Port to listen on; `0` lets the system choose.",
    "监听端口；`0` 表示由系统分配。",
  ),
  LOG_LEVEL: variable(
    "info",
    "^(debug|info|warn|error)$",
    "应为 debug、info、warn 或 error (must be debug, info, warn or error)",
    "`debug`, `info`, `warn` or `error`. `debug` adds a line per request; no level logs secrets, tokens or codes.",
    "日志级别：`debug`、`info`、`warn` 或 `error`。`debug` 会记录每个请求；任何级别都不记录 secret、token 和 code。",
  ),
  LOG_FORMAT: variable(
    "auto",
    "^(auto|json|console)$",
    "应为 auto、json 或 console (must be auto, json or console)",
    "How the log is written: `json`; `console`, to be read by people; or `auto`, which is `console` where standard output is a terminal and else `json`. `NO_COLOR` turns colors off.",
    "日志格式：`json`；`console`，便于人阅读；或 `auto`，标准输出为终端时为 `console`，否则为 `json`。设置 `NO_COLOR` 可关闭颜色。",
  ),
  KEEP_ALIVE_TIMEOUT: variable(
    "75",
    "^([1-9]\\d?|1\\d\\d|2[0-4]\\d|25[0-5])$",
    "应为1到255的秒数 (must be seconds from 1 to 255)",
    "Seconds after which an idle connection is closed, 1 to 255: more than the load balancer in front keeps one (often 60).",
    "空闲连接保持的秒数，1 到 255：应大于前面的负载均衡保持连接的时间（常见为 60 秒）。",
  ),
  CONNECT_PORT: variable(
    "",
    `^$|${PORT_PATTERN}`,
    PORT_EXPECTED,
    "Port of the CONNECT proxy for SDKs with a fixed host; not set: none. With `serve --workers`, one process has it.",
    "供域名写死的 SDK 使用的 CONNECT 代理端口；未设置则不启用。使用 `serve --workers` 时由其中一个进程提供。",
  ),
  CONNECT_HOST: variable(
    "127.0.0.1",
    "^[A-Za-z0-9.:-]+$",
    "应为监听地址 (must be an address)",
    "Address on which that proxy listens.",
    "该代理的监听地址。",
  ),
  CONNECT_CERTIFICATES: variable(
    "proxy-ca",
    "",
    "",
    "The folder of `accesstoken proxy-ca` with the certificate that the proxy shows; read at the start.",
    "`accesstoken proxy-ca` 生成的目录，该代理使用其中的证书；启动时读取。",
  ),
  DATABASE_URL: variable(
    "file:data/accesstoken.db",
    "^(file:(?!.*[?#\\u0000]).+|postgres(ql)?://[^\\s]+)$",
    "应为 file:<路径> 或 postgres://<用户>@<主机>/<数据库> (must be file:<path> or postgres://<user>@<host>/<database>)",
    "The database: SQLite as `file:<path>`, a relative path starting in the working directory; or a PostgreSQL that any number of machines share, as `postgres://<user>@<host>/<database>`.",
    "数据库：SQLite 为 `file:<路径>`，相对路径以工作目录为起点；多台机器共用的 PostgreSQL 为 `postgres://<用户>@<主机>/<数据库>`。",
  ),
  DATABASE_LISTEN_URL: variable(
    "",
    "^(postgres(ql)?://[^\\s]+)?$",
    "应为 postgres://<用户>@<主机>/<数据库> (must be postgres://<user>@<host>/<database>)",
    "A direct way to the same PostgreSQL, where `DATABASE_URL` goes through a pooler in transaction mode.",
    "直连同一 PostgreSQL 的地址，用于 `DATABASE_URL` 经过事务模式连接池的情形。",
  ),
  DATABASE_PASSWORD_FILE: variable(
    "",
    "",
    "应为文件路径 (must be a path)",
    "File with the password for PostgreSQL. It wins over one in the URL, and is read at each connection.",
    "存放 PostgreSQL 密码的文件，优先于 URL 中的密码，每次连接时读取。",
  ),
  PGPASSFILE: variable(
    "",
    "",
    "应为文件路径 (must be a path)",
    "Password file in PostgreSQL's own format, for a URL without a password.",
    "PostgreSQL 自有格式的密码文件，用于不带密码的 URL。",
  ),
  CUT_OFF_AFTER: variable(
    "300",
    "^\\d{1,7}$",
    "应为秒数，0为不限 (must be a number of seconds, 0 for no limit)",
    "Seconds for which a machine that can't reach PostgreSQL still hands out what it has in memory; 0 for no limit. As long, a key that was revoked elsewhere works there.",
    "无法访问 PostgreSQL 的机器继续发放内存中凭证的秒数；0 为不限。在此期间，已在别处吊销的密钥在该机器上仍有效。",
  ),
  MASTER_KEY_FILE: variable(
    "",
    "",
    "应为文件路径 (must be a path)",
    "File with the master key that encrypts the database; made at first start. Default: `master.key` beside the database.",
    "加密数据库所用的主密钥文件，首次启动时生成。默认为数据库旁的 `master.key`。",
  ),
  MASTER_KEY_NEXT_FILE: variable(
    "",
    "",
    "应为文件路径 (must be a path)",
    "File with the key that is to take the place of the master key, on PostgreSQL. A running service notices within 3 seconds when it appears, and puts it into `MASTER_KEY_FILE` once the database is encrypted under it. Default: `MASTER_KEY_FILE` with `.next` at its end.",
    "即将取代主密钥的新密钥文件，用于 PostgreSQL。运行中的服务会在 3 秒内发现它出现，并在数据库改用它加密后将其移入 `MASTER_KEY_FILE`。默认为 `MASTER_KEY_FILE` 加后缀 `.next`。",
  ),
  MASTER_KEY: variable(
    "",
    "",
    "",
    "The master key itself instead of the file: 32 bytes as 64 hex digits or base64. Not together with `MASTER_KEY_FILE`. The very first start then needs `serve --new-database`.",
    "直接给出主密钥（32 字节，64 位十六进制或 base64），代替文件。不能与 `MASTER_KEY_FILE` 同时设置。第一次启动要带 `serve --new-database`。",
  ),
  AUDIT_RETENTION_DAYS: variable(
    "180",
    "^([1-9]\\d{0,2}|[12]\\d{3}|3[0-5]\\d{2}|36[0-4]\\d|3650)$",
    "应为1到3650的天数 (must be a number of days from 1 to 3650)",
    "Days for which the audit (who used, changed or cleared what, and who was denied) is kept, 1 to 3650.",
    "审计记录（谁获取、变更、清除了什么，谁被拒绝）的保留天数，1 到 3650。",
  ),
  BACKUP_DIR: variable(
    "",
    "",
    "应为目录路径 (must be the path of a folder)",
    "Folder into which the service backs its database up, one process of all; not set: it makes no backups. Made when it is missing. Another disk than the database's.",
    "服务自动备份数据库的目录，所有进程中只有一个执行；未设置则不备份。目录不存在时自动创建。应与数据库不在同一磁盘。",
  ),
  BACKUP_EVERY: variable(
    "24h",
    "^(([3-9]\\d|[1-9]\\d{2,3})m|[1-9]\\d{0,2}h|[1-9]\\d?d)$",
    "应为时长，如 30m、12h、7d，至少30m (must be a duration like 30m, 12h or 7d, 30m at least)",
    "How often: `30m`, `12h`, `7d`; half an hour at least. A backup that was made by hand counts too.",
    "备份的间隔：`30m`、`12h`、`7d`，至少半小时。手动备份也计算在内。",
  ),
  BACKUP_KEEP: variable(
    "14",
    "^[1-9]\\d{0,3}$",
    "应为1到9999的份数 (must be a number from 1 to 9999)",
    "How many of its own backups are kept in that folder; the oldest are removed once a new one is whole.",
    "该目录中本实例保留的份数；新的备份完成后删除最旧的。",
  ),
  WEIXIN_BASE_URL: variable(
    "https://api.weixin.qq.com",
    "",
    URL_EXPECTED,
    "Where WeChat is: an https origin without a path; http on loopback (the sandbox), and by `UPSTREAM_ALLOW_HTTP`.",
    "微信接口地址：https，不带路径；http 仅限本机（沙箱）和 `UPSTREAM_ALLOW_HTTP`。",
  ),
  WEIXIN_FALLBACK_BASE_URLS: variable(
    "",
    "",
    URL_EXPECTED,
    "WeChat's other hosts, comma-separated, asked in stable mode when no connection to the first comes about: `https://api2.weixin.qq.com,https://sh.api.weixin.qq.com,https://sz.api.weixin.qq.com,https://hk.api.weixin.qq.com`.",
    "备用的微信接口地址，以逗号分隔，仅 stable 模式在连接失败时依次使用：`https://api2.weixin.qq.com,https://sh.api.weixin.qq.com,https://sz.api.weixin.qq.com,https://hk.api.weixin.qq.com`。",
  ),
  WECOM_BASE_URL: variable(
    "https://qyapi.weixin.qq.com",
    "",
    URL_EXPECTED,
    "Where WeCom is, in the same form as `WEIXIN_BASE_URL`.",
    "企业微信接口地址，格式同 `WEIXIN_BASE_URL`。",
  ),
  WEIXIN_OPEN_BASE_URL: variable(
    "https://open.weixin.qq.com",
    "",
    URL_EXPECTED,
    "Where WeChat's pages for web logins are, in the form of `WEIXIN_BASE_URL`.",
    "微信网页授权页面的地址，格式同 `WEIXIN_BASE_URL`。",
  ),
  WECOM_LOGIN_BASE_URL: variable(
    "https://login.work.weixin.qq.com",
    "",
    URL_EXPECTED,
    "Where WeCom's page for web logins is, in the form of `WEIXIN_BASE_URL`.",
    "企业微信网页登录页面的地址，格式同 `WEIXIN_BASE_URL`。",
  ),
  UPSTREAM_ALLOW_HTTP: variable(
    "",
    "",
    "应为以逗号分隔的CIDR或主机名 (must be CIDR blocks or host names, comma-separated)",
    "Networks and host names where these URLs may be plain http, comma-separated: `10.0.0.0/8,sandbox`. Secrets can be read on the way.",
    "除本机外，上述地址允许使用 http 的网段或主机名，以逗号分隔，如 `10.0.0.0/8,sandbox`；secret 在途中可被窃听。",
  ),
  UPSTREAM_IP_FAMILY: variable(
    "",
    "^[46]?$",
    "应为 4 或 6 (must be 4 or 6)",
    "Reach WeChat and WeCom over IPv4 (`4`) or IPv6 (`6`) alone, where one address only is on the allow-list. Without effect with a proxy.",
    "仅以 IPv4（`4`）或 IPv6（`6`）访问微信，用于只加白了其中一个出口 IP 的情况；使用代理时不起作用。",
  ),
  UPSTREAM_PROXY: variable(
    "",
    "^$|^https?://[^\\s]+$",
    "应为http(s)代理地址 (must be the http(s) URL of a proxy)",
    "Proxy to WeChat and WeCom, `http(s)://host:port`. `HTTP_PROXY` and the like are not used.",
    "访问微信和企业微信的代理，`http(s)://主机:端口`。不使用 `HTTP_PROXY` 等变量。",
  ),
  UPSTREAM_ECHO: variable(
    "",
    "^$|^https?://[^\\s]+$",
    "应为http(s)地址 (must be an http(s) URL)",
    "URL whose answer has the caller's own address: `accesstoken doctor` asks it, and names the address for WeChat's IP allow-lists. The service never does.",
    "应答中含有来访 IP 的地址：`accesstoken doctor` 会访问它，以得知出口 IP，供填写微信的 IP 白名单；服务本身从不访问。",
  ),
});

/** The name of a variable of `VARIABLES`. */
export type VariableName = keyof Static<typeof VARIABLES>;

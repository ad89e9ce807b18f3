import { NAME, VERSION } from "../version.ts";
import { type Arguments, type CommandSpec, NEW_DATABASE, option, bilingual } from "./arguments.ts";

const PORTS = { min: 0, max: 65_535 };

const SERVE: CommandSpec = {
  words: ["serve"],
  isService: true,
  meaning: bilingual("Run the service", "启动服务"),
  options: [
    option(
      "--workers <n>",
      "Processes on one port and one database. Default: 1",
      "在同一端口和数据库上运行的进程数，默认1",
    ),
    NEW_DATABASE,
    option(
      "--check",
      "Do all that a start does but serve, change nothing, and say what a start would do",
      "执行启动的全部检查，不提供服务、不作改动，并说明启动时会做什么",
    ),
  ],
  run: async (args, terminal) => {
    const workers = args.findNumber("workers", { min: 1, max: 64 }) ?? 1;
    if (args.isSet("check"))
      return (await import("./serve-check.ts")).runServeCheck(args.isSet(NEW_DATABASE.name), terminal);
    return (await import("./serve.ts")).runServe(workers, args.isSet(NEW_DATABASE.name));
  },
};

const PUSH: CommandSpec = {
  words: ["sandbox", "push"],
  meaning: bilingual(
    "Send a push to a callback URL as WeChat or WeCom does",
    "像微信或企业微信那样向回调URL发送推送",
  ),
  notes: [
    bilingual(
      "Three attempts, each cut after 5 s. One line an attempt; exit code 0 when the push is accepted, 3 when not.",
      "最多三次，每次5秒后断开。每次一行；推送被接受时退出码为0，否则为3。",
    ),
  ],
  positionals: [{ name: "url", meaning: bilingual("The callback URL", "回调URL") }],
  options: [
    option("--app <id>", "AppID, or CorpID with --wecom", "AppID；带 --wecom 时为CorpID"),
    option("--token-file <file>", "The Token; - for standard input", "Token所在的文件；- 为标准输入"),
    option("--aes-key-file <file>", "The EncodingAESKey", "EncodingAESKey所在的文件"),
    option("--wecom", "As WeCom; default as WeChat", "作为企业微信发送，默认为微信"),
    option(
      "--mode <mode>",
      "secure, compat or plain. Default: secure",
      "secure、compat 或 plain，默认secure",
    ),
    option("--format <format>", "xml or json. Default: xml", "xml 或 json，默认xml"),
    option("--check", "Send the GET check of the console first", "先发送保存配置时的GET校验"),
    option("--text <text>", "A user's message. Default: hello", "用户发送的文字，默认hello"),
    option("--event <event>", "An event in its place, as subscribe", "改为事件，如 subscribe"),
    option("--event-key <key>", "The event's key", "事件的EventKey"),
    option("--openid <openid>", "Who sends it. Default: oSANDBOX…", "发送者，默认oSANDBOX…"),
    option("--agent <id>", "WeCom's AgentID", "企业微信的AgentID"),
    option("--message-id <id>", "Its MsgId. Default: a new one", "消息的MsgId，默认新生成"),
    option("--attempts <n>", "At most so many. Default: 3", "最多发送几次，默认3"),
    option(
      "--replay",
      "Every attempt with the same bytes, also after it was accepted",
      "每次发送相同的内容，被接受后也继续",
    ),
    option("--wrong-key", "Sign with another Token", "用错误的Token签名"),
    option("--wrong-app", "Name another app at the end", "末尾写入别的应用"),
  ],
  run: async (args, terminal) => (await import("./sandbox-push.ts")).runSandboxPush(args, terminal),
};

/** Commands of one word. What each of them runs is loaded when it runs: most of the program is needed by `serve` alone. */
const SERVICE_COMMANDS: readonly CommandSpec[] = [
  SERVE,
  { ...SERVE, words: ["start"], isFormer: true },
  {
    words: ["health"],
    meaning: bilingual(
      "Whether the service answers, for containers without curl",
      "服务是否应答，供没有curl的容器使用",
    ),
    notes: [
      bilingual(
        "One line within 5 seconds; exit code 0 or 1. It asks /livez at HOST and PORT of the configuration.",
        "5秒内输出一行；退出码为0或1。按配置的HOST和PORT访问 /livez。",
      ),
    ],
    options: [
      option(
        "--url <origin>",
        "Ask this service, as behind a proxy with TLS",
        "改为访问该地址的服务，如位于TLS代理之后的服务",
      ),
      option(
        "--ready",
        "Ask /readyz: whether it can use its database and key, and is not stopping",
        "改为访问 /readyz：数据库与主密钥可用，且未在停止",
      ),
    ],
    run: async (args, terminal) =>
      (await import("./health.ts")).runHealth(
        { url: args.find("url"), mustBeReady: args.isSet("ready") },
        terminal,
      ),
  },
  // Before the command of one word, which would take any word after it for its own.
  PUSH,
  {
    words: ["sandbox"],
    isService: true,
    meaning: bilingual("Run a stand-in for WeChat and WeCom", "启动模拟的微信与企业微信"),
    options: [
      option(
        "--port <n>",
        "WeChat's port; WeCom's is the next one. Default: 3001",
        "微信端口，企业微信为其后一个端口，默认3001",
      ),
    ],
    run: async (args) => {
      const port = args.findNumber("port", PORTS) ?? 3001;
      return (await import("./sandbox.ts")).runSandbox(port);
    },
  },
  {
    words: ["demo"],
    isService: true,
    meaning: bilingual("Run both, with sample apps", "同时启动两者，并带示例应用"),
    options: [
      option("--port <n>", "The service's port. Default: PORT, or 3000", "服务端口，默认为PORT或3000"),
    ],
    run: async (args) => {
      const port = args.findNumber("port", PORTS);
      return (await import("./demo.ts")).runDemo(port);
    },
  },
  {
    words: ["worker"],
    isService: true,
    meaning: bilingual("One of the processes of serve --workers", "serve --workers 的工作进程"),
    positionals: ["index", "count", "port"].map((name) => ({ name, meaning: bilingual(name, name) })),
    isHidden: true,
    run: async (args) => {
      const place = {
        index: numberOf(args, "index"),
        count: numberOf(args, "count"),
        port: numberOf(args, "port"),
      };
      return (await import("./serve.ts")).runWorker(place);
    },
  },
  {
    words: ["proxy-ca"],
    meaning: bilingual(
      "Make the CA and certificate of a TLS front, for SDKs with a fixed host",
      "生成前置TLS的CA与证书，用于域名写死的SDK",
    ),
    notes: [
      bilingual(
        "The CA is good for WeChat's and WeCom's API hosts alone. It needs openssl.",
        "该CA仅对微信与企业微信的接口域名有效。需要openssl。",
      ),
    ],
    options: [
      option(
        "--out <folder>",
        "Where the files are, or are put. Default: proxy-ca in the working directory",
        "文件所在或存放的目录，默认为当前目录下的proxy-ca",
      ),
      option(
        "--renew",
        "Make a new server certificate with the CA that is there: callers have nothing to do",
        "用已有的CA重新签发服务器证书，调用方无需改动",
      ),
      option(
        "--force",
        "Make a new CA in the place of the one that is there, which every caller must then trust",
        "重新生成CA以替换已有的，之后所有调用方都须信任新的CA",
      ),
    ],
    run: async (args, terminal) =>
      (await import("./proxy-ca.ts")).runProxyCa(
        {
          folder: args.find("out") ?? "proxy-ca",
          renews: args.isSet("renew"),
          isForced: args.isSet("force"),
        },
        terminal,
      ),
  },
  {
    words: ["doctor"],
    meaning: bilingual("Say what is wrong, and what to do about it", "诊断：指出问题和处理办法"),
    notes: [
      bilingual(
        "It changes nothing, and works while the service runs and while it can't start. Exit code 1 when anything has failed, 4 with warnings alone. The checks: docs/doctor.md.",
        "不作任何改动，服务运行中或无法启动时都可执行。有失败项时退出码为1，仅有警告时为4。各检查项见docs/zh/doctor.md。",
      ),
    ],
    options: [
      option("--offline", "Ask neither WeChat nor PUBLIC_URL", "不访问微信和PUBLIC_URL"),
      option(
        "--key-file <file>",
        "File with an API key that may view, to try a stream through PUBLIC_URL; - for standard input",
        "有view权限的API密钥的文件，用于检查经PUBLIC_URL的事件流；- 表示标准输入",
      ),
      option("--json", "Print every check as JSON", "以JSON输出全部检查项"),
    ],
    run: async (args, terminal) => (await import("./doctor.ts")).runDoctor(args, terminal),
  },
  {
    words: ["completion"],
    meaning: bilingual("Print a script for completion in the shell", "输出命令行补全脚本"),
    notes: [
      bilingual(
        "For this shell: source <(accesstoken completion bash), the same with zsh; in fish: accesstoken completion fish | source",
        "在当前shell中启用：source <(accesstoken completion bash)，zsh同理；fish：accesstoken completion fish | source",
      ),
    ],
    positionals: [{ name: "shell", meaning: bilingual("bash, zsh or fish", "bash、zsh 或 fish") }],
    run: async (args, terminal) =>
      (await import("./completion.ts")).runCompletion(args.get("shell"), await loadCommands(), terminal),
  },
  {
    words: ["version"],
    meaning: bilingual("Print the version", "显示版本"),
    run: async (_args, terminal) => {
      await terminal.print(`${NAME} ${VERSION}\n`);
      return 0;
    },
  },
];

/** The groups by their first word, in the order of the help. */
const GROUPS: ReadonlyMap<string, () => Promise<readonly CommandSpec[]>> = new Map([
  ["apps", async () => (await import("./app-commands.ts")).APP_COMMANDS],
  ["platforms", async () => (await import("./platform-commands.ts")).PLATFORM_COMMANDS],
  ["callbacks", async () => (await import("./callback-commands.ts")).CALLBACK_COMMANDS],
  ["clients", async () => (await import("./client-commands.ts")).CLIENT_COMMANDS],
  ["keys", async () => (await import("./key-commands.ts")).KEY_COMMANDS],
  ["console", async () => (await import("./console-commands.ts")).CONSOLE_COMMANDS],
  ["environments", async () => (await import("./environment-commands.ts")).ENVIRONMENT_COMMANDS],
  ["apply", async () => (await import("./apply.ts")).APPLY_COMMANDS],
  ["anonymous", async () => (await import("./setting-commands.ts")).ANONYMOUS_COMMANDS],
  ["cors", async () => (await import("./setting-commands.ts")).CORS_COMMANDS],
  ["origins", async () => (await import("./oauth-commands.ts")).ORIGIN_COMMANDS],
  ["domains", async () => (await import("./oauth-commands.ts")).DOMAIN_COMMANDS],
  ["token", async () => (await import("./token.ts")).TOKEN_COMMANDS],
  ["notify", async () => (await import("./notify-commands.ts")).NOTIFY_COMMANDS],
  ["audit", async () => (await import("./audit-commands.ts")).AUDIT_COMMANDS],
  ["status", async () => (await import("./status.ts")).STATUS_COMMANDS],
  ["nodes", async () => (await import("./nodes.ts")).NODE_COMMANDS],
  ["master-key", async () => (await import("./master-key.ts")).MASTER_KEY_COMMANDS],
  ["backup", async () => (await import("./backup-commands.ts")).BACKUP_COMMANDS],
  ["restore", async () => (await import("./backup-commands.ts")).RESTORE_COMMANDS],
  ["store", async () => (await import("./store-commands.ts")).STORE_COMMANDS],
]);

/** The commands that begin with `word`; without it every command but `help`, in the order of the help. */
export async function loadCommands(word?: string): Promise<readonly CommandSpec[]> {
  if (word === undefined) {
    const groups = await Promise.all([...GROUPS.values()].map((load) => load()));
    return [...SERVICE_COMMANDS, ...groups.flat()];
  }
  return (await GROUPS.get(word)?.()) ?? SERVICE_COMMANDS.filter(({ words }) => words[0] === word);
}

function numberOf(args: Arguments, name: string): number {
  return args.findNumber(name, PORTS) ?? 0;
}

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
  ],
  run: async (args) => {
    const workers = args.findNumber("workers", { min: 1, max: 64 }) ?? 1;
    return (await import("./serve.ts")).runServe(workers, args.isSet(NEW_DATABASE.name));
  },
};

/** Commands of one word. What each of them runs is loaded when it runs: most of the program is needed by `serve` alone. */
const SERVICE_COMMANDS: readonly CommandSpec[] = [
  SERVE,
  { ...SERVE, words: ["start"], isFormer: true },
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
  ["clients", async () => (await import("./client-commands.ts")).CLIENT_COMMANDS],
  ["keys", async () => (await import("./key-commands.ts")).KEY_COMMANDS],
  ["anonymous", async () => (await import("./setting-commands.ts")).ANONYMOUS_COMMANDS],
  ["cors", async () => (await import("./setting-commands.ts")).CORS_COMMANDS],
  ["token", async () => (await import("./token.ts")).TOKEN_COMMANDS],
  ["audit", async () => (await import("./audit-commands.ts")).AUDIT_COMMANDS],
  ["nodes", async () => (await import("./nodes.ts")).NODE_COMMANDS],
  ["master-key", async () => (await import("./master-key.ts")).MASTER_KEY_COMMANDS],
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

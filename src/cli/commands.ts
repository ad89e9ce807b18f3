import { NAME, VERSION } from "../version.ts";
import { APP_COMMANDS } from "./app-commands.ts";
import type { Arguments, CommandSpec, OptionSpec, Text } from "./arguments.ts";
import { AUDIT_COMMANDS } from "./audit-commands.ts";
import { CLIENT_COMMANDS } from "./client-commands.ts";
import { runDemo } from "./demo.ts";
import { KEY_COMMANDS } from "./key-commands.ts";
import { MASTER_KEY_COMMANDS } from "./master-key.ts";
import { runSandbox } from "./sandbox.ts";
import { runServe } from "./serve.ts";
import { TOKEN_COMMANDS } from "./token.ts";
import { runWorker } from "./worker.ts";

const PORTS = { least: 0, most: 65_535 };

/** Every command but `help`, in the order of the help. */
export const COMMANDS: readonly CommandSpec[] = [
  {
    words: ["serve"],
    meaning: { en: "Run the service", zh: "启动服务" },
    options: [
      {
        name: "workers",
        value: "<n>",
        meaning: {
          en: "Processes on one port and one database. Default: 1",
          zh: "在同一端口和数据库上运行的进程数，默认1",
        },
      },
    ],
    run: (args) => runServe(args.findNumber("workers", { least: 1, most: 64 }) ?? 1),
  },
  {
    words: ["sandbox"],
    meaning: { en: "Run a stand-in for WeChat and WeCom", zh: "启动模拟的微信与企业微信" },
    options: [
      portOption({
        en: "WeChat's port; WeCom's is the next one. Default: 3001",
        zh: "微信端口，企业微信为其后一个端口，默认3001",
      }),
    ],
    run: (args) => runSandbox(args.findNumber("port", PORTS) ?? 3001),
  },
  {
    words: ["demo"],
    meaning: { en: "Run both, with sample apps", zh: "同时启动两者，并带示例应用" },
    options: [portOption({ en: "The service's port. Default: 3000", zh: "服务端口，默认3000" })],
    run: (args) => runDemo(args.findNumber("port", PORTS) ?? 3000),
  },
  {
    words: ["worker"],
    meaning: { en: "One of the processes of serve --workers", zh: "serve --workers 的工作进程" },
    positionals: ["index", "count", "port"].map((name) => ({ name, meaning: { en: name, zh: name } })),
    isHidden: true,
    run: (args) =>
      runWorker({
        index: numberOf(args, "index"),
        count: numberOf(args, "count"),
        port: numberOf(args, "port"),
      }),
  },
  {
    words: ["version"],
    meaning: { en: "Print the version", zh: "显示版本" },
    run: async (_args, terminal) => {
      await terminal.print(`${NAME} ${VERSION}\n`);
      return 0;
    },
  },
  ...APP_COMMANDS,
  ...CLIENT_COMMANDS,
  ...KEY_COMMANDS,
  ...TOKEN_COMMANDS,
  ...AUDIT_COMMANDS,
  ...MASTER_KEY_COMMANDS,
];

function portOption(meaning: Text): OptionSpec {
  return { name: "port", value: "<n>", meaning };
}

function numberOf(args: Arguments, name: string): number {
  return args.findNumber(name, PORTS) ?? 0;
}

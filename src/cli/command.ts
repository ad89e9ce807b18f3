import { ServiceError } from "../errors.ts";
import { NAME, VERSION } from "../http/version.ts";
import { runDemo } from "./demo.ts";
import type { ExitCode } from "./exit-code.ts";
import { runSandbox } from "./sandbox.ts";
import { runServe } from "./serve.ts";
import { runWorker } from "./worker.ts";

const USAGE = `accesstoken ${VERSION}

Usage 用法: accesstoken <command> [options]

Commands 命令:
  serve                     Run the service 启动服务
      --workers <n>           Processes on one port and one database. Default 1
                              在同一端口和数据库上运行的进程数，默认1
  sandbox                   Run a stand-in for WeChat and WeCom 启动模拟的微信与企业微信
      --port <n>              WeChat's port; WeCom's is the next one. Default 3001
                              微信端口，企业微信为其后一个端口，默认3001
  demo                      Run both, with sample apps 同时启动两者，并带示例应用
      --port <n>              The service's port. Default 3000 服务端口，默认3000
  version                   Print the version 显示版本
  help, --help, -h          Print this 显示本帮助

The service is configured by environment variables and a .env file; .env.example lists them all.
服务由环境变量和 .env 文件配置；全部变量见 .env.example。
`;

/**
 * Runs what the command line says and resolves with the exit code when it is over.
 *
 * `args` is without the program's name. What a person must act on goes to standard error as one line.
 */
export async function runCommand(args: readonly string[]): Promise<ExitCode> {
  const [command, ...rest] = args;
  try {
    if (command === "serve") return await withNumber(rest, SERVE_WORKERS, runServe);
    if (command === "worker" && process.send) return await runWorkerFrom(rest);
    if (command === "sandbox") return await withNumber(rest, { ...PORT, default: 3001 }, runSandbox);
    if (command === "demo") return await withNumber(rest, { ...PORT, default: 3000 }, runDemo);
    if ((command === "version" || command === "--version") && rest.length === 0) {
      console.log(`${NAME} ${VERSION}`);
      return 0;
    }
    if (command === "help" || command === "--help" || command === "-h") {
      console.log(USAGE);
      return 0;
    }
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    console.error(`accesstoken: ${error.message}`);
    return 1;
  }
  console.error(USAGE);
  return 2;
}

/** An option with a whole number as its value. */
interface NumberOption {
  readonly name: string;
  readonly least: number;
  readonly most: number;
  readonly default: number;
}

const SERVE_WORKERS: NumberOption = { name: "--workers", least: 1, most: 64, default: 1 };
const PORT = { name: "--port", least: 0, most: 65_535 };

async function withNumber(
  args: readonly string[],
  option: NumberOption,
  run: (value: number) => Promise<ExitCode>,
): Promise<ExitCode> {
  const [name, value = "", ...more] = args;
  if (name === undefined) return run(option.default);
  const number = /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  const isRight =
    name === option.name && number >= option.least && number <= option.most && more.length === 0;
  if (isRight) return run(number);
  console.error(USAGE);
  return 2;
}

/** The supervisor's own words: index, count and port. */
function runWorkerFrom(args: readonly string[]): Promise<ExitCode> {
  const [index = 0, count = 1, port = 0] = args.map(Number);
  return runWorker({ index, count, port });
}

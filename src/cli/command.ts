import { ServiceError } from "../errors.ts";
import { NAME, VERSION } from "../http/version.ts";
import { runDemo } from "./demo.ts";
import type { ExitCode } from "./exit-code.ts";
import { runSandbox } from "./sandbox.ts";
import { runServe } from "./serve.ts";

const USAGE = `accesstoken ${VERSION}

Usage 用法: accesstoken <command> [options]

Commands 命令:
  serve                     Run the service 启动服务
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
    if (command === "serve" && rest.length === 0) return await runServe();
    if (command === "sandbox") return await withPort(rest, 3001, runSandbox);
    if (command === "demo") return await withPort(rest, 3000, runDemo);
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

async function withPort(
  args: readonly string[],
  defaultPort: number,
  run: (port: number) => Promise<ExitCode>,
): Promise<ExitCode> {
  const [option, value = "", ...more] = args;
  if (option === undefined) return run(defaultPort);
  const port = Number(value);
  if (option === "--port" && /^\d{1,5}$/.test(value) && port < 65_536 && more.length === 0) return run(port);
  console.error(USAGE);
  return 2;
}

import { systemClock } from "../clock.ts";
import { loadConfig } from "../config.ts";
import { EventBus } from "../events.ts";
import { createLog } from "../log.ts";
import { startService } from "../service.ts";
import { type ExitCode, stopSignal } from "./exit.ts";
import { keyNotice } from "./terminal.ts";
import { superviseWorkers } from "./supervisor.ts";

/**
 * `accesstoken serve`: runs the service until a signal, then stops it in order. With more than one of `workers`, that
 * many processes share the port and the database.
 */
export async function runServe(workers: number): Promise<ExitCode> {
  if (workers > 1) {
    return superviseWorkers({
      workers,
      config: loadConfig(),
      onKeyCreated: tellAboutKey,
      onWorkerEnded: (index, exitCode) =>
        console.error(
          `accesstoken: 工作进程${index + 1}已退出，正在重启 (worker ${index + 1} ended with ${exitCode}; it is started again)`,
        ),
    });
  }
  // Listened for before the start: a signal that comes during it must not be lost.
  const stopping = stopSignal();
  const config = loadConfig();
  const events = new EventBus();
  events.subscribe(createLog(config.logLevel, systemClock, (line) => console.log(line)));
  const service = await startService(config, { events, onKeyCreated: tellAboutKey });
  await service.stop(await stopping);
  return 0;
}

function tellAboutKey(path: string): void {
  console.error(keyNotice(path));
}

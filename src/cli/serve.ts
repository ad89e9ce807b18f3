import { systemClock } from "../clock.ts";
import { type Config, loadConfig } from "../config.ts";
import { ServiceError } from "../errors.ts";
import { EventBus } from "../events.ts";
import { consoleLine, createLog, jsonLine } from "../log.ts";
import { startService } from "../service.ts";
import { type ExitCode, stopSignal } from "./exit.ts";
import { keyNotice } from "./terminal.ts";
import { type FromWorker, superviseWorkers, type ToWorker } from "./supervisor.ts";
import type { Snapshot } from "../ops/metrics.ts";

/**
 * `accesstoken serve`: runs the service until a signal, then stops it in order. With more than one of `workers`, that
 * many processes share the port and the database. For `newDatabase` see `UnlockOptions`.
 */
export async function runServe(workers: number, newDatabase: boolean): Promise<ExitCode> {
  if (workers > 1) {
    const config = loadConfig();
    return superviseWorkers({
      workers,
      config,
      store: { events: loggedEvents(config), onKeyCreated: noticeKey, newDatabase },
      onWorkerEnded: (index, cause) =>
        console.error(
          `accesstoken: 工作进程${index + 1}已退出（${cause}），正在重启 (worker ${index + 1} ended by ${cause}${cause === "SIGKILL" ? ", which the system sends when memory runs out" : ""}; it is started again)`,
        ),
    });
  }
  // Listened for before the start: a signal that comes during it must not be lost.
  const signal = stopSignal();
  const config = loadConfig();
  const events = loggedEvents(config);
  const stopping = Promise.race([signal, outdated(events)]);
  const service = await startService(config, {
    events,
    onKeyCreated: noticeKey,
    newDatabase,
    // A journal is no place for it.
    ...(process.stdout.isTTY ? { onSetupLink: showSetupLink } : {}),
  });
  const reason = await stopping;
  await service.stop(reason);
  return exitCodeOf(reason);
}

/** Resolves when a newer version has taken over the database. */
function outdated(events: EventBus): Promise<"outdated"> {
  return new Promise((resolve) => {
    events.subscribe(({ type }) => {
      if (type === "service.outdated") resolve("outdated");
    });
  });
}

/** Who supervises a process that is outdated starts what is there now. */
function exitCodeOf(reason: string): ExitCode {
  return reason === "outdated" ? 3 : 0;
}

function loggedEvents({ logLevel, logFormat, mayColor }: Config): EventBus {
  const events = new EventBus();
  const isTerminal = process.stdout.isTTY;
  const isForPeople = logFormat === "console" || (logFormat === "auto" && isTerminal);
  const format = isForPeople ? consoleLine({ hasColor: isTerminal && mayColor }) : jsonLine;
  events.subscribe(createLog(logLevel, systemClock, (line) => console.log(line), format));
  return events;
}

function showSetupLink(url: string): void {
  console.log(`15分钟内在浏览器中打开，创建首个管理员：${url}
Open it within 15 minutes, to make the first administrator: ${url}`);
}

function noticeKey(path: string): void {
  const { zh, en } = keyNotice(path);
  console.error(`${zh}\n${en}`);
}

/** How long the numbers of all workers are waited for; the supervisor takes at most two seconds. */
const COLLECT_MS = 5000;

/** Which of how many workers this process is, and the port that they share. */
export interface WorkerPlace {
  readonly index: number;
  readonly count: number;
  readonly port: number;
}

/** `accesstoken worker`: one of the processes of `serve --workers`, started by the supervisor alone. */
export async function runWorker({ index, count, port }: WorkerPlace): Promise<ExitCode> {
  const signal = Promise.race([stopSignal(), supervisorGone()]);
  const config = { ...loadConfig(), port };
  const events = loggedEvents(config);
  const stopping = Promise.race([signal, outdated(events)]);
  const waiting = new Map<number, (snapshots: readonly Snapshot[]) => void>();
  let nextId = 1;
  const service = await startService(config, {
    events,
    worker: String(index + 1),
    workers: count,
    sharesPort: count > 1,
    gatherSnapshots: (own) => {
      const id = nextId++;
      const { promise, resolve, reject } = Promise.withResolvers<readonly Snapshot[]>();
      // This one's own alone would look like a restart to Prometheus.
      const timer = setTimeout(() => reject(noSum()), COLLECT_MS);
      waiting.set(id, resolve);
      tell({ type: "collect", id, snapshot: own });
      return promise.finally(() => {
        clearTimeout(timer);
        waiting.delete(id);
      });
    },
  });
  process.on("message", (message: ToWorker) => {
    if (message.type === "snapshots") waiting.get(message.id)?.(message.snapshots);
    else void service.snapshot().then((snapshot) => tell({ type: "snapshot", id: message.id, snapshot }));
  });
  tell({ type: "ready" });
  const reason = await stopping;
  await service.stop(reason);
  return exitCodeOf(reason);
}

function noSum(): ServiceError {
  return new ServiceError(
    "unavailable",
    "暂时无法汇总各进程的指标，请稍后重试 (the numbers of all workers can't be had just now; try again later)",
  );
}

function tell(message: FromWorker): void {
  process.send?.(message);
}

/** Resolves when the supervisor has ended: nothing else would stop this process or restart it. */
function supervisorGone(): Promise<"supervisor gone"> {
  return new Promise((resolve) => {
    process.once("disconnect", () => resolve("supervisor gone"));
  });
}

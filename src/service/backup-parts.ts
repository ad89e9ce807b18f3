import { basename } from "node:path";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { ServiceError, systemCodeOf } from "../errors.ts";
import type { EventBus } from "../events.ts";
import { Backups, type MadeBackup } from "../ops/backups.ts";
import { makeFolder } from "../store/durable-files.ts";
import type { Store } from "../store/store.ts";
import { runOwnCommand } from "./own-process.ts";

/** What the service makes backups with. */
export interface BackupSideOptions {
  readonly config: Pick<Config, "backups">;
  readonly store: Pick<Store, "milestones">;
  readonly clock: Clock;
  readonly events: EventBus;
}

/** Wires what backs the database up now and then. */
export function buildBackups({ config: { backups }, store, clock, events }: BackupSideOptions): Backups {
  return new Backups({
    ...{ store: store.milestones, plan: backups, clock, events },
    make: (signal) => {
      if (!backups) throw new Error("there is no plan");
      return makeBackup(backups, clock, signal);
    },
  });
}

/** Has `accesstoken backup` make one in a process of its own, and remove the oldest. */
async function makeBackup(
  { folder, keep }: NonNullable<Config["backups"]>,
  clock: Clock,
  signal: AbortSignal,
): Promise<MadeBackup> {
  try {
    makeFolder(folder);
  } catch (error) {
    throw unmakeable(folder, error);
  }
  const args = ["backup", "--out", `${folder}/`, "--keep", String(keep), "--json"];
  try {
    const { exitCode, answer, told } = await runOwnCommand(args, { signal });
    const { file, bytes, msg } = { ...(answer as Partial<Record<"file" | "bytes" | "msg", unknown>>) };
    if (exitCode === 0) return { file: basename(String(file)), bytes: Number(bytes) };
    throw new ServiceError(
      "store_unusable",
      typeof msg === "string"
        ? msg
        : `备份进程意外结束 (the process that makes the backup has ended: ${exitCode}) ${told}`.trim(),
    );
  } finally {
    if (signal.aborted) {
      // It was killed; the next one would find what it has left, but none may follow.
      const { removeLeftFolders } = await import("../store/temp-folder.ts");
      removeLeftFolders(folder, clock.now());
    }
  }
}

function unmakeable(folder: string, error: unknown): ServiceError {
  const code = systemCodeOf(error);
  return new ServiceError(
    "store_unusable",
    `BACKUP_DIR ${folder}: 无法创建该目录，请检查路径和权限 (the folder can't be made: ${code}; check path, owner and mode)`,
  );
}

import { realpathSync, statSync } from "node:fs";
import { ServiceError } from "../../errors.ts";

/** What the file at a path is: the same device and inode are the same file, until its last name is gone. */
interface FileIdentity {
  readonly dev: number;
  readonly ino: number;
}

/**
 * The files of an open database. SQLite goes on with those that it has open when somebody deletes or replaces them, and
 * everything that is written from then on is lost with them.
 *
 * A look costs three `stat` calls. The link count needs no look of its own: a file without a name is not found at its path.
 */
export class DatabaseFiles {
  readonly #known: ReadonlyMap<string, FileIdentity | undefined>;
  readonly #onLost: ((path: string) => void) | undefined;
  #lost: string | undefined;

  /**
   * `path` is that of a database that is open and was written to, so that all of its files are there. `onLost` is called
   * with the path of the file that is gone, once for each time.
   */
  constructor(path: string, onLost?: (path: string) => void) {
    const beside = realPathOf(path);
    const paths = [path, `${beside}-wal`, `${beside}-shm`];
    this.#known = new Map(paths.map((place) => [place, identityOf(place)]));
    this.#onLost = onLost;
  }

  /** The path of the first file that is not there any more, or is another one; undefined when all are as they were. */
  look(): string | undefined {
    const lost = this.#find();
    if (lost !== undefined && this.#lost === undefined) this.#onLost?.(lost);
    this.#lost = lost;
    return lost;
  }

  /**
   * To be called before a change, and after its commit and before its answer.
   *
   * @throws {ServiceError} `store_unusable` when what is committed would be, or is, in a file that nobody will find again.
   */
  check(): void {
    const lost = this.look();
    if (lost !== undefined) throw new ServiceError("store_unusable", lostMessage(lost));
  }

  #find(): string | undefined {
    for (const [path, known] of this.#known) {
      const now = identityOf(path);
      if (now?.ino !== known?.ino || now?.dev !== known?.dev) return path;
    }
    return undefined;
  }
}

/** The database itself where `path` is a symlink to it: its log and its journal are beside that. `path` where there is none. */
export function realPathOf(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path;
  }
}

/** What to do about a file that is gone, for a person. */
export function lostMessage(path: string): string {
  return `${path}: 服务运行期间，该文件被删除或替换，此后的变更不会保留；请停止服务，恢复原文件或备份后再启动 (deleted or replaced while the service runs: changes are not kept; stop it, put the file or a backup back, and start again)`;
}

function identityOf(path: string): FileIdentity | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    // A folder that lets nobody in has no file for anybody.
    return undefined;
  }
}

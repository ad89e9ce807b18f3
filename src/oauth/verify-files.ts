import type { AuditEntry } from "../audit/audit-entry.ts";
import { type Changes, Mirror } from "../changes.ts";
import { ServiceError } from "../errors.ts";

/** A file at the root by which WeChat or WeCom sees that a domain is ours. */
export interface VerifyFile {
  readonly name: string;
  readonly content: string;
}

/** Where verification files are kept. A change raises the epoch of `environments`. */
export interface VerifyFileStore {
  /** Every file, by name. */
  listFiles(): Promise<VerifyFile[]>;
  /** Adds a file, in the place of one of that name. */
  putFile(file: VerifyFile, entry: AuditEntry): Promise<void>;
  /** Removes a file. Throws `not_found`. */
  removeFile(name: string, entry: AuditEntry): Promise<void>;
}

const NAME = /^(MP|WW)_verify_[A-Za-z0-9]{1,64}\.txt$/;

/** Whether a verification file may be called so. */
export function isVerifyFileName(name: string): boolean {
  return NAME.test(name);
}

/**
 * Refuses what WeChat's console does not give out as a verification file: at the root of a domain a page of somebody
 * else's would be ours.
 *
 * @throws {ServiceError} `invalid_parameter`.
 */
export function checkVerifyFile({ name, content }: VerifyFile): void {
  if (isVerifyFileName(name) && /^[A-Za-z0-9+/=_-]{1,256}\s{0,2}$/.test(content)) return;
  throw new ServiceError(
    "invalid_parameter",
    "应为微信或企业微信后台下载的校验文件，不要改名：MP_verify_….txt 或 WW_verify_….txt，内容为一行字母和数字 (must be the file as it was downloaded from the console of WeChat or WeCom: MP_verify_….txt or WW_verify_….txt, with one line of letters and digits)",
  );
}

/** The verification files, in this process's memory. */
export class VerifyFiles {
  readonly #store: Pick<VerifyFileStore, "listFiles">;
  readonly #mirror: Mirror;
  #files: ReadonlyMap<string, VerifyFile> = new Map();

  constructor(store: Pick<VerifyFileStore, "listFiles">, changes: Changes) {
    this.#store = store;
    this.#mirror = new Mirror(changes, "environments", async () => {
      this.#files = new Map((await this.#store.listFiles()).map((file) => [file.name, file]));
    });
  }

  /** What the file of that name holds, if there is one. */
  find(name: string): string | undefined {
    return this.#files.get(name)?.content;
  }

  /** Their names, in order. */
  get names(): readonly string[] {
    return [...this.#files.keys()];
  }

  /** Rereads what has changed. Throws what the store throws; then the last copy stays in use. */
  refresh(): Promise<void> {
    return this.#mirror.refresh();
  }

  /** Begins to follow the changes of all processes. */
  start(): void {
    this.#mirror.start();
  }

  stop(): void {
    this.#mirror.stop();
  }
}

import { createHash, type Hash } from "node:crypto";
import { createReadStream, createWriteStream, openSync, statSync } from "node:fs";
import { open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { ServiceError, systemCodeOf } from "../errors.ts";
import { FORMAT, type Manifest, newer, parseManifest } from "./backup-manifest.ts";

/** The files of an archive, in their order. */
const MANIFEST = "manifest.json";
export const DATABASE = "accesstoken.db";

const BLOCK = 512;
const MAX_MANIFEST_BYTES = 1_000_000;
/** The most that eleven octal digits say: what is larger, GNU tar writes in binary. */
const MAX_OCTAL = 8 ** 11;
/** The lowest at which zlib makes sealed texts smaller at all; higher ones take twice the time for the same. */
const LEVEL = 3;
const CHUNK = 1 << 18;
/** So much is on the disk at a time: what gathers in memory would be in the way of everybody's next commit, all at once. */
const SYNCED_BYTES = 4 << 20;

/**
 * Writes an archive to the new file `path`, for its owner alone. Holds some hundred kilobytes of it at a time.
 *
 * `manifest` comes first, so that an archive can be judged by its first block. Throws what the file system throws.
 */
export async function writeArchive(path: string, manifest: Manifest, database: string): Promise<void> {
  const text = Buffer.from(`${JSON.stringify(manifest, undefined, 2)}\n`);
  const { created_at: at, bytes } = manifest;
  async function* tar() {
    yield header(MANIFEST, text.length, at);
    yield text;
    yield padding(text.length);
    yield header(DATABASE, bytes, at);
    yield* createReadStream(database, { highWaterMark: CHUNK }) as AsyncIterable<Buffer>;
    yield padding(bytes);
    yield Buffer.alloc(2 * BLOCK);
  }
  await using file = await open(path, "wx", 0o600);
  await pipeline(
    tar,
    createGzip({ level: LEVEL, chunkSize: CHUNK }),
    async (chunks: AsyncIterable<Uint8Array>) => {
      let left = SYNCED_BYTES;
      for await (const chunk of chunks) {
        await file.writeFile(chunk);
        left -= chunk.length;
        if (left > 0) continue;
        await file.datasync();
        left = SYNCED_BYTES;
      }
    },
  );
  await file.sync();
}

/**
 * The manifest of the archive in `path`, which needs not be whole behind it.
 *
 * @throws {ServiceError} `store_unusable` when it is none of ours, of a newer version, or can't be read.
 */
export async function readManifest(path: string): Promise<Manifest> {
  const reader = new TarReader(path);
  try {
    return await manifestIn(reader, path);
  } catch (error) {
    throw reader.failureOf(error);
  } finally {
    reader.close();
  }
}

/**
 * Writes the database in the archive to the new file `into`, for its owner alone and on the disk, and returns the manifest.
 * `check` is called with that manifest before anything is written, and throws when it is not to be trusted: another file may
 * lie there than before.
 *
 * @throws {ServiceError} `store_unusable` as `readManifest`; and when it ends too early or is not what its manifest says,
 * or there is no room for it.
 */
export async function unpackArchive(
  path: string,
  into: string,
  check: (manifest: Manifest) => void,
): Promise<Manifest> {
  const reader = new TarReader(path);
  try {
    const manifest = await manifestIn(reader, path);
    check(manifest);
    const size = await reader.next(DATABASE);
    const hash = createHash("sha256");
    if (size !== manifest.bytes) throw tampered(path);
    const file = createWriteStream(into, { flags: "wx", mode: 0o600, flush: true });
    await pipeline(() => hashed(reader.contents(size), hash), file).catch((error: unknown) => {
      throw error instanceof ServiceError || systemCodeOf(error).startsWith("Z_")
        ? error
        : noRoom(into, error);
    });
    await reader.end();
    if (hash.digest("hex") !== manifest.sha256) throw tampered(path);
    return manifest;
  } catch (error) {
    throw reader.failureOf(error);
  } finally {
    reader.close();
  }
}

async function* hashed(chunks: AsyncIterable<Uint8Array>, hash: Hash) {
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
}

/** The length of a file and its SHA-256 in hex. */
export async function fileDigest(path: string): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK })) hash.update(chunk as Buffer);
  return { bytes: statSync(path).size, sha256: hash.digest("hex") };
}

async function manifestIn(reader: TarReader, path: string): Promise<Manifest> {
  const size = await reader.next(MANIFEST);
  if (size === undefined || size > MAX_MANIFEST_BYTES) throw foreign(path);
  const chunks: Uint8Array[] = [];
  for await (const chunk of reader.contents(size)) chunks.push(chunk);
  const manifest = parseManifest(Buffer.concat(chunks).toString("utf8"));
  if (!manifest) throw foreign(path);
  if (manifest.format > FORMAT) throw newer(path, manifest);
  return manifest;
}

function header(name: string, size: number, at: number): Buffer {
  const block = Buffer.alloc(BLOCK);
  block.write(name, 0);
  block.write("0000600\x000000000\x000000000\x00", 100);
  if (size < MAX_OCTAL) block.write(`${size.toString(8).padStart(11, "0")}\0`, 124);
  else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(size), 128);
  }
  block.write(
    `${Math.floor(at / 1000)
      .toString(8)
      .padStart(11, "0")}\0`,
    136,
  );
  block.write("0", 156);
  block.write("ustar\x0000", 257);
  block.write(`${checksum(block).toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

/** The sum of a header's bytes, those of the sum itself as blanks. */
function checksum(block: Buffer): number {
  return block.reduce((sum, byte, n) => sum + (n >= 148 && n < 156 ? 0x20 : byte), 0);
}

function padding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK);
}

/** Reads the files of one archive in their order. */
class TarReader {
  readonly #path: string;
  readonly #source: Readable;
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);
  /** What follows the last file's contents. */
  #padding = 0;

  constructor(path: string) {
    this.#path = path;
    const file = createReadStream("", { fd: opened(path), highWaterMark: CHUNK });
    const gunzip = createGunzip({ chunkSize: CHUNK });
    file.on("error", (error) => gunzip.destroy(error));
    this.#source = file;
    this.#chunks = (file.pipe(gunzip) as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** Goes to the next file, which must have that name, and returns its length; undefined where it has another. */
  async next(name: string): Promise<number | undefined> {
    await this.#skip(this.#padding);
    const block = await this.#take(BLOCK);
    const sum = Number.parseInt(block.toString("latin1", 148, 156), 8);
    const isOurs = block.toString("latin1", 0, block.indexOf(0)) === name;
    if (sum !== checksum(block) || !isOurs) return undefined;
    const isBinary = block.readUInt8(124) === 0x80;
    const size = isBinary
      ? Number(block.readBigUInt64BE(128))
      : Number.parseInt(block.toString("latin1", 124, 136), 8);
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK;
    return Number.isSafeInteger(size) ? size : undefined;
  }

  /** The next `size` bytes. */
  async *contents(size: number): AsyncIterable<Uint8Array> {
    for (let left = size; left > 0;) {
      if (this.#rest.length === 0) this.#rest = await this.#read();
      const chunk = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(chunk.length);
      left -= chunk.length;
      yield chunk;
    }
  }

  /** Reads on to the end, where the stream's own checksum is. Nothing but zeros may come. */
  async end(): Promise<void> {
    for (;;) {
      if (this.#rest.some((byte) => byte !== 0)) throw tampered(this.#path);
      const { done, value } = await this.#chunks.next();
      if (done) return;
      this.#rest = value;
    }
  }

  close(): void {
    this.#source.destroy();
  }

  /** What is to be told of what was thrown while it was read. */
  failureOf(error: unknown): unknown {
    if (error instanceof ServiceError) return error;
    const code = systemCodeOf(error);
    if (code === "Z_BUF_ERROR" || code === ENDED) return cutOff(this.#path);
    return code.startsWith("Z_") ? foreign(this.#path) : unreadable(this.#path, code);
  }

  async #skip(count: number): Promise<void> {
    if (count > 0) await this.#take(count);
  }

  async #take(count: number): Promise<Buffer> {
    while (this.#rest.length < count) this.#rest = Buffer.concat([this.#rest, await this.#read()]);
    const taken = this.#rest.subarray(0, count);
    this.#rest = this.#rest.subarray(count);
    return taken;
  }

  async #read(): Promise<Buffer> {
    const { done, value } = await this.#chunks.next();
    if (done) throw Object.assign(new Error("the archive has ended"), { code: ENDED });
    return value;
  }
}

const ENDED = "EOF";

function opened(path: string): number {
  try {
    return openSync(path, "r");
  } catch (error) {
    throw unreadable(path, systemCodeOf(error));
  }
}

function unreadable(path: string, code: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 无法读取，请检查路径和权限 (can't be read: ${code}; check path, owner and mode)`,
  );
}

function foreign(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 不是本服务的备份，或已损坏；请换一个备份 (no backup of this service, or a damaged one; take another)`,
  );
}

function cutOff(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 备份不完整，末尾缺失；请重新复制该文件，或换一个备份 (the backup is cut off; copy the file again, or take another)`,
  );
}

/** That an archive is not what was made. */
export function tampered(path: string): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 备份在生成之后被改动或损坏，不可信；请换一个备份 (the backup was changed or damaged after it was made, and can't be trusted; take another)`,
  );
}

function noRoom(path: string, error: unknown): ServiceError {
  return new ServiceError(
    "store_unusable",
    `${path}: 无法解开备份，请检查磁盘空间和权限；临时目录可用TMPDIR指定 (the backup can't be unpacked there: ${systemCodeOf(error)}; check free space and permissions; TMPDIR names another folder for temporary files)`,
  );
}

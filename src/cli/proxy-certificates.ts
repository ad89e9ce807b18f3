import { randomBytes, X509Certificate } from "node:crypto";
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { systemClock } from "../clock.ts";
import { ServiceError, systemCodeOf } from "../errors.ts";
import { syncFolderOf } from "../store/durable-files.ts";
import { UPSTREAM_HOSTS } from "../upstream/addresses.ts";
import { usageError } from "./arguments.ts";

/** The CA's key and its certificate, as files of the folder. */
export const CA_KEY = "ca.key";
export const CA = "ca.pem";
/** The server's key, and its certificate with the CA's behind it. */
export const SERVER_KEY = "server.key";
export const SERVER = "server.pem";

const CA_DAYS = 730;
const SERVER_DAYS = 90;
const DAY_MS = 86_400_000;
const OPENSSL_MS = 30_000;

/** What is in the folder now; ends are in epoch milliseconds. */
export interface ProxyCertificates {
  /** Absolute, and without links. */
  readonly folder: string;
  readonly caEndsAt: number;
  readonly serverEndsAt: number;
}

/**
 * Makes a CA that is good for the upstream hosts alone, and a server certificate for all of them, in `path`.
 *
 * @throws {ServiceError} `invalid_parameter` when there is one already, unless `isForced`, or the folder is not safe.
 */
export function makeProxyCertificates(path: string, isForced: boolean): Promise<ProxyCertificates> {
  return inDraft(path, async (draft) => {
    const { folder } = draft;
    const found = [CA_KEY, CA, SERVER_KEY, SERVER].find((name) => isThere(join(folder, name)));
    if (found !== undefined && !isForced) throw occupied(join(folder, found));
    await draft.openssl(
      ...["req", "-x509", "-extensions", "ca", "-days", String(CA_DAYS)],
      ...newKey(draft.path(CA_KEY)),
      ...["-out", draft.path(CA)],
    );
    await sign(draft, draft.path(""), SERVER_DAYS);
    // Of two that run at once the first one wins.
    draft.publish(CA_KEY, isForced);
    for (const name of [CA, SERVER_KEY, SERVER]) draft.publish(name, true);
  });
}

/**
 * Makes a new server certificate with the CA in `path`: whoever trusts that CA has nothing to do. `now` is in epoch
 * milliseconds.
 *
 * @throws {ServiceError} `invalid_parameter` when there is no CA, or the folder is not safe; `invalid_config` for a CA that
 *   has expired.
 */
export function renewProxyCertificate(path: string, now: number): Promise<ProxyCertificates> {
  return inDraft(path, async (draft) => {
    const missing = [CA_KEY, CA].map((name) => join(draft.folder, name)).find((file) => !existsSync(file));
    if (missing !== undefined) throw nothingToRenew(missing);
    const days = Math.floor((endOf(join(draft.folder, CA)) - now) / DAY_MS);
    if (!(days >= 1)) throw expired();
    // It must not outlive its CA.
    await sign(draft, draft.folder, Math.min(days, SERVER_DAYS));
    for (const name of [SERVER_KEY, SERVER]) draft.publish(name, true);
  });
}

/** Signs a server certificate with the CA in the folder `ca`, and has it verified as a client would. */
async function sign({ path, openssl }: Draft, ca: string, days: number): Promise<void> {
  const [request, server, trusted] = [path("request"), path(SERVER), join(ca, CA)];
  await openssl(
    "req",
    "-new",
    "-subj",
    `/CN=${UPSTREAM_HOSTS[0]}`,
    ...newKey(path(SERVER_KEY)),
    "-out",
    request,
  );
  await openssl(
    ...["x509", "-req", "-in", request, "-CA", trusted, "-CAkey", join(ca, CA_KEY)],
    // A random positive number of 16 bytes.
    ...["-set_serial", `0x01${randomBytes(15).toString("hex")}`, "-days", String(days)],
    ...["-extfile", path(CONFIGURATION), "-extensions", "server", "-out", server],
  );
  await openssl("verify", "-purpose", "sslserver", "-CAfile", trusted, server);
  writeFileSync(server, Buffer.concat([readFileSync(server), readFileSync(trusted)]));
}

function newKey(file: string): string[] {
  return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file];
}

const CONFIGURATION = "openssl.cnf";
/** How the name of a folder begins in which files are made. */
const DRAFT = ".proxy-ca-";

/**
 * What openssl is to make. That a name is permitted says nothing of addresses, so these are excluded; and a name that is
 * permitted permits those below it.
 */
function configuration(): string {
  const names = (prefix: string) => UPSTREAM_HOSTS.map((host, n) => `${prefix}DNS.${n} = ${host}`);
  return `
[req]
distinguished_name = name
prompt = no
[name]
CN = accesstoken proxy CA ${randomBytes(4).toString("hex")}
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
extendedKeyUsage = serverAuth
nameConstraints = critical, @constraints
subjectKeyIdentifier = hash
[constraints]
${names("permitted;").join("\n")}
excluded;IP.0 = 0.0.0.0/0.0.0.0
excluded;IP.1 = 0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = @names
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[names]
${names("").join("\n")}
`;
}

/** A folder beside the files, for this user alone, in which they are made before they get their names. */
interface Draft {
  /** Where the files will be. */
  readonly folder: string;
  /** The path of a file that is being made. */
  readonly path: (name: string) => string;
  /** Runs openssl. Throws `invalid_config` with what it complained about. */
  readonly openssl: (...args: readonly string[]) => Promise<void>;
  /** Has a file under its name at one moment; unless `replaces`, it throws when there is one. */
  readonly publish: (name: string, replaces: boolean) => void;
}

async function inDraft(path: string, work: (draft: Draft) => Promise<void>): Promise<ProxyCertificates> {
  const program = Bun.which("openssl");
  if (program === null) throw noOpenssl();
  const folder = safeFolder(path);
  removeDrafts(folder);
  // Of mode 0700, so that nobody else gets at what openssl makes in it, whatever the umask is.
  const made = named(folder, () => mkdtempSync(join(folder, DRAFT)));
  const draft: Draft = {
    folder,
    path: (name) => join(made, name),
    openssl: (...args) => run(program, args, join(made, CONFIGURATION)),
    publish: (name, replaces) => named(join(folder, name), () => publish(made, folder, name, replaces)),
  };
  try {
    writeFileSync(draft.path(CONFIGURATION), configuration());
    await work(draft);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
  return { folder, caEndsAt: endOf(join(folder, CA)), serverEndsAt: endOf(join(folder, SERVER)) };
}

/** Removes what runs that were killed have left, which has keys in it; one that still runs is younger. */
function removeDrafts(folder: string): void {
  for (const name of readdirSync(folder).filter((each) => each.startsWith(DRAFT))) {
    const path = join(folder, name);
    const ageMs = systemClock.now() - (lstatSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity);
    if (ageMs > 2 * OPENSSL_MS) rmSync(path, { recursive: true, force: true });
  }
}

function publish(draft: string, folder: string, name: string, replaces: boolean): void {
  const [from, to] = [join(draft, name), join(folder, name)];
  chmodSync(from, name === CA || name === SERVER ? 0o644 : 0o600);
  const file = openSync(from, "r");
  fsyncSync(file);
  closeSync(file);
  // A link of that name is replaced, and what it leads to stays as it is.
  if (replaces) renameSync(from, to);
  else linkSync(from, to);
  syncFolderOf(to);
}

/** The folder, made if need be, without links; one that somebody else could change is refused. */
function safeFolder(path: string): string {
  const folder = named(path, () => {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return realpathSync(path);
  });
  const { uid, mode } = statSync(folder);
  if (uid !== process.getuid?.() || (mode & 0o022) !== 0) throw unsafe(folder);
  for (let above = dirname(folder); ; above = dirname(above)) {
    const { mode } = statSync(above);
    // In one with the sticky bit, as /tmp, others can't rename what is not theirs.
    if ((mode & 0o002) !== 0 && (mode & 0o1000) === 0) throw unsafe(above);
    if (above === dirname(above)) return folder;
  }
}

/** Nothing of this user's own settings reaches openssl. */
async function run(program: string, args: readonly string[], configuration: string): Promise<void> {
  const child = Bun.spawn([program, ...args], {
    env: { OPENSSL_CONF: configuration, LC_ALL: "C" },
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    timeout: OPENSSL_MS,
  });
  const [complaint, code] = await Promise.all([child.stderr.text(), child.exited]);
  if (code === 0) return;
  throw new ServiceError(
    "invalid_config",
    `openssl ${args[0]} 执行失败 (openssl ${args[0]} failed, exit code ${code})`,
    { hint: complaint.trim().slice(-1000) },
  );
}

function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function endOf(file: string): number {
  return named(file, () => Date.parse(new X509Certificate(readFileSync(file)).validTo));
}

function named<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    const code = systemCodeOf(error);
    throw code === "EEXIST"
      ? occupied(path)
      : usageError(`--out: ${path} 无法使用 (${path} can't be used: ${code})`);
  }
}

function occupied(path: string): ServiceError {
  return usageError(
    `--out: ${path} 已存在；续期请用 --renew，重新生成CA请用 --force，之后所有调用方都须信任新的CA (${path} exists already: --renew makes a new server certificate; --force a new CA, which every caller must then trust)`,
  );
}

function unsafe(folder: string): ServiceError {
  return usageError(
    `--out: 其他用户可以修改 ${folder}，请换一个属于当前用户、权限为755的目录 (others may change ${folder}: give a folder that is this user's own, with mode 755)`,
  );
}

function nothingToRenew(file: string): ServiceError {
  return usageError(
    `--renew: 缺少 ${file}，请先不带 --renew 执行 (${file} is missing: run it without --renew first)`,
  );
}

function expired(): ServiceError {
  return new ServiceError(
    "invalid_config",
    "--renew: CA已到期，请用 --force 重新生成，并让所有调用方信任新的CA (the CA has expired: make a new one with --force, and have every caller trust it)",
  );
}

function noOpenssl(): ServiceError {
  return new ServiceError(
    "invalid_config",
    "未找到 openssl，请先安装，例如 apt-get install openssl、dnf install openssl 或 apk add openssl (openssl is not found: install it, for example by apt-get install openssl, dnf install openssl or apk add openssl)",
  );
}

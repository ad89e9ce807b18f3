import { dlopen, FFIType } from "bun:ffi";
import type { Stats } from "node:fs";
import { stat } from "node:fs/promises";
import { textOf } from "./processes.ts";
import type { Setup } from "./setup.ts";

/** What may be done with a file, as in the digits of its mode. */
export const READ = 4;
export const WRITE = 2;
export const ENTER = 1;

/** Who asks for a file. */
export interface FileUser {
  readonly uid: number;
  readonly gids: readonly number[];
}

/** The user that the service runs as, or would. */
export function serviceUserOf({ uid, users }: Pick<Setup, "uid" | "users">): FileUser {
  const own = users.processes.find((each) => each.uid === uid);
  return { uid, gids: [...groupsOf(uid), ...(own?.groups ?? [])] };
}

/** An entry of an access control list: whom it is about by tag and, of a named user or group, id; and what they may do. */
export interface AclEntry {
  readonly tag: number;
  readonly may: number;
  readonly id: number;
}

/** The tags of entries in Linux's `posix_acl_xattr.h`. */
const [NAMED_USER, OWN_GROUP, NAMED_GROUP, MASK] = [0x02, 0x04, 0x08, 0x10];

/**
 * Whether a user may do all of `want` with a file that has such an access control list; without one its mode tells. With a list
 * the mode has its mask in the place of the group.
 */
export function mayUse(
  { uid, gid, mode }: Pick<Stats, "uid" | "gid" | "mode">,
  user: FileUser,
  want: number,
  acl: readonly AclEntry[] = [],
): boolean {
  if (user.uid === 0) return true;
  const allows = (may: number) => (may & want) === want;
  if (uid === user.uid) return allows(mode >> 6);
  const mask = acl.find(({ tag }) => tag === MASK)?.may ?? READ | WRITE | ENTER;
  const named = acl.find(({ tag, id }) => tag === NAMED_USER && id === user.uid);
  if (named) return allows(named.may & mask);
  const ownGroup = acl.find(({ tag }) => tag === OWN_GROUP)?.may ?? mode >> 3;
  const groups = [{ id: gid, may: ownGroup }, ...acl.filter(({ tag }) => tag === NAMED_GROUP)].filter(
    ({ id }) => user.gids.includes(id),
  );
  return groups.length > 0 ? groups.some(({ may }) => allows(may & mask)) : allows(mode);
}

/** The access control list of a file; empty where it has none, or the system does not tell. */
export function aclOf(place: string): AclEntry[] {
  const list = Buffer.alloc(MAX_ACL_BYTES);
  const [path, name] = [Buffer.from(`${place}\0`), Buffer.from("system.posix_acl_access\0")];
  const length = Number(openLibrary()?.symbols.getxattr(path, name, list, list.length) ?? -1);
  const entries: AclEntry[] = [];
  for (let at = 4; at + 8 <= length; at += 8)
    entries.push({
      tag: list.readUInt16LE(at),
      may: list.readUInt16LE(at + 2),
      id: list.readUInt32LE(at + 4),
    });
  return entries;
}

/** More than any file system keeps. */
const MAX_ACL_BYTES = 65_536;

/** The system's own library, for what neither Node.js nor Bun has; undefined where there is no such. */
function openLibrary() {
  try {
    return dlopen("libc.so.6", {
      getxattr: {
        args: [FFIType.cstring, FFIType.cstring, FFIType.ptr, FFIType.u64],
        returns: FFIType.i64,
      },
    });
  } catch {
    return undefined;
  }
}

/** The groups of a user, as the system's files have them. */
function groupsOf(uid: number): number[] {
  if (uid === process.geteuid?.()) return [process.getegid?.() ?? 0, ...(process.getgroups?.() ?? [])];
  const linesOf = (path: string) =>
    textOf(path)
      .split("\n")
      .map((each) => each.split(":"));
  const [name, , , primary] = linesOf("/etc/passwd").find(([, , id]) => id === String(uid)) ?? [];
  if (name === undefined) return [];
  const others = linesOf("/etc/group").filter(([, , , members = ""]) => members.split(",").includes(name));
  return [primary, ...others.map(([, , id]) => id)].map(Number);
}

/** What a file is; without blocking this process, where a network file system does not answer. */
export async function factsOf(place: string): Promise<Stats | "missing" | "denied"> {
  try {
    return await stat(place);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    return code === "ENOENT" || code === "ENOTDIR" ? "missing" : "denied";
  }
}

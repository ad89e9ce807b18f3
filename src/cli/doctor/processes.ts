import { systemCodeOf } from "../../errors.ts";
import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { join } from "node:path";
import { runtimeVariables } from "../../config.ts";

/** A running process of the service. */
export interface ServiceProcess {
  readonly pid: number;
  readonly uid: number;
  /** Its supplementary groups. */
  readonly groups: readonly number[];
  /** The path of its program, with ` (deleted)` behind it where that file is gone. */
  readonly program: string;
  /** See `runtimeVariables`. */
  readonly runtimeVariables: readonly string[];
  /** How many files it may have open; undefined where that can't be read. */
  readonly openFiles: number | undefined;
  /** The inodes of its sockets. */
  readonly sockets: ReadonlySet<string>;
}

/** What is known of who uses a database. */
export interface DatabaseUsers {
  readonly processes: readonly ServiceProcess[];
  /** Whether all processes of this machine could be looked at, as root may. */
  readonly isComplete: boolean;
}

/** The processes that have `file` open, this one left out. Nothing where there is no `/proc`. */
export function usersOf(file: string, proc = "/proc"): DatabaseUsers {
  let isComplete = true;
  const processes: ServiceProcess[] = [];
  for (const pid of namesIn(proc).filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)) {
    const links = linksOf(join(proc, pid, "fd"));
    if (!links) isComplete = false;
    else if (links.some((link) => link === file || link === `${file} (deleted)`))
      processes.push(...processAt(join(proc, pid), Number(pid), links));
  }
  return { processes, isComplete };
}

/** The process of that number, if it is there and may be looked at. */
export function processOf(pid: number, proc = "/proc"): ServiceProcess[] {
  const links = linksOf(join(proc, String(pid), "fd"));
  return links ? processAt(join(proc, String(pid)), pid, links) : [];
}

/** The supplementary groups in the text of `/proc/<pid>/status`. */
function groupsOf(status: string): number[] {
  const [, list = ""] = /^Groups:(.*)$/m.exec(status) ?? [];
  return (list.match(/\d+/g) ?? []).map(Number);
}

/** How many files a process may have open; undefined where that can't be read. */
export function openFilesOf(limits: string): number | undefined {
  const [, soft] = /^Max open files\s+(\S+)/m.exec(limits) ?? [];
  return soft === undefined ? undefined : soft === "unlimited" ? Infinity : Number(soft);
}

/** The inodes of the sockets that listen on a port of this machine. */
export function listenersOn(port: number, proc = "/proc"): string[] {
  const isIt = (line: string) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    return state === "0A" && Number.parseInt(local.split(":")[1] ?? "", 16) === port;
  };
  const lines = ["tcp", "tcp6"].flatMap((name) => textOf(join(proc, "net", name)).split("\n"));
  return lines.filter(isIt).map((line) => line.trim().split(/\s+/)[9] ?? "");
}

/** The text of a file; empty where it can't be read. */
export function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function processAt(folder: string, pid: number, links: readonly string[]): ServiceProcess[] {
  try {
    return [
      {
        pid,
        uid: statSync(folder).uid,
        groups: groupsOf(textOf(join(folder, "status"))),
        program: readlinkSync(join(folder, "exe")),
        runtimeVariables: runtimeVariables(textOf(join(folder, "environ"))),
        openFiles: openFilesOf(textOf(join(folder, "limits"))),
        sockets: new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? [])),
      },
    ];
  } catch {
    // It has ended meanwhile.
    return [];
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Where the open files of a process lead; undefined where that is not shown to us. */
function linksOf(folder: string): string[] | undefined {
  try {
    return readdirSync(folder).flatMap((name) => {
      try {
        return [readlinkSync(join(folder, name))];
      } catch {
        return [];
      }
    });
  } catch (error) {
    return systemCodeOf(error) === "ENOENT" ? [] : undefined;
  }
}

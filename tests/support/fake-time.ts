import { Glob } from "bun";

/** Where Debian has libfaketime; undefined where it is not installed. */
const LIBRARY = [
  ...new Glob("usr/lib/*/faketime/libfaketimeMT.so.1").scanSync({ cwd: "/", absolute: true }),
][0];

/** Whether processes can be shown another time of day. */
export const hasFakeTime = LIBRARY !== undefined;

/** What lacks where they can't. */
export const NO_FAKE_TIME = "libfaketime is not installed (apt-get install faketime)";

/** The environment of a process that sees another time of day; its monotonic clock stays the machine's. */
export function fakeTime(
  how: { readonly offset: string } | { readonly file: string },
): Record<string, string> {
  return {
    LD_PRELOAD: LIBRARY ?? "",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
    DONT_FAKE_MONOTONIC: "1",
    ...("offset" in how
      ? { FAKETIME: how.offset }
      : { FAKETIME_TIMESTAMP_FILE: how.file, FAKETIME_NO_CACHE: "1" }),
  };
}

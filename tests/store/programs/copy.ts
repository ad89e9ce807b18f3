import { SERVICE } from "../../../src/audit/audit-entry.ts";
import { systemClock } from "../../../src/clock.ts";
import { copyStore } from "../../../src/store/copy-store.ts";

/**
 * A program that copies a database and kills itself after so many pieces of it; 0 for never. It prints how many there were.
 *
 * Its arguments: the file, the URL of the PostgreSQL, `to` or `from` for the direction seen from the file, the key file,
 * and the number.
 */
export const COPY = import.meta.path;

if (import.meta.main) {
  const [path = "", url = "", direction, masterKeyFile = "", last] = process.argv.slice(2);
  const file = { path };
  const server = { address: { url, password: undefined } };
  let pieces = 0;
  await copyStore({
    from: direction === "to" ? server : file,
    to: direction === "to" ? file : server,
    masterKey: undefined,
    masterKeyFile,
    clock: systemClock,
    actor: SERVICE,
    onProgress: () => {
      if (++pieces === Number(last)) process.kill(process.pid, "SIGKILL");
    },
  });
  process.stdout.write(`${pieces}\n`);
}

import { systemClock } from "../../../src/clock.ts";
import { Secret } from "../../../src/secret.ts";
import { openSqliteStore } from "../../../src/store/sqlite/sqlite-store.ts";
import { tokenOf, weixinSlot } from "../../support/slots.ts";
import { saveUnderLease } from "../../support/store-folder.ts";

/**
 * A program that opens the database, saves one credential, says `saved` and ends without closing anything.
 *
 * Its arguments: the database, the key file, an appid, and `--stay` to wait for being killed.
 */
export const OPEN_AND_SAVE = import.meta.path;

async function openAndSave([path = "", masterKeyFile = "", appId = "", stay]: string[]): Promise<void> {
  const store = await openSqliteStore({
    path,
    masterKey: undefined,
    masterKeyFile,
    clock: systemClock,
    onKeyCreated: () => {},
  });
  const issuedAt = systemClock.now();
  const credential = { value: new Secret(`token-of-${appId}`), issuedAt, expiresAt: issuedAt + 7_200_000 };
  await saveUnderLease(store.credentials, tokenOf(weixinSlot(appId)), credential);
  console.log("saved");
  if (stay === "--stay") await systemClock.sleep(60_000);
}

if (import.meta.main) await openAndSave(process.argv.slice(2));
